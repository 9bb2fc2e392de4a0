"""Claims about two-layer networks: they pass, and fail with a wrong ingredient."""

from __future__ import annotations

import math
from functools import cache, partial

import pytest
import torch
from torch import Tensor

from couplings.report.style import drawn
from couplings_theory.claim import Finding
from couplings_theory.claims.relu_networks import CLAIMS
from couplings_theory.claims.relu_networks.fixed_points import linear_rank, local_maxima, relu_rank
from couplings_theory.claims.relu_networks.trained import batch_normalised, concentrated, rotated, singular_values
from couplings_theory.relu_networks import (
    Activation,
    Trained,
    Training,
    TwoLayer,
    Views,
    ascend,
    concentration,
    coverage,
    local_maximum,
    train,
    unit_matrix,
)

SEEDS = range(3)
HURRIED = partial(ascend, steps=20, tolerance=math.inf)
LOOSE_ROWS = partial(ascend, project_rows=unit_matrix, tolerance=math.inf)


def failed(finding: Finding) -> set[str]:
    return {check.what for check in finding.checks if not check.passed}


def some(finding: Finding, words: str) -> bool:
    return any(words in what for what in failed(finding))


def dense() -> Views:
    """Samples in all directions, of both signs."""
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 64, 6, generator=generator, dtype=torch.float64)
    return 3 * x, 3 * x + 0.3 * noise


