"""Check cards of hard negatives by transport (TA) and of pair weights (TB). `docs/identities.md` lists them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from closeness import half_distances, near, near_relatively, other_view, parameter_gradients, same_sample, show
from couplings import (
    HCLOT,
    MINE,
    AlphaCL,
    Coupling,
    ExpSquaredEuclidean,
    Fixed,
    Free,
    LiftedStructured,
    ModifiedTriplet,
    NPlusOneTuplet,
    PairLoss,
    Power,
    ScaledInfoNCE,
    Scores,
    SoftTriplet,
    SquaredEuclidean,
    Triplet,
    TripletContrastive,
    couple,
)
from helpers import F64, unit_views

TAU = 0.3
Function = Callable[[Tensor], Tensor]


# TA: hard negatives by transport


def _tilt_and_transport(reg: float, views: list[Tensor]) -> tuple[Coupling, Coupling]:
    scores = Scores(torch.cat(views), temperature=reg, cost=SquaredEuclidean(), mask=same_sample(len(views[0])))
    return couple(scores, Fixed(), Free()), couple(scores, Fixed(), Fixed(), sweeps=4000, tol=1e-10)


def test_TA2_tilting_makes_hubs_that_transport_forbids() -> None:
    views, gaps = unit_views(n=8), []
    for reg in (0.1, 0.3, 0.7, 1.0, 3.0):
        tilted, transported = _tilt_and_transport(reg, views)
        gaps.append((tilted.conditional() - transported.conditional()).abs().sum(1).mean().item())
        hub = (tilted.column_mass() * 16 - 1).abs().max().item()
        show(reg=reg, row_gap=gaps[-1], hub=hub)
        assert hub > 0.05
        near(transported.column_mass() * 16, torch.ones(16, dtype=F64), within=1e-6)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > 0.01


def test_TA3_smaller_reg_is_harder() -> None:
    """Between the uniform plan, as reg grows, and the best assignment, as it falls."""
    views = unit_views(n=8)
    z = torch.cat(views)
    cosines = Scores(z, mask=same_sample(8))
    regs = (0.1, 0.3, 0.7, 1.0, 1e6)
    hardness = [_tilt_and_transport(reg, views)[1].expect(cosines).mean().item() for reg in regs]
    show(**{f"reg {reg:g}": value for reg, value in zip(regs, hardness, strict=True)})
    assert hardness == sorted(hardness, reverse=True)
    uniform = (z @ z.T).masked_fill(same_sample(8).forbidden(), 0).sum() / (16 * 14)
    near(torch.tensor(hardness[-1], dtype=F64), uniform, within=1e-5)


def test_TA3_the_other_limit_is_the_best_assignment() -> None:
    from scipy.optimize import linear_sum_assignment

    views = unit_views(n=8)
    z = torch.cat(views)
    cosines = (z @ z.T).masked_fill(same_sample(8).forbidden(), -1e3)
    best = cosines[linear_sum_assignment(cosines.numpy(), maximize=True)].mean()
    cold = Scores(z, temperature=0.01, cost=SquaredEuclidean(), mask=same_sample(8))
    plan = couple(cold, Fixed(), Fixed(), sweeps=3000)
    near(plan.expect(Scores(z, mask=same_sample(8))).mean(), best, within=1e-3)


@pytest.mark.parametrize(("reg", "kappa"), [(0.3, 1.0), (0.5, -0.5)])
def test_TA4_kappa_is_a_scale_of_reg(reg: float, kappa: float) -> None:
    views = unit_views(n=8)

    def plan(loss: HCLOT) -> Tensor:
        return loss.coupling(*views)["negatives"].plan()

    shifted = plan(HCLOT(reg=reg, cost="exp", kappa=kappa))
    near(shifted, plan(HCLOT(reg=reg * math.exp(kappa), cost="exp", kappa=0.0)), within=1e-9)
    near(shifted, plan(HCLOT(reg=reg, cost=ExpSquaredEuclidean(kappa))), within=1e-12)


@pytest.mark.parametrize("cost", ["sqeuclidean", "exp"])
def test_TA5_a_symmetric_problem_has_a_symmetric_plan(cost: str) -> None:
    plan = HCLOT(reg=0.3, cost=cost).coupling(*unit_views(n=8))["negatives"].plan()
    near(plan, plan.T, within=1e-9)


# TB1: the loss descends where the energy ascends


@dataclass(frozen=True)
class Member:
    """A loss of the family and its slopes phi' and psi', written out."""

    build: Callable[[bool], PairLoss]
    outer: Function
    inner: Function


def _one(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def _over(e0: float, scale: float = 1.0) -> Function:
    return lambda x: scale / (e0 + x)


def _exp(tau: float = 1.0, margin: float = 0.0, scale: float = 1.0) -> Function:
    return lambda gap: scale * torch.exp(gap / tau + margin)


MEMBERS = {
    "InfoNCE": Member(lambda unit: ScaledInfoNCE(TAU, normalize=unit), _over(1.0, TAU), _exp(TAU, scale=1 / TAU)),
    "decoupled": Member(
        lambda unit: ScaledInfoNCE(TAU, e0=0.0, normalize=unit), _over(0.0, TAU), _exp(TAU, scale=1 / TAU)
    ),
    "MINE": Member(lambda unit: MINE(normalize=unit), _over(0.0), _exp()),
    "triplet": Member(lambda unit: Triplet(0.3, normalize=unit), _one, lambda gap: (gap > -0.3).to(gap)),
    "soft triplet": Member(
        lambda unit: SoftTriplet(TAU, 0.3, normalize=unit), _over(1.0, TAU), _exp(TAU, 0.3, scale=1 / TAU)
    ),
    "N+1 tuplet": Member(lambda unit: NPlusOneTuplet(normalize=unit), _over(1.0), _exp()),
    "lifted structured": Member(
        lambda unit: LiftedStructured(-2.3, normalize=unit), lambda x: 2 * x.log().clamp_min(0) / x, _exp(margin=-2.3)
    ),
    "modified triplet": Member(
        lambda unit: ModifiedTriplet(5.0, normalize=unit),
        _one,
        lambda gap: 5 * torch.sigmoid(5 * gap) * torch.sigmoid(-5 * gap),
    ),
    "triplet contrastive": Member(lambda unit: TripletContrastive(normalize=unit), _one, _one),
}


def _energy(member: Member, z: Tensor, views: int) -> Tensor:
    """mean over anchors and positives of sum_j alpha_ij (d_ij^2 - d_i^2), alpha = phi'(xi) psi'(gap) a constant."""
    distances, rows, n = half_distances(z), torch.arange(len(z)), len(z) // views
    negatives = ~same_sample(n, views).forbidden()
    energies = []
    for shift in range(1, views):
        gaps = distances[rows, (rows + shift * n) % len(z)][:, None] - distances
        psi = member.build(True).psi(gaps.detach()).masked_fill(~negatives, 0.0)
        alpha = member.outer(psi.sum(1, keepdim=True)) * member.inner(gaps.detach()) * negatives
        energies.append(-(alpha * gaps).sum(1).mean())
    return torch.stack(energies).mean()


@pytest.mark.parametrize("name", MEMBERS)
def test_TB1_through_a_relu_network_with_unit_outputs(name: str) -> None:
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 4)).to(F64)
    views, member = [torch.randn(7, 6, dtype=F64) for _ in range(3)], MEMBERS[name]
    down = parameter_gradients(net, member.build(True), views)
    up = parameter_gradients(net, lambda *v: _energy(member, nn.functional.normalize(torch.cat(v), dim=1), 3), views)
    near_relatively(down, [-g for g in up], within=1e-10)


@pytest.mark.parametrize("name", MEMBERS)
def test_TB1_through_a_linear_network(name: str) -> None:
    net = nn.Linear(6, 4).to(F64)
    views, member = [torch.randn(7, 6, dtype=F64) for _ in range(2)], MEMBERS[name]
    down = parameter_gradients(net, member.build(False), views)
    up = parameter_gradients(net, lambda *v: _energy(member, torch.cat(v), 2), views)
    near_relatively(down, [-g for g in up], within=1e-10)


# TB2, TB3: the exact min player


def _negatives(views: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Half squared distances and where they count."""
    return half_distances(torch.cat(views)), ~same_sample(len(views[0])).forbidden()


