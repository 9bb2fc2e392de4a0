"""How a matrix is cut: every pair in one tile, every row and column in one range."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from couplings.basics.sizes import slices
from couplings.engine.tiling import Tiling

sizes = st.integers(1, 23)
sides = st.integers(1, 9)


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    """Any rectangle, or the triangle of a square."""
    n, side, triangle = draw(sizes), draw(sides), draw(st.booleans())
    return Tiling(n, n if triangle else draw(sizes), side, triangle)


@given(tilings())
def test_each_pair_is_visited_once(tiling: Tiling) -> None:
    """In a triangle a tile off the diagonal stands for its transpose too."""
    visits = torch.zeros(tiling.n, tiling.m, dtype=torch.long)
    for tile in tiling:
        visits[tile.rows, tile.cols] += 1
        if tiling.triangle and not tile.diagonal:
            visits[tile.cols, tile.rows] += 1
        assert tile.shape == tuple(visits[tile.rows, tile.cols].shape)
        assert min(tile.shape) >= 1
        assert max(tile.shape) <= tiling.side
    assert (visits == 1).all()


@given(tilings())
def test_tiles_are_numbered_and_counted(tiling: Tiling) -> None:
    assert [tile.number for tile in tiling] == list(range(tiling.count))


@given(tilings())
def test_rounds_have_every_tile_and_each_range_once(tiling: Tiling) -> None:
    """As many rounds as the longer side has ranges; in a triangle a range may meet itself."""
    tiles = list(tiling.rounds())
    assert sorted(tile.number for tile in tiles) == list(range(tiling.count))
    several = max(-(-tiling.n // tiling.side), -(-tiling.m // tiling.side))
    for number in range(several):
        firsts = [(t.rows.start // tiling.side, t.cols.start // tiling.side) for t in tiles]
        touched = [
            key
            for t, (i, j) in zip(tiles, firsts, strict=True)
            if (i + j) % several == number
            for key in set(tiling.touched(t))
        ]
        assert len(set(touched)) == len(touched)


@given(tilings())
def test_a_triangle_has_its_diagonal_and_nothing_below(tiling: Tiling) -> None:
    if tiling.triangle:
        assert all(tile.rows.start <= tile.cols.start for tile in tiling)
        assert sum(tile.diagonal for tile in tiling) == -(-tiling.n // tiling.side)


@given(tilings(), st.integers(0, 2**31))
def test_pairs_are_located_in_the_tiles_that_hold_them(tiling: Tiling, seed: int) -> None:
    """Numbered pairs, scattered by `locate` tile by tile, lie where slicing finds them; those below are dropped."""
    chosen = torch.randperm(tiling.n * tiling.m, generator=torch.Generator().manual_seed(seed))
    numbers, where = tiling.locate(chosen // tiling.m, chosen % tiling.m)
    whole = torch.arange(tiling.n * tiling.m).view(tiling.n, tiling.m)
    expected = torch.cat([whole[tile.rows, tile.cols].flatten() for tile in tiling])
    starts = torch.tensor([0, *(tile.shape[0] * tile.shape[1] for tile in tiling)]).cumsum(0)
    found = expected[starts[numbers] + where]
    assert torch.equal(found.sort().values, expected.sort().values)
    kept = torch.isin(chosen, expected)
    assert torch.equal(found, chosen[kept])


@given(st.integers(0, 40), sides)
def test_ranges_are_consecutive(size: int, step: int) -> None:
    parts = list(slices(size, step))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(size))
    assert all(part.stop - part.start == step for part in parts[:-1])


@pytest.mark.parametrize("triangle", [False, True])
def test_a_single_tile(triangle: bool) -> None:
    tiling = Tiling(5, 5, 9, triangle)
    (tile,) = tiling
    assert tile.shape == (5, 5)
    assert tile.diagonal
    assert tiling.count == 1
