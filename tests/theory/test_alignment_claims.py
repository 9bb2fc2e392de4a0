"""Each claim passes, and fails with an ingredient that is wrong, at the check that is about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from couplings import GCAINCE, Fixed, Loss, Scores, couple
from couplings.losses.base import Couplings
from couplings.losses.batch import Batch
from couplings.report.style import drawn
from couplings_theory.alignment import Reference, half_steps, released_rince, rince, row_projection, unbalanced
from couplings_theory.claim import Claim, Finding
from couplings_theory.claims.alignment import CLAIMS
from couplings_theory.claims.alignment.settings import POSITIVES, TEMPERATURE
from helpers import F64

EXAMINE: dict[str, Callable[..., Finding]] = {claim.name.split("/")[1]: claim.examine for claim in CLAIMS}
RHOS = (1e-4, 3e-4, 30.0, 100.0)
QUICK: dict[str, dict[str, object]] = {
    "dual-gradient": {"temperatures": (0.5, 0.2)},
    "unbalanced-limits": {"rhos": RHOS},
    "same-optimum": {"n": 4, "d": 3, "steps": 110},
    "sweeps": {"seeds": (0, 1, 3), "steps": 80},
}
"""Smaller settings of what takes seconds."""


def _missed(finding: Finding) -> set[str]:
    return {check.what for check in finding.checks if not check.passed}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_it_passes_and_is_drawn(claim: Claim) -> None:
    name = claim.name.split("/")[1]
    finding = EXAMINE[name](**QUICK.get(name, {}))
    assert finding.passed, _missed(finding)
    assert 3 <= len(finding.checks) <= 10
    svg, png = drawn(finding.picture.draw, finding.picture.size, finding.picture.title)
    assert min(len(svg), len(png)) > 10_000


def test_names_and_statements() -> None:
    assert list(EXAMINE) == [
        *("pythagoras", "tightening", "dual-gradient", "rince-limits", "unbalanced-limits"),
        *("same-optimum", "sweeps"),
    ]
    assert all(claim.family == "alignment" and claim.statement.endswith(".") for claim in CLAIMS)


# Wrong ingredients


def _by_column_sums(kernel: Tensor, rows: Tensor) -> Tensor:
    return kernel * (rows / kernel.sum(0))[:, None]


def _off_by_one(kernel: Tensor, rows: Tensor) -> Tensor:
    return kernel * (rows / kernel.sum(1).roll(1))[:, None]


def _halfway(kernel: Tensor, rows: Tensor) -> Tensor:
    return (row_projection(kernel, rows) + kernel) / 2


def _column_steps_by_row(scores: Tensor, temperature: float, count: int, *sides: Tensor) -> list[Tensor]:
    """Sinkhorn as released: the column step divides row i by the sum of column i."""
    plans = half_steps(scores, temperature, 1, *sides)
    columns = sides[1] if sides else torch.full(scores.shape[1:], 1 / scores.shape[1], dtype=F64)
    rows = sides[0] if sides else torch.full(scores.shape[:1], 1 / len(scores), dtype=F64)
    for step in range(1, count):
        last = plans[-1]
        plans.append(_by_column_sums(last, columns) if step % 2 else row_projection(last, rows))
    return plans


def _clamped(scores: Tensor, temperature: float, count: int, *sides: Tensor) -> list[Tensor]:
    """Negative cosines are cut off, so that these plans do not lead to the limit of the others."""
    finite = scores > -torch.inf
    return half_steps(torch.where(finite, scores.clamp_min(1e-7), scores), temperature, count, *sides)


def _wrong_sign(plan: Tensor, target: Tensor, temperature: float) -> Tensor:
    return (target - plan) / temperature


def _without_temperature(plan: Tensor, target: Tensor, temperature: float) -> Tensor:
    return plan - target


def _divided(positive: Tensor, total: Tensor, q: float, lam: float) -> Tensor:
    return released_rince(positive, total, q, lam, n=16)


def _power_of_the_whole(positive: Tensor, total: Tensor, q: float, lam: float) -> Tensor:
    """CE^q / q, which a released module calls RINCE: lam has no effect."""
    return torch.log(total / positive).abs() ** q / q


def _swapped(scores: Tensor, temperature: float, rho: tuple[float, float], *reference: Reference) -> Tensor:
    return unbalanced(scores, temperature, rho[::-1], *reference)


def _of_another_mass(scores: Tensor, temperature: float, rho: tuple[float, float], *reference: Reference) -> Tensor:
    return unbalanced(scores, temperature, rho, *reference) * scores.numel()


def _one_sweep(scores: Tensor, temperature: float, rho: tuple[float, float], *_: Reference) -> Tensor:
    given = Scores.given(scores, temperature=temperature)
    return couple(given, Fixed(), Fixed(), sweeps=1).plan()


class OffByOne(GCAINCE):
    """GCA-INCE with another sample's views as the positives."""

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        plan = couplings["plan"]
        n = len(plan.a)
        return -plan.log_at(torch.arange(n), torch.arange(n).roll(1)).mean() - torch.log(plan.a[0]).neg()


