"""What a loss takes beside the views: ids, labels, a queue of keys, negatives of one's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from couplings import CACR, GCAINCE, HCL, HCLOT, InfoNCE, InvalidInput, Loss
from helpers import F64, SIX, gradients, unit_views

every_loss = pytest.mark.parametrize("name", SIX)
N, D, QUEUE = 6, 4, 5
TAKE_NEGATIVES = [name for name in SIX if name not in ("GCAINCE", "HCLOT")]
TAKE_KEYS = [name for name in SIX if name != "GCAINCE"]


def _keys(count: int = QUEUE) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(count, D, dtype=F64), dim=1)


def _cross_view(name: str, n: int = N) -> Tensor:
    """Pairs that the loss looks at: CACR draws negatives from other views only."""
    view = torch.arange(2).repeat_interleave(n)
    return (view[:, None] != view) if name == "CACR" else torch.ones(2 * n, 2 * n, dtype=torch.bool)


def _same(ids: Tensor) -> Tensor:
    """Pairs with equal ids that are not a positive pair."""
    both, sample = ids.repeat(2), torch.arange(len(ids)).repeat(2)
    return (both[:, None] == both) & (sample[:, None] != sample)


@every_loss
@pytest.mark.parametrize("kind", ["ids", "labels"])
def test_equal_ids_or_labels_neither_repel_nor_count(name: str, kind: str) -> None:
    ids = torch.tensor([4, 4, -2, 0, 7, 7])
    weights = SIX[name]().pair_weights(*unit_views(), **{kind: ids})
    assert (weights[_same(ids)] == 0).all()
    sample = torch.arange(N).repeat(2)
    negatives = (ids.repeat(2)[:, None] != ids.repeat(2)) & _cross_view(name)
    assert (weights[negatives] != 0).all()
    assert (weights[torch.arange(12), sample + N * (torch.arange(12) < N)] != 0).all()
    assert SIX[name]()(*unit_views(), **{kind: ids}) != SIX[name]()(*unit_views())


@every_loss
def test_a_duplicated_sample_with_its_id_does_not_move_its_twin(name: str) -> None:
    """Without ids the twins repel each other; with them no weight lies between them."""
    views = [torch.cat([v, v[:1]]) for v in unit_views()]
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 0])
    without, with_ids = SIX[name]().pair_weights(*views), SIX[name]().pair_weights(*views, ids=ids)
    across = (0, N + 1 + N)
    assert without[across] > 0
    assert with_ids[across] == 0


@every_loss
def test_distinct_ids_and_labels_change_nothing(name: str) -> None:
    views, distinct = unit_views(), torch.tensor([10, 3, -7, 8, 0, 1])
    plain = SIX[name]()(*views)
    torch.testing.assert_close(SIX[name]()(*views, ids=distinct), plain)
    torch.testing.assert_close(SIX[name]()(*views, labels=distinct), plain)
    torch.testing.assert_close(SIX[name]()(*views, ids=distinct, labels=distinct), plain)
    torch.testing.assert_close(SIX[name]()(*views, ids=distinct.int()), plain)


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_a_queue_adds_negatives(name: str) -> None:
    views, keys = unit_views(), _keys()
    weights = SIX[name]().pair_weights(*views, keys=keys)
    assert tuple(weights.shape) == (2 * N, 2 * N + QUEUE)
    assert (weights[:, 2 * N :] != 0).all()
    assert weights[:, 2 * N :].sum() > 0
    by_key = gradients(lambda k: SIX[name]()(*views, keys=k), [keys])[0]
    assert by_key.abs().max() > 1e-4


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_a_key_with_an_anchors_id_does_not_repel_it(name: str) -> None:
    views, ids = unit_views(), torch.tensor([0, 1, 2, 3, 4, 5])
    key_ids = torch.tensor([2, 99, 98, 97, 0])
    weights = SIX[name]().pair_weights(*views, keys=_keys(), ids=ids, key_ids=key_ids)[:, 2 * N :]
    own = ids.repeat(2)[:, None] == key_ids
    assert (weights[own] == 0).all()
    assert (weights[~own] != 0).all()


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_keys_match_no_id_and_no_label_of_the_batch(name: str) -> None:
    views, keys = unit_views(), _keys()
    negative_ids = torch.tensor([-1, -2, -3, -4, -5, -6])
    plain = SIX[name]()(*views, keys=keys)
    torch.testing.assert_close(SIX[name]()(*views, keys=keys, ids=negative_ids), plain)
    torch.testing.assert_close(SIX[name]()(*views, keys=keys, labels=negative_ids), plain)


@pytest.mark.parametrize("name", TAKE_NEGATIVES)
@pytest.mark.parametrize("count", [2, 3])
def test_negatives_of_ones_own(name: str, count: int) -> None:
    views, negatives = unit_views(count=count), torch.randn(N, 3, D, dtype=F64)
    loss = SIX[name]()
    weights = loss.pair_weights(*views, negatives=negatives)
    assert tuple(weights.shape) == (N * count, count - 1 + 3)
    assert (weights[:, : count - 1] < 0).all()
    assert weights[:, count - 1 :].sum() > 0
    moved = gradients(lambda x: loss(*views, negatives=x), [negatives])[0]
    assert (moved.abs().amax((1, 2)) > 1e-6).all()
    other = negatives.clone()
    other[0] = torch.randn(3, D, dtype=F64)
    changed = (loss.pair_weights(*views, negatives=other) - weights).abs().sum(1) > 0
    assert changed.tolist() == ([True] + [False] * (N - 1)) * count


def test_info_nce_with_negatives_is_a_cross_entropy() -> None:
    (a, b), negatives = unit_views(), torch.nn.functional.normalize(torch.randn(N, 3, D, dtype=F64), dim=2)
    terms = []
    for anchor, positive in ((a, b), (b, a)):
        logits = torch.cat([(anchor * positive).sum(1)[:, None], (negatives @ anchor[:, :, None]).squeeze(2)], dim=1)
        terms.append(torch.nn.functional.cross_entropy(logits / 0.2, torch.zeros(N, dtype=torch.long)))
    torch.testing.assert_close(InfoNCE(0.2)(a, b, negatives=negatives), torch.stack(terms).mean())


def test_info_nce_with_a_queue_is_a_cross_entropy() -> None:
    views, keys = unit_views(), _keys()
    z = torch.cat(views)
    logits = torch.cat([(z @ z.T).fill_diagonal_(-math.inf), z @ keys.T], dim=1) / 0.2
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(2 * N).roll(N))
    torch.testing.assert_close(InfoNCE(0.2)(*views, keys=keys), expected)


def test_negatives_equal_to_the_batchs_give_the_batchs_loss() -> None:
    """In-batch candidates written out one by one, for one view's anchors."""
    views = unit_views(n=4)
    for loss in (InfoNCE(), HCL()):
        whole = loss.pair_weights(*views)
        z = torch.cat(views)
        others = torch.stack([z[[j for j in range(8) if j % 4 != i]] for i in range(4)])
        own = loss.pair_weights(*views, negatives=others)
        for i in range(4):
            columns = [i + 4, *(j for j in range(8) if j % 4 != i)]
            torch.testing.assert_close(own[i], whole[i, columns])


