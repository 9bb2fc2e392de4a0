"""Training classes of unequal size, as in the experiments of CACR."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from couplings.train.data import Dataset
from couplings.train.errors import DataError

__all__ = ["SHARES", "imbalanced"]

SHARES: dict[str, Callable[[int], float]] = {
    "linear": lambda tenth: tenth / 10,
    "exponential": lambda tenth: math.exp(tenth - 10),
}
"""The share of its images that a class keeps, by the tenth of all classes (1 to 10) that it lies in."""


def imbalanced(data: Dataset, share: Callable[[int], float], seed: int = 0) -> Dataset:
    """Keep a seeded share of each training class, at least one image; test images and unlabelled ones all stay.

    Args:
        data: with labels.
        share: of the images kept in the b-th tenth of the classes, b = 1 to 10, as in :data:`SHARES`. With ten classes
            each is a tenth; with a hundred, blocks of ten share one.
        seed: decides which images stay.

    Raises:
        DataError: the data set has no labels.

    Example:
        >>> digits = load(DataConfig(name="digits"))
        >>> imbalanced(digits, SHARES["linear"]).train_labels.bincount().tolist()
        [13, 26, 38, 53, 66, 79, 92, 103, 113, 130]
    """
    if data.train_labels is None or not data.classes:
        raise DataError(f"{data.name}: data.imbalance thins out classes, and there are no labels; leave it out")
    order = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(seed))
    labels, count = data.train_labels[order], len(data.classes)
    kept = torch.zeros(len(order), dtype=torch.bool)
    kept[order[labels < 0]] = True
    for number in range(count):
        rows = order[labels == number]
        kept[rows[: max(1, round(len(rows) * share(_tenth(number, count))))]] = True
    return data.keeping(kept.nonzero()[:, 0])


def _tenth(number: int, count: int) -> int:
    """Which tenth of ``count`` classes a class ends in, from 1; the last class is always in the last."""
    return math.ceil(10 * (number + 1) / count)
