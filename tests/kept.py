"""Bytes that a forward pass leaves behind for its backward pass."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import torch
from torch import Tensor


class _Held:
    """A tensor that autograd has saved; gone with the graph that saved it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


def kept_bytes(run: Callable[[], Tensor]) -> int:
    """Bytes of all storages that live on in the graph of what `run` returns, whoever holds them, each once.

    Counted are tensors that autograd saved, an input among them, and those that `run` made and something still holds,
    but for what a first run leaves to all others.
    """
    saved: weakref.WeakSet[_Held] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Held:
        held = _Held(tensor)
        saved.add(held)
        return held

    run()
    gc.freeze()  # what there is already is not looked at again
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
            result = run()
        assert result.requires_grad
        gc.collect()
        kept = [held.tensor for held in saved] + [x for x in gc.get_objects() if isinstance(x, Tensor)]
    finally:
        gc.unfreeze()
    return sum({s.data_ptr(): s.nbytes() for s in (tensor.untyped_storage() for tensor in kept)}.values())
