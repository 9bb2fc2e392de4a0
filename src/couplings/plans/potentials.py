"""The two potentials of a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


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

    @property
    def normaliser(self) -> Tensor | None:
        """Of each row what log P(j | i) = h_ij - normaliser lacks, (n,); None where it is not as simple."""
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

    @property
    def normaliser(self) -> None:
        """Columns have potentials too."""
        return None

    def detach(self) -> Solved:
        """Without their gradient."""
        return Solved(self.f.detach(), self.g.detach())

    def rows(self, part: slice) -> Solved:
        """Some of the rows."""
        return Solved(self.f[part], self.g)
