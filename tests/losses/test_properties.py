"""What holds of every loss on any batch (permutation, rotation, scale), and limits where one becomes another."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers import CASES, F64, gradients, unit_views

every_loss = pytest.mark.parametrize("name", CASES)
any_views = pytest.mark.parametrize("count", [2, 4], ids=["2 views", "4 views"])
batches = st.builds(
    lambda n, d, count, seed: unit_views(n=n, d=d, count=count, seed=seed),
    n=st.integers(3, 7),
    d=st.integers(2, 5),
    count=st.integers(2, 3),
    seed=st.integers(0, 10_000),
)
seeds = st.integers(0, 10_000)
few = settings(max_examples=4)
TOLERANCE = 1e-8
"""Balanced plans are solved to 1e-10."""


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _close(one: Tensor, other: Tensor, tol: float = TOLERANCE) -> None:
    torch.testing.assert_close(one, other, atol=tol, rtol=tol)


def _all_close(ones: Any, others: Any, tol: float = TOLERANCE) -> None:
    for one, other in zip(ones, others, strict=True):
        _close(one, other, tol)


@every_loss
@few
@given(batches, seeds)
def test_permuting_the_samples_permutes_the_gradient(name: str, views: list[Tensor], seed: int) -> None:
    loss, order = CASES[name](), torch.randperm(len(views[0]), generator=_generator(seed))
    moved = [v[order] for v in views]
    _close(loss(*moved), loss(*views))
    _all_close(gradients(loss, moved), [g[order] for g in gradients(loss, views)])


@every_loss
@few
@given(batches)
def test_swapping_the_views_swaps_the_gradient(name: str, views: list[Tensor]) -> None:
    loss, turned = CASES[name](), views[::-1]
    _close(loss(*turned), loss(*views))
    _all_close(gradients(loss, turned), gradients(loss, views)[::-1])


@every_loss
@few
@given(batches, seeds)
def test_rotating_the_space_rotates_the_gradient(name: str, views: list[Tensor], seed: int) -> None:
    loss, d = CASES[name](), views[0].shape[1]
    rotation = torch.linalg.qr(torch.randn(d, d, dtype=F64, generator=_generator(seed))).Q
    moved = [v @ rotation for v in views]
    _close(loss(*moved), loss(*views))
    _all_close(gradients(loss, moved), [g @ rotation for g in gradients(loss, views)])


@every_loss
@few
@given(batches, seeds)
def test_scaling_a_row_divides_its_gradient(name: str, views: list[Tensor], seed: int) -> None:
    loss, generator = CASES[name](), _generator(seed)
    factors = [torch.exp(2 * torch.randn(len(v), 1, dtype=F64, generator=generator)) for v in views]
    scaled = [v * factor for v, factor in zip(views, factors, strict=True)]
    _close(loss(*scaled), loss(*views))
    restored = [g * factor for g, factor in zip(gradients(loss, scaled), factors, strict=True)]
    _all_close(restored, gradients(loss, views))


@every_loss
@few
@given(batches, seeds)
def test_permuting_keys_and_own_negatives_changes_nothing(name: str, views: list[Tensor], seed: int) -> None:
    generator, (n, d) = _generator(seed), views[0].shape
    case = CASES[name]
    if case.keys:
        keys, order = torch.randn(5, d, dtype=F64, generator=generator), torch.randperm(5, generator=generator)
        _close(case()(*views, keys=keys[order]), case()(*views, keys=keys))
    if case.negatives:
        own, order = torch.randn(n, 4, d, dtype=F64, generator=generator), torch.randperm(4, generator=generator)
        _close(case()(*views, negatives=own[:, order]), case()(*views, negatives=own))


# Duplicated rows


@pytest.mark.filterwarnings("ignore:.*:couplings.CouplingWarning")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.repels])
@few
@given(batches)
def test_twins_repel_each_other_unless_ids_say_so(name: str, views: list[Tensor]) -> None:
    n, count = len(views[0]), len(views)
    twins = [torch.cat([v, v[:1]]) for v in views]
    ids = torch.cat([torch.arange(n), torch.zeros(1, dtype=torch.long)])
    sample = torch.arange(n + 1).repeat(count)
    between = (ids.repeat(count)[:, None] == ids.repeat(count)) & (sample[:, None] != sample)
    without, marked = CASES[name]().pair_weights(*twins), CASES[name]().pair_weights(*twins, ids=ids)
    assert (marked[between] == 0).all()
    assert without[between].sum() > 0


MEANS = (
    *("AlphaCL", "AlphaCLDirect", "BalancedAlphaCL", "CACR", "SinkhornCACR", "SpectralContrastive"),
    "AlignmentUniformity",
)
"""Losses that average over their negatives, so that their number does not count."""


@pytest.mark.parametrize("name", [name for name in MEANS if name in CASES])
@few
@given(batches)
def test_a_batch_twice_is_the_batch_when_ids_say_so(name: str, views: list[Tensor]) -> None:
    loss, ids = CASES[name](), torch.arange(len(views[0])).repeat(2)
    _close(loss(*(v.repeat(2, 1) for v in views), ids=ids), loss(*views), 1e-7)


@few
@given(batches)
def test_twice_the_negatives_add_the_logarithm_of_two(views: list[Tensor]) -> None:
    loss, ids = CASES["DecoupledInfoNCE"](), torch.arange(len(views[0])).repeat(2)
    _close(loss(*(v.repeat(2, 1) for v in views), ids=ids), loss(*views) + math.log(2))


# Limits


Function = Callable[..., Tensor]


def _scaled(factor: float, loss: Function, shift: float = 0.0) -> Function:
    return lambda *views: factor * loss(*views) + shift


T = 0.4
LIMITS: dict[str, tuple[Function, Function, float, bool]] = {
    "HCL, beta -> 0": (
        CASES["HCL"](temperature=T, tau_plus=0.1, beta=1e-8),
        CASES["DebiasedInfoNCE"](temperature=T, tau_plus=0.1),
        1e-6,
        True,
    ),
    "debiased, tau_plus = 0": (
        CASES["DebiasedInfoNCE"](temperature=T, tau_plus=0.0),
        CASES["InfoNCE"](temperature=T),
        1e-10,
        True,
    ),
    "HCL-OT, reg -> infinity": (
        CASES["HCLOT"](temperature=T, reg=1e8, tau_plus=0.1),
        CASES["DebiasedInfoNCE"](temperature=T, tau_plus=0.1),
        1e-6,
        True,
    ),
    "relaxed HCL-OT, rho -> 0": (
        CASES["RelaxedHCLOT"](temperature=T, reg=0.5, rho=1e-9),
        CASES["HCL"](temperature=T, beta=2 * T / 0.5, tau_plus=0.0, detach_weights=True),
        1e-6,
        True,
    ),
    "relaxed HCL-OT, rho -> infinity": (
        CASES["RelaxedHCLOT"](temperature=T, reg=0.5, rho=1e9),
        CASES["HCLOT"](temperature=T, reg=0.5),
        1e-6,
        True,
    ),
    "GCA-INCE, sweeps = 0": (CASES["GCAINCE"](temperature=T, sweeps=0), CASES["InfoNCE"](temperature=T), 1e-10, False),
    "GCA-RINCE, sweeps = 0": (
        CASES["GCARINCE"](temperature=T, q=0.7, lam=0.1, sweeps=0),
        CASES["RINCE"](temperature=T, q=0.7, lam=0.1),
        1e-10,
        False,
    ),
    "RINCE, q -> 0": (
        CASES["RINCE"](temperature=T, q=1e-7, lam=0.1),
        _scaled(1, CASES["InfoNCE"](temperature=T), math.log(0.1)),
        1e-5,
        True,
    ),
    "GCA-RINCE, q -> 0": (
        CASES["GCARINCE"](temperature=T, q=1e-7, lam=0.1, sweeps=3),
        _scaled(1, CASES["GCAINCE"](temperature=T, sweeps=3), math.log(0.1)),
        1e-5,
        False,
    ),
    "GCA-UOT, rho -> infinity": (
        CASES["GCAUOT"](temperature=T, rho1=1e8, rho2=1e8, r1=0.7, r2=0.0, sweeps=3),
        _scaled(0.7, CASES["GCAINCE"](temperature=T, sweeps=3)),
        1e-6,
        True,
    ),
    "GCA-UOT, rho2 -> 0": (
        CASES["GCAUOT"](temperature=T, rho1=0.3, rho2=1e-9, r1=0.7, r2=0.0, sweeps=3),
        _scaled(0.7, CASES["InfoNCE"](temperature=T)),
        1e-6,
        False,
    ),
    "GCA-UOT, matching off, rho -> infinity": (
        CASES["GCAUOT"](temperature=T, rho1=1e8, rho2=1e8, r1=0.0, r2=0.7, q=0.4, lam=0.2, sweeps=3),
        _scaled(0.7, CASES["GCARINCE"](temperature=T, q=0.4, lam=0.2, sweeps=3)),
        1e-6,
        True,
    ),
    "IOT, sweeps -> infinity": (
        CASES["IOT"](temperature=T, sweeps=300),
        CASES["GCAINCE"](temperature=T, sweeps=300),
        1e-8,
        True,
    ),
    "sparse GCA, entropic, sweeps -> infinity": (
        CASES["SparseGCA"](temperature=T, sweeps=300, rule="entropic"),
        _scaled(T, CASES["GCAINCE"](temperature=T, sweeps=300)),
        1e-8,
        True,
    ),
    "SupCon without labels": (CASES["SupCon"](temperature=T), CASES["InfoNCE"](temperature=T), 1e-10, False),
    "SupCon, one positive": (
        CASES["SupCon"](temperature=T, log_inside=True),
        CASES["SupCon"](temperature=T),
        1e-10,
        False,
    ),
    "CLIP of two views": (
        CASES["CLIP"](temperature=T),
        CASES["InfoNCE"](temperature=T, across_views=True),
        1e-10,
        False,
    ),
    "scaled InfoNCE, e0 = 1": (
        CASES["ScaledInfoNCE"](temperature=T),
        _scaled(T, CASES["InfoNCE"](temperature=T)),
        1e-10,
        True,
    ),
    "scaled InfoNCE, e0 -> 0": (
        CASES["ScaledInfoNCE"](temperature=T, e0=1e-9),
        _scaled(T, CASES["DecoupledInfoNCE"](temperature=T)),
        1e-6,
        True,
    ),
    "MINE": (CASES["MINE"](), CASES["DecoupledInfoNCE"](temperature=1.0), 1e-10, True),
    "(N + 1)-tuplet": (CASES["NPlusOneTuplet"](), CASES["InfoNCE"](temperature=1.0), 1e-10, True),
    "soft triplet without margin": (
        CASES["SoftTriplet"](temperature=T, margin=0.0),
        CASES["ScaledInfoNCE"](temperature=T),
        1e-10,
        True,
    ),
    "triplet, margin above every distance": (
        CASES["Triplet"](margin=3.0),
        _scaled(1, CASES["TripletContrastive"](), 3.0 * 10),
        1e-10,
        False,
    ),
    "modified triplet, slope -> 0": (
        _scaled(4e6, CASES["ModifiedTriplet"](slope=1e-6), -2e6 * 10),
        CASES["TripletContrastive"](),
        1e-5,
        False,
    ),
    "alpha-CL is direct with p = 2": (
        CASES["AlphaCL"](temperature=T),
        CASES["AlphaCLDirect"](temperature=T, p=2.0),
        1e-10,
        True,
    ),
    "alpha-CL, temperature -> infinity": (
        _scaled(10, CASES["AlphaCL"](temperature=1e9)),
        CASES["TripletContrastive"](),
        1e-6,
        False,
    ),
    "low rank, full": (
        CASES["AlphaCLLowRank"](temperature=T, rank=100),
        CASES["AlphaCL"](temperature=T),
        1e-9,
        True,
    ),
    "balanced alpha-CL, temperature -> infinity": (
        CASES["BalancedAlphaCL"](temperature=1e9),
        CASES["AlphaCL"](temperature=1e9),
        1e-6,
        True,
    ),
    "Sinkhorn CACR, t_negative = 0": (
        CASES["SinkhornCACR"](t_negative=0.0),
        CASES["CACR"](t_negative=0.0),
        1e-9,
        True,
    ),
    "CACR without repulsion": (
        CASES["CACR"](t_positive=0.0, beta=0.0),
        CASES["Alignment"](temperature=0.5),
        1e-10,
        True,
    ),
    "alignment and uniformity without uniformity": (
        CASES["AlignmentUniformity"](weight=0.0),
        CASES["Alignment"](temperature=0.5),
        1e-10,
        True,
    ),
}
"""Name: a loss at its limit, the simpler loss, the tolerance, and whether more than two views agree."""


AT_LIMIT = [(limit, count) for limit, case in LIMITS.items() for count in ((2, 4) if case[3] else (2,))]


@pytest.mark.parametrize(("limit", "count"), AT_LIMIT)
def test_limits(limit: str, count: int) -> None:
    one, simpler, tol, _ = LIMITS[limit]
    views = unit_views(count=count)
    _close(one(*views), simpler(*views), tol)
    _all_close(gradients(one, views), gradients(simpler, views), tol)


def test_more_than_two_views_are_where_gca_and_info_nce_part() -> None:
    views = unit_views(count=4)
    assert abs(CASES["GCAINCE"](sweeps=0)(*views) - CASES["InfoNCE"]()(*views)) > 1e-2


def _hardest(views: list[Tensor]) -> Tensor:
    z, n = torch.cat(views), len(views[0])
    s, sample = z @ z.T, torch.arange(n).repeat(2)
    negatives = s.masked_fill(sample[:, None] == sample, -math.inf).amax(1)
    return (negatives - s[torch.arange(2 * n), torch.arange(2 * n).roll(n)]).mean()


def test_alpha_cl_at_temperature_zero_is_batch_hard() -> None:
    """d_ip^2 - min_j d_ij^2: the nearest negative alone."""
    views = unit_views()
    _close(CASES["AlphaCL"](temperature=1e-4)(*views), _hardest(views))
    _close(CASES["AlphaCLDirect"](temperature=1e-6)(*views), _hardest(views))
    _close(CASES["CACR"](t_positive=0.0, t_negative=1e4)(*views), _hardest_across(views))


def _hardest_across(views: list[Tensor]) -> Tensor:
    s = (views[0] @ views[1].T).fill_diagonal_(-math.inf)
    positives = 2 - 2 * (views[0] * views[1]).sum(1)
    return positives.mean() - (2 - (s.amax(0) + s.amax(1))).mean()


def test_cacr_at_infinite_hardness_of_positives_takes_the_furthest() -> None:
    views = unit_views(count=4)
    z = torch.stack(views)
    furthest = (2 - 2 * torch.einsum("and,bnd->abn", z, z)).amax(1).mean()
    _close(CASES["CACR"](t_positive=1e6, beta=0.0)(*views), furthest)


def test_temperature_zero_of_info_nce_is_the_hinge_of_the_hardest_negative() -> None:
    """tau times InfoNCE -> [max_j s_ij - s_ip]_+."""
    views = unit_views(noise=2.0)
    z, n = torch.cat(views), len(views[0])
    s, sample = z @ z.T, torch.arange(n).repeat(2)
    hardest = s.masked_fill(sample[:, None] == sample, -math.inf).amax(1)
    hinge = (hardest - s[torch.arange(2 * n), torch.arange(2 * n).roll(n)]).clamp_min(0).mean()
    assert hinge > 0.1
    _close(1e-4 * CASES["InfoNCE"](temperature=1e-4)(*views), hinge, 1e-4)
    _close(CASES["ScaledInfoNCE"](temperature=1e-4)(*views), hinge, 1e-4)