def _feasible(optimum: Tensor, count: int) -> Tensor:
    """Random points with the row masses and support of the optimum, half of them close to it, (count, n, m)."""
    support = optimum > 0
    drawn = torch.rand(count, *optimum.shape, dtype=F64).pow(3) * support
    drawn[::2] = optimum * (0.01 * torch.randn_like(drawn[::2])).exp()
    return drawn / drawn.sum(2, keepdim=True) * optimum.sum(1, keepdim=True)


def _lowest(alpha: Tensor, cost: Tensor, regulariser: Function, count: int = 500) -> float:
    """The smallest excess of <alpha, d^2> + R(alpha), row by row, over its value at alpha."""

    def objective(weights: Tensor) -> Tensor:
        return (weights * cost).sum(-1) + regulariser(weights).sum(-1)

    return float((objective(_feasible(alpha, count)) - objective(alpha)).min())


def _spread(values: Tensor, where: Tensor) -> Tensor:
    """How far the entries of each row lie apart."""
    high = values.masked_fill(~where, -math.inf).amax(1)
    return high - values.masked_fill(~where, math.inf).amin(1)


def _family_alpha(loss: PairLoss, views: list[Tensor]) -> Tensor:
    """alpha_ij on the negatives of unit rows: N times the pair weights."""
    _, negatives = _negatives(views)
    return 2 * len(views[0]) * loss.pair_weights(*views) * negatives


