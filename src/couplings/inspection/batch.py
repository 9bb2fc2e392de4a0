"""One batch seen from near: its coupling as a matrix, and how a loss answers to similarity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.diagnostics import repulsion
from couplings.inspection.subject import Subject
from couplings.losses import Loss
from couplings.plans.coupling import Coupling

__all__ = ["BatchView", "Response", "batch_view", "responses"]

_BATCHES, _BINS = 8, 40


@dataclass(frozen=True)
class BatchView:
    """A batch of m rows in an order that puts like next to like.

    Attributes:
        rows: their numbers, (m,).
        plan: mass (m, m) that the coupling puts on each pair of samples, in units of the average pair off the diagonal;
            the diagonal is what the positives carry.
        push: (m, m), how hard the loss pushes each pair apart, in units of the average pair.
        similarity: cosines (m, m).
        coupling: name of the coupling that `plan` is.
    """

    rows: Tensor
    plan: Tensor
    push: Tensor
    similarity: Tensor
    coupling: str


@dataclass(frozen=True)
class Response:
    """How hard a loss pushes pairs apart, by their similarity.

    Attributes:
        similarity: centres of the bins.
        push: mean over the pairs of a bin, in units of the average pair.
    """

    similarity: Tensor
    push: Tensor


@torch.no_grad()
def batch_view(subject: Subject, loss: Loss, size: int, seed: int) -> BatchView:
    """A random batch of `size` rows, sorted by label, or where there is none by likeness."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(subject), generator=generator)[:size]
    rows = rows[_order(subject, rows)]
    name, plan = _plan(subject, loss, rows)
    unit = torch.nn.functional.normalize(subject.embeddings[rows], dim=1)
    push = repulsion(loss, *subject.views(rows), **subject.sides(rows))
    return BatchView(rows, _relative(plan), _relative(push), unit @ unit.T, name)


def _order(subject: Subject, rows: Tensor) -> Tensor:
    """Leaves of a tree of likeness; within each label where there are labels."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    z = torch.nn.functional.normalize(subject.embeddings[rows], dim=1)
    leaves = torch.from_numpy(leaves_list(linkage(z.double().numpy(), "average"))).long()
    if subject.labels is None:
        return leaves
    return leaves[subject.labels[rows][leaves].argsort(stable=True)]


def _plan(subject: Subject, loss: Loss, rows: Tensor) -> tuple[str, Tensor]:
    """The first coupling over all pairs of samples, views added up; else the repelling pair weights."""
    views = subject.views(rows)
    shown = views if len(views) > 1 else views * 2
    for name, coupling in loss.apart().coupling(*shown, **subject.sides(rows)).items():
        folded = _folded(coupling, len(rows))
        if folded is not None:
            return name, folded
    return "repulsion", repulsion(loss, *views, **subject.sides(rows))


def _folded(coupling: Coupling, n: int) -> Tensor | None:
    plan = coupling.plan()
    if any(side % n for side in plan.shape):
        return None
    return plan.reshape(plan.shape[0] // n, n, plan.shape[1] // n, n).sum((0, 2))


def _relative(matrix: Tensor) -> Tensor:
    """In units of the mean off the diagonal."""
    n = len(matrix)
    mean = (matrix.sum() - matrix.diagonal().sum()) / max(1, n * (n - 1))
    return matrix / mean.clamp_min(torch.finfo(matrix.dtype).tiny)


def responses(subject: Subject, losses: Mapping[str, Loss], batch_size: int, seed: int) -> dict[str, Response]:
    """How each loss answers to similarity, on the same few batches; a loss that repels nothing is left out."""
    batches = list(_some(subject, batch_size, seed))
    return {name: _response(subject, loss, batches) for name, loss in losses.items() if loss.repels}


def _some(subject: Subject, batch_size: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    for _ in range(_BATCHES):
        yield torch.randperm(len(subject), generator=generator)[:batch_size]


@torch.no_grad()
def _response(subject: Subject, loss: Loss, batches: list[Tensor]) -> Response:
    similarity, push = [], []
    for rows in batches:
        unit = torch.nn.functional.normalize(subject.embeddings[rows], dim=1)
        upper = torch.ones(len(rows), len(rows), dtype=torch.bool).triu(1)
        pushed = _relative(repulsion(loss, *subject.views(rows), **subject.sides(rows)))
        similarity.append((unit @ unit.T)[upper])
        push.append(((pushed + pushed.T) / 2)[upper])
    return _binned(torch.cat(similarity).double(), torch.cat(push).double())


def _binned(x: Tensor, y: Tensor) -> Response:
    """Means over bins of equal width; bins of fewer than five pairs tell nothing."""
    low, high = x.min(), x.max()
    place = ((x - low) / (high - low).clamp_min(1e-12) * _BINS).long().clamp(0, _BINS - 1)
    count = torch.bincount(place, minlength=_BINS)
    mean = torch.zeros(_BINS, dtype=y.dtype).index_add_(0, place, y) / count.clamp_min(1)
    centres = low + (torch.arange(_BINS) + 0.5) / _BINS * (high - low)
    kept = count >= min(5, len(x))
    return Response(centres[kept], mean[kept])
