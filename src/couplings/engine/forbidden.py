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


def forbidden(mask: Mask | None, tiling: Tiling) -> Forbidden:
    """The mask in the cheapest form for the tiles."""
    if mask is None:
        return Nothing()
    listed = mask.listed
    return Compared(mask) if listed is None else mask.once(tiling, lambda: Listed(*listed, tiling))
