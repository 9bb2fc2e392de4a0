"""Table F of docs/equivalences.md: losses equal the equations of the papers that they come from, written out here."""

from __future__ import annotations

import math

import pytest
import torch
from equivalences import SEEDS, TEMPERATURES, Draw, Function, Sides, Table, TwoViews, documented, log_ratio
from torch import Tensor
from torch.nn.functional import normalize as unit

import couplings as cp

row = Table()
"""Rows by id, filled below."""


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", row_names := documented("F"))
def test_row(name: str, seed: int, t: float) -> None:
    row[name].check(seed, t, within=row_names[name])


def test_every_test_has_a_row() -> None:
    assert set(row) == set(row_names)


def rince(t: float, q: float, lam: float, *, one_scale: bool = False) -> Function:
    """Robust InfoNCE of Chuang et al. 2022, mean over anchors; or over what the larger kernels of its pairs weigh."""

    def value(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        positive = torch.exp(rows.positive / t)
        everything = positive + rows.over_negatives(torch.exp(rows.s / t))
        scale = torch.maximum(positive, everything / (len(rows.s) - 1)).detach() ** q if one_scale else torch.ones(())
        return (-(positive**q) / q + (lam * everything) ** q / q).mean() / scale.mean()

    return value


@row("F1")
def _rince(draw: Draw) -> Sides:
    return cp.RINCE(draw.t, q=0.5, lam=0.025, shift=0.0), rince(draw.t, 0.5, 0.025)


@row("F2")
def _rince_of_one_scale(draw: Draw) -> Sides:
    t, q = draw.t / 10, 0.3
    return cp.RINCE(t, q=q, lam=0.1), rince(t, q, 0.1, one_scale=True)


@row("F3")
def _rince_is_linear_at_one(draw: Draw) -> Sides:
    """-p + lam (p + sum of negatives): a symmetric loss, robust to label noise."""
    return cp.RINCE(draw.t, q=1.0, lam=0.3, shift=0.0), rince(draw.t, 1.0, 0.3)


@row("F4")
def _guided(draw: Draw) -> Sides:
    """A guide's false negatives (Solatorio 2024, GISTEmbed): more alike to it than the anchor's own positive."""
    base = draw.normal(draw.n, 4)
    guides = [base + 0.4 * draw.normal(draw.n, 4) for _ in range(2)]

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows, guide = TwoViews(a, b), TwoViews(*guides)
        kernel = torch.exp(rows.s / draw.t).masked_fill(guide.s > guide.positive[:, None], 0.0)
        positive = torch.exp(rows.positive / draw.t)
        return -torch.log(positive / (positive + rows.over_negatives(kernel))).mean()

    return lambda a, b: cp.InfoNCE(draw.t)(a, b, mask=cp.Guide(*guides)), theirs


def hard_negatives(t: float, beta: float, tau_plus: float) -> Function:
    """Robinson et al. 2021: importance weights e^(beta s / t), divided by their mean."""

    def value(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        importance = torch.exp(beta * rows.s / t)
        scale = rows.over_negatives(importance) / rows.count
        reweighted = rows.over_negatives(importance * torch.exp(rows.s / t)) / scale
        return log_ratio(rows, reweighted / rows.count, t, tau_plus)

    return value


@row("F5")
def _debiased(draw: Draw) -> Sides:
    return cp.DebiasedInfoNCE(draw.t, tau_plus=0.1), hard_negatives(draw.t, 0.0, 0.1)


@row("F6")
def _hcl(draw: Draw) -> Sides:
    return cp.HCL(draw.t, beta=0.7, tau_plus=0.1), hard_negatives(draw.t, 0.7, 0.1)


@row("F7")
def _spectral(draw: Draw) -> Sides:
    """HaoChen et al. 2021: rows of squared length mu."""
    mu = 1 / draw.t

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        square = rows.over_negatives((mu * rows.s).square()) / rows.count
        return (-2 * mu * rows.positive + square).mean()

    return cp.SpectralContrastive(scale=mu), theirs


@row("F8")
def _mine(draw: Draw) -> Sides:
    """Donsker and Varadhan's bound, the log of the sum anchor by anchor."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        return (-rows.positive + torch.log(rows.over_negatives(torch.exp(rows.s)))).mean()

    return cp.MINE(), theirs


@row("F9")
def _soft_triplet(draw: Draw) -> Sides:
    t, margin = draw.t, 0.4

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        gaps = rows.s - rows.positive[:, None]
        return (t * torch.log1p(rows.over_negatives(torch.exp(gaps / t + margin)))).mean()

    return cp.SoftTriplet(t, margin), theirs


@row("F10")
def _tuplet(draw: Draw) -> Sides:
    """Sohn 2016."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        return torch.log1p(rows.over_negatives(torch.exp(rows.s - rows.positive[:, None]))).mean()

    return cp.NPlusOneTuplet(), theirs


@row("F11")
def _modified_triplet(draw: Draw) -> Sides:
    """Coria et al. 2020."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        return rows.over_negatives(torch.sigmoid((rows.s - rows.positive[:, None]) / draw.t)).mean()

    return cp.ModifiedTriplet(slope=1 / draw.t), theirs


@row("F12")
def _triplet_contrastive(draw: Draw) -> Sides:
    """Ji et al. 2021: no margin, no hinge."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        return rows.over_negatives(rows.s - rows.positive[:, None]).mean()

    return cp.TripletContrastive(), theirs


# alpha-CL (Tian 2022): minus the energy under constant weights


def energy(raw: Function, power: float = 2.0) -> Function:
    """mean_i sum_j alpha_ij (d_ip^2 - d_ij^2); alpha: `raw` weights of distances^power, scaled to sum one a row."""

    def value(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        half = (1 - rows.s).detach().clamp_min(0)
        weights = raw(half ** (power / 2)).masked_fill(~rows.repels, 0.0)
        alpha = weights / weights.sum(1, keepdim=True)
        return (rows.over_negatives(alpha * rows.s) - rows.positive).mean()

    return value


@row("F13")
def _alpha_entropic(draw: Draw) -> Sides:
    return cp.AlphaCL(draw.t), energy(lambda u: torch.exp(-u / draw.t))


@row("F14")
def _alpha_direct(draw: Draw) -> Sides:
    return cp.AlphaCLDirect(draw.t, p=4), energy(lambda u: torch.exp(-u / draw.t), power=4)


@row("F15")
def _alpha_inverse(draw: Draw) -> Sides:
    ours = cp.AlphaCL(1.0, cost=cp.LogDistance(shift=draw.t, power=1.5))
    return ours, energy(lambda u: (u + draw.t) ** -1.5)


def projected(x: Tensor) -> Tensor:
    """Each row's Euclidean projection on the simplex, -inf where nothing may go (Duchi et al. 2008)."""
    ordered = x.sort(1, descending=True).values
    size = torch.arange(1, x.shape[1] + 1)
    surplus = (ordered.cumsum(1) - 1) / size
    kept = (ordered > surplus).sum(1, keepdim=True)
    return (x - surplus.gather(1, kept - 1)).clamp_min(0)


@row("F16")
def _alpha_quadratic(draw: Draw) -> Sides:
    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        alpha = projected(((rows.s - 1) / draw.t).detach().masked_fill(~rows.repels, -1e9))
        return (rows.over_negatives(alpha * rows.s) - rows.positive).mean()

    return cp.AlphaCL(draw.t, rule="quadratic"), theirs


@row("F17")
def _alpha_per_sample(draw: Draw) -> Sides:
    """One weight a sample: the row sums of the kernel, scaled to sum one."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        rows = TwoViews(a, b)
        sums = rows.over_negatives(torch.exp((rows.s - 1) / draw.t)).detach()
        gaps = rows.over_negatives(rows.s - rows.positive[:, None]) / rows.count
        return (sums / sums.sum() * gaps).sum()

    return cp.AlphaCLPerSample(draw.t), theirs


# CACR (Zheng et al. 2021)


def attraction(views: tuple[Tensor, ...], hardness: float) -> Tensor:
    """Far positives weigh more; mean over samples and views."""
    z = torch.stack([unit(v, dim=1) for v in views], dim=1)
    squared = (z[:, :, None] - z[:, None]).square().sum(-1)
    others = (hardness * squared).masked_fill(torch.eye(len(views), dtype=torch.bool), -math.inf)
    return (torch.softmax(others, 2) * squared).sum(2).mean()


def repulsion(a: Tensor, b: Tensor, hardness: float) -> Tensor:
    """Near negatives of the other view weigh more; mean over samples of the first."""
    squared = torch.cdist(unit(a, dim=1), unit(b, dim=1)).square()
    weights = torch.softmax((-hardness * squared).masked_fill(torch.eye(len(a), dtype=torch.bool), -math.inf), 1)
    return -(weights * squared).sum(1).mean()


def cacr(positive: float, negative: float, alpha: float, beta: float) -> Function:
    """Both terms, every ordered pair of views."""

    def value(*views: Tensor) -> Tensor:
        pairs = [repulsion(a, b, negative) for a in views for b in views if a is not b]
        return alpha * attraction(views, positive) + beta * torch.stack(pairs).mean()

    return value


@row("F18", views=3)
def _cacr(draw: Draw) -> Sides:
    ours = cp.CACR(t_positive=0.5 / draw.t, t_negative=1 / draw.t, alpha=0.7, beta=2.0)
    return ours, cacr(0.5 / draw.t, 1 / draw.t, 0.7, 2.0)


@row("F19")
def _cacr_debiased(draw: Draw) -> Sides:
    """The repulsion's expectation over true negatives: (all - tau_plus positive) / (1 - tau_plus)."""

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        share, near = 0.1, attraction((a, b), 0.0)
        everyone = (repulsion(a, b, 1 / draw.t) + repulsion(b, a, 1 / draw.t)) / 2
        return near + (everyone + share * near) / (1 - share)

    return cp.CACR(t_negative=1 / draw.t, tau_plus=0.1), theirs


@row("F20")
def _cacr_rbf(draw: Draw) -> Sides:
    """The logarithm of the mean potential, anchor by anchor."""

    def one_way(a: Tensor, b: Tensor) -> Tensor:
        squared = torch.cdist(unit(a, dim=1), unit(b, dim=1)).square()
        others = (-2 * squared).masked_fill(torch.eye(len(a), dtype=torch.bool), -math.inf)
        return (torch.logsumexp(others, 1) - math.log(len(a) - 1)).mean()

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        return attraction((a, b), 0.0) + (one_way(a, b) + one_way(b, a)) / 2

    return cp.CACR(t_positive=0.0, t_negative=0.0, cost=cp.RBF(2.0)), theirs


@row("F21")
def _cacr_rbf_as_released(draw: Draw) -> Sides:
    """The logarithm of the mean over anchors; weights exp(-t_negative d^2), normalised."""
    hardness = 1 / draw.t

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        squared = torch.cdist(unit(a, dim=1), unit(b, dim=1)).square()
        others = ~torch.eye(len(a), dtype=torch.bool)
        weights = torch.where(others, torch.exp(-hardness * squared), 0.0)
        mean = (weights * torch.exp(-2 * squared)).sum(1) / weights.sum(1)
        return attraction((a, b), 0.0) + mean.mean().log()

    return cp.CACR(t_negative=hardness, cost=cp.RBF(2.0), pooled=True, ordered=True), theirs
