"""The most similar rows of each row, exactly, by tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import full_precision

__all__ = ["Neighbours", "Progress", "nearest", "nearest_in", "silent"]

Progress = Callable[[float], None]
"""Told the share that is done, in [0, 1]."""

_ROWS, _COLUMNS = 512, 8192
"""A tile of a few MB: it stays in the cache between the product and the comparison."""
_SPARE = 8
"""Candidates beyond those asked for: the more there are, the fewer rows are looked at twice."""
_AT_ONCE = 2**21
"""Numbers of the differences that are held at a time."""


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

    The cosines of a tight cluster differ by less than single precision resolves: of rows that lie a thousandth of their
    norm apart by 1e-6. So a product in single precision names candidates only. They are ordered by their differences in
    double precision, and where rounding may have left out a nearer row the product is made in double precision too.

    Args:
        z: embeddings (n, d), n > 1.
        k: 1 <= k; at most n - 1 are returned.
        progress: told the share of rows that is done.

    Raises:
        InvalidInput: fewer than two rows, a row without a direction, k < 1.

    Cost:
        One product of all rows with all others, n^2 d multiplications, by tiles, and a second one in double precision
        of the rows in tight clusters; O(n k) memory.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import nearest
        >>> nearest(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), k=1).index.T.tolist()
        [[1, 0, 1]]
    """
    checks.count("k", k)
    checks.require(k >= 1, f"k must be at least 1, got {k}")
    checks.require(len(z) >= 2, f"nearest needs at least two rows, got {len(z)}")
    checks.matrix("z", z)
    checks.rows_usable("z", z, zero=False, raw=False)
    return nearest_in(z, None, k, progress)


@torch.no_grad()
def nearest_in(bank: Tensor, queries: Tensor | None, k: int, progress: Progress = silent) -> Neighbours:
    """The `k` rows of a bank that are most similar to each query, by cosine; exact, as :func:`nearest`.

    Args:
        bank: (n, d), floating point. A zero row has the cosine 0 with all others.
        queries: (m, d); None takes the rows of the bank, each of which is then no neighbour of its own.
        k: at most as many as there are are returned.
        progress: told the share of queries that is done.

    Returns:
        Numbers of rows of the bank, and cosines in float32, or in float64 where the bank is that.
    """
    with full_precision(bank.device):
        search = _Search(bank, queries, k)
        index, distance, doubtful = search.first(progress)
        for rows in torch.split(doubtful, _ROWS) if len(doubtful) else ():
            _, near = search.candidates(rows, torch.float64)
            index[rows], distance[rows] = search.ordered(rows, near)
    progress(1.0)
    return Neighbours(index, (1 - distance / 2).to(torch.promote_types(bank.dtype, torch.float32)))


class _Search:
    """A bank, the queries, and how many neighbours are looked for."""

    def __init__(self, bank: Tensor, queries: Tensor | None, k: int) -> None:
        self.bank, self.asked, self.alone = bank, bank if queries is None else queries, queries is None
        self.few = min(k, len(bank) - self.alone)
        self.wide = min(k + _SPARE, len(bank) - self.alone)
        self.kind = _single(bank.dtype)
        self.unit = _unit(bank, self.kind)

    def first(self, progress: Progress) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers and squared distances (m, k), and the queries of which a nearer row may have been left out."""
        found, doubtful = [], []
        for rows in torch.split(torch.arange(len(self.asked), device=self.bank.device), _ROWS):
            cosine, near = self.candidates(rows, self.kind)
            index, distance = self.ordered(rows, near)
            found.append((index, distance))
            doubtful.append(rows[self._doubtful(cosine, distance)])
            # A second look at a row takes about twice as long as the first.
            progress((int(rows[-1]) + 1) / (len(self.asked) + 2 * sum(map(len, doubtful))))
        index, distance = (torch.cat(part) for part in zip(*found, strict=True))
        return index, distance, torch.cat(doubtful)

    def _doubtful(self, cosine: Tensor, distance: Tensor) -> Tensor:
        if self.kind == torch.float64 or self.wide < self.few + _SPARE:
            return torch.zeros(len(cosine), dtype=torch.bool, device=cosine.device)
        # What is no candidate has at most the last one's cosine, but for the rounding.
        beyond = cosine[:, -1].double() + _rounding(self.bank.shape[1])
        return (1 - distance[:, -1] / 2 < beyond) & (distance[:, -1] > 0)

    def candidates(self, rows: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """The largest cosines: the best of the first columns, then what beats the worst of them."""
        best: tuple[Tensor, Tensor] | None = None
        unit = self._units(rows, kind)
        for columns in torch.split(torch.arange(len(self.bank), device=rows.device), _COLUMNS):
            tile = unit @ (self.unit[columns] if kind == self.kind else _unit(self.bank[columns], kind)).T
            if self.alone:
                _forget(tile, rows - columns[0])
            few, start = min(self.wide, tile.shape[1]), int(columns[0])
            best = tile.topk(few, 1) if best is None else _improved(best, tile, start, self.wide)
        assert best is not None
        return best[0], best[1]

    def _units(self, rows: Tensor, kind: torch.dtype) -> Tensor:
        return self.unit[rows] if self.alone and kind == self.kind else _unit(self.asked[rows], kind)

    def ordered(self, rows: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        """The k nearest of the candidates (m, c) and their squared distances, by differences in double precision."""
        parts = max(1, _AT_ONCE // (near.shape[1] * self.bank.shape[1]))
        pairs = zip(torch.split(rows, parts), torch.split(near, parts), strict=True)
        distance, order = torch.cat([self._squares(*pair) for pair in pairs]).sort(dim=1, stable=True)
        return near.gather(1, order[:, : self.few]), distance[:, : self.few]

    def _squares(self, rows: Tensor, near: Tensor) -> Tensor:
        one, others = _unit(self.asked[rows], torch.float64)[:, None], _unit(self.bank[near], torch.float64)
        square = (one - others).square().sum(2)
        # A row without a direction is no unit vector.
        return torch.where((one.abs().amax(2) > 0) & (others.abs().amax(2) > 0), square, 2.0)


def _single(kind: torch.dtype) -> torch.dtype:
    """Single precision where products really have it: told to be fast, they have as few as eight bits."""
    exact = torch.get_float32_matmul_precision() == "highest"
    return torch.float32 if exact and kind != torch.float64 else torch.float64


def _rounding(d: int) -> float:
    """How far a cosine of d terms in single precision is off, four standard deviations, and its rows' own rounding."""
    return float(torch.finfo(torch.float32).eps) * (2 * math.sqrt(d) + 4)


def _unit(rows: Tensor, kind: torch.dtype) -> Tensor:
    return torch.nn.functional.normalize(rows.double(), dim=-1).to(kind)


def _forget(tile: Tensor, own: Tensor) -> None:
    """A row is no neighbour of its own: `own` is its column, which may lie outside."""
    inside = ((own >= 0) & (own < tile.shape[1])).nonzero()[:, 0]
    tile[inside, own[inside]] = -torch.inf


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
