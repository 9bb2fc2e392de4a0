"""Attraction and repulsion: values, weights, information, flows and exact expectations, each by a second way."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from closeness import near, near_relatively
from couplings import CACR
from couplings.basics.errors import InvalidInput
from couplings_theory import attraction_repulsion as model
from couplings_theory.attraction_repulsion import Images
from helpers import F64, central_differences, gradients, unit_views

HARDNESSES = (0.0, 1.0, 5.0)
WITHIN = 1e-12
"""Squared distances of 4 dimensions, up to 4, are off by 4e-15; weights by 2 * 5 times that, values by 4 times more."""
seeds = st.integers(0, 10_000)


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# values and weights


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("t", HARDNESSES)
def test_attraction_is_that_of_the_loss(count: int, t: float) -> None:
    views, loss = torch.stack(unit_views(count=count)), CACR(t_positive=t, beta=0.0)
    near(model.attraction(views, t), loss(*views), within=WITHIN)
    near_relatively(
        gradients(lambda v: model.attraction(v, t), [views]), gradients(lambda v: loss(*v), [views]), within=1e-12
    )
    plan = loss.coupling(*views)["attraction"].conditional()
    near(model.attraction_weights(views, t).flatten(0, 1), plan, within=WITHIN)


@pytest.mark.parametrize("t", HARDNESSES)
def test_repulsion_is_that_of_the_loss_and_of_the_formula(t: float) -> None:
    z, loss = torch.nn.functional.normalize(_drawn(7, 4), dim=1), CACR(alpha=0.0, t_negative=t)
    near(model.repulsion(z, t), loss(z, z), within=WITHIN)
    squared = torch.cdist(z, z).square()
    weights = torch.exp(-t * squared).fill_diagonal_(0.0)
    weights = weights / weights.sum(1, keepdim=True)
    near(model.repulsion_weights(z, t), weights, within=WITHIN)
    near(model.repulsion(z, t), -(weights * squared).sum(1).mean(), within=WITHIN)


def test_the_gradient_passes_through_weights_and_norms() -> None:
    z, views = 2 * _drawn(5, 3), _drawn(3, 4, 3)
    (push,) = gradients(lambda x: model.repulsion(x, 1.5), [z])
    near(push, central_differences(lambda x: model.repulsion(x, 1.5), z), within=1e-8)
    (pull,) = gradients(lambda x: model.attraction(x, 1.5), [views])
    near(pull, central_differences(lambda x: model.attraction(x, 1.5), views), within=1e-8)


@given(seed=seeds, samples=st.integers(2, 12), dimension=st.integers(1, 14), t=st.floats(0, 20))
def test_no_rows_repel_below_the_bound(seed: int, samples: int, dimension: int, t: float) -> None:
    value = model.repulsion(model.random_rows(samples, dimension, seed), t).item()
    assert model.simplex_bound(samples) - 1e-9 <= value <= 1e-9


@given(seed=seeds, t=st.floats(0, 20))
def test_attraction_grows_with_hardness_from_the_mean_squared_distance(seed: int, t: float) -> None:
    views = _drawn(4, 3, 5, seed=seed)
    assert model.attraction(views, 0.0) - 1e-12 <= model.attraction(views, t) <= model.attraction(views, t + 1) + 1e-12


@given(samples=st.integers(2, 30), t=st.floats(0, 50))
def test_the_simplex_attains_bound_and_least_information(samples: int, t: float) -> None:
    corners = model.simplex_rows(samples)
    gram = (samples * torch.eye(samples, dtype=F64) - 1) / (samples - 1)
    near(corners @ corners.T, gram, within=1e-12)
    near(model.repulsion(corners, t), torch.tensor(model.simplex_bound(samples), dtype=F64), within=1e-9)
    told = model.mutual_information(model.repulsion_plan(corners, t).plan())
    near(told, torch.tensor(model.least_information(samples), dtype=F64), within=1e-9)


def test_known_numbers() -> None:
    assert model.simplex_bound(10) == pytest.approx(-2.2222222, abs=1e-7)
    assert model.least_information(10) == pytest.approx(0.1053605, abs=1e-7)


# information


@given(seed=seeds, n=st.integers(2, 6), m=st.integers(2, 6))
def test_information_is_the_entropies_less_the_joint_one(seed: int, n: int, m: int) -> None:
    plan = torch.rand(n, m, generator=torch.Generator().manual_seed(seed), dtype=F64).sub(0.3).clamp(min=0)
    plan[0, 0] = 1.0
    plan = plan / plan.sum()
    parts = [
        -sum(p * math.log(p) for p in side.flatten().tolist() if p > 0) for side in (plan.sum(1), plan.sum(0), plan)
    ]
    assert model.mutual_information(plan).item() == pytest.approx(parts[0] + parts[1] - parts[2], abs=1e-12)


def test_information_at_its_ends() -> None:
    rows, columns = torch.softmax(_drawn(5), 0), torch.softmax(_drawn(4, seed=1), 0)
    # A logarithm of two sums, of 4 and 5 terms, and of two products: 12 roundings of 1e-16.
    near(model.mutual_information(rows[:, None] * columns), torch.zeros((), dtype=F64), within=1e-14)
    near(model.mutual_information(torch.eye(6, dtype=F64) / 6), torch.tensor(math.log(6), dtype=F64), within=1e-12)


@given(seed=seeds, samples=st.integers(2, 9), sharpness=st.floats(0.01, 20))
def test_no_plan_without_self_pairs_tells_less(seed: int, samples: int, sharpness: float) -> None:
    logits = (sharpness * _drawn(samples, samples, seed=seed)).fill_diagonal_(-torch.inf)
    told = model.mutual_information(torch.softmax(logits, 1) / samples).item()
    assert told >= model.least_information(samples) - 1e-12


def test_row_entropies_count_columns() -> None:
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]], dtype=F64)
    near(model.row_entropies(weights).exp(), torch.tensor([1.0, 2.0, 4.0], dtype=F64), within=1e-12)


# flows


@pytest.fixture(scope="module")
def ten_points() -> dict[int, model.Flow]:
    """From two draws of one stream of random numbers."""
    draw = torch.Generator().manual_seed(0)
    return {d: model.repelled(torch.randn(10, d, generator=draw, dtype=F64)) for d in (4, 16)}


@pytest.mark.parametrize(
    ("d", "before", "after"),
    [(16, (-1.80982, 0.19461), (-20 / 9, math.log(10 / 9))), (4, (-1.42787, 0.38373), (-1.81865, 0.27488))],
)
def test_numbers_of_an_earlier_program(
    ten_points: dict[int, model.Flow], d: int, before: tuple[float, float], after: tuple[float, float]
) -> None:
    flow = ten_points[d]
    for k, figures in ((0, before), (-1, after)):
        near(torch.stack([flow.values[k], flow.information[k]]), torch.tensor(figures, dtype=F64), within=1e-5)


def test_a_flow_records_what_its_embeddings_say(ten_points: dict[int, model.Flow]) -> None:
    flow = ten_points[4]
    for k in (0, 7, 130):
        plan = model.repulsion_plan(flow.embeddings[k], 1.0)
        recorded = torch.stack([flow.values[k], flow.information[k], flow.entropies[k]])
        conditional = model.row_entropies(plan.conditional()).mean()
        again = torch.stack(
            [model.repulsion(flow.embeddings[k], 1.0), model.mutual_information(plan.plan()), conditional]
        )
        near(recorded, again, within=1e-12)
    near(flow.embeddings.norm(dim=2), torch.ones(131, 10, dtype=F64), within=1e-12)


def test_flows_repeat_themselves_and_leave_their_start_alone() -> None:
    start = model.random_rows(4, 3, seed=3)
    kept = start.clone()
    assert torch.equal(model.repelled(start, steps=5).values, model.repulsion_flow(4, 3, seed=3, steps=5).values)
    assert torch.equal(start, kept)
    assert not torch.equal(start, model.random_rows(4, 3, seed=4))


def test_training_records_entropies_of_the_watched_loss() -> None:
    images, watched = Images(8, groups=2), CACR(t_positive=2.0, t_negative=3.0)
    runs = [
        model.weight_entropies(loss, watched, 1, images=images, views=3, steps=6, every=3)
        for loss in (watched, CACR(t_positive=0.0, t_negative=0.0), watched)
    ]
    weighed, equal, again = runs
    assert weighed.steps.tolist() == [0, 3, 6]
    assert torch.equal(weighed.repulsion, again.repulsion)
    assert torch.equal(weighed.values[:1], equal.values[:1])
    assert not torch.equal(weighed.values[1:], equal.values[1:])
    assert weighed.values[-1] < weighed.values[0]
    assert float(weighed.attraction.max()) <= math.log(2)
    assert float(weighed.repulsion.max()) <= math.log(7)


def test_equal_weights_have_the_largest_entropy() -> None:
    flat = CACR(t_positive=0.0, t_negative=0.0)
    run = model.weight_entropies(flat, flat, 0, images=Images(6), views=4, steps=0)
    near(torch.stack([run.attraction, run.repulsion]), torch.tensor([[3.0], [5.0]], dtype=F64).log(), within=1e-12)


def test_views_are_noisy_images() -> None:
    images = Images(count=6, noise=0.0)
    still = images.views(2, seed=0)
    assert torch.equal(still[0], still[1])
    assert not torch.equal(still, Images(6, noise=0.0, seed=1).views(2, seed=0))
    assert not torch.equal(Images(6).views(2, seed=0), Images(6).views(2, seed=1))


# expectations over draws


@pytest.mark.parametrize("count", [1, 8, 100])
@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_expected_infonce_by_counting_collisions(count: int, tau: float) -> None:
    """On the simplex of 6 classes a negative collides with probability 1 / 6: a binomial sum."""
    corners = model.simplex_rows(6)
    scores = corners @ corners.T
    hits = torch.arange(count + 1, dtype=F64)
    law = torch.distributions.Binomial(count, torch.tensor(1 / 6, dtype=F64)).log_prob(hits).exp()
    inside = torch.log(1 + hits + (count - hits) * math.exp((-1 / 5 - 1) / tau))
    near(model.expected_infonce(scores.diagonal(), scores, tau, count), (law * inside).sum(), within=1e-11)


def test_expected_infonce_by_enumeration() -> None:
    positive, negative, tau = _drawn(3), _drawn(3, 4, seed=1), 0.7
    draws = torch.tensor(list(product(range(4), repeat=3)))
    exponents = torch.cat([positive[:, None, None].expand(-1, len(draws), 1), negative[:, draws]], 2) / tau
    by_hand = (torch.logsumexp(exponents, 2).mean(1) - positive / tau).mean()
    near(model.expected_infonce(positive, negative, tau, 3), by_hand, within=1e-12)


def test_the_rate_of_the_limit() -> None:
    positive, negative, tau = _drawn(3), _drawn(3, 4, seed=1), 0.7
    limit, rate = (f(positive, negative, tau) for f in (model.population_infonce, model.approach_rate))
    apart = [k * (model.expected_infonce(positive, negative, tau, k) - math.log(k) - limit) for k in (1000, 2000)]
    near(2 * apart[1] - apart[0], rate, within=1e-3)
    kernel = (negative / tau).exp()
    near(limit, (kernel.mean(1).log() - positive / tau).mean(), within=1e-12)


@pytest.mark.parametrize("t", [0.0, 1.0, 8.0])
def test_expected_weights_by_enumeration(t: float) -> None:
    squared = torch.tensor([0.0, 0.5, 0.5, 1.7, 4.0], dtype=F64)
    draws = torch.tensor(list(product(range(5), repeat=4)))
    weights = torch.softmax(t * squared[draws], 1)
    seen = torch.zeros(5, dtype=F64).index_add_(0, draws.flatten(), weights.flatten()) / len(draws)
    near(model.expected_weights(squared, t, 4), seen, within=1e-12)


@given(seed=seeds, count=st.integers(1, 200), t=st.floats(0, 10))
def test_expected_weights_have_mass_one_and_approach_the_conditional(seed: int, count: int, t: float) -> None:
    squared = 4 * torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=F64)
    weights, goal = model.expected_weights(squared, t, count), model.tilted_weights(squared, t)
    assert weights.sum().item() == pytest.approx(1, abs=1e-9)
    further = model.expected_weights(squared, t, 2 * count)
    assert (further - goal).abs().sum() <= (weights - goal).abs().sum() + 1e-9


# bad input


ROWS = torch.eye(3, dtype=F64)
BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: model.attraction(ROWS, 1.0), r"views must have shape \(n, k, d\), got \(3, 3\)"),
    (lambda: model.attraction(ROWS[None], 1.0), "views holds one view"),
    (lambda: model.attraction(torch.zeros(2, 3, 4), 1.0), "zero vector"),
    (lambda: model.attraction_weights(ROWS.repeat(2, 1, 1), -1.0), "hardness must be >= 0, got -1"),
    (lambda: model.repulsion(ROWS, math.nan), "hardness must be finite, got nan"),
    (lambda: model.repulsion(ROWS, math.inf), "hardness must be finite, got inf"),
    (lambda: model.repulsion(ROWS[:1], 1.0), "z has one row"),
    (lambda: model.repulsion(ROWS.long(), 1.0), "floating point"),
    (lambda: model.repulsion_plan(ROWS * math.nan, 1.0), "z holds NaN"),
    (lambda: model.mutual_information(ROWS), "plan must have mass one, but is off by 2"),
    (lambda: model.mutual_information(-ROWS), "plan must have finite entries >= 0, got -1"),
    (lambda: model.mutual_information(ROWS * math.nan), "plan must have finite entries"),
    (lambda: model.row_entropies(ROWS / 2), "weights must have mass one, but is off by 0.5"),
    (lambda: model.row_entropies([1.0]), "weights must be a torch.Tensor"),  # type: ignore[arg-type]
    (lambda: model.least_information(1), "samples must be 2 or more, got 1"),
    (lambda: model.simplex_bound(2.5), "samples must be an integer"),  # type: ignore[arg-type]
    (lambda: model.simplex_rows(0), "samples must be 2 or more, got 0"),
    (lambda: model.random_rows(3, 0, seed=0), "dimension must be 1 or more, got 0"),
    (lambda: model.random_rows(3, 2, seed=-1), "seed must be an integer >= 0"),
    (lambda: model.repelled(ROWS, steps=-1), "steps must be an integer >= 0, got -1"),
    (lambda: model.repelled(ROWS, rate=0.0), "rate must be > 0, got 0"),
    (lambda: model.repelled(ROWS, -1.0), "hardness must be >= 0, got -1"),
    (lambda: model.weight_entropies(CACR(), CACR(), 0, views=2), "views must be 3 or more, got 2"),
    (lambda: model.weight_entropies(CACR(), CACR(), 0, every=0), "every must be 1 or more, got 0"),
    (lambda: model.weight_entropies(CACR(), CACR(), -1), "seed must be an integer >= 0, got -1"),
    (lambda: Images(count=1), "count must be 2 or more, got 1"),
    (lambda: Images(noise=-0.1), "noise must be >= 0"),
    (lambda: model.population_infonce(ROWS[0], ROWS[:2], 0.5), "positive must have one score for each row of negative"),
    (lambda: model.population_infonce(ROWS[0], ROWS, 0.0), "temperature must be > 0"),
    (lambda: model.expected_infonce(ROWS[0], ROWS, 0.5, 0), "count must be 1 or more draws, got 0"),
    (lambda: model.expected_weights(ROWS, 1.0, 2), "squared must be a vector"),
    (lambda: model.expected_weights(-ROWS[0], 1.0, 2), "squared must be a vector of squared distances >= 0"),
    (lambda: model.expected_weights(ROWS[0], 1.0, 0), "count must be 1 or more"),
    (lambda: model.tilted_weights(ROWS[0], -1.0), "hardness must be >= 0, got -1"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()
