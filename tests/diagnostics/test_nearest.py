"""The nearest rows of each row against a full sort."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from couplings import InvalidInput
from couplings.diagnostics import Neighbours, nearest
from couplings.diagnostics import neighbours as module
from couplings.diagnostics.neighbours import nearest_in
from helpers import F64


def _sorted(z: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest cosines with other rows, from the full matrix."""
    unit = torch.nn.functional.normalize(z, dim=1)
    return (unit @ unit.T).fill_diagonal_(-torch.inf).sort(1, descending=True).values[:, :k]


def _check(z: torch.Tensor, k: int, found: Neighbours) -> None:
    unit = torch.nn.functional.normalize(z, dim=1)
    torch.testing.assert_close(found.similarity, _sorted(z, k))
    torch.testing.assert_close((unit[:, None] * unit[found.index]).sum(2), found.similarity)
    assert (found.index != torch.arange(len(z))[:, None]).all()
    assert all(len(set(row)) == len(row) for row in found.index.tolist())


@given(st.integers(2, 40), st.integers(1, 45), st.integers(1, 5), st.booleans())
def test_against_a_full_sort(n: int, k: int, d: int, ties: bool) -> None:
    z = torch.randn(n, d, dtype=F64, generator=torch.Generator().manual_seed(n + k))
    if ties:
        z = z.sign()
    few = min(k, n - 1)
    found = nearest(z, k)
    assert found.index.shape == found.similarity.shape == (n, few)
    _check(z, few, found)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 2), (7, 5), (512, 4), (5, 8192)])
@pytest.mark.parametrize("ties", [False, True])
def test_tiles_of_any_size(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int, ties: bool) -> None:
    monkeypatch.setattr(module, "_ROWS", rows)
    monkeypatch.setattr(module, "_COLUMNS", columns)
    z = torch.randn(23, 3, dtype=F64)
    _check(z.sign() if ties else z, 6, nearest(z.sign() if ties else z, 6))
    assert nearest(z, 50).index.shape == (23, 22)


@pytest.mark.parametrize(("given", "computed"), [(torch.float16, torch.float32), (torch.float32,) * 2, (F64, F64)])
def test_precision(given: torch.dtype, computed: torch.dtype) -> None:
    z = torch.randn(30, 4).to(given)
    found = nearest(z, 3)
    assert found.similarity.dtype == computed
    torch.testing.assert_close(found.similarity, _sorted(z.to(computed), 3))


def _differences(z: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Squared distances of directions (m, n) in double precision, without a product."""
    unit, asked = (torch.nn.functional.normalize(each.double(), dim=1) for each in (z, queries))
    return torch.stack([(unit - one).square().sum(1) for one in asked])


def _tight(noise: float, groups: int, n: int = 600, d: int = 16) -> torch.Tensor:
    """Rows of length 10 around a few directions, in single precision."""
    random = torch.Generator().manual_seed(groups)
    middle = torch.nn.functional.normalize(torch.randn(groups, d, generator=random, dtype=F64), dim=1)
    around = torch.randn(n, d, generator=random, dtype=F64) / d**0.5
    return (10 * (middle[torch.arange(n) % groups] + noise * around)).float()


@pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("groups", [1, 6])
def test_the_nearest_of_a_tight_cluster_is_the_nearest(noise: float, groups: int) -> None:
    """In products of single precision it is one row in ten at 1e-3, and any row at 1e-4."""
    z = _tight(noise, groups)
    wanted = _differences(z, z).fill_diagonal_(torch.inf).sort(1)
    found = nearest(z, 5)
    assert torch.equal(found.index, wanted.indices[:, :5])
    torch.testing.assert_close(found.similarity, (1 - wanted.values[:, :5] / 2).float())
    asked = nearest_in(z[100:], z[:100], 5)
    assert torch.equal(asked.index, _differences(z[100:], z[:100]).sort(1).indices[:, :5])


def test_products_that_were_told_to_be_fast_change_nothing() -> None:
    z = _tight(1e-1, 3)
    wanted = nearest(z, 5).index
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(z, 5).index, wanted)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(nearest(z, 5).index, wanted)
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_row_without_a_direction_is_like_none() -> None:
    found = nearest_in(torch.tensor([[0.0, 0.0], [1.0, -1.0], [-1.0, 1.0]]), torch.tensor([[2.0, -2.0], [0.0, 0.0]]), 3)
    assert found.index[0].tolist() == [1, 0, 2]
    assert found.similarity.tolist() == [[1, 0, -1], [0, 0, 0]]


def test_progress_ends_at_one() -> None:
    told: list[float] = []
    nearest(torch.randn(1200, 3), 2, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 1


def test_pairs_are_listed_once() -> None:
    found = Neighbours(torch.tensor([[1, 2], [0, 2], [1, 3], [2, 0]]), torch.zeros(4, 2))
    assert found.pairs().tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]


def test_the_shortest_row_that_has_a_direction() -> None:
    assert nearest(torch.eye(3, 4) * 1.1e-12, 1).index.shape == (3, 1)
    with pytest.raises(InvalidInput, match=r"row 0 of z has norm 9e-13, too small to have a direction"):
        nearest(torch.eye(3, 4) * 0.9e-12, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest(torch.ones(1, 2)), "nearest needs at least two rows, got 1"),
        (lambda: nearest(torch.ones(3, 2), k=0), "k must be at least 1, got 0"),
        (lambda: nearest(torch.ones(3, 2), k=1.5), "k must be an integer >= 0, got 1.5"),  # type: ignore[arg-type]
        (lambda: nearest(torch.zeros(3, 2)), "z has a zero vector"),
        (lambda: nearest(torch.ones(3)), r"z must have shape \(n, d\)"),
    ],
)
def test_refusals_of_nearest(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()
