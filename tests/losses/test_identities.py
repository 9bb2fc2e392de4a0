"""Table W of docs/equivalences.md: limits and special cases at which one loss of this library is another."""

from __future__ import annotations

import math

import pytest
import torch
from equivalences import SEEDS, TEMPERATURES, Draw, Function, Sides, Table, documented
from torch import Tensor

import couplings as cp
from helpers import F64

row = Table()
"""Rows by id, filled below."""


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", row_names := documented("W"))
def test_row(name: str, seed: int, t: float) -> None:
    row[name].check(seed, t, within=row_names[name])


def test_every_test_has_a_row() -> None:
    assert set(row) == set(row_names)


def affine(loss: Function, factor: float = 1.0, offset: float = 0.0) -> Function:
    """factor * loss + offset."""
    return lambda *views: factor * loss(*views) + offset


def negatives_of(draw: Draw) -> int:
    """How many negatives an anchor of two views has."""
    return 2 * (draw.n - 1)


# InfoNCE and its relatives


@row("W1")
def _(draw: Draw) -> Sides:
    return cp.GCAINCE(draw.t, sweeps=0), cp.InfoNCE(draw.t)


@row("W2", views=3)
def _(draw: Draw) -> Sides:
    return cp.GCAINCE(draw.t, sweeps=0), affine(cp.SupCon(draw.t), offset=-math.log(2))


@row("W3", views=3)
def _(draw: Draw) -> Sides:
    gca, sup = cp.GCAINCE(draw.t, sweeps=0, target="labels"), cp.SupCon(draw.t)
    positives = torch.tensor([8.0] * 3 + [5.0] * 4, dtype=F64)  # 3 views of 3 or 2 samples, less oneself
    return (
        lambda *views: gca(*views, labels=draw.classes),
        lambda *views: sup(*views, labels=draw.classes) - positives.log().mean(),
    )


@row("W4")
def _(draw: Draw) -> Sides:
    return cp.SupCon(draw.t), cp.InfoNCE(draw.t)


@row("W5")
def _(draw: Draw) -> Sides:
    return cp.SupCon(draw.t, log_inside=True), cp.InfoNCE(draw.t)


@row("W6")
def _(draw: Draw) -> Sides:
    return cp.CLIP(draw.t), cp.InfoNCE(draw.t, across_views=True)


@row("W7", views=3)
def _(draw: Draw) -> Sides:
    clip = cp.CLIP(draw.t)
    return clip, lambda a, b, c: (clip(a, b) + clip(a, c) + clip(b, c)) / 3


@row("W8", views=3)
def _(draw: Draw) -> Sides:
    siglip = cp.SigLIP(draw.t, bias=-2.0)
    return siglip, lambda a, b, c: (siglip(a, b) + siglip(a, c) + siglip(b, c)) / 3


@row("W9")
def _(draw: Draw) -> Sides:
    loss, off = cp.InfoNCE(draw.t), ~torch.eye(draw.n, dtype=torch.bool)

    def given(*views: Tensor) -> Tensor:
        everyone = torch.cat(views).expand(draw.n, -1, -1)
        return loss(*views, negatives=everyone[off.repeat(1, 2)].reshape(draw.n, -1, draw.d))

    return given, loss


@row("W10")
def _(draw: Draw) -> Sides:
    loss = cp.InfoNCE(draw.t)
    return lambda *v: loss(*v, labels=draw.classes), lambda *v: loss(*v, ids=draw.classes)


@row("W11")
def _(draw: Draw) -> Sides:
    loss = cp.InfoNCE(draw.t)
    same = draw.classes.repeat(2)
    return lambda *v: loss(*v, labels=draw.classes), lambda *v: loss(*v, mask=same[:, None] == same)


@row("W12")
def _(draw: Draw) -> Sides:
    loss = cp.SupCon(draw.t)
    same = draw.classes.repeat(2)[:, None] == draw.classes.repeat(2)
    wanted = (same & ~torch.eye(2 * draw.n, dtype=torch.bool)).to(F64)
    target = wanted / wanted.sum(1, keepdim=True) / (2 * draw.n)
    return lambda *v: loss(*v, target=target), lambda *v: loss(*v, labels=draw.classes)


