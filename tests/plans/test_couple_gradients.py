"""The gradient of every row/column/rule combination is the derivative of what was computed."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from couplings import (
    KL,
    Coupling,
    Entropic,
    Fixed,
    Free,
    InvalidInput,
    Marginal,
    Power,
    Quadratic,
    Rule,
    Scores,
    couple,
)
from couplings.basics.sizes import limited
from helpers import F64, assert_directional, gradients

N, M = 4, 5
RULES = [Entropic(), Quadratic(), Power(1.7)]
KINDS = ["Fixed", "KL", "Free"]
COMBINATIONS = [
    c for c in itertools.product(KINDS, KINDS, RULES) if not (c[0] == c[1] == "Free" and isinstance(c[2], Power))
]


def _mask() -> Tensor:
    mask = torch.zeros(N, M, dtype=torch.bool)
    mask[0, 0] = mask[1, 3] = mask[3, 4] = True
    return mask


def _weights(size: int, uniform: bool) -> Tensor | None:
    return None if uniform else torch.linspace(1.0, 2.0, size, dtype=F64) / (1.5 * size)


def _side(kind: str, rho: Tensor, weights: Tensor | None) -> Marginal:
    return {"Fixed": lambda: Fixed(weights), "KL": lambda: KL(rho, weights), "Free": lambda: Free(weights)}[kind]()


class Case:
    """A problem as a scalar function of scores, temperature and both rho."""

    def __init__(self, rows: str, cols: str, rule: Rule, *, uniform: bool = False, **options: object) -> None:
        self.kinds, self.rule, self.uniform, self.options = (rows, cols), rule, uniform, options
        self.probe = torch.randn(N, M, dtype=F64), torch.randn(N, dtype=F64), torch.randn(M, dtype=F64)
        self.inputs = tuple(
            x.requires_grad_()
            for x in (torch.randn(N, M, dtype=F64), *torch.tensor([0.8, 0.6, 1.3], dtype=F64).unbind())
        )

    def solve(self, matrix: Tensor, temperature: Tensor, rho_rows: Tensor, rho_cols: Tensor) -> Coupling:
        rows = _side(self.kinds[0], rho_rows, _weights(N, self.uniform))
        cols = _side(self.kinds[1], rho_cols, _weights(M, self.uniform))
        scores = Scores.given(matrix, temperature=temperature, mask=_mask())
        return couple(scores, rows, cols, rule=self.rule, **self.options)  # type: ignore[arg-type]

    def __call__(self, *inputs: Tensor) -> Tensor:
        coupling = self.solve(*inputs)
        on_plan, on_f, on_g = self.probe
        return (N * M * coupling.plan() * on_plan).sum() + coupling.f @ on_f + coupling.g @ on_g


def _name(value: object) -> str:
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(("rows", "cols", "rule"), COMBINATIONS, ids=_name)
def test_every_combination_in_scores_temperature_and_rho(rows: str, cols: str, rule: Rule) -> None:
    case = Case(rows, cols, rule, sweeps=2)
    assert torch.autograd.gradcheck(case, case.inputs, atol=1e-7, rtol=1e-6)
    by_scores, by_temperature, by_rho_rows, by_rho_cols = gradients(case, case.inputs)
    assert by_scores.abs().max() > 1e-3
    assert (by_scores[_mask()] == 0).all()
    assert by_temperature.abs() > 1e-4
    assert (by_rho_rows != 0) == (rows == "KL")
    assert (by_rho_cols != 0) == (cols == "KL")


def test_there_are_26_and_the_27th_is_refused() -> None:
    assert len(COMBINATIONS) == 26
    scores = Scores.given(torch.zeros(2, 2))
    with pytest.raises(
        InvalidInput, match=r"Power between Free rows and Free columns.*is undefined.*constrain one side"
    ):
        couple(scores, Free(), Free(), rule=Power())
    with pytest.raises(InvalidInput, match="without any half-step"):
        couple(scores, Fixed(), Fixed(), sweeps=0, rule=Power())


@pytest.mark.parametrize(
    ("rule", "sweeps", "row_step"),
    [
        (rule, sweeps, row_step)
        for rule in RULES
        for sweeps in (0, 1, 4)
        for row_step in (False, True)
        if sweeps or row_step or not isinstance(rule, Power)
    ],
)
@pytest.mark.parametrize(("rows", "cols"), [("Fixed", "Fixed"), ("KL", "Fixed"), ("Fixed", "Free"), ("KL", "KL")])
def test_any_number_of_sweeps(rows: str, cols: str, sweeps: int, row_step: bool, rule: Rule) -> None:
    case = Case(rows, cols, rule, uniform=True, sweeps=sweeps, row_step=row_step)
    assert_directional(case, case.inputs, tol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=_name)
@pytest.mark.parametrize("cols", ["Fixed", "KL"])
def test_a_warm_start_is_a_constant_with_an_effect(cols: str, rule: Rule) -> None:
    case = Case("Fixed", cols, rule, sweeps=1, init=torch.linspace(-0.4, 0.4, M, dtype=F64))
    assert_directional(case, case.inputs, tol=1e-6)
    cold = Case("Fixed", cols, rule, sweeps=1)
    assert (case.solve(*case.inputs).f - cold.solve(*case.inputs).f).abs().max() > 1e-2


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_the_gradient_is_that_of_the_sweeps_run_not_of_the_limit(rule: Rule) -> None:
    few, many = (Case("Fixed", "Fixed", rule, sweeps=t) for t in (1, 60))
    many.probe, many.inputs = few.probe, few.inputs
    early, limit = (gradients(case, few.inputs)[0] for case in (few, many))
    assert (early - limit).norm() > 1e-2 * limit.norm()
    assert_directional(few, few.inputs, tol=1e-6)
    assert_directional(many, many.inputs, tol=1e-5)


def test_only_the_requested_gradients_flow() -> None:
    matrix = torch.randn(N, M, dtype=F64)
    rho = torch.tensor(0.7, dtype=F64, requires_grad=True)
    plan = couple(Scores.given(matrix, temperature=0.5), KL(rho), Fixed(), sweeps=3).plan()
    (by_rho,) = torch.autograd.grad(plan[0, 0], rho)
    assert by_rho.isfinite()
    assert by_rho != 0
    assert matrix.grad is None


def test_gradients_reach_embeddings_on_both_sides() -> None:
    q, k = torch.randn(N, 3, dtype=F64), torch.randn(M, 3, dtype=F64)
    target = torch.randn(N, M, dtype=F64)

    def value(q: Tensor, k: Tensor) -> Tensor:
        return (couple(Scores(q, k, temperature=0.4), Fixed(), Fixed(), sweeps=2).plan() * target).sum()

    assert torch.autograd.gradcheck(value, (q.requires_grad_(), k.requires_grad_()))


@pytest.mark.parametrize("rows", KINDS)
@pytest.mark.parametrize("cols", KINDS)
def test_sweeps_left_to_autograd_are_those_of_the_adjoint(rows: str, cols: str) -> None:
    case = Case(rows, cols, Entropic(), uniform=True, sweeps=3, row_step=rows != "Free")
    plain, by_autograd = case(*case.inputs), gradients(case, list(case.inputs))
    with limited(tiled=0):
        value, by_adjoint = case(*case.inputs), gradients(case, list(case.inputs))
    torch.testing.assert_close(plain, value, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(by_autograd, by_adjoint, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_second_derivative_is_refused_not_wrong() -> None:
    for rule in RULES:
        matrix = torch.randn(N, M, dtype=F64, requires_grad=True)
        with limited(tiled=0):
            plan = couple(Scores.given(matrix), Fixed(), Fixed(), sweeps=2, rule=rule).plan()
        with pytest.raises(NotImplementedError, match="no second derivative"):
            torch.autograd.grad(plan[0, 0], matrix, create_graph=True)
