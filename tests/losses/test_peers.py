"""Table E of docs/equivalences.md: a loss of ours equals one that people use today, in value and in gradient.

The packages belong to the extra `dev` and are imported plainly, so that a missing one fails instead of being skipped.
Where no package has the loss, its published equation is written out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import info_nce
import lightly.loss
import numpy as np
import open_clip.loss
import ot
import pytest
import torch
from equivalences import SEEDS, TEMPERATURES, Draw, Function, Sides, Table, TwoViews, documented, log_ratio
from lightly.loss.hypersphere_loss import HypersphereLoss
from lightly.loss.swav_loss import sinkhorn as swav_sinkhorn
from pytorch_metric_learning import distances, losses, reducers
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_pairs_indices
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import normalize as unit
from torch.nn.functional import softplus

import couplings as cp
from helpers import F64

row = Table()
"""Rows by id, filled below."""


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", row_names := documented("E"))
def test_row(name: str, seed: int, t: float) -> None:
    row[name].check(seed, t, within=row_names[name])


def test_every_test_has_a_row() -> None:
    assert set(row) == set(row_names)


# Other calls, same numbers


def both_ways(one_way: Function) -> Function:
    """Peers whose anchors are the first view only; ours average over anchors of both."""
    return lambda a, b: (one_way(a, b) + one_way(b, a)) / 2


def stacked(peer: Callable[..., Tensor], ids: Tensor, **more: object) -> Function:
    """Peers that take all rows at once, and who belongs together as labels."""
    return lambda *views: peer(torch.cat(views), ids.repeat(len(views)), **more)


def everyone() -> reducers.BaseReducer:
    """Plain means: the default of pytorch-metric-learning leaves out what rounds to zero."""
    return reducers.MeanReducer()


def cosine() -> distances.BaseDistance:
    """Cosine scores, where triplets default to Euclidean distances."""
    return distances.CosineSimilarity()


# lightly


@row("E1")
def _nt_xent(draw: Draw) -> Sides:
    return cp.InfoNCE(draw.t), lightly.loss.NTXentLoss(draw.t)


@row("E2")
def _memory_bank(draw: Draw) -> Sides:
    bank = unit(draw.normal(11, draw.d), dim=1)

    def peer(a: Tensor, b: Tensor) -> Tensor:
        loss = lightly.loss.NTXentLoss(draw.t, memory_bank_size=(11, draw.d)).double()
        loss.memory_bank.bank = bank.clone()
        return loss(a, b)

    negatives = bank.expand(draw.n, 11, draw.d)
    return lambda a, b: cp.InfoNCE(draw.t)(a, b, negatives=negatives), both_ways(peer)


@row("E3")
def _decoupled(draw: Draw) -> Sides:
    return cp.DecoupledInfoNCE(draw.t), lightly.loss.DCLLoss(draw.t)


@row("E4")
def _hypersphere(draw: Draw) -> Sides:
    ours = cp.AlignmentUniformity(power=1.5, t=1 / draw.t, weight=0.7)
    return ours, HypersphereLoss(t=1 / draw.t, lam=0.7, alpha=1.5)


@row("E5", views=4)
def _byol(draw: Draw) -> Sides:
    """Predictions p and targets k of two views."""
    ours, cosines = cp.Alignment(0.5), lightly.loss.NegativeCosineSimilarity()
    return (
        lambda p1, p2, k1, k2: ours(p1, k2.detach()) + ours(p2, k1.detach()),
        lambda p1, p2, k1, k2: 4 + 2 * (cosines(p1, k2.detach()) + cosines(p2, k1.detach())),
    )


@row("E6", views=1, gradient=False)
def _swav(draw: Draw) -> Sides:
    prototypes = draw.normal(4, draw.d)

    def ours(z: Tensor) -> Tensor:
        scores = cp.Scores(prototypes, z, temperature=draw.t)
        return draw.n * cp.couple(scores, cp.Fixed(), cp.Fixed(), sweeps=3).plan().T

    return ours, lambda z: swav_sinkhorn(unit(z, dim=1) @ unit(prototypes, dim=1).T, iterations=3, epsilon=draw.t)


# info-nce-pytorch


@row("E7")
def _own_negatives(draw: Draw) -> Sides:
    negatives = draw.normal(draw.n, 4, draw.d)
    peer = info_nce.InfoNCE(draw.t, negative_mode="paired")
    return lambda a, b: cp.InfoNCE(draw.t)(a, b, negatives=negatives), both_ways(lambda a, b: peer(a, b, negatives))


@row("E8")
def _across_views(draw: Draw) -> Sides:
    return cp.InfoNCE(draw.t, across_views=True), both_ways(info_nce.InfoNCE(draw.t))


# pytorch-metric-learning


@row("E9", views=3)
def _nt_xent_of_three_views(draw: Draw) -> Sides:
    return cp.InfoNCE(draw.t), stacked(losses.NTXentLoss(draw.t), draw.samples)


@row("E10", views=3)
def _classes_that_do_not_repel(draw: Draw) -> Sides:
    pairs = [get_all_pairs_indices(ids.repeat(3)) for ids in (draw.samples, draw.classes)]
    who = (*pairs[0][:2], *pairs[1][2:])
    peer = stacked(losses.NTXentLoss(draw.t), draw.samples, indices_tuple=who)
    return lambda *views: cp.InfoNCE(draw.t)(*views, labels=draw.classes), peer


@row("E11")
def _queue(draw: Draw) -> Sides:
    queue, peer = draw.normal(6, draw.d), losses.NTXentLoss(draw.t)
    ids = draw.samples.repeat(2)
    a, p, _, _ = get_all_pairs_indices(ids)
    _, _, x, n = get_all_pairs_indices(ids, torch.cat([ids, -1 - torch.arange(6)]))

    def theirs(*views: Tensor) -> Tensor:
        z = torch.cat(views)
        return peer(z, indices_tuple=(a, p, x, n), ref_emb=torch.cat([z, queue]))

    return lambda *views: cp.InfoNCE(draw.t)(*views, keys=queue), theirs


@row("E12", views=3)
def _sup_con_without_labels(draw: Draw) -> Sides:
    return cp.SupCon(draw.t), stacked(losses.SupConLoss(draw.t, reducer=everyone()), draw.samples)


@row("E13", views=3)
def _sup_con(draw: Draw) -> Sides:
    peer = losses.SupConLoss(draw.t, reducer=everyone())
    return lambda *views: cp.SupCon(draw.t)(*views, labels=draw.classes), stacked(peer, draw.classes)


@row("E14")
def _neighbourhood_components(draw: Draw) -> Sides:
    peer = stacked(losses.NCALoss(1 / draw.t, distance=cosine()), draw.classes)
    ours = cp.SupCon(draw.t, log_inside=True)
    sizes = torch.tensor([2 * 3 - 1] * 3 + [2 * 2 - 1] * 4, dtype=F64)
    return lambda *views: ours(*views, labels=draw.classes), lambda *views: peer(*views) + sizes.log().mean()


@row("E15")
def _tuplet_margin(draw: Draw) -> Sides:
    return cp.InfoNCE(draw.t), stacked(losses.TupletMarginLoss(margin=0, scale=1 / draw.t), draw.samples)


@row("E16", views=3)
def _triplet(draw: Draw) -> Sides:
    peer = stacked(losses.TripletMarginLoss(draw.t, distance=cosine(), reducer=everyone()), draw.samples)
    return cp.Triplet(draw.t), lambda *views: 3 * (draw.n - 1) * peer(*views)


@row("E17")
def _triplet_of_squared_distances(draw: Draw) -> Sides:
    squared = distances.LpDistance(power=2)
    peer = stacked(losses.TripletMarginLoss(2 * draw.t, distance=squared, reducer=everyone()), draw.samples)
    return cp.Triplet(draw.t), lambda *views: (draw.n - 1) * peer(*views)


@row("E18")
def _smooth_triplet(draw: Draw) -> Sides:
    peer = losses.TripletMarginLoss(draw.t, smooth_loss=True, distance=cosine(), reducer=everyone())
    ours = cp.PairLoss(phi=lambda xi: xi, psi=lambda x: softplus(x + draw.t))
    return ours, lambda *views: 2 * (draw.n - 1) * stacked(peer, draw.samples)(*views)


@row("E19")
def _lifted(draw: Draw) -> Sides:
    peer = losses.GeneralizedLiftedStructureLoss(0, draw.t, distance=cosine(), reducer=reducers.DoNothingReducer())
    theirs = stacked(peer, draw.samples)
    return cp.LiftedStructured(draw.t), lambda *views: theirs(*views)["loss"]["losses"].square().mean()


@row("E20")
def _n_pairs(draw: Draw) -> Sides:
    first = torch.arange(draw.n)
    who = (first, first + draw.n, first, first)
    products = distances.DotProductSimilarity(normalize_embeddings=False)
    peer = stacked(losses.NPairsLoss(distance=products), draw.samples, indices_tuple=who)
    return cp.CLIP(1.0, normalize=False), both_ways(peer)


# torch


@row("E21")
def _triplet_of_torch(draw: Draw) -> Sides:
    negative = draw.normal(draw.n, draw.d)
    peer = nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: 1 - nn.functional.cosine_similarity(a, b), margin=draw.t
    )
    return (
        lambda a, b: cp.Triplet(draw.t)(a, b, negatives=negative[:, None]),
        both_ways(lambda a, b: peer(a, b, negative)),
    )


# open_clip


@row("E22", scalars=1)
def _clip(draw: Draw) -> Sides:
    """The gradient in the logarithm of the scale too."""
    module, peer = cp.CLIP(draw.t, learnable=True), open_clip.loss.ClipLoss()
    start = math.log(1 / draw.t)
    return (
        lambda a, b, x: functional_call(module, {"log_scale": start + x}, (a, b)),
        lambda a, b, x: peer(unit(a, dim=1), unit(b, dim=1), torch.exp(start + x)),
    )


@row("E23", scalars=2)
def _siglip(draw: Draw) -> Sides:
    """The gradients in the logarithm of the scale and in the bias too."""
    module, peer = cp.SigLIP(draw.t, bias=-3.0, learnable=True), open_clip.loss.SigLipLoss()
    start = math.log(1 / draw.t)
    return (
        lambda a, b, x, y: functional_call(module, {"log_scale": start + x, "bias": y - 3}, (a, b)),
        lambda a, b, x, y: peer(unit(a, dim=1), unit(b, dim=1), torch.exp(start + x), y - 3),
    )


@row("E24")
def _distilled(draw: Draw) -> Sides:
    """A teacher's softmaxes, block by block, as the plan that is wanted."""
    teacher, nothing = [unit(draw.normal(draw.n, 3), dim=1) for _ in range(2)], torch.zeros(draw.n, draw.n, dtype=F64)
    products = 2 * teacher[0] @ teacher[1].T
    target = torch.cat(
        [
            torch.cat([nothing, torch.softmax(products, 1)], dim=1),
            torch.cat([torch.softmax(products.T, 1), nothing], dim=1),
        ]
    )
    ours, peer = cp.SupCon(draw.t, across_views=True), open_clip.loss.DistillClipLoss()
    return (
        lambda a, b: ours(a, b, target=target / (2 * draw.n)),
        lambda a, b: peer(unit(a, dim=1), unit(b, dim=1), 1 / draw.t, *teacher, 2.0)[1],
    )


