"""`couple`: what it solves, when it stops, what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import couplings
from couplings import (
    KL,
    CouplingWarning,
    Entropic,
    Fixed,
    Free,
    Infeasible,
    InvalidInput,
    NotConverged,
    Power,
    Quadratic,
    Rule,
    SameId,
    Scores,
    couple,
)
from helpers import F64

RULES = [Entropic(), Quadratic(), Power(2.0)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)


def _scores(n: int = 4, m: int = 5, temperature: float = 0.5, **options: object) -> Scores:
    return Scores.given(torch.randn(n, m, dtype=F64), temperature=temperature, **options)  # type: ignore[arg-type]


# What it solves


def test_rows_fixed_and_columns_free_is_a_softmax() -> None:
    scores = _scores()
    torch.testing.assert_close(couple(scores).plan(), torch.softmax(scores.matrix(), 1) / 4)


def test_columns_fixed_and_rows_free_is_a_softmax_over_rows() -> None:
    scores = _scores()
    torch.testing.assert_close(couple(scores, Free(), Fixed()).plan(), torch.softmax(scores.matrix(), 0) / 5)


def test_two_free_sides_leave_the_kernel() -> None:
    scores = _scores()
    torch.testing.assert_close(couple(scores, Free(), Free()).plan(), scores.matrix().exp() / 20)


@every_rule
def test_marginals_hold_at_convergence(rule: Rule) -> None:
    a = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
    b = torch.tensor([0.3, 0.1, 0.2, 0.2, 0.2], dtype=F64)
    coupling = couple(_scores(), Fixed(a), Fixed(b), sweeps=2000, tol=1e-10, rule=rule)
    torch.testing.assert_close(coupling.plan().sum(1), a, atol=1e-9, rtol=0)
    torch.testing.assert_close(coupling.plan().sum(0), b, atol=1e-9, rtol=0)
    assert coupling.check(tol=1e-8) is coupling


@every_rule
def test_mass_may_be_anything_as_long_as_both_sides_agree(rule: Rule) -> None:
    a, b = torch.full((4,), 2.0, dtype=F64), torch.full((5,), 1.6, dtype=F64)
    plan = couple(_scores(), Fixed(a), Fixed(b), sweeps=2000, tol=1e-9, rule=rule).plan()
    torch.testing.assert_close(plan.sum(1), a, atol=1e-8, rtol=0)
    torch.testing.assert_close(plan.sum(0), b, atol=1e-8, rtol=0)


@every_rule
@pytest.mark.parametrize("c", [0.0, 0.7])
def test_the_half_step_solves_its_equation(rule: Rule, c: float) -> None:
    scores = _scores(6, 7)
    log_w = torch.log_softmax(torch.randn(7, dtype=F64), 0)
    g = torch.randn(7, dtype=F64) * 0.2
    f = rule.half_step(scores.matrix(), g, log_w, torch.tensor(c, dtype=F64))
    mass = (rule.density(scores.matrix() + g + f[:, None]) * log_w.exp()).sum(1)
    torch.testing.assert_close(c * f + mass.log(), torch.zeros(6, dtype=F64), atol=1e-12, rtol=0)


def test_the_quadratic_rule_is_sparse_and_the_others_are_not() -> None:
    torch.manual_seed(1)
    scores = _scores(8, 8, temperature=0.2)
    zeros = [(couple(scores, rule=rule).plan() == 0).double().mean().item() for rule in RULES]
    assert zeros[1] > 0.5
    assert zeros[0] == zeros[2] == 0


@pytest.mark.parametrize("q", [1 + 1e-5, 1.001])
def test_power_approaches_entropic_as_q_approaches_one(q: float) -> None:
    scores = _scores()
    torch.testing.assert_close(couple(scores, rule=Power(q)).plan(), couple(scores).plan(), atol=20 * (q - 1), rtol=0)


def test_kl_lies_between_fixed_and_free() -> None:
    scores = _scores()
    firm, loose = (couple(scores, KL(rho), Fixed(), sweeps=300).plan() for rho in (1e9, 1e-9))
    torch.testing.assert_close(firm, couple(scores, Fixed(), Fixed(), sweeps=300).plan(), atol=1e-7, rtol=0)
    torch.testing.assert_close(loose, couple(scores, Free(), Fixed()).plan(), atol=1e-7, rtol=0)
    middle = couple(scores, KL(1.0), KL(2.0), sweeps=400)
    assert middle.error() < 1e-12
    assert (middle.row_mass() - 0.25).abs().max() > 1e-3


def test_sweeps_are_row_then_column_and_row_step_ends_on_rows() -> None:
    scores = _scores()
    by_columns, by_rows = (couple(scores, Fixed(), Fixed(), sweeps=2, row_step=step) for step in (False, True))
    torch.testing.assert_close(by_columns.column_mass(), torch.full((5,), 0.2, dtype=F64))
    torch.testing.assert_close(by_rows.row_mass(), torch.full((4,), 0.25, dtype=F64))
    assert (by_columns.row_mass() - 0.25).abs().max() > 1e-6
    assert (by_rows.column_mass() - 0.2).abs().max() > 1e-6
    torch.testing.assert_close(couple(scores, sweeps=0, row_step=True).plan(), couple(scores).plan())


def test_starting_from_the_solution_stays_there() -> None:
    scores = _scores()
    solved = couple(scores, Fixed(), Fixed(), sweeps=300)
    again = couple(scores, Fixed(), Fixed(), sweeps=1, init=solved.g)
    torch.testing.assert_close(again.plan(), solved.plan(), atol=1e-12, rtol=0)


# When it stops


def test_tol_stops_early_and_is_met() -> None:
    scores = _scores()
    stopped, full = (couple(scores, Fixed(), Fixed(), sweeps=1000, tol=tol) for tol in (1e-3, None))
    assert stopped.error() <= 1e-3
    assert (stopped.f - full.f).abs().max() > 0


def test_a_tolerance_is_looked_at_every_ten_sweeps() -> None:
    scores = _scores(temperature=0.1)
    first = couple(scores, Fixed(), Fixed(), sweeps=100, tol=1.0)
    for sweeps, same in ((10, True), (9, False), (11, False)):
        assert torch.allclose(first.g, couple(scores, Fixed(), Fixed(), sweeps=sweeps).g, atol=1e-12, rtol=0) == same


@pytest.mark.parametrize("cols", [Fixed(), KL(1.0)], ids=["Fixed", "KL"])
def test_a_tolerance_of_relaxed_rows_is_met(cols: couplings.Marginal) -> None:
    """Their mass is to be a_i exp(-c f_i), not a_i."""
    scores = _scores()
    stopped, full = (couple(scores, KL(0.5), cols, sweeps=1000, tol=tol) for tol in (1e-10, None))
    torch.testing.assert_close(stopped.plan(), full.plan(), atol=1e-9, rtol=0)


def test_a_tolerance_that_is_not_reached_warns_with_numbers_and_a_remedy() -> None:
    with pytest.warns(CouplingWarning, match=r"after 3 sweeps with a row-marginal error .* tol = 1e-12: allow more"):
        couple(_scores(temperature=0.05), Fixed(), Fixed(), sweeps=3, tol=1e-12)


def test_the_warning_points_at_the_callers_line() -> None:
    with pytest.warns(CouplingWarning) as caught:
        couple(_scores(temperature=0.05), Fixed(), Fixed(), sweeps=3, tol=1e-12)
    assert caught[0].filename == __file__


def test_one_sided_problems_meet_any_tolerance_at_once() -> None:
    for rows, cols in ((Fixed(), Free()), (Free(), Fixed()), (Free(), KL(1.0)), (KL(0.5), Free())):
        assert couple(_scores(), rows, cols, tol=1e-9).error() < 1e-12


def test_check_raises_with_the_error_and_a_remedy() -> None:
    coupling = couple(_scores(temperature=0.05), Fixed(), Fixed(), sweeps=1)
    with pytest.raises(NotConverged, match=r"off by [0-9.e-]+ \(L1\), tol is 1e-08: run more sweeps"):
        coupling.check(tol=1e-8)


# What it refuses


def _forbid(n: int, m: int, *pairs: tuple[int | slice, int | slice]) -> torch.Tensor:
    mask = torch.zeros(n, m, dtype=torch.bool)
    for i, j in pairs:
        mask[i, j] = True
    return mask


@every_rule
def test_an_empty_row_raises_and_names_it(rule: Rule) -> None:
    scores = _scores(mask=_forbid(4, 5, (2, slice(None))))
    for cols in (Free(), Fixed(), KL(1.0)):
        with pytest.raises(Infeasible, match=r"row 2 has no admissible pair \(1 such rows\).*drop them.*skip_empty"):
            couple(scores, Fixed(), cols, rule=rule)


@every_rule
def test_an_empty_column_raises_when_it_must_carry_mass(rule: Rule) -> None:
    scores = _scores(mask=_forbid(4, 5, (slice(None), 3)))
    with pytest.raises(Infeasible, match="column 3 has no admissible pair"):
        couple(scores, Fixed(), Fixed(), rule=rule)
    assert couple(scores, Fixed(), Free(), rule=rule).column_mass()[3] == 0


@every_rule
@pytest.mark.parametrize("cols", [Free(), Fixed(), KL(1.0)], ids=lambda c: type(c).__name__)
def test_skip_empty_gives_zero_mass_and_rescales_the_rest(rule: Rule, cols: couplings.Marginal) -> None:
    matrix = torch.randn(4, 5, dtype=F64, requires_grad=True)
    scores = Scores.given(matrix, mask=_forbid(4, 5, (2, slice(None))))
    coupling = couple(scores, Fixed(), cols, rule=rule, skip_empty=True, sweeps=60)
    mass = coupling.row_mass().detach()
    assert coupling.empty_rows == 1
    assert mass[2] == 0
    torch.testing.assert_close(mass[[0, 1, 3]], torch.full((3,), 1 / 3, dtype=F64), atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad((coupling.plan() * torch.randn(4, 5)).sum(), matrix)
    assert gradient.isfinite().all()
    assert (gradient[2] == 0).all()


def test_skip_empty_cannot_save_a_mask_that_forbids_everything() -> None:
    with pytest.raises(Infeasible, match="no admissible pair at all"):
        couple(_scores(mask=torch.ones(4, 5, dtype=torch.bool)), skip_empty=True)


def test_a_class_over_half_of_the_mass_is_infeasible_between_fixed_sides_only() -> None:
    ids = torch.tensor([7, 7, 7, 1, 2])
    scores = _scores(5, 5, mask=SameId(ids, ids))
    with pytest.raises(Infeasible, match=r"id or label 7 holds 60 % of the mass.*KL\(rho\)"):
        couple(scores, Fixed(), Fixed())
    assert couple(scores, Fixed(), KL(1.0), sweeps=100).plan().isfinite().all()
    assert couple(scores, Fixed(), Free()).plan().isfinite().all()


def test_a_class_of_little_over_half_is_infeasible_too() -> None:
    ids = torch.arange(200).clamp_max(99)  # 101 of them are 99
    with pytest.raises(Infeasible, match=r"id or label 99 holds 50\.5 % of the mass"):
        couple(_scores(200, 200, mask=SameId(ids, ids)), Fixed(), Fixed())


def test_a_class_of_exactly_half_warns_and_converges_slowly() -> None:
    ids = torch.tensor([7, 7, 1, 2])
    scores = _scores(4, 4, mask=SameId(ids, ids))
    with pytest.warns(CouplingWarning, match="id or label 7 holds exactly half of the mass"):
        errors = [couple(scores, Fixed(), Fixed(), sweeps=t).error().item() for t in (100, 200, 400)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.2)


def test_two_classes_of_half_each_do_not_warn() -> None:
    ids = torch.tensor([0, 0, 1, 1])
    assert couple(_scores(4, 4, 3.0, mask=SameId(ids, ids)), Fixed(), Fixed(), sweeps=100).error() < 1e-9


@pytest.mark.parametrize("mass", [2.0, 1.001])
def test_fixed_sides_of_different_mass_are_refused(mass: float) -> None:
    a, b = torch.full((4,), 0.25, dtype=F64), torch.full((5,), mass / 5, dtype=F64)
    with pytest.raises(InvalidInput, match=rf"rows carry mass 1 but Fixed columns carry {mass:g}:.*rescale.*KL\(rho\)"):
        couple(_scores(), Fixed(a), Fixed(b))
    assert couple(_scores(), Fixed(a), KL(1.0, b)).plan().isfinite().all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.5, -0.5, 0.5], "weights of rows must be >= 0, got -0.5"),
        ([0.5, math.nan, 0.0, 0.5], "weights of rows hold NaN or inf"),
        ([0.0, 0.0, 0.0, 0.0], "weights of rows sum to zero"),
        ([0.5, 0.5], r"weights of rows must have shape \(4,\), got \(2,\)"),
    ],
)
@pytest.mark.parametrize("side", [Fixed, Free, lambda w: KL(1.0, w)], ids=["Fixed", "Free", "KL"])
def test_bad_weights(side: object, weights: list[float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        couple(_scores(), side(torch.tensor(weights)), Free())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sweeps": -1}, "sweeps must be an integer >= 0, got -1"),
        ({"sweeps": 2.5}, "sweeps must be an integer >= 0, got 2.5"),
        ({"tol": 0.0}, "tol must be > 0, got 0"),
        ({"rows": Free(), "row_step": True}, "row_step=True needs rows with a potential"),
        ({"cols": Fixed(), "init": torch.zeros(4)}, r"init must have shape \(5,\), got \(4,\)"),
        ({"init": torch.zeros(5)}, r"init is the column potential.*Free\(\) columns do not have"),
        ({"rows": "fixed"}, r"rows must be Fixed\(\), KL\(rho\) or Free\(\), got 'fixed'"),
        ({"cols": Fixed}, r"cols must be Fixed\(\), KL\(rho\) or Free\(\)"),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        couple(_scores(), **options)  # type: ignore[arg-type]


def test_scores_must_be_scores() -> None:
    with pytest.raises(InvalidInput, match="scores must be a Scores, got Tensor"):
        couple(torch.zeros(2, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("rho", [0.0, -1.0, math.nan])
def test_bad_rho(rho: float) -> None:
    with pytest.raises(InvalidInput, match="rho must be > 0"):
        KL(rho)


@pytest.mark.parametrize("q", [1.0, 0.5, -1.0])
def test_bad_q_names_the_other_rules(q: float) -> None:
    with pytest.raises(InvalidInput, match=r"q must be > 1, got .*Entropic\(\) is q = 1 and Quadratic\(\) is q = 0"):
        Power(q)


def test_keys_of_ones_own_have_no_column_marginal() -> None:
    scores = Scores(torch.randn(3, 4), torch.randn(3, 2, 4))
    with pytest.raises(InvalidInput, match=r"cols must be Free\(\) when each row has keys of its own"):
        couple(scores, Fixed(), Fixed())
    torch.testing.assert_close(couple(scores).row_mass(), torch.full((3,), 1 / 3))


def test_checks_that_read_values_can_be_switched_off() -> None:
    scores = _scores(mask=_forbid(4, 5, (2, slice(None))))
    couplings.set_checks(False)
    try:
        assert couple(scores).row_mass()[2] == 0
        assert couplings.InfoNCE()(torch.full((4, 3), math.nan), torch.ones(4, 3)).isnan()
    finally:
        couplings.set_checks(True)
    with pytest.raises(Infeasible):
        couple(scores)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_rows_and_columns_without_weight_are_left_out(rule: Rule) -> None:
    matrix = torch.tensor([[1.0, 0.0, -0.2], [0.3, 0.1, 0.9]], dtype=F64)
    weights = torch.tensor([0.0, 0.5, 0.5], dtype=F64)
    plan = couple(Scores.given(matrix, temperature=0.1), Fixed(), Free(weights), rule=rule).plan()
    part = couple(Scores.given(matrix[:, 1:], temperature=0.1), Fixed(), Free(), rule=rule).plan()
    torch.testing.assert_close(plan, torch.cat([torch.zeros(2, 1, dtype=F64), part], dim=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "entropic"}, r"rule must be Entropic\(\), Quadratic\(\) or Power\(q\), got 'entropic'"),
        ({"rule": Quadratic}, "rule must be Entropic"),
        ({"tol": "a"}, "tol must be a number, got 'a'"),
        ({"rows": Fixed([0.5, 0.5])}, "the weights of rows must be a torch.Tensor, got list"),
        ({"cols": Fixed(), "init": [0.0, 0.0, 0.0]}, "init must be a torch.Tensor, got list"),
        ({"cols": Fixed(), "init": torch.tensor([0.0, math.nan, 0.0])}, "init holds NaN or inf"),
    ],
)
def test_what_is_no_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        couple(Scores.given(torch.zeros(2, 3)), **options)


def test_nan_scores_are_seen_without_a_half_step() -> None:
    class Broken:
        def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
            return dot * math.nan

    with pytest.raises(InvalidInput, match="scores of row 0 hold NaN"):
        couple(Scores(torch.eye(3), cost=Broken()), Free(), Free())


def test_a_coupling_prints_on_a_line() -> None:
    text = repr(couple(Scores(torch.eye(3))))
    assert text == "Coupling(3 x 3, Entropic(), rows constrained, columns free)"
