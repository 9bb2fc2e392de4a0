"""Models of alignment by plans: identities, other solvers, closed forms, bad input."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from couplings import GCAINCE, RINCE, Domains, InvalidInput, NotConverged
from couplings_theory import alignment
from couplings_theory.alignment import (
    Reference,
    aligned_simplex,
    balanced,
    column_projection,
    convergence_rate,
    divergence,
    domain_plan,
    dual_gradient,
    free_embeddings,
    gradient_residual,
    half_steps,
    matching_gradient,
    pythagoras,
    released_rince,
    rince,
    row_projection,
    simplex_loss,
    simplex_uniformity,
    teacher_target,
    unbalanced,
)
from helpers import F64, central_differences, unit_views

SEEDS = st.integers(0, 2**31)


def _near(one: Tensor | float, other: Tensor | float, within: float) -> None:
    torch.testing.assert_close(
        torch.as_tensor(one, dtype=F64), torch.as_tensor(other, dtype=F64), rtol=0.0, atol=within
    )


def _matrices(seed: int, n: int, m: int) -> tuple[Tensor, Tensor]:
    """A kernel and a plan of other mass, some of whose entries are zero."""
    generator = torch.Generator().manual_seed(seed)
    kernel, plan = torch.rand(2, n, m, generator=generator, dtype=F64)
    return 0.1 + kernel, plan.where(plan > 0.2, 0.0) + torch.eye(n, m, dtype=F64)


@pytest.mark.parametrize("name", ["projections", "gradients", "limits", "embeddings"])
def test_examples(name: str) -> None:
    module = importlib.import_module(f"couplings_theory.alignment.{name}")
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", alignment.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert (getattr(alignment, name).__doc__ or "").strip()


# Projections


def test_divergence_by_hand() -> None:
    p, k = torch.tensor([[0.0, 2.0]], dtype=F64), torch.tensor([[1.0, 0.5]], dtype=F64)
    _near(divergence(p, k), 2 * math.log(4) - 2 + 1.5, 1e-12)
    assert divergence(k, p) == math.inf


@given(SEEDS, st.integers(1, 5), st.integers(1, 5))
def test_divergence_is_positive_and_zero_at_equality(seed: int, n: int, m: int) -> None:
    kernel, plan = _matrices(seed, n, m)
    assert divergence(plan, kernel) > 0
    _near(divergence(plan, plan), 0.0, 1e-12)


@given(SEEDS, st.integers(1, 6), st.integers(1, 6))
def test_pythagoras_for_both_projections(seed: int, n: int, m: int) -> None:
    kernel, target = _matrices(seed, n, m)
    target = target + 0.01
    for plan in (row_projection(kernel, target.sum(1)), column_projection(kernel, target.sum(0))):
        _near(pythagoras(target, kernel, plan).gap, 0.0, 1e-9)
    _near(row_projection(kernel, target.sum(1)).sum(1), target.sum(1), 1e-12)
    _near(column_projection(kernel, target.sum(0)).sum(0), target.sum(0), 1e-12)


def test_the_row_projection_is_the_nearest_by_another_solver() -> None:
    """SLSQP on the entries, from the middle."""
    kernel, rows = _matrices(0, 2, 3)[0], np.array([0.4, 0.6])
    within = [{"type": "eq", "fun": lambda x, i=i: x.reshape(2, 3)[i].sum() - rows[i]} for i in range(2)]
    found = minimize(
        lambda x: float(divergence(torch.from_numpy(x).reshape(2, 3), kernel)),
        np.full(6, 1 / 6),
        constraints=within,
        bounds=[(1e-9, None)] * 6,
        tol=1e-12,
    )
    _near(row_projection(kernel, torch.from_numpy(rows)), torch.from_numpy(found.x).reshape(2, 3), 1e-5)


def test_a_triangle_that_is_none_has_a_flat_angle() -> None:
    assert alignment.Triangle(whole=100.0, target_leg=1.0, kernel_leg=1.0).angle == 180.0
    assert alignment.Triangle(whole=2.0, target_leg=1.0, kernel_leg=1.0).angle == pytest.approx(90.0)


def test_half_steps_alternate_both_projections() -> None:
    """Against the projections themselves, weights that are not uniform."""
    scores = torch.randn(4, 5, dtype=F64)
    rows, columns = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64), torch.full((5,), 0.2, dtype=F64)
    plans = half_steps(scores, 0.5, 6, rows, columns)
    plan = rows[:, None] * columns * torch.exp(scores / 0.5)
    _near(plans[0], plan, 1e-12)
    for k, found in enumerate(plans[1:]):
        plan = column_projection(plan, columns) if k % 2 else row_projection(plan, rows)
        _near(found, plan, 1e-12)


def test_the_limit_of_the_half_steps_is_pots() -> None:
    scores, uniform = torch.randn(6, 6, dtype=F64), np.full(6, 1 / 6)
    theirs = ot.sinkhorn(uniform, uniform, -scores.numpy(), 0.5, method="sinkhorn_log", stopThr=1e-14, numItermax=10000)
    _near(balanced(scores, 0.5), torch.from_numpy(theirs), 1e-10)


@pytest.mark.filterwarnings("ignore::couplings.CouplingWarning")
def test_a_limit_that_is_not_reached_is_an_error() -> None:
    with pytest.raises(NotConverged, match="run more sweeps"):
        balanced(torch.randn(6, 6, dtype=F64), 0.01, sweeps=10)


def test_the_domain_plan_is_the_librarys_before_scaling() -> None:
    """Card: rows of 3.6 for 16 views, 0.3 within and 0.1 across; scaled, the same loss."""
    domains = torch.arange(8) % 2
    plan = domain_plan(domains, within=0.3, across=0.1)
    _near(plan.sum(1), torch.full((16,), 3.6, dtype=F64), 1e-12)
    views = unit_views(n=8)
    ours = GCAINCE(0.3, target=Domains(within=0.3, across=0.1))(*views, domains=domains)
    _near(ours, GCAINCE(0.3)(*views, target=plan / plan.sum()), 1e-12)


# Gradients


def test_the_matching_gradient_by_central_differences() -> None:
    """A target with marginals of its own, two sweeps."""
    scores, target = torch.randn(3, 4, dtype=F64), torch.rand(3, 4, dtype=F64)
    target = target / target.sum()

    def matched(s: Tensor) -> Tensor:
        return divergence(target, matching_gradient(s, target, 0.5, 2)[1])

    gradient, _ = matching_gradient(scores, target, 0.5, 2)
    _near(gradient, central_differences(matched, scores, 1e-5), 1e-8)


def test_the_dual_gradient_holds_at_both_ends_only() -> None:
    scores, target = torch.randn(6, 6, dtype=F64), torch.eye(6, dtype=F64) / 6
    residuals = {sweeps: gradient_residual(scores, target, 0.5, sweeps) for sweeps in (0, 1, 3, 400)}
    assert residuals[0] < 1e-12
    assert residuals[400] < 1e-8
    assert min(residuals[1], residuals[3]) > 1e-4


@given(SEEDS)
def test_the_rate_of_two_by_two_in_closed_form(seed: int) -> None:
    """(P11 P22 - P12 P21)^2 / (a1 a2 b1 b2)."""
    plan, _ = _matrices(seed, 2, 2)
    cross = (plan[0, 0] * plan[1, 1] - plan[0, 1] * plan[1, 0]) ** 2
    _near(convergence_rate(plan), cross / (plan.sum(0).prod() * plan.sum(1).prod()), 1e-12)


# Limits


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 1), st.floats(0.01, 10))
def test_rince_by_its_formula(positive: float, negatives: float, q: float, lam: float) -> None:
    p, total = torch.tensor([positive], dtype=F64), torch.tensor([positive + negatives], dtype=F64)
    _near(rince(p, total, q, lam), ((lam * total) ** q - p**q) / q, 1e-9)


def test_rince_at_zero_is_the_limit() -> None:
    p, total = torch.tensor([0.3, 2.0], dtype=F64), torch.tensor([5.0, 7.0], dtype=F64)
    _near(rince(p, total, 1e-9, 0.1), rince(p, total, 0.0, 0.1), 1e-7)


def test_the_released_form_is_rince_of_another_lam() -> None:
    """n^-q times the library's loss with lam n; 0.01 acts as 10.24 for 1024 columns."""
    p, total, q, n = torch.tensor([0.3], dtype=F64), torch.tensor([5.0], dtype=F64), 0.6, 1024
    _near(released_rince(p, total, q, 0.01, n), n**-q * rince(p, total, q, 10.24), 1e-12)


