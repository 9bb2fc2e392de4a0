"""The two potentials of a plan, solved already or when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ..basics.precision import recorded


class Potentials(Protocol):
    """The two potentials: solved already, or when they are asked for."""

    @property
    def f(self) -> Tensor:
        """Of the rows, (n,)."""
        ...

    @property
    def g(self) -> Tensor:
        """Of the columns, (m,)."""
        ...

    @property
    def log_partition(self) -> Tensor:
        """log sum_j exp(g_j + h_ij) of a plan whose rows were solved last, `Fixed`, with equal columns, (n,)."""
        ...

    @property
    def of_columns(self) -> Tensor | None:
        """Of the columns; None where they have none."""
        ...

    def detach(self) -> Potentials:
        """The same numbers as constants."""
        ...

    def rows(self, part: slice) -> Potentials:
        """Of some rows and all columns."""
        ...


@dataclass(frozen=True, eq=False)
class Solved:
    """Potentials as they are."""

    f: Tensor
    g: Tensor

    @property
    def log_partition(self) -> Tensor:
        """Read off the potential of the rows."""
        return math.log(len(self.g)) - self.f

    @property
    def of_columns(self) -> Tensor:
        """The potential of the columns."""
        return self.g

    def detach(self) -> Solved:
        """Without their gradient."""
        return Solved(self.f.detach(), self.g.detach())

    def rows(self, part: slice) -> Solved:
        """Some of the rows."""
        return Solved(self.f[part], self.g)


@dataclass(frozen=True, eq=False)
class OfSoftmax:
    """Of rows over equal, free columns: f = log(m) - log sum_j exp(h_ij), over 1 + c.

    Attributes:
        solve: gives the log-sum-exps (n,), when they are asked for: what a plan expects of its rows needs none.
        columns: m.
        softness: c.
    """

    solve: Callable[[], Tensor]
    columns: int
    softness: float | Tensor

    @cached_property
    def log_partition(self) -> Tensor:
        """Solved now."""
        with recorded():
            return self.solve()

    @cached_property
    def f(self) -> Tensor:
        """Zero for a row without an admissible pair."""
        with recorded():
            f = (math.log(self.columns) - self.log_partition) / (1 + self.softness)
            return torch.where(f.isinf(), 0.0, f)

    @cached_property
    def g(self) -> Tensor:
        """Zeros."""
        with recorded():
            return self.log_partition.new_zeros(self.columns)

    @property
    def of_columns(self) -> None:
        """They have none."""
        return None

    def __reduce__(self) -> tuple[type[Solved], tuple[Tensor, Tensor]]:
        return Solved, (self.f, self.g)

    def detach(self) -> OfSoftmax:
        """Without its gradient."""
        softness = self.softness.detach() if isinstance(self.softness, Tensor) else self.softness
        return OfSoftmax(lambda: self.log_partition.detach(), self.columns, softness)

    def rows(self, part: slice) -> OfSoftmax:
        """Some of the rows, still not solved."""
        return OfSoftmax(lambda: self.log_partition[part], self.columns, self.softness)
