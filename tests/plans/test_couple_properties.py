"""What must hold for any scores: shifts, permutations, transposition, marginals."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from couplings import KL, Entropic, Fixed, Free, InfoNCE, Marginal, Power, Quadratic, Rule, Scores, couple
from helpers import F64

rules = st.sampled_from([Entropic(), Quadratic(), Power(1.5), Power(2.0)])
sides = st.sampled_from([Fixed(), KL(0.5), KL(3.0), Free()])
constrained = st.sampled_from([Fixed(), KL(0.5), KL(3.0)])
sizes = st.integers(2, 6)
temperatures = st.floats(0.1, 2.0)
warm = st.floats(0.5, 2.0)
"""Temperatures at which bounded scores converge in tens of sweeps."""
seeds = st.integers(0, 10_000)


def _matrix(n: int, m: int, seed: int) -> Tensor:
    return torch.randn(n, m, dtype=F64, generator=torch.Generator().manual_seed(seed))


def _plan(matrix: Tensor, temperature: float, rows: Marginal, cols: Marginal, rule: Rule, sweeps: int = 3) -> Tensor:
    return couple(Scores.given(matrix, temperature=temperature), rows, cols, rule=rule, sweeps=sweeps).plan()


@given(sizes, sizes, seeds, temperatures, sides, rules, st.integers(1, 4), st.booleans())
def test_fixed_rows_ignore_a_shift_of_each_row(
    n: int, m: int, seed: int, temperature: float, cols: Marginal, rule: Rule, sweeps: int, each: bool
) -> None:
    matrix = _matrix(n, m, seed)
    shift = 3 * _matrix(n, 1, seed + 1) if each else torch.tensor(3.0, dtype=F64)
    plans = [_plan(s, temperature, Fixed(), cols, rule, sweeps) for s in (matrix, matrix + shift)]
    torch.testing.assert_close(*plans, atol=1e-10, rtol=1e-8)


@given(sizes, sizes, seeds, temperatures, constrained, sides, rules)
def test_permuting_rows_and_columns_permutes_the_plan(
    n: int, m: int, seed: int, temperature: float, rows: Marginal, cols: Marginal, rule: Rule
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix, p, q = _matrix(n, m, seed), torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
    moved = _plan(matrix[p][:, q], temperature, rows, cols, rule)
    torch.testing.assert_close(moved, _plan(matrix, temperature, rows, cols, rule)[p][:, q], atol=1e-12, rtol=1e-9)


@given(sizes, sizes, seeds, warm, rules)
def test_marginals_hold_at_convergence(n: int, m: int, seed: int, temperature: float, rule: Rule) -> None:
    scores = Scores.given(_matrix(n, m, seed).tanh(), temperature=temperature)
    coupling = couple(scores, Fixed(), Fixed(), rule=rule, sweeps=5000, tol=1e-9)
    rows, cols = coupling.marginals()
    torch.testing.assert_close(rows, torch.full((n,), 1 / n, dtype=F64), atol=2e-9, rtol=0)
    torch.testing.assert_close(cols, torch.full((m,), 1 / m, dtype=F64), atol=2e-9, rtol=0)
    assert (coupling.plan() >= 0).all()


@settings(max_examples=12)
@given(sizes, sizes, seeds, warm, constrained, constrained, rules)
def test_transposing_the_problem_transposes_the_solution(
    n: int, m: int, seed: int, temperature: float, rows: Marginal, cols: Marginal, rule: Rule
) -> None:
    matrix = _matrix(n, m, seed).tanh()
    one = _plan(matrix, temperature, rows, cols, rule, sweeps=60)
    other = _plan(matrix.T, temperature, cols, rows, rule, sweeps=60)
    torch.testing.assert_close(one, other.T, atol=1e-6, rtol=0)


@given(sizes, sizes, seeds, temperatures, constrained, rules)
def test_one_half_step_transposes_exactly(
    n: int, m: int, seed: int, temperature: float, side: Marginal, rule: Rule
) -> None:
    matrix = _matrix(n, m, seed)
    by_rows = _plan(matrix, temperature, side, Free(), rule)
    by_columns = _plan(matrix.T, temperature, Free(), side, rule)
    torch.testing.assert_close(by_rows, by_columns.T, atol=1e-12, rtol=1e-10)


@given(sizes, sizes, seeds, temperatures, st.integers(1, 4))
def test_more_sweeps_are_never_further_from_a_feasible_target(
    n: int, m: int, seed: int, temperature: float, sweeps: int
) -> None:
    """Each Bregman projection onto a set that holds the target brings the plan nearer to it."""
    scores = Scores.given(_matrix(n, m, seed), temperature=temperature)
    target = torch.full((n, m), 1 / (n * m), dtype=F64)

    def divergence(t: int, row_step: bool) -> Tensor:
        plan = couple(scores, Fixed(), Fixed(), sweeps=t, row_step=row_step).plan()
        return (target * (target / plan).log()).sum()

    path = [divergence(sweeps, False), divergence(sweeps, True), divergence(sweeps + 1, False)]
    assert path[0] + 1e-12 >= path[1]
    assert path[1] + 1e-12 >= path[2]


@given(st.integers(2, 6), st.integers(2, 5), seeds, st.floats(0.1, 100.0))
def test_normalised_losses_ignore_the_norms(n: int, d: int, seed: int, scale: float) -> None:
    a, b = _matrix(n, d, seed), _matrix(n, d, seed + 1)
    torch.testing.assert_close(InfoNCE()(scale * a, b / scale), InfoNCE()(a, b), atol=1e-9, rtol=1e-9)
