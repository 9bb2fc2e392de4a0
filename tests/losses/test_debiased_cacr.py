"""The sign of CACR's debiased repulsion: with a share of false negatives, positives attract more and never less.

Expectations over true negatives are (all - tau_plus positives) / (1 - tau_plus) of the score g = -|z_i - z_j|^2. The
released code subtracts tau_plus |z_i - z_p|^2 itself, without beta: of the other sign, so that positives repel.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reference as ref
import torch
from reference_calls import PLAIN, SIDES, Call, random_call
from torch import Tensor

from couplings import CACR, RBF, Cost, SinkhornCACR, SquaredEuclidean
from couplings.losses import Loss
from helpers import F64, gradients

DATA = json.loads((Path(__file__).parents[1] / "oracles" / "released_code.json").read_text())
BETA, TAU = 2.0, 0.1
HARDNESS = 1.0
"""Of the released repulsion with two views."""
Case = dict[str, Any]


def _released(name: str, views: str) -> Case:
    """Two views; a positive then weighs one, so that the released attraction is the mean |z_i - z_p|^2."""
    (case,) = (c for c in DATA["cases"] if (c["name"], c["views"], c["n_views"]) == (name, views, 2))
    return case


def _combined(views: str, positive: float) -> tuple[float, list[Tensor]]:
    """(beta repulsion + positive |z_i - z_p|^2) / (1 - tau) of the released numbers: value and gradient."""
    parts = [(BETA, _released("cacr_repulsion", views)), (positive, _released("cacr_attraction", views))]
    value = sum(weight * case["loss"] for weight, case in parts) / (1 - TAU)
    grads = [[weight * torch.tensor(g, dtype=F64) for g in case["grads"]] for weight, case in parts]
    return value, [(a + b) / (1 - TAU) for a, b in zip(*grads, strict=True)]


@pytest.mark.parametrize("views", ["positive", "signed"])
def test_released_repulsion_and_distance_give_ours_with_the_sign_corrected(views: str) -> None:
    inputs = [torch.tensor(v, dtype=F64) for v in DATA[views][:2]]
    ours = CACR(t_negative=HARDNESS, alpha=0.0, beta=BETA, tau_plus=TAU, ordered=True, normalize=False)
    value, grads = _combined(views, TAU * BETA)
    assert ours(*inputs).item() == pytest.approx(value, abs=1e-8)
    for mine, theirs in zip(gradients(ours, inputs), grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("views", ["positive", "signed"])
def test_released_sign_is_lower_by_all_that_positives_should_add(views: str) -> None:
    distance = _released("cacr_attraction", views)["loss"]
    gap = _combined(views, TAU * BETA)[0] - _combined(views, -TAU)[0]
    assert gap == pytest.approx(TAU * (1 + BETA) * distance / (1 - TAU))
    assert gap > 0.05


def _distance(*views: Tensor) -> Tensor:
    w = ref.world(views)
    return ref.mean_over_positives(w, w.D)


def _released_debiased(*views: Tensor) -> Tensor:
    """Ours with the released term for the positives."""
    return (ref.cacr(ref.world(views), alpha=0.0, beta=BETA) - TAU * _distance(*views)) / (1 - TAU)


def _after_a_step(loss: Callable[..., Tensor], call: Call) -> float:
    """The mean |z_i - z_p|^2 after a short step down the debiased expectation, times 1 - tau."""
    views = [v.detach() for v in call.views]
    moved = [v - 0.01 * (1 - TAU) * g for v, g in zip(views, gradients(loss, views), strict=True)]
    return _distance(*moved).item()


@pytest.mark.parametrize("side", PLAIN)
def test_released_sign_pushes_positives_apart_and_ours_pulls_them_together(side: str) -> None:
    call = random_call(SIDES[side], 0)
    biased = CACR(alpha=0.0, beta=BETA / (1 - TAU))
    ours = _after_a_step(CACR(alpha=0.0, beta=BETA, tau_plus=TAU), call)
    assert ours < _after_a_step(biased, call) < _after_a_step(_released_debiased, call)


def _positive_weights(loss: Loss, call: Call) -> Tensor:
    w = call.world()
    return loss.pair_weights(*call.views)[w.positives]


@pytest.mark.parametrize("cls", [CACR, SinkhornCACR])
@pytest.mark.parametrize("cost", [SquaredEuclidean(), RBF(0.5)], ids=["sqeuclidean", "rbf"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("side", PLAIN)
def test_debiasing_attracts_every_positive(cls: type[CACR], cost: Cost, ordered: bool, side: str) -> None:
    """Without attraction nothing else touches them; in the ordered form only those of an earlier view.

    The kernel is wide, so that no mean over negatives falls to the floor, where its gradient would be zero.
    """
    call, options = random_call(SIDES[side], 0), {"alpha": 0.0, "cost": cost, "ordered": ordered}
    assert _positive_weights(cls(**options), call).abs().max() == 0
    weights = _positive_weights(cls(**options, tau_plus=TAU), call)
    assert (weights <= 0).all()
    assert (weights < 0).sum() == len(weights) / (2 if ordered else 1)


@pytest.mark.parametrize("beta", [1.0, BETA])
def test_debiased_term_is_beta_tau_times_the_distance_of_positives(beta: float) -> None:
    call = random_call(SIDES["three"], 0)
    biased, debiased = (CACR(alpha=0.0, beta=beta, tau_plus=tau)(*call.views) for tau in (0.0, TAU))
    torch.testing.assert_close((1 - TAU) * debiased - biased, beta * TAU * _distance(*call.views))
