"""What cannot converge says so, and says why."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from couplings import CouplingWarning, Fixed, NotConverged, Quadratic, Rule, Scores, couple
from couplings.basics.sizes import limited
from couplings.losses import LOSSES
from couplings.pieces.rules import Entropic, Power

N = 16
TEXT = r"s 0, 1, 2, 3, 4, 5 hold (18.8|37.5) % of the mass, but the mask leaves them 2 (column|row)s with (6.25|12.5) %"


def _narrow(side: str) -> Tensor:
    """Six rows that admit two columns, or the reverse."""
    mask = torch.zeros(2 * N, 2 * N, dtype=torch.bool)
    mask[:6] = True
    mask[:6, 20:22] = False
    return mask if side == "rows" else mask.T.contiguous()


@pytest.mark.parametrize("side", ["rows", "columns"])
@pytest.mark.parametrize("name", ["hcl-ot", "balanced-alpha-cl", "sinkhorn-cacr"])
def test_a_mask_without_a_balanced_plan_is_explained(name: str, side: str) -> None:
    with pytest.warns(CouplingWarning, match=side[:-1] + TEXT):
        LOSSES[name]()(*torch.randn(2, N, 4), mask=_narrow(side))


@pytest.mark.parametrize("dense", [0, 1 << 20], ids=["panels", "one matrix"])
@pytest.mark.parametrize("rule", [Entropic(), Quadratic()], ids=str)
def test_check_explains_too(rule: Rule, dense: int) -> None:
    with limited(dense=dense, panel=200), pytest.warns(CouplingWarning, match="a plan that does not exist"):
        plan = couple(Scores(torch.randn(2 * N, 3), mask=_narrow("rows")), Fixed(), Fixed(), sweeps=40, rule=rule)
    with pytest.raises(NotConverged, match="row" + TEXT):
        plan.check()


def test_a_mask_with_a_plan_is_not_blamed() -> None:
    """However far from converged: a cold plan under a random mask, whose diagonal is free."""
    mask = (torch.rand(2 * N, 2 * N) < 0.8).fill_diagonal_(False)
    scores = Scores(torch.randn(2 * N, 3), temperature=0.02, mask=mask)
    plan = couple(scores, Fixed(), Fixed(), sweeps=3)  # a warning would be an error
    with pytest.raises(NotConverged, match="run more sweeps"):
        plan.check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tolerance_that_is_not_reached_is_told_at_any_scale(dtype: torch.dtype) -> None:
    scores = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for power in range(0, 36, 2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            matrix = (scores * 10.0**power).to(dtype)
            plan = couple(Scores.given(matrix), Fixed(), Fixed(), sweeps=200, tol=1e-4).plan()
        error = float((plan.sum(1) - 1 / 6).abs().sum())
        assert error <= 2e-4 or told, f"{error} at 1e{power}"


@pytest.mark.parametrize("rule", [Quadratic(), Power(2.0)], ids=str)
def test_scores_beyond_the_dtype_are_told_by_every_rule(rule: Rule) -> None:
    with pytest.warns(CouplingWarning, match="torch.float32 cannot resolve the heaviest pairs"):
        couple(Scores.given(1e9 * torch.randn(4, 5)), rule=rule)
