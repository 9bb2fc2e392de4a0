"""The claims about linear networks hold, and fail when an ingredient is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from examined import failed, holds_and_is_drawn
from torch import Tensor

from couplings.basics.errors import InvalidInput, NotConverged
from couplings_theory.claim import Claim
from couplings_theory.claims.linear_networks import (
    CLAIMS,
    dynamics,
    global_maxima,
    narrow_layers,
    pca,
    repeated_top,
    saddles,
)
from couplings_theory.claims.linear_networks.common import QUICK, covariance, repeated
from couplings_theory.linear_networks import Ascent, LinearNetwork, ascend, random_network
from couplings_theory.pair_importance import contrastive_covariance


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_it_holds_and_is_drawn(claim: Claim) -> None:
    holds_and_is_drawn(claim, "linear-networks")


def _one_sided(alpha: Tensor, views: Sequence[Tensor]) -> Tensor:
    """x_i (x_i - x_j)^T in place of the product of differences: not symmetric."""
    x = torch.cat(list(views))
    partner = torch.cat([views[1], views[0]])
    return 2 * (x.T @ (alpha.sum(1)[:, None] * x - alpha @ x) - x.T @ (alpha.sum(1)[:, None] * (x - partner)))


def _next_positive(alpha: Tensor, views: Sequence[Tensor]) -> Tensor:
    return contrastive_covariance(alpha, (views[0], views[1].roll(1, 0)))


def test_pca_needs_a_symmetric_covariance_and_the_right_positives() -> None:
    assert any("X^T|" in what for what in failed(pca(covariance=_one_sided)))
    assert any("tr(W X W^T)" in what for what in failed(pca(covariance=_next_positive)))


def _stopped(form: Tensor, start: LinearNetwork) -> Ascent:
    """Twenty steps, not converged."""
    run = ascend(form, start, tolerance=1.0, rate=0.9)
    while len(run.path) < 20:
        step = run.network.moved(run.network.gradients(form), run.step)
        run = Ascent(form, (*run.path, step), run.step)
    return run


def _unnormalised(form: Tensor, start: LinearNetwork) -> Ascent:
    """Gradient ascent whose layers may grow."""
    size = 0.5 / float(torch.linalg.matrix_norm(form, 2))
    path = [start]
    for _ in range(6):
        pulls = path[-1].gradients(form)
        path.append(LinearNetwork(tuple(w + size * pull for w, pull in zip(path[-1].layers, pulls, strict=True))))
    return Ascent(form, tuple(path), size)


@pytest.mark.parametrize("climb", [_stopped, _unnormalised])
def test_global_maxima_need_converged_ascent_on_spheres(climb) -> None:
    assert any("lambda_max" in what for what in failed(global_maxima(climb=climb)))


def test_a_short_ascent_is_refused() -> None:
    with pytest.raises(NotConverged):
        global_maxima(climb=partial(ascend, steps=10))


def test_a_covariance_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(InvalidInput, match="symmetric"):
        global_maxima(form=covariance() + torch.eye(6, dtype=torch.float64).roll(1, 0))


def test_global_maxima_need_a_distinct_top() -> None:
    assert any("condition" in what for what in failed(global_maxima(form=repeated(), climb=_stopped)))


def test_repeated_top_needs_a_repeated_top() -> None:
    assert any("lambda_1 - lambda_2" in what for what in failed(repeated_top(form=covariance(), climb=_stopped)))


def test_saddles_need_critical_points_and_an_ascent_that_leaves() -> None:
    def elsewhere(form: Tensor, widths: Sequence[int], which: Sequence[int]) -> LinearNetwork:
        return random_network(widths, seed=len(which))

    assert any("gradient" in what for what in failed(saddles(at=elsewhere)))
    staying = failed(saddles(climb=lambda form, start: Ascent(form, (start, start), 0.1)))
    assert any("climbing" in what for what in staying)


def test_narrow_layers_need_to_be_narrow_and_wide_ones_wide() -> None:
    swapped = failed(narrow_layers(narrow=6, wide=2))
    assert any("built dead network" in what for what in swapped)
    assert any("at 2 E = lambda_max" in what for what in swapped)


def test_dynamics_need_small_steps_on_spheres() -> None:
    long = failed(dynamics(coarse=QUICK, fine=QUICK))
    assert any("imbalance" in what for what in long)
    half = partial(ascend, rate=0.02, tolerance=1e-3)
    assert any("half the steps" in what for what in failed(dynamics(coarse=half, fine=half)))