@row("W13")
def _(draw: Draw) -> Sides:
    ours = cp.GCAINCE(draw.t, sweeps=3, target=cp.Domains(within=0.0, across=0.0))
    return lambda *v: ours(*v, domains=draw.classes), cp.GCAINCE(draw.t, sweeps=3)


# Alignment


@row("W14")
def _(draw: Draw) -> Sides:
    return cp.Alignment(0.5), cp.CACR(beta=0.0)


@row("W15")
def _(draw: Draw) -> Sides:
    return cp.Alignment(0.5), cp.AlignmentUniformity(weight=0.0)


@row("W16", views=3)
def _(draw: Draw) -> Sides:
    return cp.Alignment(draw.t), affine(cp.CACR(t_positive=0.0, beta=0.0), 0.5 / draw.t)


# Robust losses: q from a logarithm to a line


@row("W17")
def _(draw: Draw) -> Sides:
    return cp.RINCE(draw.t, q=1e-7, lam=0.2), affine(cp.InfoNCE(draw.t), offset=math.log(0.2))


@row("W18")
def _(draw: Draw) -> Sides:
    return cp.GCARINCE(draw.t, q=0.5, lam=0.2, sweeps=0), cp.RINCE(draw.t, q=0.5, lam=0.2)


@row("W19")
def _(draw: Draw) -> Sides:
    ours = cp.GCARINCE(draw.t, q=1e-7, lam=0.2, sweeps=4)
    return ours, affine(cp.GCAINCE(draw.t, sweeps=4), offset=math.log(0.2))


# Unbalanced, balanced, sparse plans


@row("W20")
def _(draw: Draw) -> Sides:
    ours = cp.GCAUOT(draw.t, rho1=1e9, rho2=1e9, r1=1.0, r2=0.0, sweeps=4)
    return ours, cp.GCAINCE(draw.t, sweeps=4)


@row("W21")
def _(draw: Draw) -> Sides:
    ours = cp.GCAUOT(draw.t, rho1=0.3, rho2=1e-9, r1=1.0, r2=0.0, sweeps=4)
    return ours, cp.InfoNCE(draw.t)


@row("W22")
def _(draw: Draw) -> Sides:
    ours = cp.GCAUOT(draw.t, rho1=1e9, rho2=1e9, r1=0.0, r2=1.0, q=0.5, lam=0.2, sweeps=4)
    return ours, cp.GCARINCE(draw.t, q=0.5, lam=0.2, sweeps=4)


@row("W23")
def _(draw: Draw) -> Sides:
    t = max(draw.t, 0.3)
    return cp.IOT(t, sweeps=100), cp.GCAINCE(t, sweeps=100)


@row("W24")
def _(draw: Draw) -> Sides:
    t = max(draw.t, 0.3)
    return cp.SparseGCA(t, sweeps=100, rule="entropic"), affine(cp.GCAINCE(t, sweeps=100), t)


# Hard negatives


@row("W25")
def _(draw: Draw) -> Sides:
    return cp.HCL(draw.t, beta=0.0, tau_plus=0.0), cp.InfoNCE(draw.t)


@row("W26")
def _(draw: Draw) -> Sides:
    return cp.HCL(draw.t, beta=0.0, tau_plus=0.1), cp.DebiasedInfoNCE(draw.t, tau_plus=0.1)


@row("W27", views=3)
def _(draw: Draw) -> Sides:
    return cp.DebiasedInfoNCE(draw.t, tau_plus=0.0), cp.InfoNCE(draw.t)


@row("W28")
def _(draw: Draw) -> Sides:
    return cp.HCLOT(draw.t, reg=1e8, tau_plus=0.1), cp.DebiasedInfoNCE(draw.t, tau_plus=0.1)


@row("W29")
def _(draw: Draw) -> Sides:
    ours = cp.RelaxedHCLOT(draw.t, reg=0.7, rho=1e-9, tau_plus=0.1)
    return ours, cp.HCL(draw.t, beta=2 * draw.t / 0.7, tau_plus=0.1, detach_weights=True)


