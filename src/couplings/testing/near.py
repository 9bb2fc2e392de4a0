"""How checks compare, and what they say where a loss fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from ..basics.sizes import limited
from ..losses.base import Loss
from .calls import Call

EXACT = 1e-8
"""Relative, in double precision: sweeps that solve a plan stop at 1e-10, and nothing else is off by more."""

_WHOLE = {"dense": 1 << 40, "tiled": 1 << 40}
_TILES = {"dense": 1 << 40, "tiled": 0, "tile": 4}
_PANELS = {"dense": 0, "tiled": 0, "tile": 4, "panel": 64}
WAYS = {
    "one matrix": _WHOLE,
    "tiles": _TILES,
    "panels": {**_PANELS, "budget": 0},
    "panels of a kept kernel": {**_PANELS, "budget": 1 << 40},
}
"""Sizes at which small batches are computed as large ones are."""


class Nonconforming(AssertionError):
    """A loss that does not do what a check asks: what was compared, the figures, and the usual cause."""


def demand(condition: bool, message: str) -> None:
    """Raise `Nonconforming(message)` unless the condition holds."""
    if not condition:
        raise Nonconforming(message)


def near(what: str, found: Tensor, wanted: Tensor, *, rtol: float = EXACT, atol: float = EXACT) -> None:
    """No entry may differ by more than `atol` and `rtol` times the largest wanted entry."""
    demand(found.shape == wanted.shape, f"{what}: shape {tuple(found.shape)} where {tuple(wanted.shape)} is right")
    if wanted.numel() == 0:
        return
    largest = float(wanted.detach().abs().max())
    gap, allowed = float((found.detach().double() - wanted.detach().double()).abs().max()), atol + rtol * largest
    demand(
        gap <= allowed,
        f"{what}: off by {gap:.2e}, {allowed:.1e} allowed (found up to {float(found.detach().abs().max()):.4g}, "
        f"right is up to {largest:.4g})",
    )


def all_near(what: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], **tolerance: float) -> None:
    """All tensors of one outcome are those of the other."""
    for name, right in wanted.items():
        near(f"{what}: {name}", found[name], right, **tolerance)


@contextmanager
def way(name: str) -> Iterator[None]:
    """Compute in that way."""
    with limited(**WAYS[name]):
        yield


def outcome(loss: Loss, call: Call) -> dict[str, Tensor]:
    """The value and the gradients at embeddings and parameters of the loss, by name."""
    moved = call.leaves()
    value = moved.of(loss)
    inputs = moved.tensors | {f"parameter {name}": p for name, p in loss.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(value, list(inputs.values()), allow_unused=True, materialize_grads=True)
    gradients = {f"gradient at {name}": g for name, g in zip(inputs, found, strict=True)}
    return {"value": value.detach(), **gradients}


def flat_gradient(found: Mapping[str, Tensor]) -> Tensor:
    """The gradients at all embeddings, in a row."""
    return torch.cat([g.flatten() for name, g in found.items() if name != "value" and "parameter" not in name])