def test_the_formula_is_the_librarys_loss() -> None:
    views = unit_views(n=4)
    kernel = torch.exp(torch.cat(views) @ torch.cat(views).T / 0.5).fill_diagonal_(0.0)
    positive = kernel[torch.arange(8), torch.arange(8).roll(4)]
    _near(RINCE(0.5, q=0.7, lam=0.2, shift=0.0)(*views), rince(positive, kernel.sum(1), 0.7, 0.2).mean(), 1e-12)


@pytest.mark.filterwarnings("ignore:If reg_type = entropy")
@pytest.mark.parametrize("reference", list(Reference))
def test_the_unbalanced_plan_is_pots(reference: Reference) -> None:
    scores, uniform = torch.randn(5, 7, dtype=F64), (np.full(5, 1 / 5), np.full(7, 1 / 7))
    kind = "kl" if reference is Reference.PRODUCT else "entropy"
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        *uniform, -scores.numpy(), 0.4, [0.5, 0.2], reg_type=kind, stopThr=1e-14, numItermax=20000
    )
    _near(unbalanced(scores, 0.4, (0.5, 0.2), reference), torch.from_numpy(theirs), 1e-6)


@given(st.floats(-2, 2), st.floats(0.1, 1), st.floats(0.05, 2), st.floats(0.05, 2))
def test_the_mass_of_equal_scores_in_closed_form(score: float, eps: float, rows: float, columns: float) -> None:
    plan = unbalanced(torch.full((3, 2), score, dtype=F64), eps, (rows, columns))
    _near(plan.sum(), math.exp(score / (eps + rows + columns)), 1e-6)


