"""The claims about pair importance hold, and fail when an ingredient is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from examined import failed, holds_and_is_drawn
from torch import Tensor

from couplings import AlphaCL, AlphaCLLowRank, AlphaCLPerSample, PairLoss, Power, Rule
from couplings_theory.claim import Claim
from couplings_theory.claims.pair_importance import (
    CLAIMS,
    entropy_player,
    gradient,
    low_rank,
    power_player,
    square_player,
)
from couplings_theory.pair_importance import gaps, half_distances, importance, late_threshold, negatives, unit

Views = Sequence[Tensor]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_it_holds_and_is_drawn(claim: Claim) -> None:
    holds_and_is_drawn(claim, "pair-importance")


def _flowing(loss: PairLoss, views: Views) -> Tensor:
    """InfoNCE's weights with gradient; those of the others as they are."""
    if type(loss).__name__ != "ScaledInfoNCE":
        return importance(loss, views)
    shown = unit(views) if loss.normalize else views
    kernel = (gaps(shown) / 0.3).exp() * negatives(len(views[0]))
    return kernel / (loss.e0 + kernel.sum(1, keepdim=True))


def _clamped(loss: PairLoss, views: Views) -> Tensor:
    """Weights of a cosine that is not allowed below zero."""
    distances = half_distances(unit(views)).clamp_max(1.0)
    rows, n = torch.arange(len(distances)), len(views[0])
    gap = distances[rows, (rows + n) % (2 * n)][:, None] - distances
    kernel = (gap / 0.3).exp() * negatives(n)
    return kernel / (1 + kernel.sum(1, keepdim=True))


def _next_positive(loss: PairLoss, views: Views) -> Tensor:
    return importance(loss, (views[0], views[1].roll(1, 0)))


def _other_margin(loss: PairLoss, views: Views) -> Tensor:
    if hasattr(loss, "margin"):
        loss = type(loss)(margin=loss.margin + 0.2, normalize=loss.normalize)
    return importance(loss, views)


@pytest.mark.parametrize("weights", [_flowing, _clamped, _next_positive, _other_margin])
def test_the_gradient_needs_the_right_weights(weights) -> None:
    assert any("dL + dE/N" in what for what in failed(gradient(weights=weights)))


def _sharper(loss: PairLoss, views: Views) -> Tensor:
    """The right row masses, another temperature."""
    alpha = importance(loss, views)
    kernel = (alpha**1.1) * negatives(len(views[0]))
    return kernel / kernel.sum(1, keepdim=True) * alpha.sum(1, keepdim=True)


def test_the_entropy_player_needs_the_right_weights_and_masses() -> None:
    assert any("KKT" in what for what in failed(entropy_player(weights=_sharper)))
    assert any("solver" in what for what in failed(entropy_player(weights=_sharper)))
    assert any("feasible points" in what for what in failed(entropy_player(weights=_sharper)))
    assert any("KKT" in what for what in failed(entropy_player(weights=_clamped)))
    assert any("row mass" in what for what in failed(entropy_player(mass=lambda xi, e0: xi / (1 + xi))))


def _late(views: Views, temperature: float) -> Tensor:
    distances = half_distances(views).masked_fill(~negatives(len(views[0])), torch.inf)
    return late_threshold(distances, temperature)


def test_the_square_player_needs_the_projection() -> None:
    late = failed(square_player(weights=_late))
    assert any("row sum" in what for what in late)
    assert any("KKT" in what for what in late)
    scaled = failed(
        square_player(weights=lambda views, tau: _late(views, tau) / _late(views, tau).sum(1, keepdim=True))
    )
    assert any("KKT" in what for what in scaled)
    assert any("the square owes" in what for what in scaled)
    assert any("feasible points" in what for what in scaled)
    assert not any("row sum" in what for what in scaled)


def test_the_power_player_needs_its_exponent() -> None:
    def other(views: Views, temperature: float, rule: Rule) -> Tensor:
        return AlphaCL(temperature, rule=Power(rule.q + 0.1)).coupling(*views)["negatives"].conditional()

    assert any("slope" in what for what in failed(power_player(weights=other)))
    assert any("KKT" in what for what in failed(power_player(weights=other)))


def test_low_rank_needs_its_losses() -> None:
    assert any("per-sample" in what for what in failed(low_rank(per_sample=AlphaCL)))
    short = failed(low_rank(cut=lambda tau, rank: AlphaCLLowRank(tau, rank=max(rank - 1, 1))))
    assert any("Eckart-Young" in what for what in short)
    assert any(
        "share of the kernel" in what for what in failed(low_rank(per_sample=lambda tau: AlphaCLPerSample(2 * tau)))
    )
