"""Deep linear networks: gradients, critical points and curvature against autograd and differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from couplings.basics.errors import InvalidInput, NotConverged
from couplings_theory.linear_networks import LinearNetwork, ascend, critical_network, curvature, random_network

F64 = torch.float64
SPECTRUM = torch.tensor([3.0, 2.5, 1.2, 0.7, -0.5, -1.0], dtype=F64)


def _form(seed: int = 0) -> torch.Tensor:
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(seed), dtype=F64)).Q
    rotated = (basis * SPECTRUM) @ basis.T
    return (rotated + rotated.T) / 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), hidden=st.lists(st.integers(1, 5), max_size=3))
def test_gradients_are_autograds_and_the_energy_is_quadratic_in_each_layer(seed: int, hidden: list[int]) -> None:
    form, start = _form(seed), random_network((6, *hidden, 4), seed)
    leaves = tuple(layer.clone().requires_grad_() for layer in start.layers)
    expected = torch.autograd.grad(LinearNetwork(leaves).energy(form), leaves)
    for layer, found, wanted in zip(start.layers, start.gradients(form), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close((found * layer).sum(), 2 * start.energy(form), rtol=1e-10, atol=1e-12)
    assert all(abs(float(layer.norm()) - 1) < 1e-14 for layer in start.layers)


def test_a_network_is_what_its_parts_say() -> None:
    start = random_network((6, 5, 3), seed=1)
    assert start.depth == 2
    assert start.widths == (6, 5, 3)
    torch.testing.assert_close(start.product, start.layers[1] @ start.layers[0])
    first, second = start.layers
    assert start.imbalance == pytest.approx(float((first @ first.T - second.T @ second).norm()))
    assert 0 < start.rank_ratio < 1
    assert len(start.joints) == 1
    u, v = torch.linalg.svd(first).U[:, 0], torch.linalg.svd(second).Vh[0]
    assert start.joints[0] == pytest.approx(abs(float(u @ v)))


@pytest.mark.parametrize("widths", [(6, 4), (6, 8, 4), (6, 8, 8, 4), (6, 2, 4)])
def test_ascent_finds_the_largest_eigenvalue(widths: tuple[int, ...]) -> None:
    """2 E = lambda_max, all layers of rank one, the top eigenvector."""
    form = _form()
    top = torch.linalg.eigh(form)[1][:, -1]
    for seed in range(3):
        run = ascend(form, random_network(widths, seed))
        assert abs(2 * float(run.energies[-1]) - 3.0) < 1e-6
        assert run.network.rank_ratio < 1e-6
        assert abs(float(run.network.direction @ top)) > 1 - 1e-9
        assert float(run.energies.diff().min()) > -1e-13
        assert curvature(run.network, form)[-1] < 1e-9


@pytest.mark.parametrize("which", [(0,), (1,), (3,), (5,), (0, 1), (1, 3), (0, 1, 2)])
def test_critical_networks_have_no_gradient(which: tuple[int, ...]) -> None:
    form = _form(1)
    point = critical_network(form, (6, 8, 5, 4), which)
    assert point.slope(point.gradients(form)) < 1e-13
    assert all(abs(float(layer.norm()) - 1) < 1e-13 for layer in point.layers)
    if len(which) == 1:
        assert 2 * float(point.energy(form)) == pytest.approx(float(SPECTRUM[which[0]]))


def test_shares_of_a_balanced_network() -> None:
    """s_k^2 proportional to lambda_k^(-1 / (L - 1)): for two layers 2 and 3 share as 3 to 2, 2 E = 6 / 5."""
    form = torch.diag(torch.tensor([3.0, 2.0], dtype=F64))
    point = critical_network(form, (2, 2, 2), (0, 1))
    assert point.singular_values[0].square().sort().values.tolist() == pytest.approx([0.4, 0.6])
    assert 2 * float(point.energy(form)) == pytest.approx(1.2)


def test_curvature_is_the_second_difference_along_great_circles() -> None:
    form = _form(2)
    for which in ((1,), (0, 1)):
        point = critical_network(form, (6, 3, 3, 2), which)
        bends = curvature(point, form)
        assert len(bends) == 6 * 3 + 3 * 3 + 3 * 2 - 3
        highest = max(_second_difference(point, form, seed) for seed in range(200))
        assert highest <= float(bends[-1]) + 1e-5
        assert _second_difference(point, form, 0) >= float(bends[0]) - 1e-5


def _second_difference(point: LinearNetwork, form: torch.Tensor, seed: int, step: float = 1e-4) -> float:
    generator = torch.Generator().manual_seed(seed)
    ways = []
    for layer in point.layers:
        way = torch.randn(layer.shape, generator=generator, dtype=F64)
        ways.append(way - (way * layer).sum() * layer)
    size = torch.stack([way.norm() for way in ways]).norm()
    ways = [way / size for way in ways]

    def at(t: float) -> float:
        turned = []
        for layer, way in zip(point.layers, ways, strict=True):
            speed = way.norm()
            turned.append(torch.cos(speed * t) * layer + torch.sin(speed * t) / speed * way)
        return float(LinearNetwork(tuple(turned)).energy(form))

    return (at(step) - 2 * at(0.0) + at(-step)) / step**2


def test_rotating_towards_the_top_bends_by_the_difference_of_eigenvalues() -> None:
    form = _form(3)
    vectors = torch.linalg.eigh(form)[1].flip(1)
    point = critical_network(form, (6, 3, 2), (2,))
    out, t = point.layers[0] @ vectors[:, 2], 1e-4

    def at(t: torch.Tensor) -> float:
        turned = torch.outer(out, torch.cos(t) * vectors[:, 2] + torch.sin(t) * vectors[:, 0])
        return float(LinearNetwork((turned, point.layers[1])).energy(form))

    ahead, here, behind = (at(torch.tensor(s * t, dtype=F64)) for s in (1, 0, -1))
    assert (ahead - 2 * here + behind) / t**2 == pytest.approx(3.0 - 1.2, abs=1e-5)
    assert float(curvature(point, form)[-1]) == pytest.approx(3.0 - 1.2, abs=1e-9)


def test_an_ascent_that_is_cut_short_says_so() -> None:
    with pytest.raises(NotConverged, match=r"after 5 steps.*allow more steps"):
        ascend(_form(), random_network((6, 4, 4), 0), steps=5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ascend(torch.randn(6, 6, dtype=F64), random_network((6, 4), 0)), "symmetric"),
        (lambda: ascend(_form()[:5], random_network((6, 4), 0)), "square"),
        (lambda: ascend(torch.full((6, 6), torch.nan, dtype=F64), random_network((6, 4), 0)), "finite"),
        (lambda: ascend(torch.zeros(6, 6, dtype=F64), random_network((6, 4), 0)), "zero"),
        (lambda: ascend(_form(), random_network((5, 4), 0)), "5 inputs"),
        (lambda: ascend(_form(), random_network((6, 4), 0), rate=0.0), "rate"),
        (lambda: ascend(_form(), random_network((6, 4), 0), steps=0), "steps"),
        (lambda: ascend(_form(), random_network((6, 4), 0), steps=1.5), "steps must be an integer"),
        (lambda: ascend(_form(), random_network((6, 4), 0), rate=5), "rate must be below 1, got 5"),
        (lambda: ascend(_form(), random_network((6, 4), 0), tolerance=-1), "tolerance must be >= 0"),
        (lambda: ascend(_form().float(), random_network((6, 4), 0)), r"float64, got torch.float32: call .double"),
        (lambda: ascend(_form(), LinearNetwork((torch.eye(6, dtype=F64),))), r"norm 1, got \[2.4.*normalised"),
        (lambda: ascend(_form(), LinearNetwork((torch.eye(6) / 6**0.5,))), "layer 1 of start must be torch.float64"),
        (lambda: ascend(_form(), (6, 4)), "LinearNetwork, got tuple"),
        (lambda: curvature(random_network((6, 4), 0), _form().float()), r"float64, got torch.float32"),
        (lambda: curvature(random_network((5, 4), 0), _form()), "5 inputs"),
        (lambda: random_network((6,), 0), "input and output"),
        (lambda: random_network("ab", 0), "widths must be a sequence of integers, got 'ab'"),
        (lambda: random_network((2.5, 2), 0), "each of widths must be an integer >= 0, got 2.5"),
        (lambda: random_network((6, 4), "a"), "seed"),
        (lambda: random_network((6, 0, 4), 0), ">= 1"),
        (lambda: LinearNetwork((torch.zeros(2, 2),)).normalised(), "layer 1 is zero"),
        (lambda: critical_network(_form(), (5, 4), (0,)), "start with 6"),
        (lambda: critical_network(_form(), (6, 4), (6,)), "0 to 5"),
        (lambda: critical_network(_form(), (6, 4), ()), "0 to 5"),
        (lambda: critical_network(_form(), (6, 4), (0.5,)), "each of which must be an integer"),
        (lambda: critical_network(_form(), (6, 4), (0, 1)), "2 layers"),
        (lambda: critical_network(_form(), (6, 4, 4), (0, 4)), "positive"),
        (lambda: curvature(random_network((2, 2), 0), torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=F64)), "symmetric"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        call()
