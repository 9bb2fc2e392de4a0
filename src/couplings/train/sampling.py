"""Which images a step shows: a function of the seed and the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.train.config import PairsConfig, RunConfig
from couplings.train.data import Dataset
from couplings.train.seeds import Purpose, generator

__all__ = ["Drawn", "Sampler"]


@dataclass(frozen=True)
class Drawn:
    """The images of a step, by their index in the training set.

    Attributes:
        images: the image that each view of each sample shows, (views, n).
        negatives: images of the negatives, (m,); None where the batch has them.
        chosen: which of these are each sample's, (n, k).
    """

    images: Tensor
    negatives: Tensor | None = None
    chosen: Tensor | None = None


class Sampler:
    """Draws the samples of each step.

    An epoch is a permutation of the images, its incomplete last batch dropped.

    Args:
        config: batch size, views, pairs and seed.
        data: how many images, and their labels where pairs are of one class.
    """

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        self._config, self._pairs = config, config.pairs
        self._count = len(data.train_images)
        self._classes = _Classes(data.train_labels) if config.pairs.positives == "class" else None
        self._epoch, self._order = -1, torch.empty(0)

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return self._count // self._config.batch_size

    def draw(self, step: int) -> Drawn:
        """The samples of a step, from 0."""
        epoch, place = divmod(step, self.per_epoch)
        anchors = self._permutation(epoch)[place * self._config.batch_size :][: self._config.batch_size]
        random = generator(self._config.seed, Purpose.PAIRS, step)
        views = [anchors] + [self._positive(anchors, random) for _ in range(1, self._config.views.total)]
        return Drawn(torch.stack(views), *self._negatives(len(anchors), random))

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            random = generator(self._config.seed, Purpose.ORDER, epoch)
            self._epoch, self._order = epoch, torch.randperm(self._count, generator=random)
        return self._order

    def _positive(self, anchors: Tensor, random: torch.Generator) -> Tensor:
        shown = anchors if self._classes is None else self._classes.others(anchors, random)
        if self._pairs.wrong == 0:
            return shown
        wrong = torch.rand(len(anchors), generator=random) < self._pairs.wrong
        return torch.where(wrong, torch.randint(self._count, (len(anchors),), generator=random), shown)

    def _negatives(self, n: int, random: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        if self._pairs.negatives is None:
            return None, None
        count, chosen = _choice(self._pairs, n, self._pairs.negatives, random)
        return torch.randint(self._count, (count,), generator=random), chosen


def _choice(pairs: PairsConfig, n: int, k: int, random: torch.Generator) -> tuple[int, Tensor]:
    """How many images the negatives take, and which of them are each sample's."""
    if pairs.pool is None:
        return n * k, torch.arange(n * k).reshape(n, k)
    return pairs.pool, torch.randint(pairs.pool, (n, k), generator=random)


class _Classes:
    """The images of each class, for random others of it."""

    def __init__(self, labels: Tensor | None) -> None:
        assert labels is not None  # what a config needs of the data is checked before
        self._labels = labels
        self._sorted = torch.argsort(labels, stable=True)
        self._sizes = torch.bincount(labels)
        self._starts = self._sizes.cumsum(0) - self._sizes
        self._place = torch.empty_like(self._sorted)
        self._place[self._sorted] = torch.arange(len(labels))

    def others(self, anchors: Tensor, random: torch.Generator) -> Tensor:
        """For each anchor a random other image of its class."""
        classes = self._labels[anchors]
        start, size = self._starts[classes], self._sizes[classes]
        # One of the size - 1 places that follow the anchor's, around the corner.
        ahead = 1 + (torch.rand(len(anchors), generator=random) * (size - 1)).long()
        return self._sorted[start + (self._place[anchors] - start + ahead) % size]
