"""Check cards of matching a plan (TD) and of attraction and repulsion (TE). `docs/identities.md` lists them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import ot
import pytest
import torch
from torch import Tensor, nn

from closeness import near, near_relatively, other_view, show
from couplings import CACR, GCAINCE, GCARINCE, GCAUOT, KL, RINCE, Coupling, Fixed, Free, InfoNCE, Pairs, Scores, couple
from helpers import F64, central_differences, gradients, unit_views

TAU = 0.3


def _divergence(p: Tensor, k: Tensor) -> Tensor:
    """KL between nonnegative matrices: sum p log(p / k) - p + k."""
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, k) - p + k).sum()


# TD1: one projection


@pytest.mark.parametrize("target", ["permutation", "dense"])
def test_TD1_the_row_step_is_a_projection(target: str) -> None:
    """KL(Q, K) = KL(Q, P) + KL(P, K) for every Q with the rows of P."""
    matrix = torch.randn(16, 16, dtype=F64)
    plan = couple(Scores.given(matrix, temperature=TAU)).plan()
    dense = torch.rand(16, 16, dtype=F64)
    rows = torch.eye(16, dtype=F64)[torch.randperm(16)] if target == "permutation" else dense
    q = rows / rows.sum(1, keepdim=True) / 16
    kernel = torch.exp(matrix / TAU) / 16**2
    total = _divergence(q, kernel)
    show(total=total.item())
    near(total, _divergence(q, plan) + _divergence(plan, kernel), within=1e-9)


def test_TD1_infonce_is_that_one_projection() -> None:
    views = unit_views(n=8)
    off = torch.eye(16, dtype=torch.bool)
    plan = couple(Scores(torch.cat(views), temperature=TAU, mask=off))
    near(InfoNCE(TAU)(*views), Pairs(other_view(16)[:, None]).divergence(plan), within=1e-12)


# TD2: many projections


def _half_steps(matrix: Tensor, target: Tensor, columns: Fixed, count: int = 20) -> list[float]:
    """KL(T, P) after 1, 2, ... half-steps: rows, columns, rows, ..."""
    plans = [
        couple(Scores.given(matrix, temperature=TAU), Fixed(), columns, sweeps=k // 2, row_step=k % 2 == 1).plan()
        for k in range(1, count + 1)
    ]
    return [_divergence(target, plan).item() for plan in plans]


def _rises(values: list[float]) -> float:
    return max(later - earlier for earlier, later in itertools.pairwise(values))


def test_TD2_each_half_step_tightens_the_match() -> None:
    matrix = torch.randn(16, 16, dtype=F64)
    values = _half_steps(matrix, torch.eye(16, dtype=F64)[torch.randperm(16)] / 16, Fixed())
    show(first=values[0], last=values[-1], largest_rise=_rises(values))
    assert _rises(values) <= 1e-12
    assert values[0] - values[-1] > 0.1


def test_TD2_of_gca_ince_sweep_by_sweep() -> None:
    views = unit_views(n=8)
    values = [GCAINCE(TAU, sweeps=t)(*views).item() for t in range(12)]
    show(first=values[0], last=values[-1])
    assert _rises(values) <= 1e-12
    assert values[0] - values[-1] > 1e-4


def test_TD2_only_for_a_target_that_the_marginals_can_meet() -> None:
    """Columns of another mass make it rise, from scores close to the target's; the target's own make it fall."""
    target = torch.rand(16, 16, dtype=F64) * torch.linspace(0.1, 3, 16, dtype=F64)
    target = target / target.sum(1, keepdim=True) / 16
    matrix = TAU * (target.log() + 0.1 * torch.randn(16, 16, dtype=F64))
    infeasible = _rises(_half_steps(matrix, target, Fixed()))
    feasible = _rises(_half_steps(matrix, target, Fixed(target.sum(0))))
    show(infeasible=infeasible, feasible=feasible)
    assert infeasible > 0.01
    assert feasible <= 1e-12


# TD3: the dual gradient


def _dual_gap(sweeps: int, columns: Fixed | Free) -> float:
    """Relative distance of autograd's d/ds sum T (-log P) from (P - T) / tau, T dense with the right marginals."""
    matrix = torch.randn(9, 9, dtype=F64)
    target = couple(Scores.given(torch.randn(9, 9, dtype=F64)), Fixed(), Fixed(), sweeps=500).plan()

    def solved(s: Tensor) -> Coupling:
        return couple(Scores.given(s, temperature=TAU), Fixed(), columns, sweeps=sweeps, row_step=True)

    (gradient,) = gradients(lambda s: -(target * solved(s).plan().log()).sum(), [matrix])
    wanted = (solved(matrix).plan() - target) / TAU
    gap = float((gradient - wanted).norm() / wanted.norm())
    show(sweeps=sweeps, gap=gap)
    return gap


