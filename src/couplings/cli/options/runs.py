"""`couplings runs`."""

from __future__ import annotations

from enum import Enum

__all__ = ["SortBy"]


class SortBy(Enum):
    """What a list of runs is sorted by; accuracies from the best."""

    NAME = "name"
    WHEN = "when"
    KNN = "knn"
    LINEAR = "linear"
    FEW = "few"
