"""Exponents: time and memory as a power of the number of rows, fitted where both are large."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .result import Cell, Row

__all__ = ["Curve", "Fit", "curves", "exponent"]

_FROM_ROWS, _FEWEST = 2048, 3
"""Below, constants rule; fewer points make no line."""


@dataclass(frozen=True)
class Curve:
    """One contender over the rows, at one dimension and number of sweeps."""

    what: str
    name: str
    ours: bool
    dim: int
    sweeps: int
    rows: tuple[int, ...]
    cells: tuple[Cell, ...]

    @property
    def label(self) -> str:
        """For a legend."""
        who = self.what if self.ours else self.name
        return f"{who}, d = {self.dim}" + (f", T = {self.sweeps}" if self.sweeps else "")

    @property
    def times(self) -> list[tuple[int, float]]:
        """Rows and median seconds."""
        return [(n, cell.time.median) for n, cell in zip(self.rows, self.cells, strict=True) if cell.time]

    @property
    def growths(self) -> list[tuple[int, float]]:
        """Rows and bytes of peak growth."""
        return [(n, float(cell.growth)) for n, cell in zip(self.rows, self.cells, strict=True) if cell.growth]

    @property
    def fit(self) -> Fit:
        """Both exponents."""
        return Fit(exponent(self.times), exponent(self.growths))

    @property
    def left_out(self) -> str:
        """The first size that was not run, and why."""
        missing = ((n, cell.note) for n, cell in zip(self.rows, self.cells, strict=True) if cell.note)
        return next((f"{n:,} rows: {note}" for n, note in missing), "")


@dataclass(frozen=True)
class Fit:
    """time ~ rows^time, peak growth ~ rows^memory; None where there are too few points."""

    time: float | None
    memory: float | None


def exponent(points: Sequence[tuple[int, float]]) -> float | None:
    """The slope of a least-squares line through the logarithms.

    >>> round(exponent([(2048, 1.0), (4096, 4.0), (8192, 16.0)]), 6)
    2.0
    """
    large = [(math.log(n), math.log(y)) for n, y in points if n >= _FROM_ROWS and y > 0]
    if len(large) < _FEWEST:
        return None
    x, y = zip(*large, strict=True)
    return statistics.linear_regression(x, y).slope


def curves(rows: Iterable[Row]) -> list[Curve]:
    """One curve for each work, contender, dimension and number of sweeps."""
    points: dict[tuple[str, str, bool, int, int], list[tuple[int, Cell]]] = {}
    for row in rows:
        for cell in row.cells:
            key = (row.what, cell.name, cell is row.ours, row.size.dim, row.size.sweeps)
            points.setdefault(key, []).append((row.size.rows, cell))
    return [Curve(*key, *zip(*found, strict=True)) for key, found in points.items()]
