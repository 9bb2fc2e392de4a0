"""The seam between what is computed and how it is stored: grams and sides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from couplings.engine.grams import GivenDots, Gram, OwnKeys, SharedKeys
from couplings.engine.sides import COLS, ROWS, Side, spread
from helpers import F64


def _grams() -> dict[str, Gram]:
    q, k = torch.randn(4, 3, dtype=F64, requires_grad=True), torch.randn(5, 3, dtype=F64)
    shared = SharedKeys(q, k)
    dots = (q @ k.T).detach().requires_grad_()
    return {
        "shared": shared,
        "own": OwnKeys(q, k.expand(4, 5, 3)),
        "given": GivenDots(dots, *(v.detach() for v in shared.norms)),
    }


every_gram = pytest.mark.parametrize("name", ["shared", "own", "given"])


def _full(gram: Gram) -> tuple[Tensor, Tensor, Tensor]:
    q_sq, k_sq = gram.norms
    return gram.dots, q_sq.expand(gram.shape), k_sq.expand(gram.shape)


def _same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


@every_gram
def test_all_grams_agree(name: str) -> None:
    grams = _grams()
    _same(_full(grams[name]), _full(grams["shared"]))


@every_gram
def test_pairs_blocks_and_gathers_are_parts_of_the_whole(name: str) -> None:
    gram = _grams()[name]
    rows, cols = torch.tensor([3, 0, 1]), torch.tensor([4, 2])
    whole = _full(gram)
    _same((gram.dots_at(rows, rows), *gram.norms_at(rows, rows)), tuple(x[rows, rows] for x in whole))
    _same(_full(gram.block(rows, cols)), tuple(x[rows][:, cols] for x in whole))
    chosen = torch.tensor([[0, 1], [4, 4], [2, 3], [1, 0]])
    gathered = gram.gather(chosen)
    _same(_full(gathered), tuple(x.gather(1, chosen) for x in whole))
    assert gathered.own_columns
    assert gram.block(rows, cols).own_columns == gram.own_columns == (name == "own")


@every_gram
def test_detached_grams_are_constants(name: str) -> None:
    gram = _grams()[name]
    assert gram.dots.requires_grad
    assert not any(x.requires_grad for x in _full(gram.detach()))
    _same(_full(gram.detach()), _full(gram))


def test_a_given_matrix_has_unit_norms_unless_given() -> None:
    ones = torch.ones(2, 3)
    _same(_full(GivenDots(torch.zeros(2, 3)))[1:], (ones, ones))


def test_the_sides_of_a_matrix() -> None:
    f, g = torch.randn(3, dtype=F64), torch.randn(4, dtype=F64)
    torch.testing.assert_close(spread(f, ROWS) + spread(g, COLS), f[:, None] + g)
    uniform, given = Side(4, g, True), Side(4, g, True, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64))
    index = torch.tensor([[2, 0]])
    for side in (uniform, given):
        torch.testing.assert_close(side.log_weights, side.weights.log())
        torch.testing.assert_close(torch.as_tensor(side.log_at(index)).expand(1, 2).double(), side.log_weights[index])
        torch.testing.assert_close(side.part(slice(1, 3)).weights, side.weights[1:3])
