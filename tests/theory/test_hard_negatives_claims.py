"""Claims about hard negatives pass, and fail with a wrong ingredient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from torch import Tensor

from couplings.pieces.costs import ExpSquaredEuclidean, SquaredEuclidean
from couplings.plans.coupling import Coupling
from couplings_theory.claim import Finding
from couplings_theory.claims.hard_negatives import CLAIMS
from couplings_theory.hard_negatives import tilted, transported, uniform

EXAMINE: dict[str, Callable[..., Finding]] = {claim.name.partition("/")[2]: claim.examine for claim in CLAIMS}


SMALLER: dict[str, dict[str, Any]] = {"hardness": {"regs": (0.2, 1.0, 5.0), "seeds": 2}}


class Clamped(SquaredEuclidean):
    """Squared distances of a cosine clamped at 1e-7."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        return super().score(dot.clamp_min(1e-7), q_sq, k_sq)


def _one_sided(views: Sequence[Tensor], reg: float, *_: Any, **__: Any) -> Coupling:
    return tilted(views, reg)


def _unconverged(views: Sequence[Tensor], reg: float, *args: Any, **options: Any) -> Coupling:
    return transported(views, reg, *args, **{**options, "sweeps": 2, "tol": 2.0})


def _clamped(views: Sequence[Tensor], reg: float, *_: Any, **options: Any) -> Coupling:
    return transported(views, reg, Clamped(), **{**options, "tol": 1e-3})


def _even(views: Sequence[Tensor], *_: Any, **__: Any) -> Coupling:
    return uniform(views)


def _half(views: Sequence[Tensor], reg: float) -> Coupling:
    """beta = tau / reg: the factor of two of squared distances forgotten."""
    return tilted(views, 2 * reg)


def _failed(name: str, **ingredients: Any) -> set[str]:
    finding = EXAMINE[name](**ingredients)
    assert not finding.passed
    return {check.what for check in finding.checks if not check.passed}


def _any(failed: set[str], words: str) -> bool:
    return any(words in what for what in failed)


@pytest.mark.parametrize("name", EXAMINE)
def test_claims_hold(name: str) -> None:
    finding = EXAMINE[name](**SMALLER.get(name, {}))
    assert finding.passed, [check for check in finding.checks if not check.passed]


def test_the_tilt_needs_its_factor_of_two() -> None:
    assert _any(_failed("tilt", tilt=_half), "HCL at beta = 2 tau / reg")


def test_only_balanced_columns_forbid_hubs() -> None:
    failed = _failed("tilt", transport=_one_sided)
    assert _any(failed, "HCL-OT: largest |share - 1|")
    assert _any(failed, "mean L1 gap")


def test_a_clamped_cosine_is_another_cost() -> None:
    assert _any(_failed("tilt", transport=_clamped, regs=(0.3, 0.7)), "HCL-OT's rows - HCL's times e^g")


def test_hardness_needs_both_sides_and_falls_with_reg() -> None:
    regs = (0.2, 1.0, 5.0)
    assert _any(_failed("hardness", transport=_one_sided, regs=regs, seeds=1), "best assignment")
    assert _any(_failed("hardness", transport=_even, regs=regs, seeds=1), "expected cosine at the smallest reg")
    assert _any(_failed("hardness", tilt=lambda v, reg: tilted(v, 1 / reg), regs=regs, seeds=1), "HCL: smallest fall")


def test_kappa_scales_by_its_exponential() -> None:
    assert _any(_failed("kappa", scale=lambda kappa: 1 + kappa, kappas=(1.0,)), "(kappa, reg) = (1, 0.3)")
    assert _any(_failed("kappa", cost=lambda kappa: ExpSquaredEuclidean(kappa**2), kappas=(2.0,)), "all of kappa")
    assert _any(_failed("kappa", cost=lambda _: ExpSquaredEuclidean(1.0), kappas=(1.0,)), "reg not rescaled")


def test_symmetry_needs_convergence_and_both_sides() -> None:
    assert _any(_failed("symmetry", transport=_unconverged), "max |T - T'|")
    assert _any(_failed("symmetry", transport=_one_sided), "max |T - T'|")
    assert _any(_failed("symmetry", tilt=_even), "HCL at the same reg")


def test_harder_needs_hardness() -> None:
    assert _any(_failed("harder", transport=_even, seeds=1), "HCL-OT: mean cosine - uniform's")
    assert _any(_failed("harder", transport=_one_sided, seeds=1), "6 samples on a circle")
    assert _any(_failed("harder", tilt=lambda v, reg: tilted(v, 1 / reg), seeds=1), "next larger reg")