@pytest.mark.parametrize("e0", [1.0, 0.0])
def test_TB2_infonce_weights_solve_the_entropic_min_player(e0: float) -> None:
    """Rows of mass xi phi' / tau; xi / (1 + xi) for e0 = 1, one for e0 = 0."""
    views = unit_views(n=6)
    distances, negatives = _negatives(views)
    alpha = _family_alpha(ScaledInfoNCE(TAU, e0=e0), views)
    positive = distances[torch.arange(12), other_view(12)][:, None]
    xi = (torch.exp((positive - distances) / TAU) * negatives).sum(1)
    near(alpha.sum(1), xi / (e0 + xi), within=1e-12)
    kkt = distances + TAU * (alpha.clamp_min(1e-300).log() + 1)
    near(_spread(kkt, negatives), torch.zeros(12, dtype=F64), within=1e-8)
    excess = _lowest(alpha, distances, lambda w: TAU * torch.special.xlogy(w, w))
    show(smallest_excess=excess)
    assert excess > 0


@pytest.mark.parametrize("name", ["MINE", "N+1 tuplet", "InfoNCE", "decoupled"])
def test_TB2_the_exponential_members_weigh_by_a_softmax(name: str) -> None:
    views = unit_views(n=6)
    distances, negatives = _negatives(views)
    alpha = _family_alpha(MEMBERS[name].build(True), views)
    tau = TAU if name in ("InfoNCE", "decoupled") else 1.0
    softmax = torch.softmax((-distances / tau).masked_fill(~negatives, -math.inf), 1)
    near(alpha / alpha.sum(1, keepdim=True), softmax, within=1e-12)


@pytest.mark.parametrize("name", ["triplet", "modified triplet", "triplet contrastive"])
def test_TB2_hinge_sigmoid_and_linear_members_do_not(name: str) -> None:
    views = unit_views(n=6)
    distances, negatives = _negatives(views)
    alpha = _family_alpha(MEMBERS[name].build(True), views)
    kkt = _spread(distances + TAU * alpha.clamp_min(1e-300).log(), negatives & (alpha > 0)).max()
    show(kkt=kkt.item())
    assert kkt > 0.1


def test_TB2_alpha_cl_is_that_player_on_the_simplex() -> None:
    views = unit_views(n=6)
    distances, negatives = _negatives(views)
    alpha = AlphaCL(TAU).coupling(*views)["negatives"].conditional()
    near(alpha, torch.softmax((-distances / TAU).masked_fill(~negatives, -math.inf), 1), within=1e-12)
    assert _lowest(alpha, distances, lambda w: TAU * torch.special.xlogy(w, w)) > 0


def _simplex_projection(v: Tensor) -> Tensor:
    """The Euclidean projection of one vector on the simplex, by sorting."""
    ordered = v.sort(descending=True).values
    threshold = (ordered.cumsum(0) - 1) / torch.arange(1, len(v) + 1)
    size = int((ordered > threshold).sum())
    return (v - threshold[size - 1]).clamp_min(0)


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0, 5.0, 20.0, 40.0])
def test_TB3_square_weights_are_the_projection_on_the_simplex(tau: float) -> None:
    """[mu_i - d^2]_+ / tau: rows sum to one, no entry below zero, mu_i the same on the support and below d^2 off it."""
    views = unit_views(n=7)
    distances, negatives = _negatives(views)
    alpha = AlphaCL(tau, rule="quadratic").coupling(*views)["negatives"].conditional()
    near(alpha.sum(1), torch.ones(14, dtype=F64), within=1e-10)
    assert (alpha >= 0).all()
    mu = distances + tau * alpha
    near(_spread(mu, alpha > 0), torch.zeros(14, dtype=F64), within=1e-10)
    level = mu.masked_fill(alpha == 0, -math.inf).amax(1, keepdim=True)
    assert (distances >= level - 1e-10)[negatives & (alpha == 0)].all()
    sorted_out = torch.zeros_like(alpha)
    for row in range(14):
        sorted_out[row, negatives[row]] = _simplex_projection(-distances[row, negatives[row]] / tau)
    near(alpha, sorted_out, within=1e-10)
    show(support=(alpha > 0).sum(1).double().mean().item())


def _tsallis(q: float, tau: float) -> Function:
    """The regulariser whose slope is -tau alpha^(1 - q) / (q - 1)."""
    if q == 2:
        return lambda w: -tau * w.clamp_min(1e-300).log() * (w > 0)
    return lambda w: -tau * w ** (2 - q) / ((q - 1) * (2 - q))


@pytest.mark.parametrize("tau", [0.3, 2.0])
@pytest.mark.parametrize("q", [1.5, 2.0])
def test_TB3_power_weights_meet_the_conditions_of_their_regulariser(q: float, tau: float) -> None:
    """alpha = ((q - 1) (d^2 + mu_i) / tau)^(-1 / (q - 1)), rows of mass one."""
    views = unit_views(n=7)
    distances, negatives = _negatives(views)
    alpha = AlphaCL(tau, rule=Power(q)).coupling(*views)["negatives"].conditional()
    near(alpha.sum(1), torch.ones(14, dtype=F64), within=1e-10)
    mu = tau * alpha.clamp_min(1e-300) ** (1 - q) / (q - 1) - distances
    near(_spread(mu, negatives), torch.zeros(14, dtype=F64), within=1e-8)
    excess = _lowest(alpha, distances, _tsallis(q, tau))
    show(smallest_excess=excess)
    assert excess > 0
