"""Two-layer networks: energy, fixed points, measures and training against independent computations."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from couplings import TripletContrastive
from couplings.basics.errors import InvalidInput, NotConverged
from couplings_theory.relu_networks import (
    Activation,
    OneHotMixture,
    Training,
    TwoLayer,
    alive,
    ascend,
    ascent,
    concentration,
    coverage,
    energy,
    largest_gain,
    local_maximum,
    measures,
    mixture,
    network,
    numerical_rank,
    one_hot_data,
    train,
    training,
    uniform_covariance,
    unit_matrix,
    unit_rows,
)

QUIET = OneHotMixture(6, noise=0.2)
VIEWS = one_hot_data(96, QUIET, seed=3)
SEEDS = st.integers(0, 10_000)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def start(activation: Activation, seed: int = 0) -> TwoLayer:
    return TwoLayer.random(6, 8, 4, activation, seed=seed)


def averaged(one: Tensor, two: Tensor) -> Tensor:
    """The covariance by its definition, pair by pair."""
    n, rows = len(one), torch.cat((one, two))
    total, pairs = torch.zeros(one.shape[1], one.shape[1], dtype=one.dtype), 0
    for i in range(2 * n):
        positive = rows[i] - rows[(i + n) % (2 * n)]
        for j in range(2 * n):
            if j % n != i % n:
                negative, pairs = rows[i] - rows[j], pairs + 1
                total += torch.outer(negative, negative) - torch.outer(positive, positive)
    return total / pairs


@pytest.mark.parametrize("module", [ascent, measures, mixture, network, training])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_covariance_is_the_mean_over_anchors_and_negatives() -> None:
    one, two = normal(5, 3, seed=0), normal(5, 3, seed=1)
    torch.testing.assert_close(uniform_covariance(one, two), averaged(one, two), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", Activation)
def test_energy_is_that_of_the_library_with_equal_weights(activation: Activation) -> None:
    network = start(activation)
    loss = TripletContrastive(normalize=False)(*(network(view) for view in VIEWS))
    assert energy(network, VIEWS).item() == pytest.approx(-loss.item() / (2 * 96 - 2), rel=1e-12)


def test_mixture_has_one_coordinate_a_sample_and_the_magnitudes_asked_for() -> None:
    one, two = one_hot_data(20_000, seed=0)
    assert torch.equal(one != 0, two != 0)
    assert ((one != 0).sum(1) == 1).all()
    means = one.sum(0) / (one != 0).sum(0)
    torch.testing.assert_close(means, torch.linspace(10, 1, 10, dtype=torch.float64), rtol=0, atol=0.06)
    assert float((one - two).sum(1).std()) == pytest.approx(0.5 * math.sqrt(2), rel=0.03)
    assert float((one != 0).double().mean(0).max()) == pytest.approx(0.1, abs=0.01)


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_linear_ascent_ends_at_the_top_eigenvector_on_any_data(seed: int) -> None:
    x = normal(40, 5, seed=seed) * torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5])
    views = x, x + 0.1 * normal(40, 5, seed=seed + 1)
    end = ascend(views, TwoLayer.random(5, 4, 3, Activation.LINEAR, seed=seed), steps=20_000)
    value, vector = (part[..., -1] for part in torch.linalg.eigh(uniform_covariance(*views)))
    assert end.energy == pytest.approx(4 / 2 * float(value), rel=1e-9)
    torch.testing.assert_close((end.network.w1 @ vector).abs(), torch.ones(4).double(), rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from(Activation))
def test_no_weights_on_the_constraint_beat_the_linear_maximum(seed: int, activation: Activation) -> None:
    bound = 8 / 2 * float(torch.linalg.eigvalsh(uniform_covariance(*VIEWS))[-1])
    assert float(energy(start(activation, seed), VIEWS)) <= bound


@pytest.mark.parametrize("activation", Activation)
def test_ascent_never_goes_down_and_keeps_the_constraint(activation: Activation) -> None:
    end = ascend(VIEWS, start(activation))
    assert float(end.energies.diff().min()) >= -1e-9
    assert end.residual <= 1e-8
    torch.testing.assert_close(end.network.w1.norm(dim=1), torch.ones(8).double())
    assert float(end.network.w2.norm()) == pytest.approx(1)
    assert end.energy == pytest.approx(float(energy(end.network, VIEWS)))


def test_the_gradient_at_a_fixed_point_is_along_the_weights() -> None:
    end = ascend(VIEWS, start(Activation.RELU)).network
    w1 = end.w1.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(TwoLayer(w1, end.w2, end.activation), VIEWS), w1)
    tangent = gradient - (gradient * end.w1).sum(1, keepdim=True) * end.w1
    assert float(tangent.norm()) < 1e-7


def test_card_tb6() -> None:
    """Linear rank 1; ReLU rank >= 2; W2 rank 1; three seeds, tolerance of the rank 1e-2."""
    for seed in range(3):
        linear = ascend(VIEWS, start(Activation.LINEAR, seed)).network
        relu = ascend(VIEWS, start(Activation.RELU, seed)).network
        assert numerical_rank(linear.w1) == 1
        assert numerical_rank(relu.w1[alive(relu)]) >= 2
        assert numerical_rank(linear.w2) == numerical_rank(relu.w2) == 1


def test_a_local_maximum_is_no_lower_and_nothing_nearby_is_higher() -> None:
    first, end = ascend(VIEWS, start(Activation.RELU, 1)), local_maximum(VIEWS, start(Activation.RELU, 1))
    assert end.energy >= first.energy
    assert largest_gain(end.network, VIEWS) < 0 < largest_gain(start(Activation.RELU, 1), VIEWS)
    assert numerical_rank(end.network.w1[alive(end.network)]) == 2


def test_too_few_steps_are_refused_with_numbers() -> None:
    with pytest.raises(NotConverged, match=r"residual .* > tolerance 1e-06 after 5 steps: raise steps"):
        ascend(VIEWS, start(Activation.RELU), steps=5)
    with pytest.raises(NotConverged, match="still rises after 1 rounds"):
        local_maximum(VIEWS, start(Activation.RELU), rounds=1)


def test_samples_that_change_sign_put_fixed_points_on_kinks() -> None:
    one, two = VIEWS
    flipped = one.clone()
    flipped[one[:, 5] > 0] *= -1
    with pytest.raises(NotConverged, match="residual"):
        ascend((torch.cat((one, flipped)), torch.cat((two, flipped))), start(Activation.RELU, 2), steps=600)


def test_measures_by_hand() -> None:
    w1 = torch.tensor([[3.0, 4.0, -5.0], [0.0, 0.0, 2.0], [-1.0, -1.0, -1.0]]).double()
    assert concentration(w1) == pytest.approx((0.8 + 1 + 0) / 3)
    assert coverage(w1) == pytest.approx((0.6 + 0.8 + 1) / 3)
    assert concentration(torch.eye(4)) == coverage(torch.eye(4)) == 1
    assert numerical_rank(torch.zeros(2, 2)) == 0
    assert numerical_rank(torch.diag(torch.tensor([1.0, 0.02, 0.005]))) == 2
    assert numerical_rank(torch.diag(torch.tensor([1.0, 0.02, 0.005])), 1e-3) == 3


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.01, 100))
def test_measures_lie_in_their_range_and_know_no_order_or_scale(seed: int, scale: float) -> None:
    w1 = normal(6, 5, seed=seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    for measure in (concentration, coverage):
        assert 0 <= measure(w1) <= 1 + 1e-12
        assert measure(scale * w1[order]) == pytest.approx(measure(w1))


def test_projections() -> None:
    matrix = normal(4, 3, seed=0)
    torch.testing.assert_close(unit_rows(matrix).norm(dim=1), torch.ones(4).double())
    assert float(unit_matrix(matrix).norm()) == pytest.approx(1)


def by_torch(activation: Activation, recipe: Training, seed: int, steps: int) -> tuple[list[float], Tensor]:
    """The same training out of torch.nn, with another formula of the loss."""
    generator = torch.Generator().manual_seed(seed)
    first, second = nn.Linear(10, 10, bias=False).double(), nn.Linear(10, 20, bias=False).double()
    for layer in (first, second):
        shape = layer.weight.shape
        entries = torch.rand(shape, generator=generator, dtype=torch.float64)
        layer.weight.data = (2 * entries - 1) / math.sqrt(shape[1])
    middle = nn.ReLU() if activation is Activation.RELU else nn.Identity()
    norm = nn.BatchNorm1d(10).double() if recipe.batch_norm else nn.Identity()
    network = nn.Sequential(first, middle, norm, second)
    return _loop(network, first, recipe, generator, steps)


def _loop(
    network: nn.Module, first: nn.Linear, recipe: Training, generator: torch.Generator, steps: int
) -> tuple[list[float], Tensor]:
    optimiser = torch.optim.SGD(network.parameters(), recipe.rate, recipe.momentum, weight_decay=recipe.decay)
    n, losses = recipe.batch, []
    for _ in range(steps):
        views = recipe.mixture.draw(n, generator)
        z = functional.normalize(network(torch.cat(views)), dim=1)
        logits = (z @ z.T / recipe.temperature).fill_diagonal_(-math.inf)
        loss = functional.cross_entropy(logits, torch.arange(2 * n).roll(n))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses, first.weight.detach()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", Activation)
def test_training_is_infonce_with_sgd(activation: Activation, batch_norm: bool) -> None:
    recipe = Training(batch=16, steps=12, batch_norm=batch_norm)
    run, (losses, w1) = train(activation, recipe, seed=4), by_torch(activation, recipe, 4, 12)
    torch.testing.assert_close(run.losses, torch.tensor(losses).double(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(run.network.w1, w1, rtol=1e-8, atol=1e-8)


def test_a_run_is_a_function_of_its_seed_and_records_its_ends() -> None:
    recipe = Training(batch=8, steps=7, record_every=3)
    one, two, other = (train(Activation.RELU, recipe, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.w1, two.w1)
    assert not torch.equal(one.w1, other.w1)
    assert one.steps.tolist() == [0, 3, 6, 7]
    assert torch.equal(one.w1[-1], one.network.w1)


def test_clamped_weights_are_never_negative() -> None:
    run = train(Activation.LINEAR, Training(batch=8, steps=20, record_every=1, clamped=True), seed=0)
    assert float(run.w1.min()) == 0
    assert float(train(Activation.LINEAR, Training(batch=8, steps=20), seed=0).w1.min()) < 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: OneHotMixture(dimensions=1), "dimensions must be 2 or more, got 1"),
        (lambda: OneHotMixture(weakest=0.0), "weakest must be > 0, got 0"),
        (lambda: OneHotMixture(noise=-1.0), "noise must be >= 0, got -1"),
        (lambda: one_hot_data(1, seed=0), "samples must be 2 or more, got 1"),
        (lambda: one_hot_data(4, seed=-1), "seed must be an integer >= 0, got -1"),
        (lambda: TwoLayer(torch.eye(3), torch.eye(2), Activation.RELU), r"\(h, d\) and \(o, h\), got \(3, 3\) and"),
        (lambda: TwoLayer.random(6, 0, 4, Activation.RELU, seed=0), "hidden must be 1 or more, got 0"),
        (lambda: TwoLayer.random(3, 8, 4, "relu", seed=0), "Activation.LINEAR or Activation.RELU, got 'relu'"),  # type: ignore[arg-type]
        (lambda: train("relu", Training(batch=4, steps=1), seed=0), "Activation.LINEAR or Activation.RELU"),  # type: ignore[arg-type]
        (lambda: uniform_covariance(torch.eye(3), torch.eye(2)), "two has shape"),
        (lambda: uniform_covariance(torch.ones(1, 2), torch.ones(1, 2)), "number of samples must be 2 or more, got 1"),
        (lambda: ascend(VIEWS, start(Activation.RELU), steps=0), "steps must be 1 or more, got 0"),
        (lambda: ascend(VIEWS, start(Activation.RELU), rate=0.0), "rate must be > 0, got 0"),
        (lambda: ascend(VIEWS, start(Activation.RELU), tolerance=-1.0), "tolerance must be >= 0, got -1"),
        (lambda: local_maximum(VIEWS, start(Activation.RELU), lift=0.0), "lift must be > 0, got 0"),
        (lambda: largest_gain(start(Activation.RELU), VIEWS, tries=0), "tries must be 1 or more, got 0"),
        (lambda: numerical_rank(torch.eye(2), 1.0), r"tolerance must be in \[0, 1\), got 1.0"),
        (lambda: concentration(torch.ones(3)), "w1 must have shape"),
        (lambda: Training(temperature=0.0), "temperature must be > 0, got 0"),
        (lambda: Training(batch=1), "batch must be 2 or more, got 1"),
        (lambda: Training(momentum=1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: Training(clamped=1), "clamped must be True or False, got 1"),
    ],
)
def test_bad_input_is_named(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        wrong()
