"""From a call to a `Batch`: validation, unit rows, and the ids that say who is whose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypedDict

import torch
from torch import Tensor

from ..basics import checks, looks
from ..basics.errors import InvalidInput, did_you_mean
from ..basics.precision import at_least_single, single_at_least
from ..basics.transforms import fake, transformed
from ..batches.distributed import Shares
from ..engine.grams import OwnKeys, SharedKeys
from ..engine.team import ALONE, Team
from ..pieces.masks import GivenMask, Mask, Mutual, SameId
from ..plans.coupling import Coupling
from ..plans.targets import Given, Target
from .batch import Batch


class Sides(TypedDict, total=False):
    """What a loss takes beside the views.

    labels: class ids (n,); samples of one class never repel each other, and attract where the loss says so. -1 is no
        label: such a sample attracts its own views and repels as without labels.
    ids: sample ids (n,); samples with equal ids (duplicates, known false negatives) never repel each other.
    keys: more candidates (m, d), a queue; all of them negatives of every sample.
    key_ids: sample ids of the keys (m,); keys with an anchor's id never repel it. Needs `ids`.
    negatives: the negatives of each sample (n, k, d), in place of the batch's.
    mask: more pairs that never repel: a `Mask` (such as `Guide`) or a boolean matrix (N, M), True where forbidden.
    domains: domain ids (n,), for a loss whose target is `Domains`.
    target: the plan to match, a matrix (N, M) or a `Coupling`, for a loss that matches one.
    """

    labels: Tensor | None
    ids: Tensor | None
    keys: Tensor | None
    key_ids: Tensor | None
    negatives: Tensor | None
    mask: Mask | Tensor | None
    domains: Tensor | None
    target: Target | Coupling | Tensor | None


@dataclass(frozen=True)
class Reading:
    """How a loss reads a call.

    Attributes:
        normalize: scale rows to unit norm.
        across_views: negatives come from the other views only.
        labels_attract: labels name positives, so they do not mask.
        repels: needs negatives.
    """

    normalize: bool = True
    across_views: bool = False
    labels_attract: bool = False
    repels: bool = True


def build(views: Sequence[Tensor], sides: Sides, reading: Reading, shares: Shares | None = None) -> Batch:
    """Validate a call and describe it; `shares` says whose rows are whose, where they came from several processes.

    Raises:
        InvalidInput: for anything no loss can be computed from; the message names the argument.
    """
    for name in sides:
        known = Sides.__annotations__
        checks.require(name in known, f"unknown argument {name!r} beside the views: {did_you_mean(name, known)}")
    _check_views(views, sides, reading.repels)
    z = _prepared([f"view {i + 1}" for i in range(len(views))], views, reading.normalize, shares)
    n = len(views[0])
    if (negatives := sides.get("negatives")) is not None:
        checks.matrix("negatives", negatives, dims=3)
        chosen = not reading.across_views
        checks.require(
            chosen, "across_views=True chooses negatives from the batch, which negatives= replaces: drop one"
        )
        negatives = _prepared(
            ["negatives"], [negatives.to(views[0].device, single_at_least(*views))], reading.normalize, shares
        )
        return _own_negatives(*_alike(z, negatives), n, sides)
    if (keys := sides.get("keys")) is not None:
        checks.matrix("keys", keys)
        z, keys = _alike(z, _prepared(["keys"], [keys.to(views[0].device, single_at_least(*views))], reading.normalize))
    return _in_batch(z, n, keys, sides, reading, ALONE if shares is None else shares.team)


def _check_views(views: Sequence[Tensor], sides: Sides, repels: bool) -> None:
    checks.require(len(views) >= 2, f"a loss needs at least two views of the samples, got {len(views)}")
    names = [f"view {i + 1}" for i in range(len(views))]
    for name, view in zip(names, views, strict=True):
        checks.matrix(name, view)
    checks.same_shape(names, views)
    alone = repels and sides.get("keys") is None and sides.get("negatives") is None
    if alone and len(views[0]) < 2:
        raise InvalidInput(
            "views hold one sample, which has no negatives: pass n >= 2, keys= or negatives=; where it is the rest of "
            "an epoch, give the DataLoader drop_last=True"
        )


def _prepared(names: Sequence[str], parts: Sequence[Tensor], normalize: bool, shares: Shares | None = None) -> Tensor:
    """Stacked, at least single precision, checked, unit rows if asked."""
    z = at_least_single(torch.cat(list(parts)))
    norms = torch.linalg.vector_norm(z, dim=-1, keepdim=True)

    def diagnose() -> None:
        for name, part in zip(names, parts, strict=True):  # which one
            for whose, piece in [(name, part)] if shares is None else shares.pieces(name, part):
                checks.rows_usable(whose, at_least_single(piece), zero=not normalize)

    checks.expect_rows(norms, diagnose, zero=not normalize)
    if normalize:
        unit: Tensor = z / norms
        return unit
    return z if checks.scores_usable(" and ".join(names), norms) else z.double()


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the precision of the better."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(a.device, dtype)


@dataclass(frozen=True, eq=False)
class _Frame:
    """Indices of a batch: samples and views of the rows, and ids for the queue's columns that nobody has.

    They depend on sizes alone, so batches of one size share them, and what is found out about their masks.
    """

    n: int
    views: int
    nobody: Tensor

    @staticmethod
    def of(n: int, views: int, queue: int, device: torch.device) -> _Frame:
        """The frame of such a batch: on the CPU the one of earlier batches of that size, of which a few are kept.

        Tensors of inference mode and fake ones are no use to other calls.
        """
        shared = device.type == "cpu" and not torch.is_inference_mode_enabled() and not transformed()
        return (_kept if shared and not fake() else _made)(n, views, queue, device)

    @cached_property
    def sample(self) -> Tensor:
        return torch.arange(self.n, device=self.nobody.device).repeat(self.views)

    @cached_property
    def view(self) -> Tensor:
        return torch.arange(self.views, device=self.nobody.device).repeat_interleave(self.n)

    @cached_property
    def cell(self) -> Tensor:
        """Ids of (sample, view)."""
        return self.sample * self.views + self.view

    @cached_property
    def shifted(self) -> list[Tensor]:
        """The view of each positive: the k-th of view v is v + k, cyclically."""
        return [(self.view + k) % self.views for k in range(1, self.views)]

    @cached_property
    def positives(self) -> Tensor:
        """Columns of the positives, (N, views - 1)."""
        return torch.stack([shift * self.n + self.sample for shift in self.shifted], dim=1)

    @cached_property
    def partners(self) -> tuple[SameId, ...]:
        """One mask a positive, naming exactly its pairs."""
        both_ways = [2 * k == self.views for k in range(1, self.views)]
        return tuple(
            self.same(self.sample * self.views + shift, self.cell, kind=Mutual if mutual else SameId)
            for shift, mutual in zip(self.shifted, both_ways, strict=True)
        )

    @cached_property
    def itself(self) -> SameId:
        """Each row's own column."""
        return self.same(self.cell)

    @cached_property
    def sisters(self) -> SameId:
        """Pairs of one sample."""
        return self.same(self.sample)

    def same(
        self, rows: Tensor, cols: Tensor | None = None, queue: Tensor | None = None, kind: type[SameId] = SameId
    ) -> SameId:
        """Rows against the batch's columns (the rows' ids unless given), then the queue's."""
        cols, queue = rows if cols is None else cols, self.nobody if queue is None else queue
        return kind(rows, torch.cat([cols, queue]) if len(queue) else cols)

    def ids(self, name: str, ids: Tensor, queue: Tensor | None = None) -> SameId:
        """Ids of the samples (n,), checked, as a mask."""
        rows = id_vector(name, ids, self.n).to(self.nobody.device)
        return self.same(rows.repeat(self.views), queue=self._unmatched(rows) if queue is None else queue)

    def classes(self, labels: Tensor) -> SameId:
        """Pairs of one class; a sample without a label (-1) shares its class with its own views alone."""
        rows = id_vector("labels", labels, self.n).to(self.nobody.device)
        return self.ids("labels", torch.where(rows == -1, self._alone, rows))

    @cached_property
    def _alone(self) -> Tensor:
        """An id for each sample that no label is: from the lowest integer on."""
        return torch.iinfo(torch.long).min + torch.arange(self.n, device=self.nobody.device)

    def _unmatched(self, ids: Tensor) -> Tensor:
        return self.nobody + ids.min().clamp_max(0) if len(self.nobody) else self.nobody


