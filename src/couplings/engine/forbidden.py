"""A mask, cut into tiles: the pairs that carry no mass, listed by tile where they are few."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..pieces.masks import Mask
from .tiling import Tile, Tiling


class Forbidden(ABC):
    """What of each tile is set to zero."""

    symmetric: bool
    """Whether the mask is known to equal its transpose."""

    @abstractmethod
    def zero_(self, values: Tensor, tile: Tile) -> None:
        """Set the forbidden entries of a tile to zero."""


class Nothing(Forbidden):
    """No mask."""

    symmetric = True

    def zero_(self, values: Tensor, tile: Tile) -> None:
        """Nothing to do."""


class Listed(Forbidden):
    """Few pairs, sorted by the tile that they fall in."""

    symmetric = True

    def __init__(self, rows: Tensor, cols: Tensor, tiling: Tiling) -> None:
        place, where = tiling.locate(rows, cols)
        order = place.argsort()
        self.where = where[order]
        self.bounds = torch.searchsorted(place[order], torch.arange(tiling.count + 1, device=place.device)).tolist()

    def zero_(self, values: Tensor, tile: Tile) -> None:
        """Set by flat index."""
        first, last = self.bounds[tile.number], self.bounds[tile.number + 1]
        if first < last:
            values.view(-1).index_fill_(0, self.where[first:last], 0.0)


class Compared(Forbidden):
    """The mask itself, looked at tile by tile."""

    def __init__(self, mask: Mask) -> None:
        self.mask, self.symmetric = mask, mask.symmetric

    def zero_(self, values: Tensor, tile: Tile) -> None:
        """Compare and fill."""
        values.masked_fill_(self.mask.block(tile.rows, tile.cols).forbidden(), 0.0)


def known_symmetric(mask: Mask | None) -> bool:
    """Whether the mask equals its transpose, as far as can be told in O(n log n)."""
    if mask is None or mask.symmetric:
        return True
    n, m = mask.shape
    if n != m or mask.listed is None:
        return False
    rows, cols = mask.listed
    return torch.equal((rows * n + cols).sort().values, (cols * n + rows).sort().values)


def forbidden(mask: Mask | None, tiling: Tiling) -> Forbidden:
    """The mask in the cheapest form for the tiles; a mask remembers its last one."""
    if mask is None:
        return Nothing()
    known = mask.__dict__.get("_cut")
    if known is None or known[0] != tiling:
        cut = Compared(mask) if mask.listed is None else Listed(*mask.listed, tiling)
        known = mask.__dict__["_cut"] = tiling, cut
    return known[1]
