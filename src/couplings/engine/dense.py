"""Logits as one n x m matrix: the reference that every other storage must agree with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

ROWS, COLS = 0, 1
"""Which side a vector belongs to. A reduction *for* the rows runs over the columns."""


def spread(vector: Tensor, side: int) -> Tensor:
    """A side's vector, shaped to broadcast over the matrix."""
    return vector[:, None] if side == ROWS else vector[None, :]


@dataclass(frozen=True, eq=False)
class Dense:
    """Logits (n, m), minus infinity where masked."""

    logits: Tensor

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The tensors that gradients are returned for."""
        return (self.logits,)

    @staticmethod
    def from_leaves(*leaves: Tensor) -> Dense:
        """The inverse of `leaves`."""
        return Dense(*leaves)