def _unlike(sweeps: int) -> Loss:
    """Another temperature for another number of sweeps."""
    return GCAINCE(TEMPERATURE * (1 + sweeps), sweeps=sweeps)


def _others(sweeps: int) -> Loss:
    return OffByOne(TEMPERATURE, sweeps=sweeps)


def _sharper(sweeps: int) -> Loss:
    """A lower temperature for more sweeps."""
    return GCAINCE(TEMPERATURE / (1 + sweeps), sweeps=sweeps)


INFEASIBLE = POSITIVES * torch.linspace(0.5, 1.5, 16, dtype=F64)

WRONG: list[tuple[str, dict[str, object], str]] = [
    ("pythagoras", {"project": _by_column_sums}, "largest gap of the identity, projection onto rows"),
    ("pythagoras", {"project": _off_by_one}, "InfoNCE against KL"),
    ("pythagoras", {"project": _halfway}, "row step of the library"),
    ("tightening", {"path": _column_steps_by_row}, "largest rise of KL(T || P)"),
    ("tightening", {"path": _clamped}, "largest difference of KL(T || P) and KL(T || limit)"),
    ("tightening", {"target": INFEASIBLE}, "largest difference of a fall"),
    ("tightening", {"count": 1}, "largest rise for uneven domains with uniform columns"),
    ("dual-gradient", {"dual": _wrong_sign, "temperatures": (0.5,)}, "largest relative residual at the row step"),
    (
        "dual-gradient",
        {"dual": _without_temperature, "temperatures": (0.5,)},
        "largest relative residual at the row step",
    ),
    ("dual-gradient", {"converged": 3, "temperatures": (0.5,)}, "largest relative residual after 3 sweeps"),
    ("rince-limits", {"power": _divided}, "formula at q = 1e-4 against InfoNCE"),
    ("rince-limits", {"power": _power_of_the_whole}, "library's RINCE, q = 0.5"),
    ("rince-limits", {"power": lambda p, total, q, lam: rince(p, total + p, q, lam)}, "q = 1, lam = 1 / 15"),
    ("unbalanced-limits", {"solve": _swapped, "rhos": RHOS}, "largest distance from POT's plan, reference a x b"),
    ("unbalanced-limits", {"solve": _of_another_mass, "rhos": RHOS}, "rho = 1e-9: largest distance from the kernel"),
    ("unbalanced-limits", {"solve": _one_sweep, "rhos": RHOS}, "rho = 1e9: largest distance from the balanced plan"),
    ("same-optimum", {"loss": _others, "steps": 1}, "aligned simplex: largest distance from the bound"),
    ("same-optimum", {"d": 3, "steps": 40}, "optimised: largest excess over the bound"),
    ("same-optimum", {"steps": 5}, "optimised: largest excess over the bound"),
    ("sweeps", {"loss": _unlike, "seeds": (0, 1), "steps": 10}, "positives: largest change of uniformity"),
    ("sweeps", {"loss": _unlike, "seeds": (0, 1), "steps": 10}, "conflict: mean change of uniformity"),
    ("sweeps", {"loss": _sharper, "seeds": (0, 1), "steps": 20}, "conflict: mean change of alignment"),
    ("sweeps", {"loss": _sharper, "seeds": (0, 1), "steps": 10}, "conflict: median |change| of alignment"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "where"), WRONG, ids=lambda value: value if isinstance(value, str) else "wrong"
)
def test_it_fails_with_a_wrong_ingredient(name: str, wrong: dict[str, object], where: str) -> None:
    missed = _missed(EXAMINE[name](**wrong))
    assert any(what.startswith(where) for what in missed), missed
