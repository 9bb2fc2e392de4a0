"""Weights with less freedom: one number an anchor, and few ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from couplings.losses.alpha import AlphaCL, AlphaCLLowRank, AlphaCLPerSample
from couplings.losses.base import Loss

from ...claim import Finding, Picture, at_least, equal
from ...figures import pair_importance as figures
from ...pair_importance import negatives, noisy_views, unit
from .common import TAU, batch, largest, seen_distances


def low_rank(
    per_sample: Callable[[float], Loss] = AlphaCLPerSample,
    cut: Callable[[float, int], Loss] = AlphaCLLowRank,
    ranks: Sequence[int] = (1, 2, 4, 10),
) -> Finding:
    """Take the singular values of the weights, and compare cut weights with the best of their rank."""
    full = _repulsion(AlphaCL(TAU))
    one, kept = _repulsion(per_sample(TAU)), {rank: _repulsion(cut(TAU, rank)) for rank in ranks}
    values = torch.linalg.svdvals(full)
    misses = {rank: float((weights - full).norm()) for rank, weights in kept.items()}
    best = {rank: float(values[rank:].norm()) for rank in ranks}
    views, wide = batch(), negatives(7)
    shares, spread = _anchor_shares(per_sample(TAU), views)
    wanted = torch.softmax(torch.logsumexp(-seen_distances(views) / TAU, 1), 0)
    whole = cut(TAU, len(wide)).pair_weights(*views) - AlphaCL(TAU).pair_weights(*views)
    images = {"alpha-CL": full, "per sample": one, **{f"rank {rank}": kept[rank] for rank in ranks[:3]}}
    return Finding(
        checks=(
            equal("second over first singular value of per-sample weights", _second(one), 0.0, 1e-12),
            at_least("second over first singular value of alpha-CL's weights", _second(full), 0.01),
            equal("|weights of an anchor - their mean|, per-sample, in a batch", spread, 0.0, 1e-14),
            equal("|weight of an anchor - its share of the kernel|, largest", largest(shares - wanted), 0.0, 1e-12),
            equal("|full rank - alpha-CL|, largest of all pair weights of a batch", largest(whole), 0.0, 1e-12),
            equal(
                "|error of rank k - that of the best approximation (Eckart-Young)|, largest",
                max(abs(misses[rank] - best[rank]) for rank in ranks),
                0.0,
                1e-12,
            ),
        ),
        picture=Picture(
            partial(
                figures.low_rank,
                images={name: image.numpy() for name, image in images.items()},
                values=values.numpy(),
                misses={rank: miss / float(full.norm()) for rank, miss in misses.items()},
            ),
            (13, 4.2),
            "From a weight a pair to a weight an anchor",
            "Rows are anchors, columns their negatives, dark is heavy. Per-sample weights know which anchors are "
            "crowded and not by whom; cut weights add that back rank by rank.",
        ),
        remarks=(f"Cut at rank {ranks[0]}, rows hold {_range(24 * kept[ranks[0]].sum(1))} times their mass, not one.",),
    )


def _repulsion(loss: Loss) -> Tensor:
    """Weights of 24 anchors (two views of 12) on 10 negatives of their own: a matrix without holes."""
    views = unit(noisy_views(12, 5))
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(12, 10, 5, generator=generator, dtype=torch.float64)
    return loss.pair_weights(*views, negatives=drawn)[:, 1:]


def _range(values: Tensor) -> str:
    return f"{float(values.min()):.3g} to {float(values.max()):.3g}"


def _second(weights: Tensor) -> float:
    first, second = torch.linalg.svdvals(weights)[:2]
    return float(second / first)


def _anchor_shares(loss: Loss, views: Sequence[Tensor]) -> tuple[Tensor, float]:
    """What each anchor's negatives weigh together, and by how much two of them differ."""
    admitted = negatives(len(views[0]))
    weights = loss.pair_weights(*views)
    means = (weights * admitted).sum(1) / admitted.sum(1)
    return (weights * admitted).sum(1), largest((weights - means[:, None]) * admitted)
