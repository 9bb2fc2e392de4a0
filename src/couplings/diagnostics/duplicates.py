"""Rows that lie closer together than the density around them explains."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..basics import checks
from .neighbours import Neighbours, Progress, nearest, silent
from .spread import _unit

__all__ = ["Duplicates", "duplicates"]

_NEIGHBOURS = 16
"""How far the surroundings reach."""

_SUREST = 300.0
"""Score of rows that coincide."""

_SCATTER, _BULK = 1.25, 50
"""What the estimate of a dimension widens; rows whose quartiles say something."""

_LISTED = 64
"""Rows that coincide of which all pairs are listed."""


class Duplicates(NamedTuple):
    """Pairs of rows that are too close to be neighbours by chance, the surest first.

    Attributes:
        pairs: int64 (p, 2), i < j.
        score: (p,), -log10 of the chance that rows of that density lie so close; at most 300.
        similarity: cosines (p,).
    """

    pairs: Tensor
    score: Tensor
    similarity: Tensor

    @property
    def groups(self) -> Tensor:
        """The group of each pair, int64 (p,): the first of the rows that pairs join, for a copy of a copy is a copy."""
        one, other = self.pairs.T
        return _first_joined(one, other, int(other.max()) + 1)[one] if len(one) else one


@torch.no_grad()
def duplicates(
    z: Tensor, neighbours: Neighbours | None = None, rate: float = 0.05, progress: Progress = silent
) -> Duplicates:
    """Exact and near duplicates: pairs much closer than the space between other rows there.

    Around a row let d_1 <= ... <= d_k be the distances to its neighbours. Where rows are spread evenly over
    D dimensions, (d_r / d_k)^D is the r-th smallest of k - 1 uniform numbers, so

        p = P(Binomial(k - 1, (d_r / d_k)^D) >= r)

    is the chance that the r-th neighbour is that near. D is estimated around each row (Levina and Bickel 2004), the
    larger p of a pair's two rows counts, and pairs are kept while the expected share of wrong ones stays below `rate`
    (Benjamini and Hochberg 1995). No threshold on the distance itself: what is close depends on the space.

    Rows of real data are not spread evenly. Where most rows have close companions (captions of an image, views of a
    product) the logarithms of these ratios are moved, rank by rank, so that their bulk lies where that of evenly spread
    rows does: a duplicate is closer than companions are.

    Rows that coincide (to the rounding of the numbers that came, a factor aside) are all paired with each other; of
    more than 64 such rows each is paired with the first: `groups` of the result say which rows are copies of each
    other. More than 16 near, but not equal, rows are a dense region,
    not duplicates.

    Args:
        z: embeddings (n, d); their directions are compared.
        neighbours: of :func:`nearest`, 16 or more a row, if they are known already.
        rate: expected share of wrong pairs among those found, in (0, 1); as good as the estimate of D.
        progress: told the share that is done.

    Raises:
        InvalidInput: a row without a direction, a rate out of range, neighbours of other rows.

    Cost:
        That of :func:`nearest`, twice where more than eight rows coincide; O(n k d) beyond.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import duplicates
        >>> z = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
        >>> z[7] = z[3]
        >>> duplicates(z).pairs.tolist()
        [[3, 7]]
    """
    checks.require(0 < rate < 1, f"rate must be in (0, 1), got {rate!r}")
    near = nearest(z, _NEIGHBOURS, progress) if neighbours is None else neighbours
    checks.require(len(near.index) == len(z), f"neighbours: of {len(near.index)} rows came for {len(z)} rows of z")
    distance = _distances(_unit("z", z), near.index)
    first = _first_of_group(near.index, distance)
    found = [_coincident(z, first)]
    alone = (first == torch.arange(len(z), device=z.device)).nonzero()[:, 0]
    if int(torch.bincount(first).max()) <= near.index.shape[1] // 2:
        found.append(_near(near, distance, rate))
    elif len(alone) > 1:
        # Lists that are full of copies show no surroundings: look again without them.
        found.append(_near_among(z, alone, rate, progress))
    return _joined(found, len(z))


def _near_among(z: Tensor, rows: Tensor, rate: float, progress: Progress) -> Duplicates:
    """Near pairs of some of the rows."""
    some = z[rows]
    near = nearest(some, _NEIGHBOURS, progress)
    found = _near(near, _distances(_unit("z", some), near.index), rate)
    return found._replace(pairs=rows[found.pairs])


def _near(near: Neighbours, distance: Tensor, rate: float) -> Duplicates:
    n, k = near.index.shape
    pairs, log_p, similarity = _mutual(near, _chance(distance, _dimension(distance, near.index)))
    order = log_p.argsort(stable=True)
    kept = order[: _significant(log_p[order], tests=n * k / 2, rate=rate)]
    return Duplicates(pairs[kept], (-log_p[kept] / math.log(10)).clamp(0, _SUREST), similarity[kept])


def _joined(found: list[Duplicates], n: int) -> Duplicates:
    """Each pair once, the surest first."""
    pairs, score, similarity = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = score.argsort(descending=True, stable=True)
    codes, place = torch.unique(pairs[order, 0] * n + pairs[order, 1], return_inverse=True)
    # The first of each code in the order of the score.
    kept = torch.full_like(codes, len(order)).scatter_reduce(
        0, place, torch.arange(len(order), device=place.device), "amin"
    )
    chosen = order[kept.sort().values]
    return Duplicates(pairs[chosen], score[chosen], similarity[chosen])


def _first_of_group(index: Tensor, distance: Tensor) -> Tensor:
    """(n,): the first of the rows that a row coincides with, through any number of neighbours."""
    same = distance == 0
    row = torch.arange(len(index), device=index.device)[:, None].expand_as(index)[same]
    return _first_joined(row, index[same], len(index))


def _first_joined(one: Tensor, other: Tensor, n: int) -> Tensor:
    """(n,): of each row the first that the pairs (one, other) join it with, through any number of them."""
    first = torch.arange(n, device=one.device)
    while True:
        low = torch.minimum(first[one], first[other])
        fresh = first.scatter_reduce(0, one, low, "amin").scatter_reduce(0, other, low, "amin")
        fresh = fresh[fresh]
        if torch.equal(fresh, first):
            return first
        first = fresh


def _coincident(z: Tensor, first: Tensor) -> Duplicates:
    """All pairs within small groups, each row with the first one in large groups."""
    order = first.argsort(stable=True)
    _, count = torch.unique_consecutive(first[order], return_counts=True)
    parts = [_paired(group) for group in torch.split(order, count.tolist()) if len(group) > 1]
    pairs = torch.cat([first.new_zeros(0, 2), *parts])
    similarity = torch.nn.functional.cosine_similarity(z[pairs[:, 0]].double(), z[pairs[:, 1]].double(), dim=1)
    return Duplicates(pairs, similarity.new_full((len(pairs),), _SUREST), similarity)


def _paired(group: Tensor) -> Tensor:
    if len(group) <= _LISTED:
        return torch.combinations(group)
    return torch.stack([group[:1].expand(len(group) - 1), group[1:]], 1)


def _distances(unit: Tensor, index: Tensor) -> Tensor:
    """Distances (n, k) by differences in double precision: those from cosines drown in rounding where rows coincide."""
    parts = zip(torch.split(unit, 2048), torch.split(index, 2048), strict=True)
    found = torch.cat([(rows[:, None].double() - unit[there].double()).norm(dim=2) for rows, there in parts])
    # What float32 cannot tell apart coincides.
    return torch.where(found > 4 * torch.finfo(unit.dtype).eps, found, 0.0)


def _dimension(distance: Tensor, index: Tensor) -> Tensor:
    """Local dimension (n,): the inverse of the mean log(d_k / d_r), pooled over a row's neighbours by their median.

    The nearest half is left out: it is where duplicates are.
    """
    k = distance.shape[1]
    far = distance[:, k // 2 :].clamp_min(torch.finfo(distance.dtype).tiny)
    # Given d_r, the k - r - 1 distances between it and d_k are uniform in volume over the shell.
    shell = (far[:, -1:] / far).log()
    expected = _mean_log_ratio(k).to(shell)
    own = (expected / shell.mean(1).clamp_min(1e-12)).clamp(0.5, 1e4)
    around = own[index].median(1).values
    # The edge of a group of companions looks like a high dimension.
    return around.clamp_max(2 * float(own.median()))


def _mean_log_ratio(k: int) -> Tensor:
    """D times the mean of log(d_k / d_r) over r = k // 2 + 1, ..., k: differences of harmonic numbers."""
    ranks = range(k // 2 + 1, k + 1)
    return torch.tensor(sum(sum(1 / m for m in range(r, k)) for r in ranks) / len(ranks), dtype=torch.float64)


def _chance(distance: Tensor, dimension: Tensor) -> Tensor:
    """log p of each neighbour, (n, k); 0 for the last, which is the yardstick."""
    k = distance.shape[1]
    log_x = dimension[:, None] * (distance / distance[:, -1:]).log().nan_to_num(nan=-torch.inf)
    log_x = _calibrated(log_x.clamp(-1e6, -1e-12))
    log_rest = torch.log(-torch.expm1(log_x))
    chance = torch.zeros_like(distance)
    for rank in range(1, k):
        terms = [
            math.log(math.comb(k - 1, m)) + m * log_x[:, rank - 1] + (k - 1 - m) * log_rest[:, rank - 1]
            for m in range(rank, k)
        ]
        chance[:, rank - 1] = torch.stack(terms).logsumexp(0)
    return chance.clamp_max(0)


def _calibrated(log_x: Tensor) -> Tensor:
    """D log(d_r / d_k), (n, k), moved so that its bulk is not below that of evenly spread rows.

    Where most rows have close companions (captions of an image, views of a product), being close is no sign of a copy:
    what counts is to be closer than companions are. Chances only ever grow by this. One shift for all ranks, because
    some rows have more companions than others.
    """
    n, k = log_x.shape
    if n < _BULK or k < 3:
        return log_x
    low, middle = _even(k)[:, None].to(log_x)
    seen_low, seen_middle = torch.quantile(log_x[:, :-1], log_x.new_tensor([0.25, 0.5]), dim=0)[:, None]
    # The estimate of D scatters, and widens the bulk a little anywhere.
    stretch = ((seen_middle - seen_low) / (middle - low) / _SCATTER).clamp_min(1)
    shift = (middle - seen_middle).amax().clamp_min(0)
    moved = seen_middle + shift + (log_x[:, :-1] - seen_middle) / stretch
    return torch.cat([moved.clamp_max(-1e-12), log_x[:, -1:]], 1)


def _even(k: int) -> Tensor:
    """(2, k - 1): lower quartile and median of the logarithm of k - 1 sorted uniform numbers."""
    uniform = torch.rand(8192, k - 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.quantile(uniform.sort(1).values.log(), torch.tensor([0.25, 0.5], dtype=torch.float64), dim=0)


def _mutual(near: Neighbours, chance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of which each is among the other's neighbours, with the larger log p of the two."""
    n, k = near.index.shape
    rows = torch.arange(n, device=near.index.device)[:, None].expand(n, k).flatten()
    there, log_p, similarity = near.index.flatten(), chance.flatten(), near.similarity.flatten()
    codes, order = (torch.minimum(rows, there) * n + torch.maximum(rows, there)).sort(stable=True)
    twice = (codes[1:] == codes[:-1]).nonzero()[:, 0]
    one, other = order[twice], order[twice + 1]
    pairs = torch.stack([codes[twice] // n, codes[twice] % n], 1)
    return pairs, torch.maximum(log_p[one], log_p[other]), similarity[one]


def _significant(log_p: Tensor, tests: float, rate: float) -> int:
    """How many of the sorted chances are kept: the largest m with p_(m) <= rate m / tests."""
    rank = torch.arange(1, len(log_p) + 1, device=log_p.device, dtype=torch.float64)
    below = (log_p <= torch.log(rate * rank / tests)).nonzero()
    return int(below[-1]) + 1 if len(below) else 0
