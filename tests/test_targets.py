"""Targets: mass on pairs, its divergence from a plan, and what a balanced plan can meet."""

from __future__ import annotations

import pytest
import torch

from couplings import KL, Coupling, Fixed, Free, Given, InvalidInput, Pairs, SameId, Scores, couple
from couplings.targets import Part
from helpers import F64

COLUMNS = torch.tensor([[1, 2], [0, 2], [0, 1]])


def _plan() -> tuple[Scores, torch.Tensor]:
    scores = Scores.given(torch.randn(3, 3, dtype=F64), temperature=0.7)
    return scores, couple(scores).plan()


def _mean(plan: Coupling, part: Part) -> torch.Tensor:
    return part.log_mean_exp(part.log_entries(plan))


def test_divergence_is_the_kullback_leibler_divergence() -> None:
    scores, plan = _plan()
    target = (torch.ones(3, 3, dtype=F64) - torch.eye(3, dtype=F64)) / 6
    expected = torch.nn.functional.kl_div(plan.log(), target, reduction="sum")
    torch.testing.assert_close(Pairs(COLUMNS).divergence(couple(scores)), expected)


def test_divergence_of_a_plan_from_itself_is_zero() -> None:
    mask = torch.eye(3, dtype=torch.bool)
    coupling = couple(Scores.given(torch.zeros(3, 3, dtype=F64), mask=mask), Fixed(), Fixed(), sweeps=50)
    assert Pairs(COLUMNS).divergence(coupling).item() == pytest.approx(0, abs=1e-12)


def test_marginals_count_the_pairs() -> None:
    for columns, expected in ((COLUMNS, [1 / 3] * 3), (torch.tensor([[0], [0], [2]]), [2 / 3, 0, 1 / 3])):
        rows, cols = Pairs(columns).marginals(3)
        assert rows is None
        assert cols is not None
        assert cols.tolist() == pytest.approx(expected)
    assert Pairs(COLUMNS, balanced=True).marginals(3) == (None, None)


def test_pairs_and_the_same_target_as_a_matrix_agree() -> None:
    scores, _ = _plan()
    plan = couple(scores, KL(0.3), KL(0.7), sweeps=3)
    pairs, matrix = Pairs(COLUMNS), torch.ones(3, 3, dtype=F64) - torch.eye(3, dtype=F64)
    given = Given(2 * matrix)
    torch.testing.assert_close(given.divergence(plan), pairs.divergence(plan))
    torch.testing.assert_close(given.conditional_divergence(plan), pairs.conditional_divergence(plan))
    torch.testing.assert_close(given.row_mass(plan.f), pairs.row_mass(plan.f))
    torch.testing.assert_close(given.cross_entropy(plan), pairs.cross_entropy(plan))
    torch.testing.assert_close(given.expected_logit(plan), pairs.expected_logit(plan))
    torch.testing.assert_close(given.primal(plan), pairs.primal(plan))
    torch.testing.assert_close(given.each_row(plan, _mean), pairs.each_row(plan, _mean))
    assert given.entropy() == pytest.approx(pairs.entropy())


def test_conditional_divergence_ignores_row_masses() -> None:
    scores, _ = _plan()
    relaxed = couple(scores, Free(), Free())
    torch.testing.assert_close(
        Pairs(COLUMNS).conditional_divergence(relaxed), Pairs(COLUMNS).divergence(couple(scores))
    )
    assert (Pairs(COLUMNS).divergence(relaxed) - Pairs(COLUMNS).divergence(couple(scores))).abs() > 1e-3


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.tensor([[1.0, -1.0], [1.0, 1.0]]), "negative"),
        (torch.tensor([[1.0, torch.nan], [1.0, 1.0]]), "NaN"),
        (torch.tensor([[1.0, 1.0], [0.0, 0.0]]), "row 1 of target is empty"),
    ],
)
def test_a_given_target_that_is_no_plan_is_refused(matrix: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Given(matrix)


def test_mass_on_a_masked_pair_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"the pair \(1, 1\), which is masked"):
        Given(torch.tensor([[0.0, 1.0], [1.0, 1.0]])).admitted_by(SameId(torch.arange(2), torch.arange(2)))
