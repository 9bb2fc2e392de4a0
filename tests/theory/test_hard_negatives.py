"""Tilted and transported negatives: independent formulas, another solver, bad input."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from couplings.basics.errors import InvalidInput, NotConverged
from couplings.pieces.costs import ExpSquaredEuclidean
from couplings.pieces.rules import Quadratic
from couplings_theory import hard_negatives
from couplings_theory.hard_negatives import (
    best_assignment,
    clustered_views,
    hardness,
    row_gap,
    shares,
    similarities,
    tilted,
    transported,
    uniform,
)

F64 = torch.float64


def test_examples() -> None:
    assert doctest.testmod(hard_negatives).failed == 0


def _views(seed: int = 0, samples: int = 8) -> tuple[Tensor, Tensor]:
    return clustered_views(samples, seed=seed)[:2]


def _by_hand(views: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Cosines, and which pairs are of the same sample."""
    z, n = torch.cat(views), len(views[0])
    index = torch.arange(2 * n)
    return z @ z.T, (index[:, None] - index) % n == 0


@pytest.mark.parametrize("reg", [0.1, 0.7, 3.0])
def test_tilted_rows_are_a_softmax_of_twice_the_cosine_over_reg(reg: float) -> None:
    cosines, same = _by_hand(_views())
    rows = torch.softmax((2 * cosines / reg).masked_fill(same, -math.inf), 1)
    torch.testing.assert_close(tilted(_views(), reg).conditional(), rows, atol=1e-12, rtol=0)


@pytest.mark.parametrize("reg", [0.3, 1.0])
def test_transported_is_the_plan_of_pot(reg: float) -> None:
    cosines, same = _by_hand(_views())
    cost = (2 - 2 * cosines).masked_fill(same, 1e3).numpy()
    even = np.full(16, 1 / 16)
    plan = ot.sinkhorn(even, even, cost, reg, method="sinkhorn_log", stopThr=1e-12, numItermax=20_000)
    np.testing.assert_allclose(transported(_views(), reg).plan().numpy(), plan, atol=1e-9)


def test_uniform_is_even_over_other_samples() -> None:
    plan, (_, same) = uniform(_views()).plan(), _by_hand(_views())
    assert float(plan[same].abs().max()) == 0
    torch.testing.assert_close(plan[~same], torch.full((224,), 1 / 224, dtype=F64), atol=1e-12, rtol=0)


@given(st.integers(0, 1000), st.floats(0.3, 5.0))
def test_no_order_of_shares_and_hardness_is_broken(seed: int, reg: float) -> None:
    """Fair shares under transport and uniform; means between uniform and the best assignment."""
    views = _views(seed, 5)
    plan = transported(views, reg, tol=1e-3)
    torch.testing.assert_close(shares(plan), torch.ones(10, dtype=F64), atol=1e-6, rtol=0)
    assert shares(tilted(views, reg)).sum() == pytest.approx(10, abs=1e-9)
    low, high = hardness(uniform(views), views), best_assignment(views)
    assert low - 1e-9 <= hardness(plan, views) <= high + 2e-3
    assert similarities(tilted(views, reg), views).shortfall(similarities(uniform(views), views)) < 1e-12


def test_best_assignment_by_brute_force() -> None:
    views = _views(samples=3)
    cosines, same = _by_hand(views)
    allowed = cosines.masked_fill(same, -1e3)
    index = torch.arange(6)
    best = max(float(allowed[index, torch.tensor(p)].mean()) for p in itertools.permutations(range(6)))
    assert best_assignment(views) == pytest.approx(best, abs=1e-12)


def test_similarities_by_hand() -> None:
    views = _views()
    plan, (cosines, same) = tilted(views, 0.5), _by_hand(views)
    found = similarities(plan, views)
    assert found.mass.sum() == pytest.approx(1, abs=1e-12)
    assert len(found.values) == 112  # (i, j) and (j, i) are one
    assert found.mean == pytest.approx(hardness(plan, views), abs=1e-12)
    assert found.tail(0.5) == pytest.approx(float(plan.plan()[(cosines > 0.5) & ~same].sum()), abs=1e-12)
    even = similarities(uniform(views), views)
    worst = max(found.tail(t) - even.tail(t) for t in found.values.tolist())
    assert even.shortfall(found) == pytest.approx(worst, abs=1e-9)


def test_a_row_gap_is_between_zero_and_two() -> None:
    views = _views()
    assert row_gap(uniform(views), uniform(views)) == 0
    assert 0.5 < row_gap(uniform(views), tilted(views, 0.1)) < 2


def test_other_costs_and_rules_keep_the_marginals() -> None:
    for plan in (
        transported(_views(), 1.0, ExpSquaredEuclidean(1.0)),
        transported(_views(), 0.5, rule=Quadratic()),
    ):
        torch.testing.assert_close(plan.plan().sum(0), torch.full((16,), 1 / 16, dtype=F64), atol=1e-7, rtol=0)
        torch.testing.assert_close(plan.plan().sum(1), torch.full((16,), 1 / 16, dtype=F64), atol=1e-6, rtol=0)


def test_clustered_views_are_seeded_unit_rows_near_their_centres() -> None:
    view, other, cluster = clustered_views(12, 3, 5, seed=4)
    again = clustered_views(12, 3, 5, seed=4)
    assert torch.equal(view, again[0])
    assert not torch.equal(view, clustered_views(12, 3, 5, seed=5)[0])
    torch.testing.assert_close(view.norm(dim=1), torch.ones(12, dtype=F64))
    same = cluster[:, None] == cluster
    cosines = view @ other.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.2


def test_too_few_sweeps_are_no_answer() -> None:
    with pytest.raises(NotConverged, match="marginals are off"):
        transported(_views(), 0.3, sweeps=2)


def test_bad_input() -> None:
    with pytest.raises(InvalidInput, match="reg must be > 0"):
        tilted(_views(), 0.0)
    with pytest.raises(InvalidInput, match="reg"):
        transported(_views(), -1.0)
    with pytest.raises(InvalidInput, match="samples must be 2 or more"):
        clustered_views(1)
    with pytest.raises(InvalidInput, match="clusters must be 1 or more"):
        clustered_views(clusters=0)
    with pytest.raises(InvalidInput, match=r"views\[1\]"):
        uniform([torch.eye(3), [1.0]])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="same views"):
        similarities(uniform(_views()), _views()).shortfall(similarities(uniform(_views(1)), _views(1)))