def layer(activation: Activation, seed: int, sharp: float) -> tuple[Tensor, Tensor]:
    """W1 at the start, mixed; and at the end, `sharp` of the way to one coordinate a neuron for ReLU."""
    start = torch.randn(10, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    share = sharp if activation is Activation.RELU else 0.0
    return start, (1 - share) * start + 6 * share * torch.eye(10, dtype=torch.float64)


def stand_in(activation: Activation, seed: int, sharp: float = 0.9) -> Trained:
    """A run as the claims expect it, without its training."""
    start, end = layer(activation, seed, sharp)
    w2 = torch.randn(20, 10, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    moments = torch.stack((start, end))
    return Trained(TwoLayer(end, w2, activation), torch.tensor([0, 1000]), moments, torch.zeros(1000))


def always(kind: Activation, activation: Activation, seed: int) -> Trained:
    """A run of one activation, whichever is asked for."""
    return stand_in(kind, seed)


def flat(activation: Activation, seed: int) -> Trained:
    """A run whose linear layer has lost all but one direction."""
    run = stand_in(activation, seed)
    w1 = run.network.w1 if activation is Activation.RELU else torch.outer(run.network.w1[0], run.network.w1[1])
    return Trained(TwoLayer(w1, run.network.w2, activation), run.steps, run.w1, run.losses)


@cache
def short(activation: Activation, seed: int) -> Trained:
    """A real run, a short one."""
    return train(activation, Training(batch=32, steps=80), seed=seed)


def mislabelled(activation: Activation, seed: int) -> Trained:
    """Runs under the other's name."""
    return short(Activation.LINEAR if activation is Activation.RELU else Activation.RELU, seed)


def negated(measure: str, w1: Tensor) -> float:
    return {"concentration": concentration, "coverage": coverage}[measure](-w1)


def test_names_are_the_familys_and_unique() -> None:
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names) == 7
    assert {claim.family for claim in CLAIMS} == {"relu-networks"}


@pytest.mark.parametrize(
    "finding",
    [
        linear_rank,
        relu_rank,
        partial(local_maxima, seeds=range(2)),
        partial(singular_values, trainer=stand_in),
        partial(concentrated, trainer=stand_in),
        partial(rotated, trainer=short),
        partial(batch_normalised, trainer=stand_in),
    ],
    ids=[claim.name for claim in CLAIMS],
)
def test_claims_pass_and_are_drawn(finding: partial[Finding]) -> None:
    found = finding()
    assert not failed(found)
    svg, _ = drawn(found.picture.draw, found.picture.size, found.picture.title)
    assert svg.startswith(b"<?xml")


def test_linear_rank_fails_with_relu() -> None:
    assert some(linear_rank(Activation.RELU, seeds=SEEDS), "highest rank of W1")


def test_linear_rank_fails_with_loose_rows() -> None:
    assert some(linear_rank(climb=LOOSE_ROWS, seeds=SEEDS), "| |w_k| - 1 |")


def test_linear_rank_fails_with_too_few_steps() -> None:
    assert {"largest sine between weights and their gradient", "largest relative miss of E = h/2 lambda_max"} <= failed(
        linear_rank(climb=HURRIED, seeds=SEEDS)
    )


def test_relu_rank_fails_with_a_linear_network() -> None:
    found = relu_rank(Activation.LINEAR, seeds=SEEDS)
    assert some(found, "lowest rank of W1")
    assert some(found, "different energies")


def test_relu_rank_fails_on_data_without_the_one_hot_structure() -> None:
    assert some(relu_rank(views=dense(), climb=partial(HURRIED, steps=200), seeds=range(2)), "most negative entry")


def test_relu_rank_fails_with_too_few_steps_or_loose_rows() -> None:
    assert some(relu_rank(climb=HURRIED, seeds=SEEDS), "largest sine")
    assert some(relu_rank(climb=LOOSE_ROWS, seeds=SEEDS), "| |w_k| - 1 |")


def test_local_maxima_fail_where_nothing_was_lifted() -> None:
    found = local_maxima(climb=partial(ascend, tolerance=math.inf), seeds=range(1))
    assert some(found, "highest rank")
    assert some(found, "largest distance of a row")
    assert some(found, "largest relative gain")


def test_local_maxima_fail_with_a_linear_network() -> None:
    found = local_maxima(Activation.LINEAR, seeds=range(1))
    assert some(found, "h/2 max_m X_mm")
    assert some(found, "largest distance of a row")


def test_a_shared_coordinate_is_a_higher_maximum_of_rank_one() -> None:
    found = {check.what: check.obtained for check in local_maxima(seeds=range(1)).checks}
    assert found["rank of W1 where all neurons share a coordinate"] == 1
    assert found["E there over the highest of the random starts"] > 1.4
    assert found["highest rank of W1 over the neurons read"] == 2


def test_local_maxima_fail_on_data_without_the_one_hot_structure() -> None:
    climb = partial(HURRIED, steps=200)
    assert some(local_maxima(views=dense(), climb=climb, seeds=range(1)), "largest distance of a row")


def test_local_maxima_fail_where_rows_are_loose() -> None:
    climb = partial(local_maximum, project_rows=unit_matrix, tolerance=math.inf, steps=100)
    assert some(local_maxima(climb=climb, seeds=range(1)), "| |w_k| - 1 |")


def test_singular_values_fail_with_a_layer_of_rank_one() -> None:
    assert failed(singular_values(trainer=flat)) == {
        "lowest rank of W1, linear (of 10)",
        "difference of the mean ranks, ReLU - linear",
    }


@pytest.mark.parametrize("kind", Activation)
def test_concentration_fails_where_both_are_of_one_kind(kind: Activation) -> None:
    assert some(concentrated(trainer=partial(always, kind)), "mean concentration, ReLU - linear")
    assert some(batch_normalised(trainer=partial(always, kind)), "mean concentration, ReLU - linear")


def test_concentration_fails_with_the_sign_turned() -> None:
    measures = (partial(negated, "concentration"), partial(negated, "coverage"))
    assert some(concentrated(trainer=stand_in, measures=measures), "mean coverage, ReLU - linear")


def test_rotation_fails_with_activations_mixed_up() -> None:
    found = rotated(trainer=mislabelled, rotations=10)
    assert some(found, "change of InfoNCE by a rotation, linear")
    assert some(found, "rise of InfoNCE by a rotation, ReLU")