# POT: the plan is its, the value around it is written out


def with_plan_of(solver: Callable[[np.ndarray, np.ndarray], np.ndarray], t: float, tau_plus: float) -> Function:
    """HCL-OT's value with a constant plan that `solver(weights, cost)` gives for squared distances."""

    def value(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        cost = (2 - 2 * rows.s).detach().masked_fill(~rows.repels, 1e4).numpy()
        plan = torch.from_numpy(solver(np.full(len(cost), 1 / len(cost)), cost))
        conditional = plan / plan.sum(1, keepdim=True)
        return log_ratio(rows, rows.over_negatives(conditional * torch.exp(rows.s / t)), t, tau_plus)

    return value


@row("E25")
def _hcl_ot(draw: Draw) -> Sides:
    def solver(w: np.ndarray, cost: np.ndarray) -> np.ndarray:
        return ot.sinkhorn(w, w, cost, 0.7, method="sinkhorn_log", stopThr=1e-13, numItermax=5000)

    return cp.HCLOT(draw.t, 0.7, 0.05), with_plan_of(solver, draw.t, 0.05)


@row("E26")
def _sparse_hcl_ot(draw: Draw) -> Sides:
    def solver(w: np.ndarray, cost: np.ndarray) -> np.ndarray:
        return ot.smooth.smooth_ot_dual(w, w, cost, 0.7 * len(w), reg_type="l2", stopThr=1e-15, numItermax=5000)

    return cp.HCLOT(draw.t, 0.7, rule="quadratic"), with_plan_of(solver, draw.t, 0.0)


@row("E27")
def _relaxed_hcl_ot(draw: Draw) -> Sides:
    def solver(w: np.ndarray, cost: np.ndarray) -> np.ndarray:
        firm_and_soft = [math.inf, 0.5]
        return ot.unbalanced.sinkhorn_unbalanced(
            w, w, cost, 0.7, firm_and_soft, reg_type="kl", stopThr=1e-14, numItermax=5000
        )

    return cp.RelaxedHCLOT(draw.t, 0.7, rho=0.5), with_plan_of(solver, draw.t, 0.0)


def balanced(rows: TwoViews, t: float) -> Tensor:
    """The converged plan of cosines without self pairs, differentiable."""
    n = len(rows.z)
    w = torch.full((n,), 1 / n, dtype=F64)
    cost = 1e3 * torch.eye(n, dtype=F64) - rows.s
    return ot.sinkhorn(w, w, cost, t, method="sinkhorn_log", stopThr=0, numItermax=100, warn=False)


def to_the_target(plan: Tensor) -> Tensor:
    """KL of the positives' plan to this one."""
    n = len(plan)
    return -torch.log(n * plan[torch.arange(n), torch.arange(n).roll(n // 2)]).mean()


@row("E28")
def _gca_ince(draw: Draw) -> Sides:
    t = max(draw.t, 0.3)
    return cp.GCAINCE(t, sweeps=100), lambda a, b: to_the_target(balanced(TwoViews(a, b), t))


@row("E29")
def _iot(draw: Draw) -> Sides:
    def theirs(a: Tensor, b: Tensor) -> Tensor:
        plan = balanced(TwoViews(a, b), t)
        pairs = plan.numel() - len(plan)
        return to_the_target(plan) + 0.2 * (math.log(pairs) - torch.special.entr(plan[plan > 0]).sum())

    t = max(draw.t, 0.3)
    return cp.IOT(t, uniformity=0.2, sweeps=100), theirs


@row("E30")
def _gca_uot(draw: Draw) -> Sides:
    """The plan's rows, each scaled to sum one."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        n = len(rows.z)
        w = torch.full((n,), 1 / n, dtype=F64)
        cost = 1e3 * torch.eye(n, dtype=F64) - rows.s
        plan = ot.unbalanced.sinkhorn_unbalanced(
            w, w, cost, t, [0.4, 0.9], reg_type="kl", stopThr=0, numItermax=100, warn=False
        )
        return to_the_target(plan / plan.sum(1, keepdim=True) / n)

    t = max(draw.t, 0.3)
    return cp.GCAUOT(t, rho1=0.4, rho2=0.9, r1=1.0, r2=0.0, sweeps=100), theirs


@row("E31")
def _sparse_gca(draw: Draw) -> Sides:
    """<P - T, s> less the difference of the penalties, at the plan P that maximises it."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        n = len(rows.z)
        w = np.full(n, 1 / n)
        cost = (1e3 * torch.eye(n, dtype=F64) - rows.s).detach().numpy()
        plan = torch.from_numpy(ot.smooth.smooth_ot_dual(w, w, cost, n * t, "l2", stopThr=1e-15, numItermax=5000))
        penalty = n * t / 2 * (plan.square().sum() - 1 / n)
        return (plan * rows.s).sum() - rows.positive.mean() - penalty

    t = max(draw.t, 0.3)
    return cp.SparseGCA(t, sweeps=40), theirs
