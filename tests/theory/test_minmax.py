"""The min-max game: worst and regularised couplings against other solvers, closed forms and brute force."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from couplings import Entropic, Power, Quadratic
from couplings.basics.errors import InvalidInput, NotConverged
from couplings.pieces.costs import InnerProduct
from couplings_theory.minmax import (
    Hinge,
    Logistic,
    Positives,
    descend,
    gains,
    regularised_coupling,
    regularised_plan,
    worst_coupling,
    worst_plan,
)

F64 = torch.float64
GROUPS = torch.arange(4).repeat_interleave(2)
VIEWS = Positives.of_groups(GROUPS)


def _rows(n: int, d: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=F64)


def _uneven(n: int, seed: int = 0) -> Positives:
    """A dense symmetric law whose points differ in mass."""
    joint = torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=F64) ** 3
    joint = joint + joint.T
    return Positives(joint / joint.sum())


@pytest.mark.parametrize("module", ["game", "worst", "regularised", "descent"])
def test_examples(module: str) -> None:
    tried = doctest.testmod(importlib.import_module(f"couplings_theory.minmax.{module}"))
    assert (tried.failed, tried.attempted > 0) == (0, True)


# What the bound is attained by


@pytest.mark.parametrize("z", [torch.ones(8, 3), torch.eye(4).repeat_interleave(2, 0)], ids=["constant", "aligned"])
def test_TA1_constant_and_aligned_maps_pay_log_two(z: Tensor) -> None:
    assert worst_coupling(z, VIEWS, Logistic(temperature=0.5)).value == pytest.approx(math.log(2), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_TA1_random_maps_pay_more(seed: int) -> None:
    assert worst_coupling(_rows(8, seed=seed), VIEWS).value > math.log(2) + 0.01


def test_q_negatives_pay_log_one_plus_q() -> None:
    assert worst_coupling(torch.ones(8, 3), VIEWS, Logistic(weight=6.0)).value == pytest.approx(math.log(7), abs=1e-9)


# The linear program


@pytest.mark.parametrize("seed", range(4))
def test_the_worst_case_is_that_of_another_solver(seed: int) -> None:
    """Inner products of rows of any norm, where x- = x is not the worst; masses that differ."""
    law, z = _uneven(6, seed), _rows(6, seed=seed)
    found = worst_coupling(z, law, cost=InnerProduct())
    values = gains(z, law, cost=InnerProduct())
    other = -ot.emd2(law.weights.numpy(), law.mass.numpy(), -values.numpy())
    assert found.value == pytest.approx(float(other), abs=1e-9)
    assert abs(found.gap) < 1e-9
    assert found.marginal_error < 1e-9


def test_two_negatives_against_all_pairs_of_permutations() -> None:
    """Points of equal mass with one positive each: the worst coupling is a mean over permutations."""
    law, z = Positives.of_groups(torch.tensor([0, 0, 1, 1])), 2 * _rows(4, seed=3)
    values = gains(z, law, Hinge(1.0), negatives=2, cost=InnerProduct())
    rows = torch.arange(4)
    best = max(
        float(values[rows, torch.tensor(first), torch.tensor(second)].mean())
        for first in itertools.permutations(range(4))
        for second in itertools.permutations(range(4))
    )
    found = worst_plan(values, law)
    assert found.value >= best - 1e-9
    assert abs(found.gap) < 1e-9
    assert found.marginal_error < 1e-9
    assert found.plan.shape == (4, 4, 4)


@given(st.integers(0, 10_000), st.sampled_from([Logistic(), Logistic(0.2, 5.0), Hinge(0.3)]))
def test_on_the_sphere_the_worst_negative_is_the_anchor(seed: int, psi: Logistic | Hinge) -> None:
    """The worst case is E psi(1 - f(x).f(x+)) and no less than psi(0)."""
    law, z = _uneven(5, seed), torch.nn.functional.normalize(_rows(5, seed=seed), dim=1)
    apart = 1 - (z[law.pairs[:, 0]] * z[law.pairs[:, 1]]).sum(1)
    value = worst_coupling(z, law, psi).value
    assert value == pytest.approx(float(law.weights @ psi(apart[:, None])), abs=1e-9)
    assert value >= float(psi(torch.zeros(1, dtype=F64))) - 1e-12


def test_the_mildest_coupling_is_the_worst_of_minus_psi() -> None:
    law, z, psi = VIEWS, _rows(8), Logistic()
    mild = -worst_coupling(z, law, lambda v: -psi(v)).value
    independent = float(law.weights @ gains(z, law, psi) @ law.mass)
    assert mild < independent < worst_coupling(z, law, psi).value


def test_a_wrong_potential_shows_in_the_gap() -> None:
    from dataclasses import replace

    found = worst_coupling(_rows(8), VIEWS)
    assert replace(found, row_potential=found.row_potential.roll(1)).gap > 0.01
    assert replace(found, plan=found.plan.roll(1, 0)).gap > 0.01
    assert replace(found, plan=2 * found.plan).marginal_error > 0.1


def test_psi_of_many_negatives() -> None:
    v = torch.tensor([[0.3, -0.2, 0.1]], dtype=F64)
    by_hand = math.log(1 + 2 / 3 * sum(math.exp(x / 0.5) for x in (0.3, -0.2, 0.1)))
    assert float(Logistic(0.5, 2.0)(v)) == pytest.approx(by_hand, abs=1e-12)
    assert float(Hinge(0.5)(v)) == pytest.approx(0.8, abs=1e-12)
    assert float(Hinge(0.5)(v - 1)) == 0.0


# Laws


def test_laws() -> None:
    ring = Positives.ring(5)
    assert ring.mass.tolist() == pytest.approx([0.2] * 5)
    assert ring.components.tolist() == [0] * 5
    assert VIEWS.components.tolist() == GROUPS.tolist()
    three = Positives.of_groups(torch.tensor([0, 0, 0]))
    assert three.weights.tolist() == pytest.approx([1 / 6] * 6)


def test_the_law_of_anchor_and_negative_keeps_the_masses() -> None:
    law = _uneven(5)
    plan = law.anchored(worst_coupling(_rows(5), law).plan)
    torch.testing.assert_close(plan.sum(1), law.mass, atol=1e-9, rtol=0)
    torch.testing.assert_close(plan.sum(0), law.mass, atol=1e-9, rtol=0)


# Regularised


@pytest.mark.parametrize("reg", [0.3, 1.0])
def test_entropic_plan_is_that_of_pot(reg: float) -> None:
    law, z = _uneven(5), _rows(5)
    found = regularised_coupling(z, law, reg=reg, tol=1e-10)
    weights, mass = law.weights.numpy(), law.mass.numpy()
    plan = ot.sinkhorn(weights, mass, -found.gains.numpy(), reg, stopThr=1e-12, numItermax=20_000)
    np.testing.assert_allclose(found.plan.numpy(), plan, atol=1e-9)
    divergence = float((found.plan * torch.log(found.plan / (law.weights[:, None] * law.mass))).sum())
    assert found.divergence == pytest.approx(divergence, abs=1e-9)
    assert abs(found.gap) < 1e-9


@pytest.mark.parametrize("reg", [0.05, 0.5])
def test_quadratic_plan_is_that_of_a_convex_program(reg: float) -> None:
    import cvxpy

    law, z = Positives.of_groups(torch.tensor([0, 0, 1, 1])), _rows(4)
    found = regularised_coupling(z, law, reg=reg, rule=Quadratic())
    reference = np.outer(law.weights, law.mass)
    plan = cvxpy.Variable(reference.shape, nonneg=True)
    price = reg / 2 * cvxpy.sum(cvxpy.multiply(1 / reference, cvxpy.square(plan - reference)))
    gain = cvxpy.sum(cvxpy.multiply(found.gains.numpy(), plan)) - price
    sides = [cvxpy.sum(plan, 1) == law.weights.numpy(), cvxpy.sum(plan, 0) == law.mass.numpy()]
    value = cvxpy.Problem(cvxpy.Maximize(gain), sides).solve(solver=cvxpy.CLARABEL)
    assert found.value == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(found.plan.numpy(), plan.value, atol=1e-4)
    assert abs(found.gap) < 1e-9


@pytest.mark.parametrize("rule", [Entropic(), Quadratic()])
def test_regularised_limits(rule: Entropic | Quadratic) -> None:
    law, z = _uneven(5), _rows(5)
    independent = float(law.weights @ gains(z, law) @ law.mass)
    assert regularised_coupling(z, law, reg=1e5, rule=rule).expected == pytest.approx(independent, abs=1e-4)
    worst = worst_coupling(z, law).value
    near = regularised_coupling(z, law, reg=0.2, rule=rule, tol=1e-5)
    assert near.value <= near.expected <= worst + 1e-5
    assert near.expected > worst - 0.2


# Descent


def test_descent_aligns_and_the_ring_collapses() -> None:
    end = descend(Positives.ring(5), steps=80, rate=0.3)
    assert float(torch.cdist(end.embeddings, end.embeddings).max()) < 1e-3
    assert float(end.values[-1]) == pytest.approx(math.log(2), abs=1e-6)
    assert len(end.values) == 81


def test_descent_follows_the_danskin_gradient() -> None:
    """A small step lowers the regularised value by rate |gradient|^2: the plan may be held still."""
    law, reg = Positives.of_groups(torch.tensor([0, 0, 1, 1])), 0.5
    z = torch.nn.functional.normalize(_rows(4), dim=1).requires_grad_()
    values = gains(z, law)
    (slope,) = torch.autograd.grad((regularised_plan(values, law, reg, tol=1e-10).plan * values).sum(), z)
    way, step = _rows(4, seed=9), 1e-5

    def value(sign: int) -> float:
        return regularised_coupling(z.detach() + sign * step * way, law, reg=reg, tol=1e-10).value

    assert (value(1) - value(-1)) / (2 * step) == pytest.approx(float((slope * way).sum()), abs=1e-7)


# Bad input


@pytest.mark.parametrize(
    ("joint", "word"),
    [
        (torch.full((2, 2), 0.3), "sums to 1.2"),
        (torch.tensor([[0.0, 0.7], [0.3, 0.0]]), "symmetric"),
        (torch.tensor([[1.2, -0.1], [-0.1, 0.0]]), "-0.1"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "without mass"),
        (torch.full((2, 3), 1 / 6), "square"),
        (torch.full((2, 2), math.nan), "NaN"),
    ],
)
def test_laws_that_are_none(joint: Tensor, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        Positives(joint.to(F64))


def test_a_point_without_a_positive() -> None:
    with pytest.raises(InvalidInput, match=r"point \[2\] alone"):
        Positives.of_groups(torch.tensor([0, 0, 1]))
    with pytest.raises(InvalidInput, match="at least 3"):
        Positives.ring(2)


def test_bad_arguments() -> None:
    z = _rows(8)
    with pytest.raises(InvalidInput, match="5 rows, but positives has 8"):
        worst_coupling(z[:5], VIEWS)
    with pytest.raises(InvalidInput, match="1 or more"):
        worst_coupling(z, VIEWS, negatives=0)
    with pytest.raises(InvalidInput, match="2,097,152"):
        worst_coupling(z, VIEWS, negatives=6)
    with pytest.raises(InvalidInput, match="psi must take"):
        worst_coupling(z, VIEWS, torch.exp)
    with pytest.raises(InvalidInput, match="NaN or inf"):
        worst_coupling(z, VIEWS, lambda v: v[..., 0] / 0)
    with pytest.raises(InvalidInput, match="reg"):
        regularised_coupling(z, VIEWS, reg=0.0)
    with pytest.raises(InvalidInput, match="Entropic"):
        regularised_coupling(z, VIEWS, reg=1.0, rule=Power(2.0))
    with pytest.raises(InvalidInput, match="temperature"):
        Logistic(temperature=0.0)


def test_too_few_sweeps_are_no_answer() -> None:
    with pytest.raises(NotConverged, match="marginals are off"):
        regularised_coupling(_rows(8), VIEWS, reg=0.1, sweeps=3)