def test_TD3_the_dual_gradient_at_the_half_step_and_at_convergence() -> None:
    gaps = torch.tensor([_dual_gap(0, Free()), _dual_gap(500, Fixed())])
    near(gaps, torch.zeros(2), within=1e-8)


@pytest.mark.parametrize("sweeps", [1, 3])
def test_TD3_but_not_after_a_few_sweeps(sweeps: int) -> None:
    assert _dual_gap(sweeps, Fixed()) > 1e-4


def test_TD3_with_the_sign_of_a_cost_by_central_differences() -> None:
    """d/dC = (T - P) / tau."""
    target = torch.eye(5, dtype=F64)[torch.randperm(5)] / 5

    def matched(cost: Tensor) -> Tensor:
        plan = couple(Scores.given(-cost, temperature=TAU), Fixed(), Fixed(), sweeps=200)
        return -(target * plan.plan().log()).sum()

    cost = torch.rand(5, 5, dtype=F64)
    plan = couple(Scores.given(-cost, temperature=TAU), Fixed(), Fixed(), sweeps=200).plan()
    near(central_differences(matched, cost, 1e-5), (target - plan) / TAU, within=1e-8)


# TD4: the two ends of RINCE


def test_TD4_rince_tends_to_infonce_and_log_lam() -> None:
    views, lam = unit_views(n=8), 0.3
    near(RINCE(TAU, q=1e-4, lam=lam)(*views), InfoNCE(TAU)(*views) + math.log(lam), within=1e-3)
    ours, theirs = gradients(RINCE(TAU, q=1e-4, lam=lam), views), gradients(InfoNCE(TAU), views)
    near_relatively(ours, theirs, within=1e-3)


def test_TD4_rince_is_linear_in_the_kernel_at_one() -> None:
    """-p + lam S."""
    views, lam = unit_views(n=8), 0.3
    z = torch.cat(views)
    kernel = torch.exp(z @ z.T / TAU).fill_diagonal_(0.0)
    positive = kernel[torch.arange(16), other_view(16)]
    near(RINCE(TAU, q=1.0, lam=lam, shift=0.0)(*views), (lam * kernel.sum(1) - positive).mean(), within=1e-12)


def test_TD4_so_does_gca_rince() -> None:
    views, lam = unit_views(n=8), 0.3
    low = GCARINCE(TAU, q=1e-4, lam=lam, sweeps=5)
    near(low(*views), GCAINCE(TAU, sweeps=5)(*views) + math.log(lam), within=1e-3)
    near_relatively(gradients(low, views), gradients(GCAINCE(TAU, sweeps=5), views), within=1e-3)


def test_TD4_gca_rince_is_linear_in_its_scaled_kernel_at_one() -> None:
    views, lam = unit_views(n=8), 0.3
    z = torch.cat(views)
    plan = GCARINCE(TAU, q=1.0, lam=lam, sweeps=5).coupling(*views)["plan"]
    kernel = (torch.exp(z @ z.T / TAU) * plan.g.exp()).fill_diagonal_(0.0)
    positive = kernel[torch.arange(16), other_view(16)]
    near(
        GCARINCE(TAU, q=1.0, lam=lam, sweeps=5, shift=0.0)(*views),
        (lam * kernel.sum(1) - positive).mean(),
        within=1e-12,
    )
    near(GCARINCE(TAU, q=0.6, sweeps=0)(*views), RINCE(TAU, q=0.6)(*views), within=1e-12)


# TD5: relaxed marginals


