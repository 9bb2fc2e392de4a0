"""What labels say about the candidates: how many are false negatives, beside the plain order by similarity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.diagnostics import repulsion
from couplings.inspection.subject import Subject
from couplings.losses import Loss

__all__ = ["Depth", "Truth", "truth_of"]

_DEPTHS = (100, 1_000, 10_000, 100_000)
_BATCHES = 8


@dataclass(frozen=True)
class Depth:
    """Share of pairs of one class among the first `depth`, by similarity (plain neighbours) and by push."""

    depth: int
    by_similarity: float
    by_push: float


@dataclass(frozen=True)
class Truth:
    """What labels say.

    Attributes:
        depths: precision of the candidates at several depths.
        chance: share of pairs of one class among all pairs.
        push_on_same: share of all push that falls on pairs of one class; above `chance` the loss works against them.
    """

    depths: tuple[Depth, ...]
    chance: float
    push_on_same: float


def truth_of(
    subject: Subject, loss: Loss, pairs: Tensor, similarity: Tensor, push: Tensor, batch_size: int, seed: int
) -> Truth | None:
    """Compare candidates with labels; None without labels, or where all rows have none."""
    if subject.labels is None or not (subject.labels >= 0).any():
        return None
    same = subject.same_label(pairs)
    assert same is not None
    known = (subject.labels[pairs] >= 0).all(1)
    orders = [scores[known].argsort(descending=True, stable=True) for scores in (similarity, push)]
    hits = [same[known][order].double().cumsum(0) for order in orders]
    count = int(known.sum())
    depths = sorted({depth for depth in _DEPTHS if depth < count} | ({count} if count else set()))
    rows = tuple(Depth(depth, *(float(hit[depth - 1]) / depth for hit in hits)) for depth in depths)
    return Truth(rows, *_shares(subject, loss, batch_size, seed).tolist())


@torch.no_grad()
def _shares(subject: Subject, loss: Loss, batch_size: int, seed: int) -> Tensor:
    """(2,): share of pairs, and share of push, within classes; over a few batches of labelled rows."""
    assert subject.labels is not None
    generator = torch.Generator().manual_seed(seed + 2)
    labelled = (subject.labels >= 0).nonzero()[:, 0]
    pairs, push = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for _ in range(_BATCHES):
        rows = labelled[torch.randperm(len(labelled), generator=generator)[:batch_size]]
        if len(rows) < 2:
            continue
        same = subject.labels[rows][:, None] == subject.labels[rows]
        apart = ~torch.eye(len(rows), dtype=torch.bool)
        pushed = repulsion(loss, *subject.views(rows), **subject.sides(rows))
        pairs += torch.stack([(same & apart).sum(), apart.sum()])
        push += torch.stack([pushed[same & apart].sum(), pushed[apart].sum()]).double()
    return torch.stack([part[0] / part[1].clamp_min(1e-300) for part in (pairs, push)])
