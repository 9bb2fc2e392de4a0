"""Bridge identities I1 to I11: the same plan under several names. `docs/identities.md` lists them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from closeness import half_distances, near, near_relatively, other_view, parameter_gradients, same_sample, show
from couplings import (
    CACR,
    CLIP,
    GCAINCE,
    HCL,
    HCLOT,
    RBF,
    AlignmentUniformity,
    AlphaCL,
    AlphaCLDirect,
    DecoupledInfoNCE,
    Fixed,
    InfoNCE,
    Pairs,
    ScaledInfoNCE,
    Scores,
    SquaredEuclidean,
    couple,
)
from couplings.diagnostics import alignment, uniformity
from helpers import F64, central_differences, gradients, unit_views

TAU = 0.3
Value = Callable[..., Tensor]


# I1, I2: InfoNCE, alpha weights and the half-step plan


def _alpha(distances: Tensor, tau: float) -> Tensor:
    """e^((d_i^2 - d_ij^2) / tau) / (1 + xi_i) over the negatives of two views, from half squared distances."""
    rows = torch.arange(len(distances))
    gaps = distances[rows, other_view(len(rows))][:, None] - distances
    psi = torch.exp(gaps / tau).masked_fill(same_sample(len(rows) // 2).forbidden(), 0.0)
    return psi / (1 + psi.sum(1, keepdim=True))


def _energy(*views: Tensor, unit: bool, tau: float = TAU) -> Tensor:
    """mean_i sum_j alpha_ij (d_ij^2 - d_i^2), alpha a constant."""
    z = torch.cat(views)
    distances = half_distances(nn.functional.normalize(z, dim=1) if unit else z)
    alpha = _alpha(distances, tau).detach()
    positive = distances[torch.arange(len(z)), other_view(len(z))][:, None]
    return (alpha * (distances - positive)).sum() / len(z)


@pytest.mark.parametrize("unit", [True, False], ids=["sphere", "space"])
def test_I1_infonce_descends_where_the_alpha_energy_ascends(unit: bool) -> None:
    net = nn.Linear(5, 4).to(F64)
    views = [torch.randn(7, 5, dtype=F64) for _ in range(2)]
    up = parameter_gradients(net, lambda *v: _energy(*v, unit=unit), views)
    down = parameter_gradients(net, ScaledInfoNCE(TAU, normalize=unit), views)
    near_relatively(down, [-g for g in up], within=1e-10)
    if unit:  # without unit rows InfoNCE's inner products are no distances
        infonce = parameter_gradients(net, InfoNCE(TAU), views)
        near_relatively(infonce, [-g / TAU for g in up], within=1e-10)


def test_I2_those_weights_are_the_half_step_plan() -> None:
    views = unit_views(n=8)
    z = torch.cat(views)
    alpha = _alpha(half_distances(z), TAU) / len(z)
    forbidden = same_sample(8).forbidden()
    half_step = couple(Scores(z, temperature=TAU, mask=torch.eye(len(z), dtype=torch.bool))).plan()
    for plan in (half_step, *(loss.coupling(*views)["plan"].plan() for loss in (InfoNCE(TAU), GCAINCE(TAU, sweeps=0)))):
        near(alpha, plan.masked_fill(forbidden, 0.0), within=1e-12)
    near(InfoNCE(TAU).pair_weights(*views).masked_fill(forbidden, 0.0), alpha / TAU, within=1e-12)


# I3: the gradient of matching a target


def _pull(sweeps: int) -> tuple[Tensor, Tensor]:
    """dKL(T, P)/ds and (P - T) / tau for GCA-INCE on eight samples."""
    views, loss = unit_views(n=8), GCAINCE(TAU, sweeps=sweeps)
    plan = loss.coupling(*views)["plan"].plan().detach()
    target = torch.zeros_like(plan)
    target[torch.arange(len(plan)), other_view(len(plan))] = 1 / len(plan)
    return loss.pair_weights(*views), (plan - target) / TAU


@pytest.mark.parametrize("sweeps", [0, 200])
def test_I3_the_matching_gradient_is_plan_minus_target(sweeps: int) -> None:
    ours, danskin = _pull(sweeps)
    near_relatively([ours], [danskin], within=1e-8)


@pytest.mark.parametrize("sweeps", [1, 2, 3, 5])
def test_I3_but_not_after_a_few_sweeps(sweeps: int) -> None:
    """Then the gradient is another one, that of the sweeps run."""
    ours, danskin = _pull(sweeps)
    gap = float((ours - danskin).norm() / danskin.norm())
    show(gap=gap)
    assert gap > 1e-5


def test_I3_by_central_differences_at_convergence() -> None:
    z = torch.cat(unit_views(n=3))
    off, target = torch.eye(6, dtype=torch.bool), Pairs(other_view(6)[:, None])

    def solved(matrix: Tensor) -> Tensor:
        return target.divergence(couple(Scores.given(matrix, temperature=TAU, mask=off), Fixed(), Fixed(), sweeps=80))

    plan = couple(Scores(z, temperature=TAU, mask=off), Fixed(), Fixed(), sweeps=300).plan()
    wanted = torch.zeros_like(plan)
    wanted[torch.arange(6), other_view(6)] = 1 / 6
    near(central_differences(solved, z @ z.T, 1e-5), (plan - wanted) / TAU, within=1e-8)


# I4, I5: one hardness scale


@pytest.mark.parametrize("beta", [0.5, 1.7])
def test_I4_hcl_weights_are_a_row_plan_at_reg_two_tau_over_beta(beta: float) -> None:
    views = unit_views(n=8)
    scores = Scores(torch.cat(views), temperature=2 * TAU / beta, cost=SquaredEuclidean(), mask=same_sample(8))
    near(HCL(TAU, beta).coupling(*views)["negatives"].plan(), couple(scores).plan(), within=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_I5_one_hardness_scale(beta: float) -> None:
    """beta / tau = 2 t_negative = 2 / reg = 1 / tau of InfoNCE and of alpha-CL."""
    views = unit_views()
    n, t, z = len(views[0]), beta / (2 * TAU), torch.cat(views)
    forbidden = same_sample(n).forbidden()
    hcl = HCL(TAU, beta).coupling(*views)["negatives"].conditional()
    row_plan = couple(Scores(z, temperature=1 / t, cost=SquaredEuclidean(), mask=same_sample(n))).conditional()
    softmax = torch.softmax((beta / TAU * (z @ z.T)).masked_fill(forbidden, -math.inf), 1)
    infonce = InfoNCE(TAU / beta).coupling(*views)["plan"].plan().masked_fill(forbidden, 0.0)
    alphas = [
        loss.coupling(*views)["negatives"].conditional()
        for loss in (AlphaCLDirect(TAU / beta, 2.0), AlphaCL(TAU / beta))
    ]
    for other in (row_plan, softmax, infonce / infonce.sum(1, keepdim=True), *alphas):
        near(hcl, other, within=1e-12)
    across = hcl[:n, n:]
    cacr = CACR(t_negative=t).coupling(*views)["view 1 to view 2"].conditional()
    near(cacr, across / across.sum(1, keepdim=True), within=1e-12)


# I6, I7: decoupled InfoNCE, and hard negatives as an expectation


def test_I6_decoupled_infonce_is_attraction_plus_detached_repulsion() -> None:
    """At t_negative = 1 / (2 tau), up to the factor 2 tau between |z_i - z_j|^2 and s / tau."""
    views, cacr = unit_views(), CACR(t_negative=1 / (2 * TAU), detach_weights=True)
    decoupled = gradients(DecoupledInfoNCE(TAU, across_views=True), views)
    near_relatively(gradients(cacr, views), [2 * TAU * g for g in decoupled], within=1e-12)


def test_I6_with_negatives_of_ones_own_and_in_the_whole_batch() -> None:
    views, negatives = unit_views(n=5), nn.functional.normalize(torch.randn(5, 7, 4, dtype=F64), dim=2)
    cacr, decoupled = CACR(t_negative=1 / (2 * TAU), detach_weights=True), DecoupledInfoNCE(TAU)
    ours = gradients(lambda *v: cacr(*v, negatives=negatives), views)
    theirs = gradients(lambda *v: decoupled(*v, negatives=negatives), views)
    near_relatively(ours, [2 * TAU * g for g in theirs], within=1e-12)
    whole = gradients(AlphaCLDirect(TAU, p=2.0), views)
    near_relatively(whole, [TAU * g for g in gradients(decoupled, views)], within=1e-12)


def test_I7_the_reweighted_sum_is_an_expectation_under_the_plan() -> None:
    """sum(imp neg) / mean(imp) = N E_w[e^(s / tau)], imp = e^(beta s / tau) on the N negatives."""
    views, beta = unit_views(n=12, d=6), 1.5
    z = torch.cat(views)
    mask, count = same_sample(12), len(z) - 2
    kernel = torch.exp(z @ z.T / TAU).masked_fill(mask.forbidden(), 0.0)
    importance = kernel**beta
    reweighted = (importance * kernel).sum(1) / (importance.sum(1) / count)
    plan = HCL(TAU, beta).coupling(*views)["negatives"].conditional()
    near_relatively([count * (plan * kernel).sum(1)], [reweighted], within=1e-12)
    positive = torch.exp((z * z[other_view(len(z))]).sum(1) / TAU)
    near(HCL(TAU, beta, 0.0)(*views), torch.log1p(reweighted / positive).mean(), within=1e-12)
    transported = HCLOT(TAU, 0.7).coupling(*views)["negatives"].plan()
    balanced = count * len(z) * (transported * kernel).sum(1)
    near(HCLOT(TAU, 0.7)(*views), torch.log1p(balanced / positive).mean(), within=1e-12)


# I8: two views leave the RBF form of CACR nothing to weigh


def _imagenet_rbf(t_positive: float, temperature: float, views: list[Tensor]) -> Tensor:
    """sum over keys' views b and queries' views a of mean_i p_ab CE(q_a . k_b / T) 2 T, p from CACR's attraction."""
    n, count = views[0].shape[0], len(views)
    units = [nn.functional.normalize(v, dim=1) for v in views]
    weights = CACR(t_positive=t_positive).coupling(*views)["attraction"].conditional().detach()
    total = views[0].new_zeros(())
    for b, shift in itertools.product(range(count), range(1, count)):
        logits = units[(b + shift) % count] @ units[b].T / temperature
        own = nn.functional.cross_entropy(logits, torch.arange(n), reduction="none")
        total = total + (weights[b * n : (b + 1) * n, shift - 1] * own).mean() * 2 * temperature
    return total


