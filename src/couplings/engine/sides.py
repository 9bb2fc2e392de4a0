"""Rows and columns of a matrix of pairs, and the reference weights of either."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ROWS, COLS = 0, 1
"""Which side a vector belongs to. A reduction *for* the rows runs over the columns."""


def spread(vector: Tensor, side: int) -> Tensor:
    """A side's vector, shaped to broadcast over the matrix."""
    return vector[:, None] if side == ROWS else vector[None, :]


@dataclass(frozen=True, eq=False)
class Side:
    """Rows or columns of a problem: reference weights, and whether they constrain the plan.

    Attributes:
        size: how many.
        like: a constant on their device and in their precision.
        given: weights (size,); equal ones of sum one when None.
    """

    size: int
    like: Tensor
    constrained: bool
    given: Tensor | None = None

    @cached_property
    def weights(self) -> Tensor:
        """The weights, (size,)."""
        return self.like.new_full((self.size,), 1 / self.size) if self.given is None else self.given

    @cached_property
    def log_weights(self) -> Tensor:
        """Their logarithms, (size,)."""
        return self.like.new_full((self.size,), -math.log(self.size)) if self.given is None else torch.log(self.given)

    def log_at(self, index: Tensor) -> float | Tensor:
        """Log weights by index; one number where all are equal."""
        if self.given is None:
            return -math.log(self.size)
        return self.log_weights.index_select(0, index.flatten()).reshape(index.shape)

    def part(self, rows: slice) -> Side:
        """Some of them, with their share of the mass."""
        weights = self.weights[rows]
        return Side(len(weights), self.like, self.constrained, weights)