def _made(n: int, views: int, queue: int, device: torch.device) -> _Frame:
    return _Frame(n, views, -1 - torch.arange(queue, device=device))


_kept = lru_cache(maxsize=8)(_made)


def _in_batch(z: Tensor, n: int, keys: Tensor | None, sides: Sides, reading: Reading, team: Team) -> Batch:
    queue = 0 if keys is None else len(keys)
    if keys is not None:
        same_d = keys.shape[1] == z.shape[1]
        checks.require(same_d, f"keys have {keys.shape[1]} dimensions but the views have {z.shape[1]}")
    frame = _Frame.of(n, len(z) // n, queue, z.device)
    gram = SharedKeys(z, z if keys is None else torch.cat([z, keys]), unit=reading.normalize, team=team)
    labels, domains = sides.get("labels"), sides.get("domains")
    classes = None if labels is None else frame.classes(labels)
    sample = frame.sisters
    same: Mask = sample | frame.same(frame.view) if reading.across_views else sample
    for name, mask in _user_masks(sides, frame, gram.shape, None if reading.labels_attract else classes):
        same = same | mask
        _require_negatives(name, same)
    return Batch(
        gram=gram,
        embeddings=z,
        n=n,
        views=frame.views,
        positives=frame.positives,
        itself=frame.itself,
        sample=sample,
        same=same,
        partners=frame.partners,
        labels=classes,
        domains=None if domains is None else frame.ids("domains", domains),
        target=_target(sides.get("target"), gram.shape),
    )


def _user_masks(
    sides: Sides, frame: _Frame, shape: tuple[int, int], labels: SameId | None
) -> Iterator[tuple[str, Mask]]:
    ids, key_ids, mask = sides.get("ids"), sides.get("key_ids"), sides.get("mask")
    if key_ids is not None:
        checks.require(sides.get("keys") is not None, "key_ids needs keys: pass keys= of shape (m, d) with it")
        checks.require(ids is not None, "key_ids needs ids: without them no key can belong to a sample")
        key_ids = id_vector("key_ids", key_ids, len(frame.nobody)).to(frame.nobody.device)
    if ids is not None:
        yield "ids", frame.ids("ids", ids, key_ids)
    if labels is not None:
        yield "labels", labels
    if mask is not None:
        yield "mask", _given_mask(mask, shape)


def _given_mask(mask: Mask | Tensor, shape: tuple[int, int]) -> Mask:
    given = GivenMask(mask) if isinstance(mask, Tensor) else mask
    kind = type(mask).__name__
    checks.require(isinstance(given, Mask), f"mask must be a Mask or a boolean matrix (N, M), got {kind}")
    fits = given.shape == shape
    checks.require(fits, f"mask has shape {given.shape} but anchors and candidates are {shape}: one row an anchor")
    return given


def _target(target: Target | Coupling | Tensor | None, shape: tuple[int, int]) -> Target | None:
    if target is None:
        return None
    if not isinstance(target, Target):
        target = Given(target.plan() if isinstance(target, Coupling) else target)
    target.check(shape)
    return target


def id_vector(name: str, ids: Tensor, n: int) -> Tensor:
    """Ids of n rows, checked, as long integers."""
    checks.ids(name, ids, n)
    return ids.long()


def _require_negatives(name: str, same: Mask) -> None:
    if not checks.checks_enabled():
        return
    most, columns = same.row_counts().amax(), same.shape[1]

    def diagnose() -> None:
        alone = same.row_counts() == columns
        if alone.any():
            row = int(alone.nonzero()[0])
            raise InvalidInput(
                f"{name}: anchor {row} is left no negative ({int(alone.sum())} such anchors), all other samples share "
                "its own or are masked: mix others into the batch, loosen the mask, or pass keys="
            )

    looks.expect_finite((columns - most).float().log(), diagnose)


def _own_negatives(z: Tensor, negatives: Tensor, n: int, sides: Sides) -> Batch:
    fits = negatives.dim() == 3 and negatives.shape[0] == n and negatives.shape[2] == z.shape[1]
    got = f"(n, k, d) with n = {n} and d = {z.shape[1]}, got {tuple(negatives.shape)}"
    checks.require(fits, f"negatives must have shape {got}")
    others = [name for name in Sides.__annotations__ if name != "negatives" and sides.get(name) is not None]
    checks.require(
        not others, f"negatives= replaces the batch's candidates, so {others} would have no effect: drop one"
    )
    views, p = len(z) // n, len(z) // n - 1
    by_sample = z.reshape(views, n, -1).transpose(0, 1)  # (n, views, d)
    turned = [by_sample.roll(-k, dims=1) for k in range(1, views)]  # positives of every view
    positives = torch.stack(turned, dim=2).transpose(0, 1).reshape(len(z), p, -1)
    gram = OwnKeys(z, torch.cat([positives, negatives.repeat(views, 1, 1)], dim=1))
    column = torch.arange(gram.shape[1], device=z.device)
    rows = torch.zeros(len(z), dtype=torch.long, device=z.device)
    sample = SameId(rows, (column >= p).long())
    return Batch(
        gram=gram,
        embeddings=z,
        n=n,
        views=views,
        positives=column[:p].repeat(len(z), 1),
        itself=SameId(rows - 1, column),
        sample=sample,
        same=sample,
        partners=tuple(SameId(rows + k, column) for k in range(p)),
    )