@pytest.mark.filterwarnings("ignore:If reg_type = entropy")
@pytest.mark.parametrize("rho", [(0.2, 0.2), (1.0, 0.3)])
@pytest.mark.parametrize("reference", ["kl", "entropy"])
def test_TD5_the_unbalanced_plan_is_pots(reference: str, rho: tuple[float, float]) -> None:
    """Against a x b as it is; against the counting measure with tau log(n m) on each score."""
    n, tau = 16, 0.5
    matrix, uniform = torch.rand(n, n, dtype=F64), np.full(n, 1 / n)
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        uniform, uniform, -matrix.numpy(), tau, list(rho), reg_type=reference, stopThr=1e-14, numItermax=20000
    )
    shifted = matrix + (tau * math.log(n * n) if reference == "entropy" else 0.0)
    ours = couple(Scores.given(shifted, temperature=tau), KL(rho[0]), KL(rho[1]), sweeps=2000).plan()
    show(mass=ours.sum().item())
    near(ours, torch.as_tensor(theirs), within=1e-6)


def test_TD5_limits_of_the_relaxation() -> None:
    scores = Scores.given(torch.rand(16, 16, dtype=F64), temperature=0.5)
    firm = couple(scores, KL(1e9), KL(1e9), sweeps=200).plan()
    near(firm, couple(scores, Fixed(), Fixed(), sweeps=200).plan(), within=1e-6)
    loose = couple(scores, KL(1e-9), KL(1e-9), sweeps=200).plan()
    near(loose, couple(scores, Free(), Free()).plan(), within=1e-6)


def test_TD5_gca_uot_without_price_is_infonce_and_with_all_of_it_gca_ince() -> None:
    views = unit_views(n=8)
    loose = GCAUOT(TAU, rho1=1e-9, rho2=1e-9, r1=1.0, r2=0.0, sweeps=7)
    firm = GCAUOT(TAU, rho1=1e9, rho2=1e9, r1=1.0, r2=0.0, sweeps=7)
    between = GCAUOT(TAU, rho1=0.2, rho2=0.2, r1=1.0, r2=0.0, sweeps=7)(*views)
    infonce, balanced = InfoNCE(TAU), GCAINCE(TAU, sweeps=7)
    show(infonce=infonce(*views).item(), between=between.item(), balanced=balanced(*views).item())
    near(loose(*views), infonce(*views), within=1e-6)
    near(firm(*views), balanced(*views), within=1e-6)
    near_relatively(gradients(firm, views), gradients(balanced, views), within=1e-6)
    assert balanced(*views) < between < infonce(*views)


def test_TD5_the_rince_term_of_gca_uot_is_gca_rince_in_the_limit() -> None:
    views = unit_views(n=8)
    firm = GCAUOT(TAU, rho1=1e9, rho2=1e9, r1=0.0, r2=0.7, q=0.6, lam=0.01, sweeps=7)
    rince = GCARINCE(TAU, q=0.6, lam=0.01, sweeps=7)
    near(firm(*views), 0.7 * rince(*views), within=1e-6)
    near_relatively(gradients(firm, views), [0.7 * g for g in gradients(rince, views)], within=1e-6)


# TE: attraction and repulsion


def test_TE1_attraction_is_zero_only_when_views_coincide() -> None:
    views = unit_views(count=3)
    attraction = CACR(t_positive=2.0, beta=0.0)
    near(attraction(views[0], views[0], views[0]), torch.zeros((), dtype=F64), within=1e-14)
    assert attraction(*views) > 0.01
    moved = views[0] + torch.zeros_like(views[0]).index_fill_(0, torch.tensor([2]), 1e-3)
    assert attraction(views[0], views[0], moved) > 1e-8
    near(attraction(*views[:2]), (views[0] - views[1]).square().sum(1).mean(), within=1e-12)


@pytest.mark.parametrize("t", [0.0, 1.0, 5.0])
def test_TE2_repulsion_on_the_simplex(t: float) -> None:
    """Ten points at equal distances: uniform weights and -2 M / (M - 1), whatever the hardness."""
    corners = torch.eye(10, dtype=F64) - 0.1
    loss = CACR(alpha=0.0, t_negative=t)
    near(loss(corners, corners), torch.tensor(-20 / 9, dtype=F64), within=1e-9)
    weights = loss.coupling(corners, corners)["view 1 to view 2"].conditional()
    near(weights, (1 - torch.eye(10, dtype=F64)) / 9, within=1e-12)