def test_I8_the_rbf_form_with_two_views_is_moco_v3() -> None:
    """MoCo-v3 adds 2 T CE(q1, k2) and 2 T CE(q2, k1): 4 T times CLIP's mean of the two, whatever t_positive."""
    views, tau = unit_views(), 0.2
    ours, gradient = CLIP(tau), gradients(CLIP(tau), views)
    for t_positive in (0.0, 5.0):
        near(_imagenet_rbf(t_positive, tau, views), 4 * tau * ours(*views), within=1e-12)
        released = gradients(lambda *v, t=t_positive: _imagenet_rbf(t, tau, list(v)), views)
        near_relatively(released, [4 * tau * g for g in gradient], within=1e-12)


def test_I8_local_crops_are_what_the_weights_need() -> None:
    """With four views it is 2 T V CLIP for uniform weights only."""
    views, tau = unit_views(count=4), 0.2
    plain = 2 * tau * 4 * CLIP(tau)(*views)
    near(_imagenet_rbf(0.0, tau, views), plain, within=1e-12)
    weighed = _imagenet_rbf(5.0, tau, views) - plain
    show(difference=weighed.item())
    assert weighed > 0.01


# I9, I10: two ends of CACR's hardness


def _kernel_means(views: list[Tensor], t: float) -> Tensor:
    """log mean_j e^(-t |z_i - z_j|^2) over the other view's other samples, both directions, (2, n)."""
    squared = torch.cdist(*views).square().fill_diagonal_(math.inf)
    return torch.stack([torch.logsumexp(-t * m, 1) - math.log(len(m) - 1) for m in (squared, squared.T)])


