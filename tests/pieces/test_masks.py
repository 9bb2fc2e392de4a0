"""Masks: what they forbid, how they combine, their blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from couplings import GivenMask, InvalidInput, Mask, SameId


def _ids(*values: int) -> Tensor:
    return torch.tensor(values)


ROWS, COLS = _ids(0, 0, 1, 2), _ids(2, 0, 1)
SAME = SameId(ROWS, COLS)
GIVEN = GivenMask(torch.tensor([[True, False, False]] * 2 + [[False, False, True]] * 2))


def test_same_id_forbids_equal_ids() -> None:
    expected = [[False, True, False], [False, True, False], [False, False, True], [True, False, False]]
    assert SAME.forbidden().tolist() == expected
    assert SAME.shape == (4, 3)


def test_or_forbids_either_and_minus_makes_exceptions() -> None:
    one, other = SAME.forbidden(), GIVEN.forbidden()
    assert torch.equal((SAME | GIVEN).forbidden(), one | other)
    assert torch.equal((SAME - GIVEN).forbidden(), one & ~other)
    assert torch.equal((SAME - GIVEN | GIVEN).forbidden(), one | other)


@pytest.mark.parametrize("mask", [SAME, GIVEN, SAME | GIVEN, SAME - GIVEN, (SAME - GIVEN) | SAME], ids=repr)
def test_a_block_is_the_mask_of_the_sub_matrix(mask: Mask) -> None:
    rows, cols = _ids(3, 0), _ids(2, 1)
    block = mask.block(rows, cols)
    assert block.shape == (2, 2)
    assert torch.equal(block.forbidden(), mask.forbidden()[rows][:, cols])


def test_id_masks_are_those_whose_every_pair_is_forbidden() -> None:
    assert list(SAME.id_masks()) == [SAME]
    assert list((SAME | GIVEN).id_masks()) == [SAME]
    assert list((SAME | SAME).id_masks()) == [SAME, SAME]
    assert list((SAME - GIVEN).id_masks()) == []
    assert list(GIVEN.id_masks()) == []


def test_masks_of_different_shapes_do_not_combine() -> None:
    with pytest.raises(InvalidInput, match=r"masks of shapes \(4, 3\) and \(2, 2\) do not combine"):
        SAME | GivenMask(torch.zeros(2, 2, dtype=torch.bool))


@pytest.mark.parametrize("matrix", [torch.zeros(2, 2), torch.zeros(2, 2).long(), torch.zeros(2, dtype=torch.bool)])
def test_a_given_mask_is_a_boolean_matrix(matrix: Tensor) -> None:
    with pytest.raises(InvalidInput, match=r"mask must be a boolean matrix \(True = forbidden\), got torch"):
        GivenMask(matrix)


@pytest.mark.parametrize("ids", [torch.rand(3), torch.zeros(3, 1).long()])
def test_ids_are_integer_vectors(ids: Tensor) -> None:
    with pytest.raises(InvalidInput, match="cols of SameId must be a vector of integer ids, got torch"):
        SameId(torch.arange(3), ids)
