"""Single precision at least: half precision, given or by autocast, cannot hold scores over a small temperature."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional


def at_least_single(z: Tensor) -> Tensor:
    """`z` in float32 if it comes in half precision, else as it is."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def single_at_least(*tensors: Tensor) -> torch.dtype:
    """The precision in which a function of these tensors is given back."""
    kinds = {z.dtype for z in tensors}
    return torch.float32 if kinds == {torch.float32} else reduce(torch.promote_types, kinds, torch.float32)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) in double precision too: torch's own is x from 20 on, where exp(-20) is still a digit."""
    return functional.softplus(x, threshold=40.0)


def full_precision(device: torch.device) -> torch.autocast:
    """A context without autocast."""
    return torch.autocast(device.type, enabled=False)


@contextmanager
def recorded() -> Iterator[None]:
    """A context in which gradients are recorded, whoever asks: for what is computed once and used by others later."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


SAFE = {torch.float32: 80.0, torch.float64: 650.0}
"""How far exponents may range, the log of the longest sum included, before sums of kernels lose what logits have."""


def solved_below(dtype: torch.dtype) -> float:
    """The marginal error (L1) under which a plan counts as solved in this precision."""
    return 1e-10 if dtype == torch.float64 else 1e-5