def test_I9_uniform_weights_and_rbf_are_alignment_and_uniformity() -> None:
    views = unit_views(n=9)
    loss = CACR(t_positive=0.0, t_negative=0.0, cost=RBF(2.0))
    near(loss(*views), alignment(*views) + _kernel_means(views, 2.0).mean(), within=1e-12)
    near(CACR(alpha=1.0, beta=0.0)(*views), alignment(*views), within=1e-12)


def test_I9_the_logarithm_is_taken_anchor_by_anchor() -> None:
    """So it lies below Wang and Isola's log of the mean, and meets it where all anchors see the same distances."""
    loss, theirs = CACR(t_positive=0.0, t_negative=0.0, cost=RBF(2.0)), AlignmentUniformity(2.0, 2.0)
    z, corners = unit_views(n=9)[0], torch.eye(6, dtype=F64) - 1 / 6
    near(theirs(z, z), uniformity(z), within=1e-12)
    gap = theirs(z, z) - loss(z, z)
    show(gap=gap.item())
    assert gap > 1e-3
    near(loss(corners, corners), theirs(corners, corners), within=1e-12)


def test_I10_the_limit_of_hardness_is_batch_hard() -> None:
    views = unit_views(n=7, count=4)
    hard = CACR(t_positive=1e6, t_negative=1e6)

    def batch_hard(*inputs: Tensor) -> Tensor:
        z = nn.functional.normalize(torch.stack(inputs), dim=2)
        apart = lambda a, b: (z[a][:, None] - z[b]).square().sum(2)  # noqa: E731
        ordered = list(itertools.permutations(range(4), 2))
        far = [torch.stack([apart(a, b).diagonal() for b in range(4) if b != a]).amax(0).mean() for a in range(4)]
        off = torch.eye(7, dtype=torch.bool)
        near_ones = [apart(a, b).masked_fill(off, math.inf).amin(1).mean() for a, b in ordered]
        return torch.stack(far).mean() - torch.stack(near_ones).mean()

    near(hard(*views), batch_hard(*views), within=1e-12)
    near_relatively(gradients(hard, views), gradients(batch_hard, views), within=1e-10)
    soft = CACR(t_positive=1.0, t_negative=1.0)(*views) - batch_hard(*views)
    show(soft_minus_hard=soft.item())
    assert abs(soft) > 0.01


