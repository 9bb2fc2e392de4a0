"""The identities that make the five papers one family: the same plan under several names."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from couplings import (
    CACR,
    GCAINCE,
    HCL,
    HCLOT,
    RBF,
    AlphaCLDirect,
    Coupling,
    ExpSquaredEuclidean,
    Fixed,
    Free,
    InfoNCE,
    Pairs,
    SameId,
    Scores,
    SquaredEuclidean,
    couple,
)
from couplings.diagnostics import alignment, uniformity
from helpers import F64, central_differences, gradients, unit_views

TAU = 0.3


def _rows(views: list[Tensor]) -> tuple[Tensor, SameId, Tensor]:
    """Unit rows in block order, the mask of self and partner, the partner's index."""
    z = torch.cat(views)
    sample = torch.arange(len(views[0])).repeat(2)
    return z, SameId(sample, sample), torch.arange(len(z)).roll(len(z) // 2)


def _close(a: Tensor, b: Tensor, tol: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, atol=tol, rtol=0)


def test_i1_info_nce_descends_where_the_alpha_energy_ascends() -> None:
    """dL = -dE_alpha at alpha = stop-gradient of the plan's negative entries, up to the 1 / tau of the loss."""
    views = unit_views()
    loss = InfoNCE(TAU)
    alpha = loss.coupling(*views)["plan"].plan().detach()

    def energy(*inputs: Tensor) -> Tensor:
        z, same, partner = _rows([torch.nn.functional.normalize(v, dim=1) for v in inputs])
        half = 1 - z @ z.T
        gaps = half - half[torch.arange(len(z)), partner][:, None]
        return (alpha.masked_fill(same.forbidden(), 0.0) * gaps).sum() / TAU

    for down, up in zip(gradients(loss, views), gradients(energy, views), strict=True):
        _close(down, -up, 1e-12)


def test_i2_those_weights_are_the_half_step_plan() -> None:
    views = unit_views()
    z, same, partner = _rows(views)
    off = ~torch.eye(len(z), dtype=torch.bool)
    half_step = couple(Scores(z, temperature=TAU, mask=~off)).plan()
    _close(InfoNCE(TAU).coupling(*views)["plan"].plan(), half_step)
    half = 1 - z @ z.T
    psi = torch.exp((half[torch.arange(len(z)), partner][:, None] - half) / TAU).masked_fill(same.forbidden(), 0.0)
    alpha = psi / (1 + psi.sum(1, keepdim=True)) / len(z)
    _close(alpha, half_step.masked_fill(same.forbidden(), 0.0))


def _weights(views: list[Tensor], sweeps: int) -> tuple[Tensor, Tensor]:
    """dKL(T, P)/dS and (P - T) / tau."""
    loss = GCAINCE(TAU, sweeps=sweeps)
    plan = loss.coupling(*views)["plan"].plan().detach()
    target = torch.zeros_like(plan)
    target[torch.arange(len(plan)), torch.arange(len(plan)).roll(len(plan) // 2)] = 1 / len(plan)
    return loss.pair_weights(*views), (plan - target) / TAU


@pytest.mark.parametrize(("sweeps", "exact"), [(0, True), (1, False), (3, False), (200, True)])
def test_i3_the_matching_gradient_is_plan_minus_target(sweeps: int, exact: bool) -> None:
    """Exact at the half step and at convergence; in between the gradient is another one, that of the sweeps run."""
    views = unit_views()
    ours, danskin = _weights(views, sweeps)
    gap = ((ours - danskin).norm() / danskin.norm()).item()
    assert (gap < 1e-8) if exact else (gap > 1e-4)


def test_i3_by_central_differences_at_convergence() -> None:
    z, _, partner = _rows(unit_views(n=3))
    off = torch.eye(6, dtype=torch.bool)

    def value(matrix: Tensor) -> Tensor:
        plan = couple(Scores.given(matrix, temperature=TAU, mask=off), Fixed(), Fixed(), sweeps=80)
        return Pairs(partner[:, None]).divergence(plan)

    numeric = central_differences(value, z @ z.T, 1e-5)
    _, danskin = _weights(unit_views(n=3), 300)
    _close(numeric, danskin, 1e-8)


def test_i4_hcl_weights_are_a_row_plan_at_reg_two_tau_over_beta() -> None:
    views, beta = unit_views(), 1.7
    z, same, _ = _rows(views)
    plan = couple(Scores(z, temperature=2 * TAU / beta, cost=SquaredEuclidean(), mask=same))
    _close(HCL(TAU, beta).coupling(*views)["negatives"].plan(), plan.plan())


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_i5_one_hardness_scale(beta: float) -> None:
    """beta / tau = 2 t_negative = 2 / reg = 1 / tau of a softmax of cosines."""
    views = unit_views()
    n, t = len(views[0]), beta / (2 * TAU)
    z, same, _ = _rows(views)
    hcl = HCL(TAU, beta).coupling(*views)["negatives"].conditional()
    row_plan = couple(Scores(z, temperature=1 / t, cost=SquaredEuclidean(), mask=same)).conditional()
    softmax = torch.softmax((beta / TAU * (z @ z.T)).masked_fill(same.forbidden(), -math.inf), 1)
    direct = AlphaCLDirect(TAU / beta, p=2.0).coupling(*views)["negatives"].conditional()
    for other in (row_plan, softmax, direct):
        _close(hcl, other)
    cacr = CACR(t_negative=t).coupling(*views)["view 1 to view 2"].conditional()
    across = hcl[:n, n:]
    _close(cacr, across / across.sum(1, keepdim=True))


def _decoupled(temperature: float) -> object:
    """InfoNCE without the positive in its denominator, from a coupling's log-sum-exp: -f is log E exp(s / tau)."""

    def value(*inputs: Tensor) -> Tensor:
        z, same, partner = _rows([torch.nn.functional.normalize(v, dim=1) for v in inputs])
        scores = Scores(z, temperature=temperature, mask=same)
        return (-couple(scores).f - scores.at(torch.arange(len(z)), partner)).mean()

    return value


def test_i6_decoupled_info_nce_is_attraction_plus_detached_repulsion() -> None:
    """On half squared distances at t_negative = 1 / (2 tau): alpha-CL-direct with p = 2 is that sum (I11 too)."""
    views = unit_views()
    ours = gradients(AlphaCLDirect(TAU, p=2.0), views)
    theirs = gradients(_decoupled(TAU), views)  # type: ignore[arg-type]
    for a, b in zip(ours, theirs, strict=True):
        _close(a, TAU * b)


def test_i11_alpha_cl_direct_across_views_is_cacr_with_detached_weights() -> None:
    """Half of CACR at t_negative = 1 / (2 tau), when each row's candidates are the same: its own negatives."""
    views = unit_views(n=5, d=4)
    negatives = torch.randn(5, 7, 4, dtype=F64)
    direct = AlphaCLDirect(TAU, p=2.0)
    cacr = CACR(t_negative=1 / (2 * TAU), detach_weights=True)
    for a, b in zip(
        gradients(lambda *v: direct(*v, negatives=negatives), views),
        gradients(lambda *v: cacr(*v, negatives=negatives), views),
        strict=True,
    ):
        _close(a, b / 2)


def test_i7_the_reweighted_sum_is_an_expectation_under_the_plan() -> None:
    """sum(imp neg) / mean(imp) = N E_w[e^(s / tau)], imp = e^(beta s / tau) on the negatives."""
    views, beta = unit_views(n=12, d=6), 1.5
    z, same, _ = _rows(views)
    kernel = Scores(z, temperature=TAU, mask=same)
    plan = HCL(TAU, beta).coupling(*views)["negatives"]
    negative = torch.exp(kernel.matrix())
    importance = negative**beta
    reweighted = (importance * negative).sum(1) / (importance.sum(1) / (len(z) - 2))
    _close(plan.log_expect(kernel), torch.log(reweighted / (len(z) - 2)))
    transported = HCLOT(TAU, 0.7).coupling(*views)["negatives"]
    balanced = len(z) * (transported.plan() * negative).sum(1)
    _close(transported.log_expect(kernel), balanced.log(), 1e-9)


def test_i9_uniform_weights_and_rbf_are_alignment_and_uniformity() -> None:
    views = unit_views(n=9)
    loss = CACR(t_positive=0.0, t_negative=0.0, cost=RBF(2.0))
    n = len(views[0])
    across = torch.cdist(*views).square()
    off = ~torch.eye(n, dtype=torch.bool)
    per_anchor = torch.stack([torch.logsumexp(-2 * across[i][off[i]], 0) - math.log(n - 1) for i in range(n)])
    both = (
        per_anchor.mean()
        + torch.stack([torch.logsumexp(-2 * across[:, i][off[i]], 0) - math.log(n - 1) for i in range(n)]).mean()
    ) / 2
    _close(loss(*views), alignment(*views) + both)
    _close(CACR(alpha=1.0, beta=0.0)(*views), alignment(*views))
    # The mean of logs lies below Wang and Isola's log of the mean.
    one_view = CACR(alpha=0.0, t_negative=0.0, cost=RBF(2.0))(views[0], views[0])
    assert one_view <= uniformity(views[0]) + 1e-12


# Check cards


def _tilt_and_transport(reg: float, views: list[Tensor]) -> tuple[Coupling, Coupling]:
    z, same, _ = _rows(views)
    scores = Scores(z, temperature=reg, cost=SquaredEuclidean(), mask=same)
    return couple(scores, Fixed(), Free()), couple(scores, Fixed(), Fixed(), sweeps=4000, tol=1e-10)


def test_ta2_tilting_makes_hubs_that_transport_forbids() -> None:
    views = unit_views(n=8)
    gaps = []
    for reg in (0.1, 0.3, 0.7, 1.0, 3.0):
        tilted, transported = _tilt_and_transport(reg, views)
        gaps.append((tilted.conditional() - transported.conditional()).abs().sum(1).mean().item())
        assert (tilted.column_mass() * 16 - 1).abs().max() > 0.05
        _close(transported.column_mass() * 16, torch.ones(16, dtype=F64), 1e-6)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > 0.01


def test_ta3_smaller_reg_is_harder() -> None:
    views = unit_views(n=8)
    z, same, _ = _rows(views)
    hardness = [
        _tilt_and_transport(reg, views)[1].expect(Scores(z, mask=same)).mean().item() for reg in (0.2, 0.5, 1.0, 1e6)
    ]
    assert hardness == sorted(hardness, reverse=True)
    uniform = (z @ z.T).masked_fill(same.forbidden(), 0).sum() / (16 * 14)
    assert hardness[-1] == pytest.approx(uniform.item(), abs=1e-5)


def test_ta4_kappa_is_a_scale_of_reg() -> None:
    views = unit_views()
    plans = [
        HCLOT(reg=reg, cost="exp", kappa=kappa).coupling(*views)["negatives"].plan()
        for reg, kappa in ((0.5, 1.0), (0.5 * math.e, 0.0))
    ]
    _close(*plans, 1e-9)
    by_object = HCLOT(reg=0.5, cost=ExpSquaredEuclidean(1.0)).coupling(*views)["negatives"].plan()
    _close(plans[0], by_object)
    _close(HCLOT(reg=0.5, cost="exp").coupling(*views)["negatives"].plan(), by_object)


def test_ta5_a_symmetric_problem_has_a_symmetric_plan() -> None:
    plan = HCLOT(reg=0.3).coupling(*unit_views())["negatives"].plan()
    _close(plan, plan.T, 1e-9)


def test_td2_each_half_step_tightens_the_match() -> None:
    views = unit_views(n=8)
    values = [GCAINCE(TAU, sweeps=t)(*views).item() for t in range(12)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(values))
    assert values[0] - values[-1] > 1e-4


def test_te1_attraction_is_zero_only_when_views_coincide() -> None:
    views = unit_views(count=3)
    attraction = CACR(t_positive=2.0, beta=0.0)
    assert attraction(views[0], views[0], views[0]).abs() < 1e-14
    assert attraction(*views) > 0.01
    _close(attraction(*views[:2]), (views[0] - views[1]).square().sum(1).mean())


@pytest.mark.parametrize("t", [0.0, 1.0, 5.0])
def test_te2_repulsion_on_the_simplex(t: float) -> None:
    """Ten points at equal distances: uniform weights and -2 M / (M - 1), whatever the hardness."""
    corners = torch.eye(10, dtype=F64) - 0.1
    loss = CACR(alpha=0.0, t_negative=t)
    assert loss(corners, corners).item() == pytest.approx(-20 / 9, abs=1e-12)
    weights = loss.coupling(corners, corners)["view 1 to view 2"].conditional()
    _close(weights, (1 - torch.eye(10, dtype=F64)) / 9)


def test_te2_the_simplex_is_the_lowest_of_random_configurations() -> None:
    loss = CACR(alpha=0.0, t_negative=1.0)
    assert all(loss(z, z) > -20 / 9 for z in torch.randn(20, 10, 12, dtype=F64))


def test_te3_far_positives_and_near_negatives_weigh_most() -> None:
    views = unit_views(n=6, count=4)
    coupling = CACR(t_positive=2.0, t_negative=2.0).coupling(*views)
    z = torch.cat(views)
    weights = coupling["attraction"].conditional()
    # Anchor 0 of view 1 against its other views in cyclic order.
    distances = torch.stack([(z[0] - z[k * 6]).square().sum() for k in (1, 2, 3)])
    assert torch.equal(weights[0].argsort(), distances.argsort())
    near = coupling["view 1 to view 2"].conditional()[0, 1:]
    assert torch.equal(near.argsort(), (z[0] - z[7:12]).square().sum(1).argsort(descending=True))


def test_te4_mutual_information_of_the_repulsion_plan() -> None:
    """log(M / (M - 1)) for uniform weights, more when the weights are not."""
    z = torch.nn.functional.normalize(torch.randn(10, 16, dtype=F64), dim=1)
    information = []
    for t in (0.0, 1.0, 4.0):
        plan = CACR(t_negative=t).coupling(z, z)["view 1 to view 2"]
        rows, cols = plan.marginals()
        entropies = [torch.special.entr(mass).sum() for mass in (rows, cols)]
        information.append((sum(entropies) - plan.entropy()).item())
    assert information[0] == pytest.approx(math.log(10 / 9), abs=1e-12)
    assert information == sorted(information)
    assert information[2] > information[0] + 0.05
