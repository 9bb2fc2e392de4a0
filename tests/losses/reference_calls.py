"""Random calls with every side that a call may bring, and the comparison of a loss with its reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import reference as ref
import torch
from torch import Tensor

from couplings import Loss
from helpers import F64

SEEDS = (0, 1)
D = 4
Params = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """What a call brings beside its views, and how the loss was made to look at it."""

    count: int = 2
    n: int = 6
    labels: tuple[int, ...] | None = None
    ids: tuple[int, ...] | None = None
    queue: int = 0
    key_ids: tuple[int, ...] | None = None
    own: int = 0
    masked: float = 0.0
    options: Params = field(default_factory=dict)


SIDES = {
    "two": Side(),
    "three": Side(3, 4),
    "five": Side(5, 3),
    "ids": Side(ids=(4, 4, -2, 0, 7, 7)),
    "labels": Side(labels=(1, 0, 1, 2, 2, 3)),
    "queue": Side(queue=5),
    "key_ids": Side(3, 4, ids=(0, 1, 2, 1), queue=4, key_ids=(1, 9, 3, 0)),
    "negatives": Side(own=3),
    "negatives3": Side(3, 4, own=2),
    "across": Side(n=5, options={"across_views": True}),
    "across3": Side(3, 4, ids=(0, 1, 2, 1), queue=3, options={"across_views": True}),
    "across_labels": Side(labels=(1, 0, 1, 2, 2, 3), options={"across_views": True}),
    "mask": Side(masked=0.2),
    "mask_queue": Side(3, 4, queue=3, masked=0.15),
    "everything": Side(labels=(0, 1, 1, 2, 3, 4), ids=(5, 6, 7, 7, 8, 9), queue=4, key_ids=(5, 1, 2, 9), masked=0.1),
    "raw": Side(options={"normalize": False}),
    "raw_queue": Side(3, 4, labels=(0, 1, 2, 1), queue=3, options={"normalize": False}),
    "raw_negatives": Side(3, 4, own=2, options={"normalize": False}),
}
PLAIN = ("two", "three")
OWN = ("negatives", "negatives3", "raw_negatives")
QUEUES = ("everything", "queue", "key_ids", "across3", "mask_queue", "raw_queue")
ACROSS = ("across", "across3", "across_labels")
REPELLING = (*OWN, *QUEUES, *ACROSS, "ids", "labels", "mask")
"""Sides that say who repels whom."""


@dataclass(frozen=True, eq=False)
class Call:
    """One random call: leaves that want gradients, and constants."""

    views: list[Tensor]
    leaves: dict[str, Tensor]
    constants: dict[str, Tensor]
    options: Params

    @property
    def inputs(self) -> list[Tensor]:
        return [*self.views, *self.leaves.values()]

    def sides(self) -> dict[str, Tensor]:
        return {**self.leaves, **self.constants}

    def world(self, **more: Any) -> ref.World:
        """The same call spelled out."""
        return ref.world(self.views, **self.sides(), **self.options, **more)


def random_call(side: Side, seed: int) -> Call:
    """Noisy views of random samples, with what the side brings."""
    generator = torch.Generator().manual_seed(100 * seed + side.count + side.queue)
    scale = 1.0 if side.options.get("normalize", True) else 0.6

    def draw(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=F64)

    base = draw(side.n, D)
    views = [(base + 0.7 * draw(side.n, D)).requires_grad_() for _ in range(side.count)]
    leaves = {}
    if side.queue:
        leaves["keys"] = draw(side.queue, D).requires_grad_()
    if side.own:
        leaves["negatives"] = draw(side.n, side.own, D).requires_grad_()
    return Call(views, leaves, _constants(side, generator), side.options)


def _constants(side: Side, generator: torch.Generator) -> dict[str, Tensor]:
    given = {name: getattr(side, name) for name in ("labels", "ids", "key_ids")}
    constants = {name: torch.tensor(value) for name, value in given.items() if value is not None}
    if side.masked:
        shape = (side.count * side.n, side.count * side.n + side.queue)
        constants["mask"] = torch.rand(shape, generator=generator) < side.masked
    return constants


def assert_equal(got: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    """The same value and the same gradient in each input, to 1e-8."""
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)
    for a, b in zip(gradients_in(inputs, got), gradients_in(inputs, expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def gradients_in(inputs: list[Tensor], value: Tensor) -> tuple[Tensor, ...]:
    """d value / d inputs, zeros where an input has no effect."""
    return torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True, retain_graph=True)


def compare(loss: Loss, reference: Callable[[ref.World], Tensor], side: Side, attract: bool = False) -> None:
    """The loss and its reference agree on two random calls."""
    for seed in SEEDS:
        call = random_call(side, seed)
        assert_equal(loss(*call.views, **call.sides()), reference(call.world(attract=attract)), call.inputs)