@pytest.mark.parametrize("loss", [GCAINCE(), HCLOT()], ids=["GCAINCE", "HCLOT"])
def test_balanced_plans_refuse_negatives_that_no_two_rows_share(loss: Loss) -> None:
    with pytest.raises(InvalidInput, match=r"negatives=.*no two rows share a column.*pass shared keys"):
        loss(*unit_views(), negatives=torch.randn(N, 3, D, dtype=F64))


def test_gca_ince_refuses_a_queue() -> None:
    with pytest.raises(InvalidInput, match=r"puts mass 0 on column 12 .* \(a queue\) need Free or KL columns"):
        GCAINCE()(*unit_views(), keys=_keys())


@pytest.mark.parametrize("name", TAKE_NEGATIVES)
def test_one_sample_is_enough_with_negatives_or_keys(name: str) -> None:
    views = [v[:1] for v in unit_views()]
    assert SIX[name]()(*views, negatives=torch.randn(1, 3, D, dtype=F64)).isfinite()
    assert SIX[name]()(*views, keys=_keys()).isfinite()


def test_ordered_view_pairs_need_views_as_candidates() -> None:
    views = [torch.randn(4, 3) for _ in range(2)]
    with pytest.raises(InvalidInput, match="ordered=True needs pairs of views"):
        CACR(ordered=True)(*views, negatives=torch.randn(4, 2, 3))
