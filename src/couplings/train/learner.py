"""From the views of a step to the value of its loss: the network, what it is compared with, and the loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from couplings.batches.queue import KeyQueue
from couplings.batches.two_pass import TwoPass
from couplings.losses import Loss, Sides
from couplings.train.config import MomentumConfig, RunConfig
from couplings.train.encoders import Embedded, Model
from couplings.train.exclusions import Exclusions

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Call", "Learner", "Outcome", "Seen", "build_learner"]


@dataclass(frozen=True)
class Seen:
    """What the network sees of a step.

    Attributes:
        views: of the samples, (n, c, h, w) each, the local ones last.
        negatives: images of the negatives, (m, c, h, w); None where the batch has them.
        chosen: which of these are each sample's, (n, k).
        sides: what the loss takes beside the views.
        shown: which image each view of each sample shows, (views, n).
        together: the same for all samples that the loss sees, those of other processes included.
    """

    views: tuple[Tensor, ...]
    negatives: Tensor | None
    chosen: Tensor | None
    sides: Sides
    shown: Tensor
    together: Tensor


class Call(NamedTuple):
    """Arguments of a loss."""

    views: tuple[Tensor, ...]
    sides: Sides


class Outcome(NamedTuple):
    """The loss of a step, where its global views lie, and the (first) call that it is the value of."""

    value: Tensor
    features: tuple[Tensor, ...]
    projections: tuple[Tensor, ...]
    call: Call

    def detach(self, own_keys: bool) -> Outcome:
        """The same as constants; with a copy of the queue's keys if these are to be looked at later."""
        features, projections, views = (
            tuple(tensor.detach() for tensor in group) for group in (self.features, self.projections, self.call.views)
        )
        sides = self.call.sides.copy()
        keys, ids = sides.get("keys"), sides.get("key_ids")
        if own_keys and keys is not None and ids is not None:
            sides |= {"keys": keys.clone(), "key_ids": ids.clone()}
        return Outcome(self.value.detach(), features, projections, Call(views, sides))


