"""Targets: mass on pairs, its divergence from a plan, and what a balanced plan can meet."""

from __future__ import annotations

import pytest
import torch

from couplings import Fixed, InvalidInput, Pairs, Scores, couple
from helpers import F64

COLUMNS = torch.tensor([[1, 2], [0, 2], [0, 1]])


def _plan() -> tuple[Scores, torch.Tensor]:
    scores = Scores.given(torch.randn(3, 3, dtype=F64), temperature=0.7)
    return scores, couple(scores).plan()


def test_divergence_is_the_kullback_leibler_divergence() -> None:
    scores, plan = _plan()
    target = (torch.ones(3, 3, dtype=F64) - torch.eye(3, dtype=F64)) / 6
    expected = torch.nn.functional.kl_div(plan.log(), target, reduction="sum")
    torch.testing.assert_close(Pairs(COLUMNS).divergence(couple(scores)), expected)


def test_divergence_of_a_plan_from_itself_is_zero() -> None:
    mask = torch.eye(3, dtype=torch.bool)
    coupling = couple(Scores.given(torch.zeros(3, 3, dtype=F64), mask=mask), Fixed(), Fixed(), sweeps=50)
    assert Pairs(COLUMNS).divergence(coupling).item() == pytest.approx(0, abs=1e-12)


def test_column_mass_counts_the_pairs() -> None:
    assert Pairs(COLUMNS).column_mass(3).tolist() == pytest.approx([1 / 3] * 3)
    assert Pairs(torch.tensor([[0], [0], [2]])).column_mass(4).tolist() == pytest.approx([2 / 3, 0, 1 / 3, 0])


def test_columns_that_a_balanced_plan_cannot_match_are_named() -> None:
    even = torch.full((4,), 0.25, dtype=F64)
    with pytest.raises(InvalidInput, match=r"puts mass 0\.667 on column 0 but the balanced plan must carry 0\.25"):
        Pairs(torch.tensor([[0], [0], [2]])).require_column_mass(even)
    Pairs(torch.tensor([[0], [1], [2], [3]])).require_column_mass(even)
    Pairs(torch.tensor([[0], [1], [2], [3]])).require_column_mass(8 * even)
