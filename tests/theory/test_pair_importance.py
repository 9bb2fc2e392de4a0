"""Pair importance: weights, energy and covariance against loops; the min player against other solvers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from couplings import (
    MINE,
    Entropic,
    InfoNCE,
    ModifiedTriplet,
    NPlusOneTuplet,
    PairLoss,
    Power,
    Quadratic,
    ScaledInfoNCE,
    Triplet,
    TripletContrastive,
)
from couplings.basics.errors import InvalidInput, NotConverged
from couplings_theory.pair_importance import (
    MinPlayer,
    blob_views,
    contrastive_covariance,
    energy,
    feasible_points,
    gaps,
    half_distances,
    importance,
    late_threshold,
    negatives,
    noisy_views,
    small_encoder,
    unit,
)

F64 = torch.float64
VIEWS = noisy_views(4, 3, seed=1)


def _partner(i: int, n: int = 4) -> int:
    return (i + n) % (2 * n)


def test_distances_and_gaps_pair_by_pair() -> None:
    z, found, gap = torch.cat(VIEWS), half_distances(VIEWS), gaps(VIEWS)
    for i in range(8):
        for j in range(8):
            expected = float((z[i] - z[j]).pow(2).sum()) / 2
            assert float(found[i, j]) == pytest.approx(expected, abs=1e-14)
            own = float((z[i] - z[_partner(i)]).pow(2).sum()) / 2
            assert float(gap[i, j]) == pytest.approx(own - expected, abs=1e-14)


def test_negatives_are_pairs_of_different_samples() -> None:
    allowed = [[j % 4 != i % 4 for j in range(8)] for i in range(8)]
    assert negatives(4).tolist() == allowed


def _written_out(loss: PairLoss, gap: float, xi: float) -> float:
    """phi'(xi) psi'(gap) by hand."""
    if isinstance(loss, ScaledInfoNCE):
        return math.exp(gap / 0.3) / (loss.e0 + xi)
    if isinstance(loss, MINE):
        return math.exp(gap) / xi
    if isinstance(loss, NPlusOneTuplet):
        return math.exp(gap) / (1 + xi)
    if isinstance(loss, Triplet):
        return float(gap > -0.3)
    share = 1 / (1 + math.exp(-5 * gap))
    return 5 * share * (1 - share)


@pytest.mark.parametrize(
    "loss",
    [ScaledInfoNCE(0.3), ScaledInfoNCE(0.3, e0=0.0), MINE(), NPlusOneTuplet(), Triplet(0.3), ModifiedTriplet(5.0)],
    ids=lambda loss: type(loss).__name__,
)
def test_importance_by_hand(loss: PairLoss) -> None:
    gap, found = gaps(unit(VIEWS)).tolist(), importance(loss, VIEWS)
    for i in range(8):
        others = [j for j in range(8) if j % 4 != i % 4]
        xi = float(sum(loss.psi(torch.tensor(gap[i][j], dtype=F64)) for j in others))
        for j in range(8):
            expected = _written_out(loss, gap[i][j], xi) if j in others else 0.0
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_importance_of_rows_as_they_are_and_without_gradient() -> None:
    views = [view.clone().requires_grad_() for view in VIEWS]
    long = importance(ScaledInfoNCE(0.3, normalize=False), views)
    assert not long.requires_grad
    assert (long - importance(ScaledInfoNCE(0.3), views)).abs().max() > 0.01


def test_importance_ignores_an_outer_no_grad() -> None:
    with torch.no_grad():
        inside = importance(MINE(), VIEWS)
    assert torch.equal(inside, importance(MINE(), VIEWS))


def test_energy_and_covariance_by_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    alpha = torch.rand(8, 8, generator=generator, dtype=F64)
    others = noisy_views(4, 2, seed=2)
    x, y = torch.cat(VIEWS), torch.cat(others)
    total, form = 0.0, torch.zeros(3, 2, dtype=F64)
    for i in range(8):
        p = _partner(i)
        for j in range(8):
            spread, own = (float((x[i] - x[k]).pow(2).sum()) / 2 for k in (j, p))
            total += float(alpha[i, j]) * (spread - own)
            form += alpha[i, j] * (torch.outer(x[i] - x[j], y[i] - y[j]) - torch.outer(x[i] - x[p], y[i] - y[p]))
    assert float(energy(alpha, VIEWS)) == pytest.approx(total, rel=1e-12)
    torch.testing.assert_close(contrastive_covariance(alpha, VIEWS, others), form, rtol=1e-11, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(2, 6), d=st.integers(1, 5))
def test_energy_is_half_the_trace_of_the_covariance(seed: int, n: int, d: int) -> None:
    views = noisy_views(n, d, seed=seed)
    alpha = importance(ScaledInfoNCE(0.5), views)
    form = contrastive_covariance(alpha, views)
    torch.testing.assert_close(form, form.T, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(2 * energy(alpha, views), form.trace(), rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    tau=st.sampled_from([0.1, 0.5, 3.0]),
    rule=st.sampled_from([Entropic(), Quadratic(), Power(1.5), Power(2.0)]),
    heavy=st.floats(0.3, 3.0),
)
def test_the_librarys_weights_meet_the_conditions(seed: int, tau: float, rule: Entropic, heavy: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    distances = 2 * torch.rand(3, 5, generator=generator, dtype=F64)
    distances[0, 0] = torch.inf
    player = MinPlayer(distances, tau, rule, mass=torch.tensor([1.0, heavy, 2.0], dtype=F64))
    alpha = player.optimum()
    assert float(player.gap(alpha).max()) < 1e-8
    assert float(alpha[0, 0]) == 0
    points = feasible_points(alpha, player.admitted, 20, seed=seed)
    assert float((player.objective(points) - player.objective(alpha)).min()) > -1e-12


def test_near_feasible_points_reach_pairs_without_weight() -> None:
    alpha = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=F64)
    points = feasible_points(alpha, torch.tensor([[True, True, True, False]]), 6, seed=0)
    torch.testing.assert_close(points.sum(2), torch.ones(6, 1, dtype=F64))
    assert float(points[:, 0, 1:3].min()) > 0
    assert not points[:, 0, 3].any()
    assert float((points[::2] - alpha).abs().max()) < 0.01
    assert float((points[1::2] - alpha).abs().amax((1, 2)).min()) > 0.02


def _players() -> list[MinPlayer]:
    distances = half_distances(unit(VIEWS)).masked_fill(~negatives(4), torch.inf)
    rules = [Entropic(), Quadratic(), Power(1.5), Power(2.0), Power(3.0)]
    return [MinPlayer(distances, 0.4, rule) for rule in rules]


@pytest.mark.parametrize("player", _players(), ids=lambda player: repr(player.rule))
def test_two_solvers_agree_and_a_third_by_scipy(player: MinPlayer) -> None:
    from scipy.optimize import brentq

    alpha, q, tau = player.optimum(), player.rule.q, player.temperature
    torch.testing.assert_close(player.by_solver(), alpha, rtol=0, atol=1e-5)
    row = player.distances[0][player.admitted[0]]

    def weights(level: float) -> Tensor:
        if q == 1:
            return ((level - row) / tau).exp()
        scaled = ((1 - q) * (level - row) / tau).clamp_min(0)
        return scaled ** (1 / (1 - q))

    low, high = (-8.0, 8.0) if q <= 1 else (-60.0, float(row.min()) - 1e-9)
    level = brentq(lambda level: float(weights(level).sum()) - 1, low, high, xtol=1e-14)
    torch.testing.assert_close(weights(level), alpha[0][player.admitted[0]], rtol=1e-7, atol=1e-9)


def test_the_gap_sees_every_kind_of_miss() -> None:
    player = MinPlayer(torch.tensor([[0.0, 0.5, 2.0]], dtype=F64), 1.0, Quadratic())
    for wrong in ([0.7, 0.3, 0.0], [0.85, 0.15, 0.1], [0.75, 0.35, -0.1], [1.0, 0.0, 0.0], [0.7, 0.2, 0.0]):
        assert float(player.gap(torch.tensor([wrong], dtype=F64))) > 0.04
    masked = MinPlayer(torch.tensor([[0.0, torch.inf]], dtype=F64), 1.0)
    assert float(masked.gap(torch.tensor([[0.9, 0.1]], dtype=F64))) >= 0.1


def test_the_late_threshold_misses_by_what_was_reported() -> None:
    """Row sums above one at low temperatures, and nearly the number of negatives where all are kept."""
    distances = half_distances(unit(noisy_views(7, 5))).masked_fill(~negatives(7), torch.inf)
    low, high = late_threshold(distances, 0.5).sum(1), late_threshold(distances, 40.0).sum(1)
    assert float(low.min()) > 1.0
    assert 1.3 < float(low.max()) < 2.0
    assert 11.5 < float(high.min()) < float(high.max()) < 12.0


def test_a_solver_that_gives_up_is_heard() -> None:
    with pytest.raises(NotConverged, match="raise the temperature"):
        MinPlayer(torch.ones(1, 2, dtype=F64), 1.0)._filled(None, "infeasible")


def test_pictures_and_encoder_are_seeded_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = small_encoder(1), small_encoder(1)
    images = blob_views(4, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(images[0], blob_views(4, seed=2)[0])
    assert not torch.equal(images[0], images[1])
    assert first(images[0]).shape == (4, 8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: importance(InfoNCE(), VIEWS), "got InfoNCE"),
        (lambda: importance(MINE(), VIEWS[:1]), "got 1"),
        (lambda: half_distances([VIEWS[0], VIEWS[1][:2]]), "equal n and d"),
        (lambda: energy(torch.ones(4, 4), VIEWS), r"\(8, 8\)"),
        (lambda: contrastive_covariance(torch.ones(4, 4), VIEWS), r"\(8, 8\)"),
        (lambda: contrastive_covariance(torch.ones(8, 8), VIEWS, noisy_views(3, 2)), "4 samples"),
        (lambda: noisy_views(0, 3), ">= 1"),
        (lambda: noisy_views(3, 3, noise=-1.0), "noise"),
        (lambda: blob_views(0), ">= 1"),
        (lambda: MinPlayer(torch.full((2, 3), torch.inf), 1.0), "row 0"),
        (lambda: MinPlayer(torch.ones(2, 3), 0.0), "temperature"),
        (lambda: MinPlayer(torch.ones(2, 3), 1.0, mass=torch.ones(3)), r"\(2,\)"),
        (lambda: MinPlayer(torch.ones(2, 3), 1.0, mass=torch.zeros(2)), "> 0"),
        (lambda: feasible_points(torch.ones(1, 2), torch.ones(1, 2) > 0, 0, seed=0), "count"),
        (lambda: feasible_points(torch.ones(1, 2), torch.ones(1, 2) > 0, 1.5, seed=0), "count must be an integer"),
        (lambda: late_threshold(torch.ones(1, 2), -1.0), "temperature"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        call()


def test_linear_losses_weigh_all_pairs_alike() -> None:
    assert torch.equal(importance(TripletContrastive(), VIEWS), negatives(4).to(F64))
