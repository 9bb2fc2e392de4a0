"""Paired differences, their intervals, and what is left after looking at many."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy import stats

from couplings.compare import statistics, variants
from couplings.compare.statistics import Verdict, mean_and_spread, paired, survivors


@pytest.mark.parametrize("n", [2, 3, 7])
def test_interval_and_p_value_are_those_of_the_paired_t_test(n: int) -> None:
    random = np.random.default_rng(n)
    ours, theirs = random.normal(0.82, 0.01, n), random.normal(0.80, 0.01, n)
    found, known = paired(ours.tolist(), theirs.tolist()), stats.ttest_rel(ours, theirs)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(known.pvalue)
    assert (found.mean, found.pairs) == (pytest.approx((ours - theirs).mean()), n)


def test_the_verdict_is_the_side_of_zero() -> None:
    assert paired([3, 3.1, 2.9], [1, 1, 1]).verdict is Verdict.HIGHER
    assert paired([1, 1, 1], [3, 3.1, 2.9]).verdict is Verdict.LOWER
    assert paired([1, 3, 2], [2, 2, 2]).verdict is Verdict.OPEN


@pytest.mark.parametrize("ours", [[0.9], [0.9, 0.9], [0.91, 0.91 + 1e-8, 0.91]])
def test_no_interval_without_a_spread(ours: list[float]) -> None:
    found = paired(ours, [0.8] * len(ours))
    assert (found.low, found.high, found.p, found.verdict) == (None, None, None, Verdict.NONE)
    assert found.mean == pytest.approx(ours[0] - 0.8)


def test_holm_stops_at_the_first_that_is_too_large() -> None:
    # Sorted: 0.01 <= 0.05 / 4, 0.02 > 0.05 / 3; the rest is not looked at.
    assert survivors([0.02, 0.01, 0.03, 0.04]) == [False, True, False, False]
    assert survivors([0.012, 0.016, 0.02, 0.04]) == [True, True, True, True]
    assert survivors([None, 0.03]) == [False, True]
    assert survivors([]) == []


def test_spread_of_one_seed() -> None:
    assert mean_and_spread([0.5]) == (0.5, None)
    assert mean_and_spread([0.5, 0.7]) == (pytest.approx(0.6), pytest.approx(0.02**0.5))


@pytest.mark.parametrize("module", [statistics, variants])
def test_examples_of_statistics(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert (found.failed, found.attempted > 0) == (0, True)
