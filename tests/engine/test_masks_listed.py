"""Masks without their matrix: pairs, lookups, counts, blocks, symmetry and tiles say what `forbidden()` says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from couplings import GivenMask, Guide, Mask, SameId
from couplings.basics.sizes import limited
from couplings.engine.feasibility import Weightless
from couplings.engine.forbidden import Compared, Listed, Nothing, forbidden
from couplings.engine.tiling import Tiling
from couplings.pieces import masks
from couplings.pieces.masks import Mutual
from helpers import unit_views

N, M = 12, 15
"""Rows and columns: two views of six samples, three keys more in a queue."""
Rng = torch.Generator


def _ids(size: int, kinds: int, rng: Rng) -> Tensor:
    return torch.randint(kinds, (size,), generator=rng)


def _square(rng: Rng) -> dict[str, Mask]:
    ids, sample = _ids(N, 4, rng), torch.arange(N // 2).repeat(2)
    matrix = torch.rand(N, N, generator=rng) < 0.3
    views = unit_views(n=N // 2)
    return {
        "none": SameId(torch.arange(N), torch.arange(N) + N),
        "all": SameId(torch.zeros(N).long(), torch.zeros(N).long()),
        "itself": SameId(torch.arange(N), torch.arange(N)),
        "sample": SameId(sample, sample),
        "labels": SameId(ids, ids.clone()),
        "shifted": SameId(torch.arange(N), torch.arange(N).roll(N // 2)),
        "cycle": SameId(torch.arange(N), torch.arange(N).roll(1)),
        "negative ids": SameId(ids - 2, ids - 2),
        "given": GivenMask(matrix),
        "given symmetric": GivenMask(matrix | matrix.T),
        "guide": Guide(*views, margin=0.3),
        "weightless": Weightless(_ids(N, 3, rng) == 0, _ids(N, 4, rng) == 0),
    }


def _wide(rng: Rng) -> dict[str, Mask]:
    rows = _ids(N, 5, rng)
    views, keys = unit_views(n=N // 2), unit_views(n=M - N, seed=4)[0]
    return {
        "ids": SameId(rows, torch.cat([rows, _ids(M - N, 5, rng)])),
        "ids that no row has": SameId(rows, torch.cat([rows, torch.full((M - N,), -1)])),
        "given": GivenMask(torch.rand(N, M, generator=rng) < 0.3),
        "guide": Guide(*views, margin=0.2, keys=keys),
        "weightless": Weightless(_ids(N, 3, rng) == 0, _ids(M, 4, rng) == 0),
    }


def _combined(kinds: dict[str, Mask]) -> dict[str, Mask]:
    """Every mask, its complement, and two and three of them."""
    made = dict(kinds) | {f"~{name}": ~mask for name, mask in kinds.items()}
    for one, first in kinds.items():
        for other, second in kinds.items():
            made[f"{one} | {other}"] = first | second
            made[f"{one} - {other}"] = first - second
            made[f"{one} - ~{other}"] = first - ~second
            made[f"({one} - {other}) | {other}"] = (first - second) | second
    return made


def _all() -> dict[str, Mask]:
    wide = _combined(_wide(Rng().manual_seed(1)))
    return _combined(_square(Rng().manual_seed(0))) | {f"wide {name}": mask for name, mask in wide.items()}


ALL = _all()
SQUARE = {name: mask for name, mask in ALL.items() if not name.startswith("wide")}


def _by_kind(check: Callable[[Mask], None], kinds: dict[str, Mask]) -> None:
    """Some hundred combinations in one test, which names the one that fails."""
    for name, mask in kinds.items():
        try:
            check(mask)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_combinations_are_those_of_their_matrices() -> None:
    kinds = _square(Rng().manual_seed(0))
    for one, first in kinds.items():
        assert torch.equal(SQUARE[f"~{one}"].forbidden(), ~first.forbidden())
        for other, second in kinds.items():
            a, b = first.forbidden(), second.forbidden()
            assert torch.equal(SQUARE[f"{one} | {other}"].forbidden(), a | b)
            assert torch.equal(SQUARE[f"{one} - {other}"].forbidden(), a & ~b)
            assert torch.equal(SQUARE[f"{one} - ~{other}"].forbidden(), a & b)
            assert torch.equal(SQUARE[f"({one} - {other}) | {other}"].forbidden(), a | b)


def _lists_each_pair_once(mask: Mask) -> None:
    n, m = mask.shape
    whole = mask.forbidden()
    listed = mask.pairs(n * m)
    if listed is None:
        return
    rows, cols = listed
    assert len(torch.unique(rows * m + cols)) == len(rows) == int(whole.sum())
    assert whole[rows, cols].all()
    assert mask.pairs(len(rows)) is None or len(mask.pairs(len(rows))[0]) == len(rows)  # type: ignore[index]


def test_pairs_are_the_forbidden_ones_once() -> None:
    _by_kind(_lists_each_pair_once, ALL)


@pytest.mark.parametrize("name", ["sample", "labels | sample", "sample - itself", "(labels - sample) | sample"])
def test_id_masks_are_listed_and_a_limit_holds(name: str) -> None:
    mask = SQUARE[name]
    count = int(mask.forbidden().sum())
    assert count > 0
    assert mask.pairs(N * N) is not None
    assert mask.pairs(0) is None


def _looks_pairs_up(mask: Mask) -> None:
    n, m = mask.shape
    i, j = torch.arange(n)[:, None], torch.arange(m)
    assert torch.equal(mask.at(i, j.expand(n, m)), mask.forbidden())
    i, j = torch.arange(n).flip(0)[:, None], (torch.arange(n)[:, None] + torch.arange(3)) % m  # as losses ask
    assert torch.equal(mask.at(i, j), mask.forbidden()[i, j])


def test_pairs_looked_up_one_by_one() -> None:
    _by_kind(_looks_pairs_up, ALL)


def _counts_rows(mask: Mask) -> None:
    assert torch.equal(mask.row_counts(), mask.forbidden().sum(1))


def test_counts_of_rows() -> None:
    _by_kind(_counts_rows, ALL)


def test_counts_of_rows_by_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "_LISTED", 0)
    fresh = _all()  # which have not been listed before
    assert fresh["sample"].listed is None
    with limited(panel=3 * N):
        _by_kind(_counts_rows, fresh)


def _block(mask: Mask) -> None:
    n, m = mask.shape
    rows, cols = torch.tensor([7, 0, 3, 11]), torch.tensor([m - 1, 5, 2])
    for part in [(rows, cols), (slice(2, 9), slice(0, 4)), (slice(0, n), cols), (rows, slice(None))]:
        block = mask.block(*part)
        whole = mask.forbidden()[part[0]][:, part[1]]
        assert block.shape == tuple(whole.shape)
        assert torch.equal(block.forbidden(), whole)
        _looks_pairs_up_in(block)
        _lists_each_pair_once(block)
        _counts_rows(block)


def _looks_pairs_up_in(block: Mask) -> None:
    i, j = torch.ones(block.shape).nonzero().T
    assert torch.equal(block.at(i, j), block.forbidden()[i, j])


def test_blocks_by_index_and_range_are_masks_of_the_sub_matrix() -> None:
    _by_kind(_block, ALL)


def _symmetry(mask: Mask) -> None:
    whole = mask.forbidden()
    square = whole.shape[0] == whole.shape[1]
    truly = square and torch.equal(whole, whole.T)
    assert not mask.symmetric or truly


def test_symmetric_masks_are_their_transpose() -> None:
    _by_kind(_symmetry, ALL)


def test_what_losses_build_is_known_to_be_symmetric() -> None:
    names = [
        "itself",
        "sample",
        "labels",
        "sample | labels",
        "sample - itself",
        "~sample",
        "(sample - labels) | labels",
    ]
    assert all(SQUARE[name].symmetric for name in names)
    assert not SQUARE["shifted"].symmetric
    assert not SQUARE["cycle"].symmetric
    pairing = SQUARE["shifted"]
    assert isinstance(pairing, SameId)
    mutual = Mutual(pairing.rows, pairing.cols)  # of two views, as a batch makes it
    assert mutual.symmetric
    assert torch.equal(mutual.forbidden(), mutual.forbidden().T)


def test_transposes_are_told_only_where_they_are() -> None:
    ids = {name: mask for name, mask in SQUARE.items() if not any(word in name for word in ("g", "w", "~", "("))}
    mirrored = [mask.block(torch.arange(N).roll(3), torch.arange(N).roll(3)) for mask in ids.values()]
    pairs = [(a, b) for a in (*ids.values(), *mirrored) for b in ids.values() if a.is_transpose_of(b)]
    assert len(pairs) >= 30
    assert all(torch.equal(a.forbidden(), b.forbidden().T) for a, b in pairs)


@pytest.mark.parametrize("name", ["sample", "labels | sample", "sample - labels"])
def test_blocks_of_opposite_views_are_transposes(name: str) -> None:
    first, second = slice(0, N // 2), slice(N // 2, N)
    there, back = SQUARE[name].block(first, second), SQUARE[name].block(second, first)
    assert there.is_transpose_of(back)
    assert back.is_transpose_of(there)
    assert torch.equal(there.forbidden(), back.forbidden().T)


def test_a_cycle_is_the_transpose_of_the_opposite_one_alone() -> None:
    ahead, behind = SQUARE["cycle"], SameId(torch.arange(N).roll(1), torch.arange(N))
    assert ahead.is_transpose_of(behind)
    assert not ahead.is_transpose_of(ahead)


def _zeroed(mask: Mask, tiling: Tiling) -> Tensor:
    made, tiles = torch.ones(tiling.n, tiling.m), forbidden(mask, tiling)
    for tile in tiling:
        values = torch.ones(tile.shape)
        tiles.zero_(values, tile)
        made[tile.rows, tile.cols] = values
        if tiling.triangle:
            made[tile.cols, tile.rows] = values.T
    return made


@pytest.mark.parametrize("side", [2, 3, 5, 6, 9, 16])
def test_tiles_lose_what_is_forbidden(side: int) -> None:
    def check(mask: Mask) -> None:
        expected = (~mask.forbidden()).float()
        assert torch.equal(_zeroed(mask, Tiling(*mask.shape, side)), expected)
        if mask.symmetric:
            assert torch.equal(_zeroed(mask, Tiling(*mask.shape, side, triangle=True)), expected)

    _by_kind(check, dict(list(ALL.items())[side % 5 :: 5]))


def test_few_pairs_are_listed_and_many_compared() -> None:
    many = torch.arange(N * 40) % 2
    tiling = Tiling(len(many), len(many), 100)
    assert isinstance(forbidden(SQUARE["sample"], Tiling(N, N, 5)), Listed)
    assert isinstance(forbidden(SameId(many, many), tiling), Compared)
    assert isinstance(forbidden(SQUARE["guide"], Tiling(N, N, 5)), Compared)
    assert isinstance(forbidden(None, tiling), Nothing)