# Free embeddings


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("sweeps", [0, 1, 5])
def test_the_bound_is_the_loss_of_the_simplex(n: int, sweeps: int) -> None:
    corners = aligned_simplex(n)
    _near(corners[0] @ corners[1].T, (torch.eye(n, dtype=F64) * n - 1) / (n - 1), 1e-12)
    _near(GCAINCE(0.3, sweeps=sweeps)(*corners), simplex_loss(n, 0.3), 1e-12)
    apart = torch.pdist(corners.flatten(0, 1)).square()
    _near(simplex_uniformity(n), torch.log(torch.exp(-2 * apart).mean()), 1e-12)


@given(SEEDS, st.integers(2, 6), st.integers(2, 8), st.floats(0.1, 2), st.integers(0, 4))
def test_no_views_are_below_the_bound(seed: int, n: int, d: int, temperature: float, sweeps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    views = torch.randn(2, n, d, generator=generator, dtype=F64)
    assert GCAINCE(temperature, sweeps=sweeps)(*views) >= simplex_loss(n, temperature) - 1e-12


def test_free_embeddings_reach_the_bound_and_record_the_way() -> None:
    run = free_embeddings(GCAINCE(0.5, sweeps=1), 3, 2, seed=1, steps=100, every=30)
    assert [record.step for record in run.records] == [0, 30, 60, 90, 100]
    _near(run.views.norm(dim=2), torch.ones(2, 3), 1e-12)
    _near(run.final.loss, simplex_loss(3, 0.5), 1e-4)
    assert run.final.alignment < 1e-3 < run.records[0].alignment


def test_free_embeddings_are_the_seeds_alone() -> None:
    runs = [free_embeddings(GCAINCE(0.5), 4, 3, seed=seed, steps=5) for seed in (0, 0, 1)]
    assert torch.equal(runs[0].views, runs[1].views)
    assert not torch.equal(runs[0].views, runs[2].views)


def test_the_alignment_of_a_target_is_over_its_pairs() -> None:
    """A target that is the positives tells the alignment of the positives."""
    positives = torch.eye(8, dtype=F64).roll(4, 0) / 8
    with_target, without = (
        free_embeddings(GCAINCE(0.5), 4, 3, seed=0, steps=2, target=target) for target in (positives, None)
    )
    _near(with_target.final.alignment, without.final.alignment, 1e-9)


def test_the_teachers_target_can_be_met() -> None:
    target = teacher_target(5, 8, temperature=0.3, noise=0.2, seed=0)
    for side in (0, 1):
        _near(target.sum(side), torch.full((10,), 0.1, dtype=F64), 1e-9)
    assert bool((target.diagonal() == 0).all())
    _near(target, target.T, 1e-9)


# Bad input

EYE = torch.eye(2, dtype=F64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: divergence(-EYE, EYE), "p must be >= 0, got -1"),
        (lambda: divergence(EYE, torch.full((2, 2), math.nan)), "k holds NaN or inf"),
        (lambda: divergence(EYE, torch.ones(2, 3)), r"p has shape \(2, 2\) but k has \(2, 3\)"),
        (lambda: row_projection(EYE, torch.ones(3)), r"rows must be \(2,\), got \(3,\)"),
        (lambda: row_projection(EYE, -torch.ones(2)), "rows must be >= 0, got -1"),
        (lambda: row_projection(torch.zeros(2, 2), torch.ones(2)), "a row without mass"),
        (lambda: half_steps(EYE, 0.0, 1), "temperature must be > 0, got 0"),
        (lambda: half_steps(EYE, 1.0, -1), "count must be an integer >= 0, got -1"),
        (lambda: dual_gradient(EYE, torch.ones(2, 3), 1.0), r"plan is \(2, 2\) but target \(2, 3\)"),
        (lambda: convergence_rate(torch.ones(1, 2)), "two rows and two columns"),
        (lambda: domain_plan(torch.tensor([0.5]), 1.0, 0.0), "domains must be integers"),
        (lambda: domain_plan(torch.tensor([0]), -1.0, 0.0), "within must be >= 0, got -1"),
        (lambda: rince(torch.ones(1), torch.ones(1), 1.5, 0.1), r"q must be in \[0, 1\], got 1.5"),
        (lambda: rince(torch.ones(1), torch.ones(1), 0.5, 0.0), "lam must be > 0, got 0"),
        (lambda: rince(torch.zeros(1), torch.ones(1), 0.5, 0.1), "positive and total must be > 0, got 0"),
        (lambda: released_rince(torch.ones(1), torch.ones(1), 0.5, 0.1, n=0), "n must be >= 1, got 0"),
        (lambda: unbalanced(EYE, 1.0, (0.0, 1.0)), "rho must be > 0, got 0"),
        (lambda: free_embeddings(GCAINCE(), 1, 2, seed=0), "n must be >= 2, got 1"),
        (lambda: free_embeddings(GCAINCE(), 2, 2, seed=0, steps=0), "steps must be >= 1, got 0"),
        (lambda: free_embeddings(GCAINCE(), 2, 2, seed=0, learning_rate=0.0), "learning_rate must be > 0, got 0"),
        (lambda: teacher_target(1, 2, 0.3, 0.1, seed=0), "n must be >= 2, got 1"),
        (lambda: teacher_target(4, 2, 0.3, -0.1, seed=0), "noise must be >= 0, got -0.1"),
        (lambda: aligned_simplex(1), "n must be >= 2, got 1"),
        (lambda: simplex_loss(1, 0.5), "n must be >= 2, got 1"),
        (lambda: simplex_loss(4, -1.0), "temperature must be > 0, got -1"),
        (lambda: simplex_uniformity(1), "n must be >= 2, got 1"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InvalidInput, match=message):
        call()
