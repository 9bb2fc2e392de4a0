"""The optimal gram: known numbers, a second solver, and certificates that do not believe the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from couplings.basics.errors import InvalidInput, NotConverged
from couplings_theory.latent_classes import (
    OptimalGram,
    certify,
    collision_loss,
    gram_by_cones,
    optimal_gram,
    population_loss,
    simplex_distance,
    simplex_gram,
    simplex_loss,
)
from couplings_theory.latent_classes.certificate import gradient

F64 = torch.float64
RARE = [0.85, 0.1, 0.05]


def zipf(classes: int) -> Tensor:
    chances = 1 / torch.arange(1, classes + 1, dtype=F64)
    return chances / chances.sum()


def dirichlet(seed: int, classes: int, concentration: float = 1.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    draws = torch._standard_gamma(torch.full((classes,), concentration, dtype=F64), generator=g) + 1e-9
    return draws / draws.sum()


def feasible(seed: int, classes: int) -> Tensor:
    """A random gram of vectors of norm at most one, of random rank."""
    g = torch.Generator().manual_seed(seed)
    vectors = torch.randn(classes, 1 + seed % classes, generator=g, dtype=F64)
    lengths = torch.rand(classes, 1, generator=g, dtype=F64) ** (seed % 3)  # a third of them: all of norm one
    vectors *= lengths / vectors.norm(dim=1, keepdim=True)
    return vectors @ vectors.T


def proved(best: OptimalGram, relative: float) -> None:
    """The gap is small, by a certificate that is verified here from its definition."""
    shown, g = best.certificate, best.gram
    slope = gradient(g, best.prior, best.k, best.scale)
    size = float(slope.abs().max())
    assert float(shown.dual.min()) >= 0
    torch.testing.assert_close(shown.slack, shown.dual.diag() + slope, rtol=1e-14, atol=0)
    assert shown.smallest_eigenvalue >= -1e-13 * size
    assert shown.gap == pytest.approx(float((slope * g).sum() + shown.dual.sum()), abs=1e-13 * size)
    assert 0 <= shown.gap <= relative * (best.loss - float(collision_loss(best.prior, k=best.k)) + 1e-15)
    torch.testing.assert_close(g.diagonal(), torch.ones(len(g), dtype=F64), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("classes", "k", "scale"), [(3, 4, 1), (4, 6, 1), (5, 8, 2), (10, 64, 1), (2, 1, 0.1), (6, 256, 20), (3, 2, 300)]
)
def test_equal_classes_form_the_simplex(classes: int, k: int, scale: float) -> None:
    best = optimal_gram([1 / classes] * classes, k=k, scale=scale)
    assert float((best.gram - simplex_gram(classes)).abs().max()) < 1e-7
    assert float(simplex_distance(best.gram)) < 1e-7
    assert best.loss == pytest.approx(float(simplex_loss(classes, k=k, scale=scale)), abs=1e-9)
    assert best.rank == classes - 1
    assert best.merged == ()


CARD = {  # (prior, k, scale): G01, G02, G12, loss; as known from an L-BFGS on vectors
    ((0.6, 0.3, 0.1), 1, 1): (-0.921, -0.537, 0.166, 0.41306),
    ((0.6, 0.3, 0.1), 4, 1): (None, None, None, 1.13750),
    ((0.6, 0.3, 0.1), 16, 1): (None, None, None, 2.26932),
    ((0.6, 0.3, 0.1), 64, 1): (None, None, None, 3.58254),
    ((0.85, 0.1, 0.05), 1, 1): (-1, -1, 1, None),
    ((0.85, 0.1, 0.05), 2, 1): (-1, -1, 1, None),
    ((0.97, 0.02, 0.01), 64, 1): (-1, -1, 1, None),
}


@pytest.mark.parametrize("case", CARD)
def test_known_grams(case: tuple[Sequence[float], int, float]) -> None:
    prior, k, scale = case
    best = optimal_gram(prior, k=k, scale=scale)
    proved(best, 1e-10)
    *entries, loss = CARD[case]
    for (i, j), expected in zip(((0, 1), (0, 2), (1, 2)), entries, strict=True):
        if expected is not None:
            assert float(best.gram[i, j]) == pytest.approx(expected, abs=6e-4)
    if loss is not None:
        assert best.loss == pytest.approx(loss, abs=6e-6)


MARGINS = [(1, 1, 0.0), (1, 2, 0.0), (1, 4, 0.132), (1, 64, 0.418)]  # scale, k, 1 - largest entry


@pytest.mark.parametrize(("scale", "k", "margin"), MARGINS)
def test_more_negatives_separate_rare_classes(scale: float, k: int, margin: float) -> None:
    best = optimal_gram(RARE, k=k, scale=scale)
    assert 1 - float(best.gram[1, 2]) == pytest.approx(margin, abs=6e-4)
    assert best.merged == (((1, 2),) if margin == 0 else ())
    assert best.rank == (1 if margin == 0 else 2)


@pytest.mark.parametrize(("k", "margin"), [(1, 0.950), (64, 1.044)])
def test_larger_scales_separate_rare_classes(k: int, margin: float) -> None:
    assert 1 - float(optimal_gram([0.97, 0.02, 0.01], k=k, scale=5).gram[1, 2]) == pytest.approx(margin, abs=6e-4)


@pytest.mark.parametrize("k", [1, 4, 256])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 20.0])
@pytest.mark.parametrize(
    "prior", [[0.9, 0.1], RARE, zipf(10), dirichlet(0, 5), dirichlet(1, 5, 0.3), [1 - 2e-6, 1e-6, 1e-6]], ids=len
)
def test_certified_on_a_grid(prior: Sequence[float], scale: float, k: int) -> None:
    proved(optimal_gram(prior, k=k, scale=scale), 1e-10)


@pytest.mark.parametrize("prior", [zipf(30), dirichlet(2, 30)])
def test_thirty_classes(prior: Tensor) -> None:
    proved(optimal_gram(prior, k=256), 1e-10)


@pytest.mark.parametrize("k", [1, 7])
def test_one_class(k: int) -> None:
    best = optimal_gram([1.0], k=k)
    assert best.gram.tolist() == [[1.0]]
    assert best.loss == pytest.approx(math.log(1 + k), rel=1e-14)
    assert best.gap == 0.0


CONES = [
    ([0.6, 0.3, 0.1], 1, 1.0),
    (RARE, 2, 1.0),
    (RARE, 8, 1.0),
    ([0.97, 0.02, 0.01], 4, 5.0),
    ([0.4, 0.3, 0.2, 0.1], 3, 0.3),
    ([0.3, 0.2, 0.2, 0.2, 0.1], 2, 10.0),
]


@pytest.mark.parametrize(("prior", "k", "scale"), CONES)
def test_second_solver_agrees(prior: Sequence[float], k: int, scale: float) -> None:
    best, other = optimal_gram(prior, k=k, scale=scale), gram_by_cones(prior, k=k, scale=scale)
    assert float((best.gram - other).abs().max()) < 1e-4
    assert float(population_loss(other, prior, k=k, scale=scale)) == pytest.approx(best.loss, abs=1e-8)


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 5), k=st.integers(1, 20), log_scale=st.floats(-1, 1))
@settings(max_examples=15)
def test_gap_bounds_how_far_any_gram_is(seed: int, classes: int, k: int, log_scale: float) -> None:
    prior, scale, gram = dirichlet(seed, classes), 10**log_scale, feasible(seed, classes)
    best = optimal_gram(prior, k=k, scale=scale)
    above = float(population_loss(gram, prior, k=k, scale=scale)) - best.loss
    assert above >= -best.gap - 1e-14
    assert certify(gram, prior, k=k, scale=scale).gap >= above - 1e-12
    middle = (gram + best.gram) / 2
    halfway = float(population_loss(middle, prior, k=k, scale=scale)) - best.loss
    assert halfway <= above / 2 + 1e-12  # convex
    assert certify(middle, prior, k=k, scale=scale).gap >= halfway - 1e-12


def test_certificate_sees_a_wrong_prior() -> None:
    best = optimal_gram(RARE, k=4)
    assert certify(best.gram, [0.05, 0.1, 0.85], k=4).gap > 0.1
    assert certify(best.gram, RARE, k=1).gap > 1e-4
    assert certify(best.gram, RARE, k=4, scale=2.0).gap > 1e-2
    assert certify(simplex_gram(3), RARE, k=4).gap > 1e-2


def test_certificate_sees_small_errors() -> None:
    best = optimal_gram(RARE, k=4)
    for away in (1e-2, 1e-3, 1e-4):
        moved = (1 - away) * best.gram + away * torch.eye(3)
        gap = certify(moved, RARE, k=4).gap
        assert 1e-3 * away < gap < away


def test_shorter_vectors_are_worse() -> None:
    best = optimal_gram(RARE, k=4)
    above = float(population_loss(0.9 * best.gram, RARE, k=4)) - best.loss
    assert 0 < above <= certify(0.9 * best.gram, RARE, k=4).gap


PLACED = [  # prior, k, scale: the entries above the diagonal; by L-BFGS on vectors, or merged by the rule
    ((0.45, 0.35, 0.199999, 1e-6), 1, 0.05, (-0.89485, -0.63098, -0.52863, 0.21833, 0.32282, 0.59463)),
    ((0.5, 0.3, 0.199999, 1e-6), 1, 0.1, (-0.94745, -0.87833, -0.82894, 0.67923, 0.73240, 0.80724)),
    ((0.6, 0.399999, 1e-6), 1, 0.05, (-1, -1, 1)),
    ((0.6, 0.399999, 1e-6), 64, 0.05, (-1, -1, 1)),
    ((0.6, 0.3, 0.1), 2, 1e-4, (-1, -1, 1)),
]


@pytest.mark.parametrize(("prior", "k", "scale", "entries"), PLACED)
def test_rare_classes_and_small_scales_find_their_place(
    prior: Sequence[float], k: int, scale: float, entries: Sequence[float]
) -> None:
    gram = optimal_gram(prior, k=k, scale=scale).gram
    i, j = torch.triu_indices(len(prior), len(prior), 1)
    assert gram[i, j].tolist() == pytest.approx(entries, abs=2e-5)


def test_a_class_that_rounding_hides_is_told() -> None:
    with pytest.raises(NotConverged, match=r"has not settled .* scale 0.001 .* class of probability 1e-06"):
        optimal_gram([0.4, 0.3, 0.2, 0.099999, 1e-6], k=2, scale=1e-3)


def test_what_cannot_be_reached_is_told() -> None:
    with pytest.raises(NotConverged, match=r"certified gap is .* tolerance=1e-18 was asked for: raise it"):
        optimal_gram(RARE, k=4, tolerance=1e-18)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior": [0.5, 0.4]}, "prior must sum to one, got a sum of 0.9"),
        ({"k": 0}, "k .* must be an integer >= 1, got 0"),
        ({"scale": 0.0}, "scale must be > 0, got 0"),
        ({"scale": 301.0}, "scale must be <= "),
    ],
)
@pytest.mark.parametrize("solve", [optimal_gram, gram_by_cones])
def test_refused(solve: Callable[..., object], change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        solve(**({"prior": [0.5, 0.5], "k": 1} | change))


def test_refused_by_one() -> None:
    with pytest.raises(InvalidInput, match=r"scale must be >= 0.0001, got 1e-05: below, rounding"):
        optimal_gram([0.5, 0.5], k=1, scale=1e-5)
    with pytest.raises(InvalidInput, match="tolerance must be > 0"):
        optimal_gram([0.5, 0.5], k=1, tolerance=0.0)
    with pytest.raises(InvalidInput, match=r"5 classes and k = 16 are 24225 log-sum-exps: use optimal_gram"):
        gram_by_cones([0.2] * 5, k=16)
    with pytest.raises(InvalidInput, match="two classes or more"):
        gram_by_cones([1.0], k=1)
    with pytest.raises(InvalidInput, match="diagonal of at most one, got 2"):
        certify(2 * torch.eye(2), [0.5, 0.5], k=1)
