"""The population loss: the integral against the definition, the closed form of the simplex, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from couplings.basics.errors import InvalidInput
from couplings_theory.latent_classes import (
    collision_loss,
    enumerated_loss,
    population_loss,
    quadrature,
    simplex_distance,
    simplex_gram,
    simplex_loss,
)

F64 = torch.float64


def model(seed: int, classes: int) -> tuple[Tensor, Tensor]:
    """A gram of vectors of any length, and a prior with rare classes."""
    g = torch.Generator().manual_seed(seed)
    vectors = torch.randn(classes, classes, generator=g, dtype=F64) / classes**0.5
    chances = torch.rand(classes, generator=g, dtype=F64) ** 4 + 1e-6
    return vectors @ vectors.T, chances / chances.sum()


def by_draws(gram: Tensor, prior: Tensor, k: int, scale: float) -> float:
    """The loss by its very definition: all C^k sequences of negatives."""
    total = 0.0
    for c, *drawn in product(range(len(prior)), repeat=k + 1):
        chance = math.prod(float(prior[j]) for j in (c, *drawn))
        total += chance * math.log1p(sum(math.exp(scale * float(gram[c, j] - gram[c, c])) for j in drawn))
    return total


@given(seed=st.integers(0, 10**6), classes=st.integers(1, 5), k=st.integers(1, 12), log_scale=st.floats(-2, 2))
def test_integral_is_enumeration(seed: int, classes: int, k: int, log_scale: float) -> None:
    gram, prior = model(seed, classes)
    a, b = gram.clone().requires_grad_(), gram.clone().requires_grad_()
    integral = population_loss(a, prior, k=k, scale=10**log_scale)
    listed = enumerated_loss(b, prior, k=k, scale=10**log_scale)
    torch.testing.assert_close(integral, listed, rtol=1e-12, atol=0)
    (slope,), (expected,) = torch.autograd.grad(integral, a), torch.autograd.grad(listed, b)
    torch.testing.assert_close(slope, expected, rtol=1e-10, atol=1e-12 * 10**log_scale)


@pytest.mark.parametrize(("classes", "k"), [(1, 3), (2, 5), (3, 4)])
def test_both_are_the_definition(classes: int, k: int) -> None:
    gram, prior = model(1, classes)
    expected = by_draws(gram, prior, k, 1.7)
    for loss in (population_loss, enumerated_loss):
        assert float(loss(gram, prior, k=k, scale=1.7)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("classes", "k"), [(2, 5000), (3, 500)])
def test_many_negatives(classes: int, k: int) -> None:
    gram, prior = model(2, classes)
    expected = float(enumerated_loss(gram, prior, k=k))
    assert float(population_loss(gram, prior, k=k)) == pytest.approx(expected, rel=1e-12)


TABLE = {
    (10, 1): ".325430 .572914 .938856 1.419194 1.987566 3.270055 4.628844",
    (10, 2): ".161915 .304150 .544334 .908293 1.393494 2.600840 3.939454",
    (100, 1): ".314381 .553433 .908011 1.376410 1.935034 3.207187 4.562816",
}


@pytest.mark.parametrize(("classes", "scale"), TABLE)
def test_closed_form_table(classes: int, scale: float) -> None:
    for k, expected in zip((1, 2, 4, 8, 16, 64, 256), TABLE[classes, scale].split(), strict=True):
        assert float(simplex_loss(classes, k=k, scale=scale)) == pytest.approx(float(expected), abs=6e-7)


@pytest.mark.parametrize(
    ("classes", "k", "scale", "expected"),
    [
        (3, 1, 1, 0.365325),
        (3, 2, 1, 0.641134),
        (3, 4, 1, 1.042651),
        (4, 2, 1, 0.613202),
        (4, 6, 1, 1.282373),
        (4, 2, 5, 0.330262),
        (5, 8, 2, 1.083042),
    ],
)
def test_closed_form(classes: int, k: int, scale: float, expected: float) -> None:
    assert float(simplex_loss(classes, k=k, scale=scale)) == pytest.approx(expected, abs=6e-7)


@given(classes=st.integers(1, 60), k=st.integers(1, 5000), log_scale=st.floats(-3, 2.4))
def test_closed_form_is_the_population_loss(classes: int, k: int, log_scale: float) -> None:
    scale = 10**log_scale
    loss = population_loss(simplex_gram(classes), [1 / classes] * classes, k=k, scale=scale)
    assert float(loss) == pytest.approx(float(simplex_loss(classes, k=k, scale=scale)), rel=1e-12)


def test_collisions_are_the_limit_of_large_scales() -> None:
    prior = [0.6, 0.3, 0.1]
    floor = collision_loss(prior, k=5)
    expected = sum(p * math.comb(5, n) * p**n * (1 - p) ** (5 - n) * math.log1p(n) for p in prior for n in range(6))
    assert float(floor) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(population_loss(simplex_gram(3), prior, k=5, scale=100), floor, rtol=1e-12, atol=0)
    assert population_loss(simplex_gram(3), prior, k=5, scale=5) > floor


def test_more_classes_than_fit_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    gram, prior = model(3, 6)
    whole = gram.clone().requires_grad_()
    expected = population_loss(whole, prior, k=3)
    expected.backward()
    monkeypatch.setattr(quadrature, "ENTRIES", 2500)
    pieces = gram.clone().requires_grad_()
    population_loss(pieces, prior, k=3).backward()
    # The same hundreds of nodes are summed in another order.
    torch.testing.assert_close(pieces.grad, whole.grad, rtol=1e-12, atol=1e-15)


def test_derivatives_of_rows() -> None:
    gram, prior = model(4, 4)
    exponents = 1.3 * (gram - gram.diagonal()[:, None])
    slope, curvature = quadrature.row_derivatives(exponents, prior, 6)
    off = ~torch.eye(4, dtype=torch.bool)

    def rows(a: Tensor) -> Tensor:
        return quadrature.excess_rows(a, prior, 6)

    jacobian = torch.autograd.functional.jacobian(rows, exponents)
    for c in range(4):
        torch.testing.assert_close(slope[c][off[c]], jacobian[c, c][off[c]], rtol=1e-12, atol=1e-15)
        hessian = torch.autograd.functional.hessian(lambda a, c=c: rows(a)[c], exponents)[c, :, c]
        both = off[c][:, None] & off[c]
        torch.testing.assert_close(curvature[c][both], hessian[both], rtol=1e-11, atol=1e-15)


def test_scale_zero_sees_no_gram() -> None:
    gram, prior = model(5, 3)
    assert float(population_loss(gram, prior, k=4, scale=0.0)) == pytest.approx(math.log(5), rel=1e-12)


@pytest.mark.parametrize("prior", [[0.5, 0.25, 0.25], np.array([0.5, 0.25, 0.25]), torch.tensor([0.5, 0.25, 0.25])])
def test_priors_of_any_kind(prior: object) -> None:
    loss = population_loss(simplex_gram(3).float(), prior, k=np.int64(3))
    assert loss.dtype == F64
    assert float(loss) == pytest.approx(float(population_loss(simplex_gram(3), [0.5, 0.25, 0.25], k=3)), rel=1e-6)


@pytest.mark.parametrize("prior", [np.array([0.2, 0.3, 0.5])[::-1], np.array([0.5, 0.3, 0.2], dtype=object)])
def test_arrays_that_torch_does_not_take(prior: np.ndarray) -> None:
    assert float(population_loss(np.eye(3)[::-1, ::-1], prior, k=2)) == float(
        population_loss(torch.eye(3), [0.5, 0.3, 0.2], k=2)
    )


def test_very_many_negatives() -> None:
    most = population_loss(simplex_gram(3), [0.6, 0.3, 0.1], k=10**12)
    fewer = population_loss(simplex_gram(3), [0.6, 0.3, 0.1], k=10**11)
    assert float(most - fewer) == pytest.approx(math.log(10), abs=1e-9)


def test_lists_keep_their_digits() -> None:
    exact = torch.tensor([0.6, 0.3, 0.1], dtype=F64)
    assert float(population_loss([[1.0, 0.1], [0.1, 1.0]], [0.7, 0.3], k=2)) == float(
        population_loss(torch.tensor([[1.0, 0.1], [0.1, 1.0]], dtype=F64), torch.tensor([0.7, 0.3], dtype=F64), k=2)
    )
    assert float(collision_loss([0.6, 0.3, 0.1], k=5)) == float(collision_loss(exact, k=5))


def test_simplex_distance() -> None:
    assert float(simplex_distance(3 * simplex_gram(5))) < 1e-15
    assert float(simplex_distance(torch.ones(2, 2))) == pytest.approx(math.sqrt(2))  # orthogonal directions
    assert float(simplex_distance(torch.eye(3))) > 0.1
    assert simplex_gram(1).tolist() == [[1.0]]


EYE = torch.eye(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior": [0.5, 0.4]}, "prior must sum to one, got a sum of 0.9"),
        ({"prior": [1.0, 0.0]}, r"prior must be finite and > 0, got 0 for class 1 \(counted from 0\): leave"),
        (
            {"prior": [1e-320, 1.0]},
            "prior holds 9.99989e-321, whose reciprocal is no number: leave classes below 1e-300 out",
        ),
        ({"prior": [1.5, -0.5]}, "prior must be finite and > 0, got -0.5 for class 1"),
        ({"prior": [math.nan, 1.0]}, "prior must be finite and > 0, got nan for class 0"),
        ({"prior": [[0.5, 0.5]]}, r"prior must have shape \(C,\)"),
        ({"prior": []}, r"prior must have shape \(C,\)"),
        ({"prior": "half"}, "prior must hold numbers, got 'half'"),
        ({"prior": np.array([0.5, "x"], dtype=object)}, "prior must hold numbers, got array"),
        ({"k": 0}, "k .* must be an integer >= 1, got 0"),
        ({"k": True}, "k .* must be an integer >= 1, got True"),
        ({"k": 10**20}, r"k .* must be <= 1e\+12, got 100000000000000000000"),
        ({"k": 2.0}, "k .* must be an integer >= 1, got 2.0"),
        ({"scale": -1.0}, "scale must be >= 0, got -1"),
        ({"scale": math.inf}, "scale must be finite, got inf"),
        ({"scale": "1"}, "scale must be a number, got '1'"),
        ({"gram": torch.eye(3)}, r"one row a class: shape \(2, 2\), got \(3, 3\)"),
        ({"gram": torch.ones(2)}, r"gram must have shape \(C, C\), got \(2,\)"),
        ({"gram": torch.tensor([[1.0, 0.5], [0.0, 1.0]])}, "gram must be symmetric, got entries 0.5 apart"),
        ({"gram": torch.tensor([[1.0, 2.0], [2.0, 1.0]])}, "must be positive semidefinite, got an eigenvalue of -1"),
        ({"gram": torch.tensor([[1.0, math.nan], [math.nan, 1.0]])}, "gram must be finite"),
        ({"gram": torch.eye(2, dtype=torch.complex64)}, "gram must hold real numbers, got torch.complex64"),
    ],
)
@pytest.mark.parametrize("loss", [population_loss, enumerated_loss])
def test_refused(loss: Callable[..., Tensor], change: dict[str, object], message: str) -> None:
    arguments = {"gram": EYE, "prior": [0.5, 0.5], "k": 1} | change
    with pytest.raises(InvalidInput, match=message):
        loss(**arguments)


def test_what_explodes_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"10 classes and k = 64 have .* count vectors: use population_loss"):
        enumerated_loss(torch.eye(10), [0.1] * 10, k=64)
    steep = torch.tensor([[1e6, 1e3], [1e3, 1.0]])
    with pytest.raises(InvalidInput, match="lower the scale"):
        population_loss(steep, [0.5, 0.5], k=1, scale=100.0)
    with pytest.raises(InvalidInput, match="gram must not be zero"):
        simplex_distance(torch.zeros(2, 2))
    for classes in (0, 2.0, True):
        with pytest.raises(InvalidInput, match="classes must be an integer >= 1"):
            simplex_gram(classes)