@dataclass
class Learner:
    """A network in training.

    Every view is compared with all others in one call of the loss. With a predictor or a momentum encoder each view is
    compared with each other global view as a constant, one call a pair (one call a view where the loss weighs positives
    against each other), and the mean of these calls is the value: the asymmetry of BYOL, SimSiam and MoCo.

    Attributes:
        model: Fabric's wrapper of the network.
        autocast: the precision of the run, for what Fabric does not wrap.
        slow: its momentum copy.
        queue: the last projections of the slow copy.
        exclusions: images that never repel each other.
    """

    config: RunConfig
    model: Any
    loss: Loss
    autocast: Callable[[], AbstractContextManager[None]]
    slow: Model | None = None
    queue: KeyQueue | None = None
    exclusions: Exclusions | None = None
    _waiting: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._passes: dict[int, TwoPass] = {}

    @property
    def asymmetric(self) -> bool:
        """Whether views are compared with constants."""
        return self.config.momentum is not None or self.config.predictor is not None

    def outcome(self, seen: Seen) -> Outcome:
        """The loss of what is seen."""
        # The slow copy, where there is one, gives the negatives too.
        extra = () if seen.negatives is None or self.slow is not None else (seen.negatives,)
        embedded = self._embed([*seen.views, *extra])
        views, negatives = embedded[: len(seen.views)], [each.projections for each in embedded[len(seen.views) :]]
        calls = self._calls(seen, views, negatives)
        value = torch.stack([self.loss(*call.views, **call.sides) for call in calls]).mean()
        shown = views[: self.config.views.count]
        features, projections = (tuple(view[part] for view in shown) for part in range(2))
        return Outcome(value, features, projections, calls[0])

    def follow(self, step: int) -> None:
        """After the optimiser's step: the slow copy follows, the queue takes the keys of the step."""
        if self.slow is not None and self.config.momentum is not None:
            share = 1 - decay(self.config.momentum, step, self.config.steps)
            with torch.no_grad():
                torch._foreach_lerp_(list(self.slow.parameters()), list(self.model.module.parameters()), share)
        # View by view, so that several processes fill the queue in the order of one.
        for keys, images in self._waiting:
            if self.queue is not None:
                self.queue.enqueue(keys, images)
        self._waiting = []

    def _embed(self, batches: Sequence[Tensor]) -> list[Embedded]:
        """All images of one size in one forward, so that they share their batch statistics; in two passes of one
        length too.
        """
        found: dict[int, Embedded] = {}
        for places in _alike(batches, by_length=self.config.micro_batch is not None):
            found |= dict(zip(places, self._encode(*(batches[place] for place in places)), strict=True))
        return [found[place] for place in range(len(batches))]

    def _encode(self, *batches: Tensor) -> Any:
        if self.config.micro_batch is None:
            return _apart(self.model, *batches)
        part = _rows_at_a_time(self.config.micro_batch, len(batches[0]), len(batches))
        return self._passes.setdefault(part, TwoPass(partial(_apart, self.model), part))(*batches)

    def _calls(self, seen: Seen, views: Sequence[Embedded], negatives: Sequence[Tensor]) -> list[Call]:
        if not self.asymmetric:
            sides = self._sides(seen, negatives) | self._excluded(seen, range(len(views)))
            return [Call(tuple(view.projections for view in views), sides)]
        if self.slow is None:
            keys = [view.projections.detach() for view in views[: self.config.views.count]]
            negatives = [each.detach() for each in negatives]
        else:
            keys, negatives = self._of_the_slow(seen, self.slow)
        sides = self._sides(seen, negatives)
        if self.queue is not None:
            self._waiting = list(zip(keys, seen.shown, strict=False))
        return [
            Call((views[a].predictions, *(keys[b] for b in others)), sides | self._excluded(seen, (a, *others)))
            for a in range(len(views))
            for others in self._compared_with(a, len(keys))
        ]

    def _compared_with(self, view: int, keys: int) -> list[tuple[int, ...]]:
        """The keys of each call in which a view is compared."""
        others = [key for key in range(keys) if key != view]
        # A loss that weighs the positives of a sample against each other must see them together.
        return [tuple(others)] if self.loss.weighs_positives else [(key,) for key in others]

    def _excluded(self, seen: Seen, views: Sequence[int]) -> Sides:
        """The mask of a call on some views, where images of it are excluded with each other."""
        if self.exclusions is None:
            return Sides()
        rows = seen.together[list(views)].flatten()
        ids = None if self.queue is None else self.queue.ids
        mask = self.exclusions.mask(rows, rows if ids is None else torch.cat([rows, ids.to(rows)]))
        return Sides() if mask is None else Sides(mask=mask)

    @torch.no_grad()
    def _of_the_slow(self, seen: Seen, slow: Model) -> tuple[list[Tensor], list[Tensor]]:
        """Projections of the global views and of the negatives."""
        count = self.config.views.count
        batches = [*seen.views[:count], *([] if seen.negatives is None else [seen.negatives])]
        images = torch.cat(batches).to(next(slow.parameters()).dtype)
        micro_batch = self.config.micro_batch
        size = len(images) if micro_batch is None else _rows_at_a_time(micro_batch * count, len(images), 1)
        with self.autocast():
            projections = torch.cat([slow(chunk).projections for chunk in images.split(size)])
        parts = projections.split([len(batch) for batch in batches])
        return list(parts[:count]), list(parts[count:])

    def _sides(self, seen: Seen, negatives: Sequence[Tensor]) -> Sides:
        sides = seen.sides.copy()
        if seen.chosen is not None:
            sides["negatives"] = negatives[0][seen.chosen]
        if self.queue is not None and len(self.queue):
            sides |= {"keys": self.queue.keys, "ids": seen.shown[0], "key_ids": self.queue.ids}
        return sides


def build_learner(config: RunConfig, fabric: Fabric, model: Any, loss: Loss, exclusions: Exclusions | None) -> Learner:
    """The learner of a config around a network that Fabric has set up."""
    momentum = config.momentum
    pairs = None if exclusions is None else exclusions.to(fabric.device)
    if momentum is None:
        return Learner(config, model, loss, fabric.autocast, exclusions=pairs)
    slow = None if momentum.decay == 0 else copy.deepcopy(model.module).requires_grad_(False)
    queue = (
        fabric._precision.convert_module(KeyQueue(momentum.queue, config.projector.dim)).to(fabric.device)
        if momentum.queue
        else None
    )
    return Learner(config, model, loss, fabric.autocast, slow, queue, pairs)


def decay(config: MomentumConfig, step: int, steps: int) -> float:
    """How much of the slow copy stays after a step, from 0."""
    if not config.rise:
        return config.decay
    return 1 - (1 - config.decay) * (math.cos(math.pi * step / steps) + 1) / 2


def _rows_at_a_time(most: int, rows: int, batches: int) -> int:
    """As many rows as allowed, but never so that a single image is left over, which has no batch statistics."""
    return next((part for part in range(most, 1, -1) if (rows % part) * batches != 1), most)


def _apart(model: Any, *batches: Tensor) -> tuple[Embedded, ...]:
    """Several batches through one forward."""
    whole = model(torch.cat(batches))
    parts = (tensor.split([len(batch) for batch in batches]) for tensor in whole)
    return tuple(Embedded(*part) for part in zip(*parts, strict=True))


def _alike(batches: Sequence[Tensor], by_length: bool) -> Iterator[list[int]]:
    """Places of the batches of one image size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, batch in enumerate(batches):
        groups.setdefault(tuple(batch.shape if by_length else batch.shape[1:]), []).append(place)
    yield from groups.values()
