"""A solved coupling: every question it answers, against its plan as a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from couplings import KL, Coupling, Entropic, Fixed, Power, Quadratic, Rule, Scores, SquaredEuclidean, couple
from helpers import F64

RULES = [Entropic(), Quadratic(), Power(2.0)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)


def _mask() -> Tensor:
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0, 0] = mask[2, 3] = True
    return mask


def _coupling(rule: Rule, q: Tensor | None = None, **options: object) -> Coupling:
    q = torch.randn(4, 3, dtype=F64) if q is None else q
    scores = Scores(q, torch.randn(5, 3, dtype=F64), temperature=0.4, mask=_mask())
    return couple(scores, Fixed(), KL(0.8), rule=rule, sweeps=3, **options)  # type: ignore[arg-type]


@every_rule
def test_the_plan_is_what_the_potentials_say(rule: Rule) -> None:
    coupling = _coupling(rule)
    exponent = coupling.f[:, None] + coupling.g + coupling.scores.matrix()
    torch.testing.assert_close(coupling.plan(), coupling.a[:, None] * coupling.b * rule.density(exponent))
    assert (coupling.plan()[_mask()] == 0).all()


@every_rule
def test_marginals_and_products(rule: Rule) -> None:
    coupling = _coupling(rule)
    plan, v, block = coupling.plan(), torch.randn(5, dtype=F64), torch.randn(5, 3, dtype=F64)
    torch.testing.assert_close(coupling.row_mass(), plan.sum(1))
    torch.testing.assert_close(coupling.column_mass(), plan.sum(0))
    assert [m.shape for m in coupling.marginals()] == [(4,), (5,)]
    torch.testing.assert_close(coupling.apply(v), plan @ v)
    torch.testing.assert_close(coupling.apply(block), plan @ block)
    torch.testing.assert_close(coupling.conditional(), plan / plan.sum(1, keepdim=True))


@every_rule
def test_logs_at_pairs(rule: Rule) -> None:
    coupling = _coupling(rule)
    i, j = torch.tensor([[0], [1], [3]]), torch.tensor([[1, 2], [0, 4], [2, 4]])
    torch.testing.assert_close(coupling.log_at(i, j).exp(), coupling.plan()[i, j])
    torch.testing.assert_close(coupling.log_conditional_at(i, j).exp(), coupling.conditional()[i, j])


@every_rule
def test_expectations_of_other_scores(rule: Rule) -> None:
    q = torch.randn(4, 3, dtype=F64)
    coupling = _coupling(rule, q)
    other = Scores(q, torch.randn(5, 3, dtype=F64), cost=SquaredEuclidean(), temperature=2.0)
    weights = coupling.conditional()
    torch.testing.assert_close(coupling.expect(other), (weights * other.matrix()).sum(1))
    torch.testing.assert_close(coupling.log_expect(other), (weights * other.matrix().exp()).sum(1).log())


@every_rule
def test_entropies_in_nats(rule: Rule) -> None:
    coupling = _coupling(rule)
    plan = coupling.plan() / coupling.plan().sum()
    torch.testing.assert_close(coupling.entropy(), torch.special.entr(plan).sum())
    torch.testing.assert_close(coupling.row_entropy(), torch.special.entr(coupling.conditional()).sum(1))


def test_entropy_of_a_uniform_plan() -> None:
    coupling = couple(Scores.given(torch.zeros(4, 5, dtype=F64)))
    assert coupling.entropy().item() == pytest.approx(math.log(20))
    assert coupling.row_entropy().exp().tolist() == pytest.approx([5.0] * 4)


@every_rule
def test_top_is_heaviest_first(rule: Rule) -> None:
    coupling = _coupling(rule)
    mass, rows, cols = coupling.top(3)
    assert mass.tolist() == sorted(coupling.plan().flatten().tolist(), reverse=True)[:3]
    torch.testing.assert_close(coupling.plan()[rows, cols], mass)
    assert len(coupling.top(1000)[0]) == 20


QUESTIONS: dict[str, Callable[[Coupling], Tensor]] = {
    "plan": lambda c: c.plan().square().sum(),
    "conditional": lambda c: c.conditional().square().sum(),
    "column_mass": lambda c: c.column_mass().square().sum(),
    "apply": lambda c: c.apply(torch.arange(5.0, dtype=F64)).square().sum(),
    "log_at": lambda c: c.log_at(torch.tensor([1, 3]), torch.tensor([1, 4])).sum(),
    "log_conditional_at": lambda c: c.log_conditional_at(torch.tensor([1, 3]), torch.tensor([1, 4])).sum(),
    "expect": lambda c: c.expect(c.scores).sum(),
    "log_expect": lambda c: c.log_expect(c.scores).sum(),
    "row_entropy": lambda c: c.row_entropy().sum(),
    "entropy": lambda c: c.entropy(),
    "error": lambda c: c.error(),
}


@every_rule
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_answer_is_differentiable_under_a_mask(question: str, rule: Rule) -> None:
    matrix = 0.5 * torch.randn(4, 5, dtype=F64)

    def value(matrix: Tensor) -> Tensor:
        scores = Scores.given(matrix, temperature=2.0, mask=_mask())
        return QUESTIONS[question](couple(scores, Fixed(), Fixed(), sweeps=1, rule=rule))

    assert torch.autograd.gradcheck(value, matrix.requires_grad_(), atol=1e-6)


@every_rule
def test_entropy_of_a_sparse_plan_has_a_finite_gradient(rule: Rule) -> None:
    matrix = torch.randn(4, 5, dtype=F64, requires_grad=True)
    coupling = couple(Scores.given(matrix, temperature=0.05, mask=_mask()), rule=rule)
    (gradient,) = torch.autograd.grad(coupling.entropy() + coupling.row_entropy().sum(), matrix)
    assert gradient.isfinite().all()


@every_rule
def test_a_detached_coupling_is_the_same_constant(rule: Rule) -> None:
    q = torch.randn(4, 3, dtype=F64, requires_grad=True)
    coupling = _coupling(rule, q)
    constant = coupling.detach()
    assert coupling.plan().requires_grad
    assert not constant.plan().requires_grad
    assert not constant.log_at(torch.tensor(1), torch.tensor(1)).requires_grad
    assert torch.equal(constant.plan(), coupling.plan())
    torch.testing.assert_close(constant.error(), coupling.error().detach())


def test_a_coupling_is_frozen_and_keeps_no_matrix_of_its_own() -> None:
    coupling = _coupling(Entropic())
    with pytest.raises(AttributeError):
        coupling.f = coupling.g  # type: ignore[misc]
    assert coupling.f.shape == (4,)
    assert coupling.g.shape == (5,)
    assert coupling.empty_rows == 0
