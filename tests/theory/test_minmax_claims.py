"""Claims about the min-max game pass, and fail with a wrong ingredient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings.pieces.costs import Cosine, InnerProduct
from couplings.pieces.rules import Entropic
from couplings_theory.claim import Finding
from couplings_theory.claims.minmax import CLAIMS
from couplings_theory.minmax import (
    Hinge,
    Logistic,
    Positives,
    RegularisedCoupling,
    WorstCoupling,
    regularised_coupling,
    worst_coupling,
)

EXAMINE: dict[str, Callable[..., Finding]] = {claim.name.partition("/")[2]: claim.examine for claim in CLAIMS}


class Clamped(Cosine):
    """A cosine that passes nothing below 1e-7, as some losses have it."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        return super().score(dot, q_sq, k_sq).clamp_min(1e-7)


def _independent(*args: Any, **options: Any) -> WorstCoupling:
    """No adversary at all."""
    found = worst_coupling(*args, **options)
    plan = found.weights.reshape(-1, *(1 for _ in found.plan.shape[1:]))
    for axis in range(1, found.plan.dim()):
        plan = plan * found.mass.reshape(*(-1 if k == axis else 1 for k in range(found.plan.dim())))
    return replace(found, plan=plan)


def _greedy(*args: Any, **options: Any) -> WorstCoupling:
    """Each pair takes its second-hardest negative, whatever the marginal of the negatives."""
    found = worst_coupling(*args, **options)
    second = found.gains.topk(2, dim=1).indices[:, 1]
    return replace(found, plan=torch.nn.functional.one_hot(second, found.gains.shape[1]) * found.weights[:, None])


def _decreasing(v: Tensor) -> Tensor:
    return torch.exp(-v).mean(-1)


def _concave(v: Tensor) -> Tensor:
    return -torch.exp(-v).mean(-1)


def _flat(v: Tensor) -> Tensor:
    """Non-decreasing but not strictly: no reason to align."""
    return 0 * v.sum(-1)


def _capped(v: Tensor) -> Tensor:
    """Non-decreasing, constant from -1 on."""
    return v.mean(-1).clamp_max(-1.0)


def _failed(name: str, **ingredients: Any) -> set[str]:
    finding = EXAMINE[name](**ingredients)
    assert not finding.passed
    return {check.what for check in finding.checks if not check.passed}


def _any(failed: set[str], words: str) -> bool:
    return any(words in what for what in failed)


@pytest.mark.parametrize("name", ["lower-bound", "constant-wins", "more-negatives"])
def test_quick_claims_hold(name: str) -> None:
    finding = EXAMINE[name]()
    assert finding.passed, [check for check in finding.checks if not check.passed]


def test_slower_claims_hold_at_small_settings() -> None:
    assert EXAMINE["descent"](seeds=(2,), steps=100).passed
    assert EXAMINE["regularised"](regs=(0.3, 2.0, 20.0)).passed
    assert EXAMINE["regularised-descent"](seeds=(0,), rules={"entropic": Entropic()}).passed


def test_the_bound_needs_an_adversary_and_a_psi_that_rises() -> None:
    assert _any(_failed("lower-bound", solve=_independent, maps=8), "smallest worst case - psi(0)")
    assert _any(_failed("lower-bound", solve=_greedy, maps=8), "miss of a marginal")
    assert _any(
        _failed("lower-bound", psis={"falls": _decreasing}, maps=8), "falls: worst case - E psi(1 - f(x).f(x+))"
    )


def test_jensen_needs_a_convex_psi() -> None:
    failed = _failed("lower-bound", psis={"concave": _concave}, maps=8)
    assert _any(failed, "psi(E[1 - f(x).f(x+)])")
    assert not _any(failed, "smallest worst case - psi(0)")  # which does not need it


def test_log_two_belongs_to_its_psi_cost_and_coupling() -> None:
    assert _any(_failed("constant-wins", psi=Logistic(weight=2.0)), "constant map: worst coupling")
    assert _any(_failed("constant-wins", psi=Hinge()), "aligned map")
    assert _any(_failed("constant-wins", solve=_independent), "aligned map, instances on a simplex")
    assert _any(_failed("constant-wins", solve=_greedy), "miss of a marginal")


def test_norms_that_count_undo_the_bound() -> None:
    """Rows of a norm above one under an inner product: x- = x is no longer the worst, and log 2 no bound."""
    long = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    law = Positives.of_groups(torch.tensor([0, 0, 1, 1]))
    assert worst_coupling(long, law, cost=InnerProduct()).value > worst_coupling(long, law).value + 0.1


def test_descent_needs_slopes_everywhere() -> None:
    assert _any(_failed("descent", cost=Clamped(), seeds=(0, 1), steps=40), "largest |f(x) - f(x+)|")
    assert _any(_failed("descent", psi=_flat, seeds=(0,), steps=5), "largest |f(x) - f(x+)|")
    assert _any(_failed("descent", psi=_capped, seeds=(0,), steps=5), "largest")


def test_descent_needs_the_worst_coupling() -> None:
    def mild(values: Tensor, law: Positives) -> Tensor:
        return law.weights[:, None] * law.mass

    assert _any(_failed("descent", adversary=mild, seeds=(0,), steps=40), "ring")


def test_descent_that_stops_early_has_not_arrived() -> None:
    assert _any(_failed("descent", seeds=(0,), steps=3), "worst case at the end")


def test_more_negatives_need_the_adversary() -> None:
    assert _any(_failed("more-negatives", solve=_independent, counts=(1, 2)), "aligned map: worst case")
    assert _any(_failed("more-negatives", psis={"falls": _decreasing}, counts=(1, 2)), "falls, random map")


def test_the_curve_needs_balance_and_the_right_price() -> None:
    def one_sided(z: Tensor, law: Positives, psi: Logistic, **options: Any) -> RegularisedCoupling:
        found = regularised_coupling(z, law, psi, **options)
        rows = torch.softmax(found.gains / found.reg, 1) * law.weights[:, None]
        found.__dict__["plan"] = rows
        return found

    def doubled(*args: Any, reg: float, **options: Any) -> RegularisedCoupling:
        return regularised_coupling(*args, reg=2 * reg, **options)

    few = {"regs": (0.3, 2.0, 20.0)}
    assert _any(_failed("regularised", solve=one_sided, **few), "gap between dual and primal")
    assert _any(_failed("regularised", solve=doubled, **few), "closed form")
    assert _any(_failed("regularised", solve=doubled, **few), "quadratic: aligned map, reg = 0.15")


def test_a_solve_that_stopped_early_shows_in_its_gap() -> None:
    def hasty(*args: Any, **options: Any) -> RegularisedCoupling:
        return regularised_coupling(*args, **{**options, "sweeps": 1, "tol": 2.0})

    assert _any(_failed("regularised", solve=hasty, regs=(0.3, 2.0, 20.0)), "gap between dual and primal")


def test_training_against_a_coupling_that_is_hardly_regularised_collapses() -> None:
    """At a small quadratic price the ring closes again."""
    from couplings.pieces.rules import Quadratic

    failed = _failed("regularised-descent", reg=0.02, rules={"quadratic": Quadratic()}, seeds=(0,), steps=12)
    assert _any(failed, "below psi(0)")
