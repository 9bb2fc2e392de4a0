"""Differences between runs of the same seeds, and what they show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["Difference", "Verdict", "mean_and_spread", "paired", "survivors"]

_LEVEL = 0.95
# Some accuracies come in single precision.
_ROUNDING = 1e-6


class Verdict(Enum):
    """What an interval says about a difference."""

    HIGHER = "higher"
    LOWER = "lower"
    OPEN = "open"
    """The interval holds 0: either may be higher."""
    NONE = "no interval"
    """One pair only, or pairs that all differ by the same."""


@dataclass(frozen=True)
class Difference:
    """A mean difference over pairs with its 95 % Student-t interval.

    Attributes:
        mean: of the differences.
        low, high: ends of the interval; None with one pair, or with pairs that all differ by the same: accuracies
            come in steps of one image, and no spread in a few of them does not mean that there is none.
        p: two-sided p-value of no difference; None where there is no interval.
        pairs: how many.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int

    @property
    def verdict(self) -> Verdict:
        """Which side of 0 the interval lies on."""
        if self.low is None or self.high is None:
            return Verdict.NONE
        return Verdict.HIGHER if self.low > 0 else Verdict.LOWER if self.high < 0 else Verdict.OPEN


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Ours minus theirs, pair by pair; n - 1 degrees of freedom.

    Raises:
        ValueError: another number of theirs, or none.

    Example:
        >>> found = paired([0.82, 0.83, 0.84], [0.80, 0.80, 0.80])
        >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3), found.verdict.value
        (0.03, 0.005, 0.055, 'higher')
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, n = statistics.fmean(differences), len(differences)
    if max(differences) - min(differences) < _ROUNDING:
        return Difference(mean, None, None, None, n)
    from scipy.stats import t

    error = statistics.stdev(differences) / math.sqrt(n)
    half = float(t.ppf((1 + _LEVEL) / 2, n - 1)) * error
    return Difference(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, n - 1)), n)


def survivors(p_values: Sequence[float | None], level: float = 1 - _LEVEL) -> list[bool]:
    """Which differences remain after Holm's correction for having looked at all of them; never one without a p-value.

    Example:
        >>> survivors([0.001, 0.06, None, 0.02])
        [True, False, False, True]
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    kept = [False] * len(p_values)
    for rank, (p, place) in enumerate(order):
        if p > level / (len(order) - rank):
            break
        kept[place] = True
    return kept


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None of one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