@row("W30")
def _(draw: Draw) -> Sides:
    return cp.RelaxedHCLOT(draw.t, reg=0.7, rho=1e9, tau_plus=0.1), cp.HCLOT(draw.t, reg=0.7, tau_plus=0.1)


@row("W31")
def _(draw: Draw) -> Sides:
    kappa = 0.6
    shifted = cp.HCLOT(draw.t, reg=0.7, cost="exp", kappa=kappa)
    return shifted, cp.HCLOT(draw.t, reg=0.7 * math.exp(kappa), cost="exp", kappa=0.0)


# Pairs: phi and psi


@row("W32", views=3)
def _(draw: Draw) -> Sides:
    return cp.ScaledInfoNCE(draw.t), affine(cp.InfoNCE(draw.t), draw.t)


@row("W33", views=3)
def _(draw: Draw) -> Sides:
    return cp.ScaledInfoNCE(draw.t, e0=0.0), affine(cp.DecoupledInfoNCE(draw.t), draw.t)


@row("W34")
def _(draw: Draw) -> Sides:
    return cp.MINE(), cp.DecoupledInfoNCE(1.0)


@row("W35")
def _(draw: Draw) -> Sides:
    return cp.NPlusOneTuplet(), cp.InfoNCE(1.0)


@row("W36")
def _(draw: Draw) -> Sides:
    return cp.SoftTriplet(draw.t, margin=0.0), cp.ScaledInfoNCE(draw.t)


@row("W37")
def _(draw: Draw) -> Sides:
    return cp.Triplet(margin=2.5), affine(cp.TripletContrastive(), offset=2.5 * negatives_of(draw))


@row("W38")
def _(draw: Draw) -> Sides:
    ours = cp.PairLoss(phi=lambda xi: draw.t * torch.log1p(xi), psi=lambda x: torch.exp(x / draw.t))
    return ours, cp.ScaledInfoNCE(draw.t)


# alpha-CL: constant weights


@row("W39", value=False)
def _(draw: Draw) -> Sides:
    return cp.AlphaCL(draw.t), affine(cp.DecoupledInfoNCE(draw.t), draw.t)


@row("W40")
def _(draw: Draw) -> Sides:
    return cp.AlphaCL(draw.t), cp.AlphaCLDirect(draw.t, p=2.0)


@row("W41")
def _(draw: Draw) -> Sides:
    return cp.AlphaCLLowRank(draw.t, rank=2 * draw.n), cp.AlphaCL(draw.t)


@row("W42")
def _(draw: Draw) -> Sides:
    return cp.AlphaCL(draw.t, rule=cp.Power(1 + 1e-7)), cp.AlphaCL(draw.t)


@row("W43")
def _(draw: Draw) -> Sides:
    return cp.AlphaCL(1e8), affine(cp.TripletContrastive(), 1 / negatives_of(draw))


@row("W44")
def _(draw: Draw) -> Sides:
    return cp.AlphaCLPerSample(1e8), cp.AlphaCL(1e8)


@row("W45")
def _(draw: Draw) -> Sides:
    return cp.BalancedAlphaCL(1e8), cp.AlphaCL(1e8)


# CACR


@row("W46", value=False)
def _(draw: Draw) -> Sides:
    negatives = draw.normal(draw.n, 4, draw.d)
    cacr, alpha = cp.CACR(t_negative=1 / (2 * draw.t), detach_weights=True), cp.AlphaCL(draw.t)
    return lambda *v: cacr(*v, negatives=negatives), lambda *v: 2 * alpha(*v, negatives=negatives)


@row("W47")
def _(draw: Draw) -> Sides:
    return cp.SinkhornCACR(t_negative=0.0), cp.CACR(t_negative=0.0)


@row("W48")
def _(draw: Draw) -> Sides:
    """Uniform weights across views: attraction less the mean squared distance, a triplet without a margin."""
    linear = cp.TripletContrastive(across_views=True)
    return cp.CACR(t_negative=0.0), affine(linear, 2 / (draw.n - 1))
