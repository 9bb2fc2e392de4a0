"""Alignment, uniformity, effective rank."""

from __future__ import annotations

import math

import pytest
import torch

from couplings import InvalidInput
from couplings.diagnostics import alignment, effective_rank, uniformity
from helpers import F64, gradients, unit_views


def test_alignment_is_the_mean_squared_distance_of_positives() -> None:
    a, b, c = unit_views(count=3)
    pairs = [(a - b), (a - c), (b - c)]
    assert alignment(a, b).item() == pytest.approx((a - b).square().sum(1).mean().item())
    assert alignment(a, b, c).item() == pytest.approx(sum(p.square().sum(1).mean().item() for p in pairs) / 3)
    assert alignment(a, a).item() == 0
    assert alignment(a, -a).item() == pytest.approx(4)


def test_alignment_looks_at_directions() -> None:
    a, b = unit_views()
    torch.testing.assert_close(alignment(3 * a, 0.1 * b), alignment(a, b))


def test_uniformity_is_the_log_of_a_mean_kernel_over_pairs() -> None:
    z = unit_views(n=7)[0]
    i, j = torch.triu_indices(7, 7, offset=1)
    expected = torch.log(torch.exp(-3.0 * (z[i] - z[j]).square().sum(1)).mean())
    torch.testing.assert_close(uniformity(z, t=3.0), expected)
    assert uniformity(torch.ones(5, 3, dtype=F64)).item() == pytest.approx(0, abs=1e-12)


def test_spread_points_are_more_uniform() -> None:
    z = torch.nn.functional.normalize(torch.randn(50, 8, dtype=F64), dim=1)
    assert uniformity(z) < uniformity(z + 2 * z[:1])


def test_effective_rank_lies_between_one_and_the_dimension() -> None:
    assert effective_rank(torch.eye(6, dtype=F64)).item() == pytest.approx(6)
    assert effective_rank(torch.ones(6, 4, dtype=F64)).item() == pytest.approx(1)
    two = torch.randn(50, 2, dtype=F64) @ torch.randn(2, 9, dtype=F64)
    assert 1 < effective_rank(two) <= 2 + 1e-9
    weighted = torch.diag(torch.tensor([0.75, 0.25], dtype=F64))
    assert effective_rank(weighted).item() == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_effective_rank_of_nothing_and_of_zeros() -> None:
    assert effective_rank(torch.zeros(3, 2, dtype=F64)).isfinite()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    a, b = (v.to(dtype) for v in unit_views(n=10))
    for half, single in (
        (alignment(a, b), alignment(a.float(), b.float())),
        (uniformity(a), uniformity(a.float())),
        (effective_rank(a), effective_rank(a.float())),
    ):
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, single)


def test_alignment_and_uniformity_can_be_trained_on() -> None:
    a, b = unit_views()
    assert all(g.isfinite().all() for g in gradients(lambda x, y: alignment(x, y) + uniformity(x), [a, b]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alignment(torch.ones(3, 2)), "alignment needs at least two views, got 1"),
        (lambda: alignment(torch.ones(3, 2), torch.ones(4, 2)), r"view 2 has shape \(4, 2\) but view 1 has \(3, 2\)"),
        (lambda: alignment(torch.ones(3, 2), torch.zeros(3, 2)), "view 2 has a zero vector"),
        (lambda: uniformity(torch.ones(1, 2)), "uniformity needs at least two rows, got 1"),
        (lambda: uniformity(torch.ones(3, 2), t=0.0), "t must be > 0, got 0"),
        (lambda: uniformity(torch.ones(3)), r"z must have shape \(n, d\), got \(3,\)"),
        (lambda: effective_rank(torch.full((3, 2), math.nan)), "z holds NaN"),
        (lambda: effective_rank(torch.ones(3, 2).long()), "z must be floating point"),
    ],
)
def test_refusals(call: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()  # type: ignore[operator]
