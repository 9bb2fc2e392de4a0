"""How a matrix of pairs is cut: square tiles, all of them or, where it equals its transpose, the upper triangle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from ..basics.sizes import slices


@dataclass(frozen=True)
class Tile:
    """A range of rows against a range of columns, and its number, row of tiles by row of tiles."""

    number: int
    rows: slice
    cols: slice

    @property
    def diagonal(self) -> bool:
        """Whether rows and columns are the same samples (in a triangle)."""
        return self.rows == self.cols

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    @property
    def entries(self) -> int:
        """How many pairs."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Tiling:
    """Tiles of `side` rows and columns over n rows and m columns; with `triangle` only those on and above the diagonal.

    In a triangle every tile off the diagonal stands for its transpose too.
    """

    n: int
    m: int
    side: int
    triangle: bool = False

    def __iter__(self) -> Iterator[Tile]:
        number = 0
        for rows in slices(self.n, self.side):
            for cols in slices(self.m, self.side):
                if not self.triangle or cols.start >= rows.start:
                    yield Tile(number, rows, cols)
                    number += 1

    def rounds(self) -> Iterator[Tile]:
        """In rounds that have each range of rows and of columns once: what runs side by side adds to different sums."""
        several = max(-(-self.n // self.side), self._across)
        return iter(sorted(self, key=lambda tile: (tile.rows.start + tile.cols.start) // self.side % several))

    def touched(self, tile: Tile) -> tuple[int, ...]:
        """Numbers of the sums that the tile adds to, by their first row; those of a triangle's columns are its rows."""
        return (tile.rows.start, tile.cols.start if self.triangle else -1 - tile.cols.start)

    @property
    def _across(self) -> int:
        return -(-self.m // self.side)

    @property
    def count(self) -> int:
        """How many tiles are visited."""
        down, across = -(-self.n // self.side), self._across
        return across * (across + 1) // 2 if self.triangle else down * across

    def locate(self, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
        """The number of the tile that each pair falls in, and its flat place there; those below a triangle drop out."""
        down, across = rows // self.side, cols // self.side
        if self.triangle:
            kept = across >= down
            rows, cols, down, across = rows[kept], cols[kept], down[kept], across[kept]
        skipped = down * (down + 1) // 2 if self.triangle else 0  # tiles below the diagonal, not visited
        width = (self.m - across * self.side).clamp_max(self.side)
        return down * self._across + across - skipped, (rows - down * self.side) * width + cols - across * self.side
