"""The spectrum against singular values, dimensions that hardly vary, rows that stand out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from couplings import InvalidInput
from couplings.diagnostics import collapsed_dimensions, failing_positives, hubs, spectrum
from couplings.diagnostics import spread as module
from helpers import F64


@given(st.integers(1, 30), st.integers(1, 12))
def test_the_spectrum_is_that_of_the_centred_rows(n: int, d: int) -> None:
    z = 3 + torch.randn(n, d, dtype=F64, generator=torch.Generator().manual_seed(n * d))
    expected = torch.linalg.svdvals(z - z.mean(0)) / math.sqrt(n)
    torch.testing.assert_close(spectrum(z), expected, atol=1e-7, rtol=1e-7)


def test_the_spectrum_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.randn(50, 6)
    whole, dead = spectrum(z), collapsed_dimensions(z)
    monkeypatch.setattr(module, "_ROWS", 7)
    torch.testing.assert_close(spectrum(z), whole)
    assert torch.equal(collapsed_dimensions(z), dead)
    assert spectrum(z.half()).dtype == torch.float32


def test_a_large_mean_is_no_direction() -> None:
    z = torch.randn(200, 4) + 1000
    torch.testing.assert_close(spectrum(z), spectrum(z - 1000), rtol=1e-3, atol=1e-3)
    assert spectrum(torch.ones(9, 4)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64])
@pytest.mark.parametrize("constant", [0.0, 0.3, -100.0])
def test_a_constant_dimension(dtype: torch.dtype, constant: float) -> None:
    z = torch.randn(100, 6).to(dtype)
    assert collapsed_dimensions(z).tolist() == []
    z[:, 4] = constant
    assert collapsed_dimensions(z).tolist() == [4]


def test_noise_below_the_share_is_no_variation() -> None:
    z = torch.randn(100, 6)
    z[:, 1] *= 1e-4
    z[:, 3] = 5 + 0.5 * z[:, 3]
    assert collapsed_dimensions(z).tolist() == [1]
    assert collapsed_dimensions(z, share=0.0).tolist() == []
    assert collapsed_dimensions(z, share=0.9).tolist() == [1, 3]


def test_more_than_half_may_be_constant() -> None:
    z = torch.full((50, 8), 0.1)
    z[:, [2, 3, 5]] = torch.randn(50, 3)
    assert collapsed_dimensions(z).tolist() == [0, 1, 4, 6, 7]
    z[:, 5] /= 1000  # the share is one of what varies
    assert collapsed_dimensions(z).tolist() == [0, 1, 4, 5, 6, 7]
    assert collapsed_dimensions(torch.full((50, 3), 0.1)).tolist() == [0, 1, 2]


def test_a_large_offset_does_not_hide_variation() -> None:
    z = torch.randn(100, 4) + 1e4
    z[:, 2] = 1e4
    assert collapsed_dimensions(z).tolist() == [2]


def test_failing_positives_are_sorted_from_the_worst() -> None:
    rank = torch.tensor([0.2, math.nan, 0.05, 0.9, 0.0])
    assert failing_positives(rank).tolist() == [3, 0]
    assert failing_positives(rank, level=0.5).tolist() == [3]
    assert failing_positives(torch.full((4,), math.nan)).tolist() == []


def test_hubs_are_sorted_from_the_heaviest() -> None:
    assert hubs(torch.tensor([1.0, 3.0, 3.1, 9.0])).tolist() == [3, 2]
    assert hubs(torch.ones(5)).tolist() == []
    noise = 1 + 0.1 * torch.randn(2000, generator=torch.Generator().manual_seed(0)).clamp(-3.5, 3.5)
    assert hubs(noise).tolist() == []
    noise[[40, 7]] = torch.tensor([1.6, 1.8])
    assert hubs(noise).tolist() == [7, 40]
    # Hubs that are many do not hide each other.
    noise[:200] = 5.0
    assert set(hubs(noise).tolist()) == set(range(200))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collapsed_dimensions(torch.ones(3, 2), share=1.0), r"share must be in \[0, 1\), got 1.0"),
        (lambda: collapsed_dimensions(torch.full((3, 2), math.inf)), "z holds inf"),
        (lambda: spectrum(torch.ones(0, 2)), "z is empty"),
        (lambda: failing_positives(torch.ones(3), level=0.0), r"level must be in \(0, 1\), got 0.0"),
        (lambda: hubs(torch.ones(0)), r"mass must be a vector \(n,\), got \(0,\)"),
    ],
)
def test_refusals_of_figures(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()


def test_a_mean_that_single_precision_does_not_hold() -> None:
    z = 2.0**20 + torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    wanted = torch.linalg.svdvals(z.double() - z.double().mean(0)) / len(z) ** 0.5
    torch.testing.assert_close(spectrum(z), wanted.float(), rtol=1e-6, atol=0)


def test_the_rounding_of_a_constant_is_no_variation() -> None:
    """Three constants that are off by one unit in the last place are dead, and no yardstick for the living."""
    z = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    z[:, :3] = 0.3
    z[::2, :3] = torch.nextafter(torch.tensor(0.3), torch.tensor(1.0))
    assert collapsed_dimensions(z).tolist() == [0, 1, 2]


def test_hubs_of_many_rows_lie_farther_out() -> None:
    """Of 300,000 normal masses some lie twice as far out as the 99 % quantile by chance."""
    mass = 1 + 0.1 * torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    mass[5] = 1 + 0.1 * 5.2
    assert mass.double().quantile(0.99) * 2 - mass.double().median() < mass[5]
    assert hubs(mass).tolist() == []
    assert hubs(mass[:2000]).tolist() == [5]
