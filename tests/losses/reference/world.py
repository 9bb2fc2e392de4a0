"""A batch spelled out: anchors, candidates, and who attracts or repels whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

QUEUE = -1
"""The view of columns that belong to no view."""
Temperature: TypeAlias = float | Tensor


@dataclass(frozen=True, eq=False)
class World:
    """A batch spelled out; all matrices are (N, M)."""

    rows: Tensor
    """Anchors, (N, d)."""
    cols: Tensor
    """Candidates of each anchor, (N, M, d)."""
    row_view: Tensor
    """View of each anchor, (N,)."""
    col_view: Tensor
    """View of each candidate, `QUEUE` where it has none."""
    positives: Tensor
    """Who attracts."""
    negatives: Tensor
    """Who repels."""

    @property
    def s(self) -> Tensor:
        """Inner products: cosines when the rows are unit vectors."""
        return (self.rows[:, None] * self.cols).sum(-1)

    @property
    def D(self) -> Tensor:
        """Squared distances."""
        return (self.rows[:, None] - self.cols).pow(2).sum(-1)

    @property
    def half(self) -> Tensor:
        """d^2 = |z_i - z_j|^2 / 2."""
        return self.D / 2

    @property
    def count(self) -> int:
        """Number of views."""
        return int(self.row_view.max()) + 1

    def between(self, a: int, b: int) -> tuple[Tensor, Tensor]:
        """Which rows lie in view a; which columns lie in view b, as a matrix."""
        return self.row_view == a, self.col_view == b


def world(
    views: Sequence[Tensor],
    *,
    labels: Tensor | None = None,
    ids: Tensor | None = None,
    keys: Tensor | None = None,
    key_ids: Tensor | None = None,
    negatives: Tensor | None = None,
    mask: Tensor | None = None,
    across_views: bool = False,
    normalize: bool = True,
    attract: bool = False,
) -> World:
    """The relations of one call, pair by pair; with `attract` equal labels are positives."""
    rows, cols, candidates = _columns(views, keys, negatives, normalize)
    anchors = [(view, sample) for view in range(len(views)) for sample in range(len(views[0]))]
    known = Known(_listed(labels), _listed(ids), _listed(key_ids), across_views, attract)
    pairs = [[(anchor, other) for other in others] for anchor, others in zip(anchors, candidates, strict=True)]
    positives = torch.tensor([[known.attracts(*pair) for pair in row] for row in pairs])
    repel = torch.tensor([[known.repels(*pair) for pair in row] for row in pairs])
    if mask is not None:
        repel &= ~mask
    row_view = torch.tensor([view for view, _ in anchors])
    col_view = torch.tensor([[view for view, _ in row] for row in candidates])
    return World(rows, cols, row_view, col_view, positives, repel & ~positives)


Item: TypeAlias = tuple[int, int]
"""View and sample; in the queue, which key."""


@dataclass(frozen=True)
class Known:
    """What a call says of its samples and keys."""

    labels: list[int] | None
    ids: list[int] | None
    key_ids: list[int] | None
    across_views: bool
    attract: bool

    def attracts(self, anchor: Item, other: Item) -> bool:
        """Another view of the sample, or of another sample with its label where these attract."""
        if other[0] == QUEUE or anchor == other:
            return False
        return anchor[1] == other[1] or (self.attract and _alike(self.labels, anchor[1], other[1]))

    def repels(self, anchor: Item, other: Item) -> bool:
        """Neither the sample nor one that may be it, nor of the same view when only other views repel."""
        if other[0] == QUEUE:
            return self.key_ids is None or self._id(anchor[1]) != self.key_ids[other[1]]
        alike = _alike(self.labels, anchor[1], other[1]) or _alike(self.ids, anchor[1], other[1])
        return anchor[1] != other[1] and not alike and not (self.across_views and anchor[0] == other[0])

    def _id(self, sample: int) -> int:
        return sample if self.ids is None else self.ids[sample]


def _listed(x: Tensor | None) -> list[int] | None:
    return None if x is None else x.tolist()


def _alike(names: list[int] | None, i: int, j: int) -> bool:
    return names is not None and names[i] == names[j]


def _columns(
    views: Sequence[Tensor], keys: Tensor | None, negatives: Tensor | None, normalize: bool
) -> tuple[Tensor, Tensor, list[list[Item]]]:
    """Anchors, the candidates of each, and (view, sample) of each candidate."""
    made = (lambda x: unit(x, dim=-1)) if normalize else (lambda x: x)
    n, z = len(views[0]), [made(v) for v in views]
    if negatives is not None:
        return _own_columns(z, made(negatives))
    names = [(view, sample) for view in range(len(z)) for sample in range(n)]
    shared = torch.cat(z if keys is None else [*z, made(keys)])
    names += [(QUEUE, k) for k in range(len(shared) - len(names))]
    rows = torch.cat(z)
    return rows, shared.expand(len(rows), *shared.shape), [names] * len(rows)


def _own_columns(z: list[Tensor], negatives: Tensor) -> tuple[Tensor, Tensor, list[list[Item]]]:
    cols, names = [], []
    for a in range(len(z)):
        others = [b for b in range(len(z)) if b != a]
        for i in range(len(negatives)):
            cols.append(torch.cat([torch.stack([z[b][i] for b in others]), negatives[i]]))
            names.append([(b, i) for b in others] + [(QUEUE, k) for k in range(negatives.shape[1])])
    return torch.cat(z), torch.stack(cols), names


def guide(views: Sequence[Tensor], margin: float = 0.0, keys: Tensor | None = None) -> Tensor:
    """Pairs that a guide forbids: as alike as the closest positive, less a margin, but each view's farthest stays."""
    w = world(views, keys=keys)
    forbidden = torch.zeros_like(w.negatives)
    for i in range(len(w.s)):
        closest = max(float(w.s[i, j]) for j in w.positives[i].nonzero())
        for view in w.col_view.unique().tolist():
            others = (w.negatives[i] & (w.col_view[i] == view)).nonzero().flatten().tolist()
            farthest = min(others, key=lambda j, i=i: float(w.s[i, j]))
            for j in others:
                forbidden[i, j] = j != farthest and float(w.s[i, j]) >= closest - margin - 1e-6
    return forbidden


def mean_over_positives(w: World, values: Tensor) -> Tensor:
    """mean_i mean_p."""
    return (torch.where(w.positives, values, 0.0).sum(1) / w.positives.sum(1)).mean()


def log_sum(x: Tensor, where: Tensor) -> Tensor:
    """log sum_j e^x over the pairs that are meant, (N,)."""
    return torch.where(where, x, -torch.inf).logsumexp(1)


def sum_over(values: Tensor, where: Tensor) -> Tensor:
    """sum_j over the pairs that are meant, (N,)."""
    return torch.where(where, values, 0.0).sum(1)


def softmax_over(x: Tensor, where: Tensor) -> Tensor:
    """Row weights e^x / sum over the pairs that are meant, zero elsewhere."""
    return torch.where(where, x, -torch.inf).softmax(1)
