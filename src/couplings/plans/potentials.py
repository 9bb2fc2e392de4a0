"""The two potentials of a plan, solved already or when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

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

    def detach(self) -> Solved:
        """Without their gradient."""
        return Solved(self.f.detach(), self.g.detach())

    def rows(self, part: slice) -> Solved:
        """Some of the rows."""
        return Solved(self.f[part], self.g)


@dataclass(frozen=True, eq=False)
class Deferred:
    """A row potential that is solved for when it is asked for: what a plan expects of its rows needs none."""

    solve: Callable[[], Tensor]
    g: Tensor

    @cached_property
    def f(self) -> Tensor:
        """Solved now."""
        with recorded():
            return self.solve()

    def __reduce__(self) -> tuple[type[Solved], tuple[Tensor, Tensor]]:
        return Solved, (self.f, self.g)

    def detach(self) -> Deferred:
        """Without its gradient."""
        return Deferred(lambda: self.f.detach(), self.g.detach())

    def rows(self, part: slice) -> Deferred:
        """Some of the rows, still not solved."""
        return Deferred(lambda: self.f[part], self.g)
