"""What a loss sees of a call: one gram of anchors against candidates, who is whose positive, and who may repel.

Rows are the anchors in block order: view 1's samples, then view 2's. Columns are the same rows (self pairs
masked), followed by the keys of a queue; or, with `negatives=`, each row's positives followed by its own
negatives. Losses never see the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import torch
from torch import Tensor

from .. import checks
from .._storage.grams import GivenDots, Gram, OwnKeys, SharedKeys
from ..costs import Cost
from ..errors import InvalidInput
from ..masks import Mask, SameId
from ..precision import at_least_single
from ..scores import Scores


class Sides(TypedDict, total=False):
    """What a loss takes beside the views.

    labels: class ids (n,); samples of one class never repel each other.
    ids: sample ids (n,); samples with equal ids (duplicates, known false negatives) never repel each other.
    keys: more candidates (m, d), a queue; all of them negatives of every sample.
    key_ids: sample ids of the keys (m,); keys with an anchor's id never repel it. Needs `ids`.
    negatives: the negatives of each sample (n, k, d), in place of the batch's.
    """

    labels: Tensor | None
    ids: Tensor | None
    keys: Tensor | None
    key_ids: Tensor | None
    negatives: Tensor | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Anchors, candidates and their relations.

    Attributes:
        gram: dot products of the N anchors with the M candidates.
        n: samples; `views`: views of each; N = n * views.
        positives: columns of each anchor's positives, (N, views - 1).
        same: pairs that may not repel: self, the other views, equal ids or labels.
        partners: one mask for each positive, naming its pairs.
    """

    gram: Gram
    n: int
    views: int
    positives: Tensor
    same: Mask
    partners: tuple[Mask, ...]

    @property
    def rows(self) -> Tensor:
        """Row indices (N, 1), to broadcast with `positives`."""
        return torch.arange(self.n * self.views, device=self.positives.device)[:, None]

    def scores(self, temperature: float | Tensor, mask: Mask, cost: Cost | None = None) -> Scores:
        """Scores of all anchors and candidates; the inner product unless a cost is given."""
        return Scores.from_gram(self.gram, temperature=temperature, cost=cost, mask=mask)

    def all_but(self, partner: Mask) -> Mask:
        """The mask that leaves the negatives and this positive."""
        return self.same - partner

    def negative_count(self) -> Tensor:
        """How many negatives each anchor has, (N, 1)."""
        return (~self.same.forbidden()).sum(1, keepdim=True)

    def detach(self) -> Batch:
        """The same batch as a constant."""
        return self.with_gram(self.gram.detach())

    def with_gram(self, gram: Gram) -> Batch:
        """The same relations over other dot products."""
        return replace(self, gram=gram)

    def view_pairs(self, ordered: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name, rows, columns) of each pair of views: both orders, or a before b only.

        With own negatives there is one block a view: its anchors against their own columns.
        """
        if self.gram.own_columns:
            checks.require(
                not ordered, "ordered=True needs pairs of views, which negatives= replaces: drop one of them"
            )
            everything = torch.arange(self.gram.shape[1], device=self.positives.device)
            yield from ((f"view {a + 1}", self._view(a), everything) for a in range(self.views))
            return
        queue = torch.arange(self.n * self.views, self.gram.shape[1], device=self.positives.device)
        for a in range(self.views):
            for b in range(a + 1 if ordered else 0, self.views):
                if a != b:
                    yield f"view {a + 1} to view {b + 1}", self._view(a), torch.cat([self._view(b), queue])

    def _view(self, a: int) -> Tensor:
        return torch.arange(a * self.n, (a + 1) * self.n, device=self.positives.device)


def build(views: Sequence[Tensor], sides: Sides, *, normalize: bool) -> Batch:
    """Validate a call and describe it.

    Raises:
        InvalidInput: for anything no loss can be computed from; the message names the argument.
    """
    known = Sides.__annotations__
    unknown = [name for name in sides if name not in known]
    checks.require(not unknown, f"unknown argument {unknown}: a loss takes views and {', '.join(known)}")
    _check_views(views, sides)
    z = _prepared([f"view {i + 1}" for i in range(len(views))], views, normalize)
    n = len(views[0])
    if (negatives := sides.get("negatives")) is not None:
        checks.matrix("negatives", negatives, dims=3)
        return _own_negatives(z, n, _prepared(["negatives"], [negatives], normalize), sides)
    if (keys := sides.get("keys")) is not None:
        checks.matrix("keys", keys)
        keys = _prepared(["keys"], [keys], normalize)
    return _in_batch(z, n, keys, sides)


def _check_views(views: Sequence[Tensor], sides: Sides) -> None:
    checks.require(len(views) >= 2, f"a loss needs at least two views of the samples, got {len(views)}")
    names = [f"view {i + 1}" for i in range(len(views))]
    for name, view in zip(names, views, strict=True):
        checks.matrix(name, view)
    checks.same_shape(names, views)
    alone = sides.get("keys") is None and sides.get("negatives") is None
    if alone and len(views[0]) < 2:
        raise InvalidInput("views hold one sample, which has no negatives: pass n >= 2, keys= or negatives=")


def _prepared(names: Sequence[str], parts: Sequence[Tensor], normalize: bool) -> Tensor:
    """Stacked, at least single precision, checked, unit rows if asked."""
    z = at_least_single(torch.cat(list(parts)))
    norms = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    if not checks.norms_usable(norms, zero=not normalize):
        for name, part in zip(names, parts, strict=True):  # which one
            checks.rows_usable(name, at_least_single(part), zero=not normalize)
    return z / norms if normalize else z


def _id_vector(name: str, ids: Tensor, n: int) -> Tensor:
    checks.tensor(name, ids)
    fits = ids.dim() == 1 and len(ids) == n
    checks.require(fits, f"{name} must have shape ({n},), one entry a row, got {tuple(ids.shape)}")
    whole = not ids.is_floating_point() and not ids.is_complex()
    checks.require(whole, f"{name} must be integers, got {ids.dtype}: call .long() on them")
    return ids.long()


def _in_batch(z: Tensor, n: int, keys: Tensor | None, sides: Sides) -> Batch:
    views = len(z) // n
    queue = 0 if keys is None else len(keys)
    if keys is not None:
        same_d = keys.shape[1] == z.shape[1]
        checks.require(same_d, f"keys have {keys.shape[1]} dimensions but the views have {z.shape[1]}")
    sample = torch.arange(n, device=z.device)
    view = torch.arange(views, device=z.device).repeat_interleave(n)
    nobody = -1 - torch.arange(queue, device=z.device)
    same: Mask = _same(sample, nobody, views)
    for name, mask in _user_masks(sides, n, nobody, views, z.device):
        same = same | mask
        _require_negatives(name, same)
    # The k-th positive of view v is view v + k, cyclically; ids of (sample, view) name exactly that pair.
    cell = sample.repeat(views) * views
    shifts = [(view + k) % views for k in range(1, views)]
    partners = tuple(SameId(cell + shift, torch.cat([cell + view, nobody])) for shift in shifts)
    positives = torch.stack([shift * n + sample.repeat(views) for shift in shifts], dim=1)
    gram = SharedKeys(z, z if keys is None else torch.cat([z, keys.to(z)]))
    return Batch(gram, n, views, positives, same, partners)


def _require_negatives(name: str, same: Mask) -> None:
    if checks.checks_enabled() and (alone := same.forbidden().all(1)).any():
        row = int(alone.nonzero()[0])
        raise InvalidInput(
            f"{name} leave anchor {row} no negative ({int(alone.sum())} such anchors), all other samples share its "
            "own: mix others into the batch, or pass keys="
        )


def _same(sample: Tensor, keys: Tensor, views: int) -> SameId:
    rows = sample.repeat(views)
    return SameId(rows, torch.cat([rows, keys]) if len(keys) else rows)


def _user_masks(sides: Sides, n: int, nobody: Tensor, views: int, device: torch.device) -> Iterator[tuple[str, Mask]]:
    ids, key_ids, labels = sides.get("ids"), sides.get("key_ids"), sides.get("labels")
    if key_ids is not None:
        checks.require(sides.get("keys") is not None, "key_ids needs keys: pass keys= of shape (m, d) with it")
        checks.require(ids is not None, "key_ids needs ids: without them no key can belong to a sample")
        key_ids = _id_vector("key_ids", key_ids, len(nobody)).to(device)
    if ids is not None:
        ids = _id_vector("ids", ids, n).to(device)
        yield "ids", _same(ids, _unmatched(ids, nobody) if key_ids is None else key_ids, views)
    if labels is not None:
        labels = _id_vector("labels", labels, n).to(device)
        yield "labels", _same(labels, _unmatched(labels, nobody), views)


def _unmatched(ids: Tensor, nobody: Tensor) -> Tensor:
    """Ids for the keys that no sample has."""
    return nobody + ids.min().clamp_max(0)


def _own_negatives(z: Tensor, n: int, negatives: Tensor, sides: Sides) -> Batch:
    fits = negatives.dim() == 3 and negatives.shape[0] == n and negatives.shape[2] == z.shape[1]
    got = f"(n, k, d) with n = {n} and d = {z.shape[1]}, got {tuple(negatives.shape)}"
    checks.require(fits, f"negatives must have shape {got}")
    others = [name for name in ("labels", "ids", "keys", "key_ids") if sides.get(name) is not None]
    checks.require(
        not others, f"negatives= replaces the batch's candidates, so {others} would have no effect: drop one"
    )
    views, p = len(z) // n, len(z) // n - 1
    by_sample = z.reshape(views, n, -1).transpose(0, 1)  # (n, views, d)
    turned = [by_sample.roll(-k, dims=1) for k in range(1, views)]  # positives of every view
    positives = torch.stack(turned, dim=2).transpose(0, 1).reshape(len(z), p, -1)
    gram = OwnKeys(z, torch.cat([positives, negatives.to(z).repeat(views, 1, 1)], dim=1))
    column = torch.arange(gram.shape[1], device=z.device)
    rows = torch.zeros(len(z), dtype=torch.long, device=z.device)
    same = SameId(rows, (column >= p).long())
    partners = tuple(SameId(rows + k, column) for k in range(p))
    return Batch(gram, n, views, column[:p].repeat(len(z), 1), same, partners)


def as_matrix(gram: Gram) -> tuple[Tensor, GivenDots]:
    """The dot products as a leaf with gradient, and the gram over it."""
    matrix = gram.dots.detach().requires_grad_()
    q_sq, k_sq = (v.detach() for v in gram.norms)
    return matrix, GivenDots(matrix, q_sq, k_sq, gram.own_columns)
