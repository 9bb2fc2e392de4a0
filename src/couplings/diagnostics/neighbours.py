"""The most similar rows of each row, exactly, by tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import checks
from .spread import _unit

__all__ = ["Neighbours", "Progress", "nearest", "silent"]

Progress = Callable[[float], None]
"""Told the share that is done, in [0, 1]."""

_ROWS, _COLUMNS = 512, 8192
"""A tile of a few MB: it stays in the cache between the product and the comparison."""


def silent(share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Neighbours:
    """The k most similar rows of each row, nearest first.

    Attributes:
        index: int64 (n, k).
        similarity: cosines (n, k).
    """

    index: Tensor
    similarity: Tensor

    def pairs(self) -> Tensor:
        """Unordered pairs i < j of which one is among the other's neighbours, each once: int64 (p, 2), sorted."""
        n, k = self.index.shape
        rows = torch.arange(n, device=self.index.device)[:, None].expand(n, k)
        low, high = torch.minimum(rows, self.index), torch.maximum(rows, self.index)
        codes = torch.unique(low.flatten() * n + high.flatten())
        return torch.stack([codes // n, codes % n], 1)


@torch.no_grad()
def nearest(z: Tensor, k: int = 10, progress: Progress = silent) -> Neighbours:
    """The `k` most similar other rows of each row, by cosine; exact.

    Args:
        z: embeddings (n, d), n > 1.
        k: 1 <= k; at most n - 1 are returned.
        progress: told the share of rows that is done.

    Raises:
        InvalidInput: fewer than two rows, a row without a direction, k < 1.

    Cost:
        One product of all rows with all others, n^2 d multiplications, by tiles; O(n k) memory.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import nearest
        >>> nearest(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), k=1).index.T.tolist()
        [[1, 0, 1]]
    """
    checks.count("k", k)
    checks.require(k >= 1, f"k must be at least 1, got {k}")
    checks.require(len(z) >= 2, f"nearest needs at least two rows, got {len(z)}")
    unit = _unit("z", z)
    few = min(k, len(unit) - 1)
    index = torch.empty(len(unit), few, dtype=torch.int64, device=z.device)
    similarity = torch.empty(len(unit), few, dtype=unit.dtype, device=z.device)
    for start in range(0, len(unit), _ROWS):
        rows = slice(start, min(start + _ROWS, len(unit)))
        similarity[rows], index[rows] = _nearest_of(unit, rows, few)
        progress(rows.stop / len(unit))
    return Neighbours(index, similarity)


def _nearest_of(unit: Tensor, rows: slice, k: int) -> tuple[Tensor, Tensor]:
    """The best of the first columns, then what beats the worst of them."""
    best: tuple[Tensor, Tensor] | None = None
    for start in range(0, len(unit), _COLUMNS):
        tile = unit[rows] @ unit[start : start + _COLUMNS].T
        _forget_oneself(tile, rows, start)
        best = _first(tile, k) if best is None else _improved(best, tile, start, k)
    assert best is not None
    return best


def _forget_oneself(tile: Tensor, rows: slice, start: int) -> None:
    own = torch.arange(rows.start, rows.stop, device=tile.device) - start
    inside = ((own >= 0) & (own < tile.shape[1])).nonzero()[:, 0]
    tile[inside, own[inside]] = -torch.inf


def _first(tile: Tensor, k: int) -> tuple[Tensor, Tensor]:
    values, index = tile.topk(min(k, tile.shape[1]), 1)
    return values, index


def _improved(best: tuple[Tensor, Tensor], tile: Tensor, start: int, k: int) -> tuple[Tensor, Tensor]:
    """Few entries of a tile beat the worst that is known: only these are sorted."""
    values, index = best
    worst = values[:, -1:] if values.shape[1] == k else values.new_full((len(tile), 1), -torch.inf)
    row, column = (tile > worst).nonzero(as_tuple=True)
    if len(row) == 0:
        return best
    count = torch.bincount(row, minlength=len(tile))
    place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    new = values.new_full((len(tile), int(count.max())), -torch.inf)
    new[row, place] = tile[row, column]
    columns = index.new_zeros(new.shape)
    columns[row, place] = column + start
    merged = torch.cat([values, new], 1)
    order = merged.topk(min(k, merged.shape[1]), 1)
    return order.values, torch.cat([index, columns], 1).gather(1, order.indices)