# I11: alpha-CL-direct is contrastive repulsion


def test_I11_alpha_cl_direct_has_the_weights_of_contrastive_repulsion() -> None:
    """p = 2, row-normalised, t_negative = 1 / (2 tau), both with the other view's samples as negatives."""
    views = unit_views(n=6)
    direct = AlphaCLDirect(TAU, p=2.0, across_views=True)
    cacr = CACR(t_negative=1 / (2 * TAU), detach_weights=True)
    plans = cacr.coupling(*views)
    weights = direct.coupling(*views)["negatives"].conditional()
    near(weights[:6, 6:], plans["view 1 to view 2"].conditional(), within=1e-12)
    near(weights[6:, :6], plans["view 2 to view 1"].conditional(), within=1e-12)
    near_relatively(gradients(cacr, views), [2 * g for g in gradients(direct, views)], within=1e-12)


def test_I11_with_negatives_of_ones_own() -> None:
    views, negatives = unit_views(n=5), torch.randn(5, 7, 4, dtype=F64)
    direct, cacr = AlphaCLDirect(TAU, p=2.0), CACR(t_negative=1 / (2 * TAU), detach_weights=True)
    ours = gradients(lambda *v: cacr(*v, negatives=negatives), views)
    theirs = gradients(lambda *v: direct(*v, negatives=negatives), views)
    near_relatively(ours, [2 * g for g in theirs], within=1e-12)
