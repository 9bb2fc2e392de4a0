"""The kernel that the entropic adjoint multiplies with, by panels, and what its vectors are referred to.

A half-step's weights are exp(own_i + other_j + h_ij) w_j. With a kernel exp(h_ij + r_i + r'_j) they are that kernel
between the vectors exp(own - r) and w exp(other - r'), for any references r, r'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from .exponentials import LOWEST, exp_
from .panels import Kept, Panel, Source
from .sides import ROWS, spread

Reference = tuple[Tensor, Tensor]

_MOVED = 0.6
"""How far potentials may move between sweeps, as a share of the lowest exponent that counts."""


class Kernel(ABC):
    """exp(h_ij + r_i + r'_j) by panels of rows.

    Attributes:
        source: what the panels are made of.
    """

    source: Source

    @abstractmethod
    def panels(self) -> Iterator[Panel]:
        """Ranges of rows and their panels; writing over one is allowed at the last visit."""

    @abstractmethod
    def reference(self, side: int, own: Tensor, other: Tensor) -> Reference:
        """What the exponents of a side and of the other are referred to."""


class Absorbed(Kernel):
    """At the last potentials: the vectors stay near one whatever the temperature, up to a shift from side to side."""

    def __init__(self, source: Source, f: Tensor, g: Tensor, *, in_place: bool) -> None:
        self.at, self.source = (f, g), source
        self.kept = isinstance(source, Kept)
        if isinstance(source, Kept):
            self.source = replace(source, matrix=source.matrix.add_(g) if in_place else source.matrix + g)
            for part, panel in self.source.panels(ROWS):
                _at_rows(panel, f[part])

    def panels(self) -> Iterator[Panel]:
        """Made once where the matrix is kept."""
        f, g = self.at
        for part, panel in self.source.panels(ROWS):
            yield part, panel if self.kept else _at_rows(panel.add_(g), f[part])

    def reference(self, side: int, own: Tensor, other: Tensor) -> Reference:
        """The last potentials, shifted to where this half-step's are."""
        return _shifted(self.at, side, own)


def serves(last: Reference, side: int, own: Tensor, other: Tensor) -> Tensor:
    """Whether what a kernel at the last potentials drops is too small for this half-step too, 0-dim."""
    here, there = _shifted(last, side, own)
    return (own - here).abs().amax() + (other - there).abs().amax() < _MOVED * -LOWEST[own.dtype]


def _shifted(last: Reference, side: int, own: Tensor) -> Reference:
    shift = _middle(own - last[side])
    return last[side] + shift, last[1 - side] - shift


def _middle(x: Tensor) -> Tensor:
    low, high = x.aminmax()
    return (low + high) / 2


def _at_rows(panel: Tensor, f: Tensor) -> Tensor:
    return exp_(panel.add_(spread(f, ROWS)))


@dataclass(frozen=True, eq=False)
class Exact(Kernel):
    """exp(h - centre) as the forward has it; each half-step's vectors share the range of exponents evenly."""

    source: Source
    centre: float

    def panels(self) -> Iterator[Panel]:
        """As stored."""
        return self.source.panels(ROWS)

    def reference(self, side: int, own: Tensor, other: Tensor) -> Reference:
        """A number a side: both vectors then have the same maximum."""
        half = (own.amax() - other.amax() - self.centre) / 2
        return half, -half - self.centre
