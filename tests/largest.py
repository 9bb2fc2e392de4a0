"""The largest tensor that is made while something runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {given.untyped_storage().data_ptr() for given in tree_iter((args, kwargs)) if isinstance(given, Tensor)}
        for made in tree_iter(result):
            # Views make nothing, and bytes are the words that processes exchange.
            if (
                isinstance(made, Tensor)
                and made.untyped_storage().data_ptr() not in known
                and made.dtype != torch.uint8
            ):
                stored = made.untyped_storage().nbytes() // made.element_size()  # an expanded number stores one
                self.entries = max(self.entries, min(made.numel(), stored))
        return result


def largest_tensor(run: Callable[[], Any]) -> int:
    """Entries of the largest tensor that `run` makes, in its backward pass too."""
    with _Watch() as watch:
        run()
    return watch.entries
