"""Exact and near duplicates, and that there are none where nothing was copied."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch

from couplings import InvalidInput
from couplings.diagnostics import duplicates, nearest
from couplings.diagnostics.duplicates import _chance
from helpers import F64


def _pairs(z: torch.Tensor) -> set[tuple[int, ...]]:
    found = duplicates(z)
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    assert found.score.tolist() == sorted(found.score.tolist(), reverse=True)
    assert ((found.score > 0) & (found.score <= 300)).all()
    pairs = set(map(tuple, found.pairs.tolist()))
    assert len(pairs) == len(found.pairs)
    return pairs


@pytest.mark.parametrize("d", [2, 8, 64])
def test_no_duplicates_in_random_rows(d: int) -> None:
    found = [len(duplicates(torch.randn(600, d, dtype=F64)).pairs) for _ in range(10)]
    assert sum(count > 0 for count in found) <= 2


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 40])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64])
def test_a_copy_is_found_among_any_number_of_rows(n: int, dtype: torch.dtype) -> None:
    z = torch.randn(n, 6).to(dtype)
    assert _pairs(z) == set()
    z[1] = z[0]
    assert _pairs(z) == {(0, 1)}


@pytest.mark.parametrize("copies", [3, 9, 16, 17, 40])
@pytest.mark.parametrize("d", [8, 64])
def test_all_pairs_of_a_group_and_no_other(copies: int, d: int) -> None:
    z = torch.randn(300, d)
    rows = torch.randperm(300)[:copies].sort().values
    z[rows] = z[rows[0]].clone()
    assert _pairs(z) == set(combinations(rows.tolist(), 2))


def test_a_large_group_does_not_hide_others() -> None:
    z = torch.randn(300, 8)
    z[:40] = z[0]
    z[200], z[210] = z[201], z[211] + 1e-4 * torch.randn(8)
    assert _pairs(z) == set(combinations(range(40), 2)) | {(200, 201), (210, 211)}


def test_of_very_many_copies_each_is_paired_with_the_first() -> None:
    assert _pairs(torch.ones(200, 4)) == {(0, row) for row in range(1, 200)}
    assert len(_pairs(torch.ones(64, 4))) == 64 * 63 / 2


def test_directions_are_compared() -> None:
    z = torch.randn(100, 8)
    z[3] = 2.5 * z[7]
    assert _pairs(z) == {(3, 7)}


def test_near_duplicates_score_less_than_exact_ones() -> None:
    z = torch.randn(500, 16)
    z[1], z[3] = z[0], z[2] + 0.01 * torch.randn(16)
    found = duplicates(z)
    assert found.pairs.tolist() == [[0, 1], [2, 3]]
    assert found.score[0] == 300 > found.score[1] > 5
    torch.testing.assert_close(found.similarity[1].item(), torch.cosine_similarity(z[2], z[3], 0).item())


def test_what_is_close_depends_on_the_density() -> None:
    """The same distance is nothing in a dense cluster, and a duplicate among far rows."""
    dense, sparse = 1 + 0.01 * torch.randn(200, 8), torch.randn(200, 8)
    offset = 0.02 * torch.randn(8)
    dense[1], sparse[1] = dense[0] + offset, sparse[0] + offset
    assert _pairs(torch.cat([dense, sparse])) == {(200, 201)}


def test_a_stricter_rate_finds_fewer() -> None:
    z = torch.randn(1000, 8)
    z[970:] = z[:30] + torch.linspace(0.01, 0.3, 30)[:, None] * torch.randn(30, 8)
    few, many = (set(map(tuple, duplicates(z, rate=rate).pairs.tolist())) for rate in (1e-6, 0.2))
    assert few < many


def test_neighbours_that_are_known_are_used() -> None:
    z = torch.randn(60, 4)
    z[1] = z[0]
    found, again = duplicates(z, nearest(z, 16)), duplicates(z)
    torch.testing.assert_close(found, again)
    with pytest.raises(InvalidInput, match="neighbours: of 10 rows came for 60 rows of z"):
        duplicates(z, nearest(z[:10]))


def test_the_chance_is_a_binomial_tail() -> None:
    distance = torch.tensor([[0.2, 0.5, 0.9, 1.0]], dtype=F64)
    dimension, k = 3.0, 4
    for rank in range(1, k):
        x = float(distance[0, rank - 1]) ** dimension
        tail = sum(math.comb(k - 1, m) * x**m * (1 - x) ** (k - 1 - m) for m in range(rank, k))
        found = _chance(distance, torch.tensor([dimension], dtype=F64))[0, rank - 1].item()
        assert found == pytest.approx(math.log(tail))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: duplicates(torch.ones(5, 2), rate=0.0), r"rate must be in \(0, 1\), got 0.0"),
        (lambda: duplicates(torch.ones(5, 2), rate=math.nan), "rate must be in"),
        (lambda: duplicates(torch.ones(1, 2)), "nearest needs at least two rows"),
        (lambda: duplicates(torch.zeros(5, 2)), "z has a zero vector"),
    ],
)
def test_refusals_of_duplicates(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()


@pytest.mark.parametrize("size", [2, 5, 10, 20])
def test_close_companions_are_no_duplicates_and_a_copy_among_them_is(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1000 // size, 64, generator=generator)[torch.arange(1000) // size]
    z = z + 0.6 * torch.randn(1000, 64, generator=generator)
    assert len(duplicates(z).pairs) <= 2
    z[7] = z[900] + 0.01 * torch.randn(64, generator=generator)
    # A group whose edge lies among the farther neighbours hides a near copy, and no exact one.
    assert size == 10 or [7, 900] in duplicates(z).pairs.tolist()
    z[7] = z[900]
    assert [7, 900] in duplicates(z).pairs.tolist()


def test_wrong_pairs_are_counted_among_all_pairs_of_neighbours() -> None:
    """As many pairs are kept as Benjamini and Hochberg's rule keeps of n k / 2 tests, counted by hand."""
    z = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    noise = torch.logspace(-3, -0.1, 30)[:, None]
    z[200:230] = z[:30] + noise * torch.randn(30, 8, generator=torch.Generator().manual_seed(1))
    chances = 10 ** -duplicates(z, rate=0.99).score
    rates = torch.logspace(-6, -0.1, 12).tolist()
    most = [chances <= rate * torch.arange(1, len(chances) + 1) / (400 * 16 / 2) for rate in rates]
    wanted = [int(below.nonzero().max()) + 1 for below in most]
    assert [len(duplicates(z, rate=rate).pairs) for rate in rates] == wanted
    assert wanted[0] < wanted[-1]