def test_TE2_the_simplex_is_the_lowest_of_random_configurations() -> None:
    loss = CACR(alpha=0.0, t_negative=1.0)
    lowest = min(loss(z, z).item() for z in torch.randn(100, 10, 12, dtype=F64))
    show(lowest=lowest)
    assert lowest > -20 / 9


def test_TE3_far_positives_and_near_negatives_weigh_most() -> None:
    views = unit_views(n=6, count=4)
    z = torch.stack(views)
    coupling = CACR(t_positive=2.0, t_negative=2.0).coupling(*views)
    attraction = coupling["attraction"].conditional()[:6]  # view 1's other views, in order
    apart = (z[0] - z[1:]).square().sum(2).T
    assert torch.equal(attraction.argsort(1), apart.argsort(1))
    repulsion = coupling["view 1 to view 2"].conditional()
    squared = (z[0][:, None] - z[1]).square().sum(2)
    for i in range(6):
        others = torch.arange(6) != i
        assert torch.equal(repulsion[i, others].argsort(), squared[i, others].argsort(descending=True))


def test_TE3_hardness_zero_is_uniform_and_without_bound_one_hot() -> None:
    views = unit_views(n=6, count=4)
    off = (1 - torch.eye(6, dtype=F64)) / 5
    soft, hard = (CACR(t_positive=t, t_negative=t).coupling(*views) for t in (0.0, 1e6))
    near(soft["attraction"].conditional(), torch.full((24, 3), 1 / 3, dtype=F64), within=1e-12)
    near(soft["view 1 to view 2"].conditional(), off, within=1e-12)
    for plan in hard.values():
        near(plan.conditional().amax(1), torch.ones(len(plan.a), dtype=F64), within=1e-12)


def _information(z: Tensor, t: float) -> Tensor:
    """Mutual information of query and negative under the repulsion plan, in nats."""
    plan = CACR(t_negative=t).coupling(z, z)["view 1 to view 2"]
    rows, columns = plan.marginals()
    return torch.special.entr(rows).sum() + torch.special.entr(columns).sum() - plan.entropy()


def test_TE4_uniform_weights_tell_least_about_the_query() -> None:
    """log(M / (M - 1)) at hardness zero or on the simplex, and more with every step of hardness."""
    z, corners = torch.randn(10, 16, dtype=F64), torch.eye(10, dtype=F64) - 0.1
    least = torch.tensor(math.log(10 / 9), dtype=F64)
    near(_information(z, 0.0), least, within=1e-12)
    near(_information(corners, 3.0), least, within=1e-12)
    rising = [_information(z, t).item() for t in (0.0, 0.5, 2.0, 10.0)]
    show(**{f"step {k}": value for k, value in enumerate(rising)})
    assert rising == sorted(rising)
    assert rising[-1] > 1


def _repelled(z: Tensor) -> Tensor:
    """Where Adam on the repulsion of free embeddings ends."""
    free, loss = z.clone().requires_grad_(), CACR(alpha=0.0, t_negative=1.0)
    optimiser = torch.optim.Adam([free], lr=0.1)
    for _ in range(130):
        optimiser.zero_grad()
        loss(free, free).backward()
        optimiser.step()
    return free.detach()


@pytest.mark.parametrize(
    ("d", "before", "after"),
    [(16, (-1.80982, 0.19461), (-20 / 9, math.log(10 / 9))), (4, (-1.42787, 0.38373), (-1.81865, 0.27488))],
)
def test_TE4_repulsion_lowers_the_information(d: int, before: tuple[float, float], after: tuple[float, float]) -> None:
    """To the simplex and its uniform weights where ten points fit (d >= 9), and not where they do not."""
    drawn = {size: nn.functional.normalize(torch.randn(10, size, dtype=F64), dim=1) for size in (4, 16)}
    for z, figures in ((drawn[d], before), (_repelled(drawn[d]), after)):
        measured = torch.stack([CACR(alpha=0.0, t_negative=1.0)(z, z), _information(z, 1.0)])
        show(repulsion=measured[0].item(), information=measured[1].item())
        near(measured, torch.tensor(figures, dtype=F64), within=1e-5)
