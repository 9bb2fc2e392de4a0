"""What a loss takes beside the views: ids, labels, masks, a queue of keys, negatives of one's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings import CACR, GCAINCE, HCL, Infeasible, InfoNCE, InvalidInput, Mask, SameId
from helpers import CASES, F64, gradients, unit_views

repelling = pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.repels])
N, D, QUEUE = 6, 4, 5
TAKE_NEGATIVES = [name for name, case in CASES.items() if case.negatives]
TAKE_KEYS = [name for name, case in CASES.items() if case.keys]
IDS = torch.tensor([4, 4, -2, 0, 7, 7])


def _keys(count: int = QUEUE) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(count, D, dtype=F64), dim=1)


def _same(ids: Tensor, count: int = 2) -> Tensor:
    """Pairs with equal ids that are not of one sample."""
    both, sample = ids.repeat(count), torch.arange(len(ids)).repeat(count)
    return (both[:, None] == both) & (sample[:, None] != sample)


def _positives() -> Tensor:
    return torch.eye(2 * N, dtype=torch.bool).roll(N, 1)


def _masks(name: str, kind: str) -> bool:
    """Whether that side masks (labels attract in SupCon)."""
    return kind != "labels" or not CASES[name]().labels_attract


MASKS = {"ids": IDS, "labels": IDS, "mask": SameId(IDS.repeat(2), IDS.repeat(2)), "matrix": _same(IDS)}


def _side(kind: str) -> dict[str, Any]:
    return {"mask" if kind == "matrix" else kind: MASKS[kind]}


MASKED = [(name, kind) for kind in MASKS for name, case in CASES.items() if case.repels and _masks(name, kind)]


@pytest.mark.parametrize(("name", "kind"), MASKED)
def test_masked_pairs_neither_repel_nor_count(name: str, kind: str) -> None:
    case, views = CASES[name], unit_views()
    weights = case().pair_weights(*views, **_side(kind))
    assert (weights[_same(IDS)] == 0).all()
    assert (weights[_positives()] != 0).all(), "a mask never touches the positives"
    negatives = case.looks_at(N) & ~_same(IDS)
    assert case.sparse or (weights[negatives] != 0).all()
    assert case()(*views, **_side(kind)) != case()(*views)


@repelling
def test_ids_labels_and_masks_say_the_same(name: str) -> None:
    case, views = CASES[name], unit_views()
    values = torch.stack([case()(*views, **_side(kind)) for kind in MASKS if _masks(name, kind)])
    torch.testing.assert_close(values, values[:1].expand_as(values))


@repelling
def test_distinct_ids_and_labels_and_an_empty_mask_change_nothing(name: str) -> None:
    views, distinct, loss = unit_views(), torch.tensor([10, 3, -7, 8, 0, 1]), CASES[name]()
    plain = loss(*views)
    for sides in (
        {"ids": distinct},
        {"labels": distinct},
        {"ids": distinct, "labels": distinct},
        {"ids": distinct.int()},
        {"mask": torch.zeros(2 * N, 2 * N, dtype=torch.bool)},
    ):
        torch.testing.assert_close(loss(*views, **sides), plain)


@repelling
def test_masks_join(name: str) -> None:
    """ids and mask together forbid what either forbids."""
    case, views = CASES[name], unit_views()
    other = torch.tensor([0, 1, 2, 2, 3, 4])
    both = case()(*views, ids=IDS, mask=_same(other))
    joined = case()(*views, mask=_same(IDS) | _same(other))
    torch.testing.assert_close(both, joined)
    assert case.sparse or both != case()(*views, ids=IDS)


def test_a_mask_may_forbid_pairs_of_single_anchors() -> None:
    """Rows are anchors: a mask need not be symmetric."""
    views, mask = unit_views(), torch.zeros(2 * N, 2 * N, dtype=torch.bool)
    mask[0, 3] = True
    weights = InfoNCE().pair_weights(*views, mask=mask)
    assert weights[0, 3] == 0
    assert weights[3, 0] != 0


def test_a_mask_over_a_queue() -> None:
    views, keys, mask = unit_views(), _keys(), torch.zeros(2 * N, 2 * N + QUEUE, dtype=torch.bool)
    mask[:, 2 * N + 1] = True
    without = torch.cat([keys[:1], keys[2:]])
    torch.testing.assert_close(InfoNCE()(*views, keys=keys, mask=mask), InfoNCE()(*views, keys=without))


# Which views negatives come from


@repelling
@pytest.mark.parametrize("count", [2, 3])
def test_where_negatives_come_from(name: str, count: int) -> None:
    case = CASES[name]
    weights, looks = case().pair_weights(*unit_views(count=count)), case.looks_at(N, count)
    sample = torch.arange(N).repeat(count)
    assert (weights[~looks & (sample[:, None] != sample)] == 0).all()
    assert case.sparse or (weights[looks] != 0).all()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("across_views")])
@pytest.mark.parametrize("count", [2, 3])
def test_negatives_of_other_views_only(name: str, count: int) -> None:
    case, view = CASES[name], torch.arange(count).repeat_interleave(N)
    weights = case(across_views=True).pair_weights(*unit_views(count=count))
    within = view[:, None] == view
    assert (weights[within] == 0).all()
    assert case.sparse or (weights[~within] != 0).all()


# A queue


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_a_queue_adds_negatives(name: str) -> None:
    views, keys, case = unit_views(), _keys(), CASES[name]
    weights = case().pair_weights(*views, keys=keys)
    assert tuple(weights.shape) == (2 * N, 2 * N + QUEUE)
    queue = weights[:, 2 * N :]
    assert case.sparse or (queue != 0).all()
    assert queue.sum() > 0
    by_key = gradients(lambda k: case()(*views, keys=k), [keys])[0]
    assert by_key.abs().max() > 1e-4


@pytest.mark.parametrize("name", [name for name in TAKE_KEYS if CASES[name].takes("across_views")])
def test_a_queue_counts_across_views_too(name: str) -> None:
    case = CASES[name]
    weights = case(across_views=True).pair_weights(*unit_views(), keys=_keys())
    assert weights[:, 2 * N :].sum() > 0
    assert (weights[:N, :N] == 0).all()


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_a_key_with_an_anchors_id_does_not_repel_it(name: str) -> None:
    views, ids, case = unit_views(), torch.tensor([0, 1, 2, 3, 4, 5]), CASES[name]
    key_ids = torch.tensor([2, 99, 98, 97, 0])
    weights = case().pair_weights(*views, keys=_keys(), ids=ids, key_ids=key_ids)[:, 2 * N :]
    own = ids.repeat(2)[:, None] == key_ids
    assert (weights[own] == 0).all()
    assert case.sparse or (weights[~own] != 0).all()


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_keys_match_no_id_and_no_label_of_the_batch(name: str) -> None:
    views, keys, loss = unit_views(), _keys(), CASES[name]()
    negative_ids = torch.tensor([-1, -2, -3, -4, -5, -6])
    plain = loss(*views, keys=keys)
    torch.testing.assert_close(loss(*views, keys=keys, ids=negative_ids), plain)
    torch.testing.assert_close(loss(*views, keys=keys, labels=negative_ids), plain)


# Negatives of one's own


@pytest.mark.parametrize("name", TAKE_NEGATIVES)
@pytest.mark.parametrize("count", [2, 3])
def test_negatives_of_ones_own(name: str, count: int) -> None:
    views, negatives = unit_views(count=count), torch.randn(N, 3, D, dtype=F64)
    case = CASES[name]
    loss = case()
    weights = loss.pair_weights(*views, negatives=negatives)
    assert tuple(weights.shape) == (N * count, count - 1 + 3)
    attraction, repulsion = weights[:, : count - 1].sum(1), weights[:, count - 1 :]
    assert (attraction <= 0 if case.sparse else attraction < 0).all()
    assert repulsion.sum() > 0
    moved = gradients(lambda x: loss(*views, negatives=x), [negatives])[0].abs().amax((1, 2))
    assert (moved > 1e-6).sum() >= (N // 2 if case.sparse else N)
    other = negatives.clone()
    other[0] = torch.randn(3, D, dtype=F64)
    assert loss(*views, negatives=other) != loss(*views, negatives=negatives)
    changed = (loss.pair_weights(*views, negatives=other) - weights).abs().sum(1) > 0
    assert not changed.reshape(count, N)[:, 1:].any() or name in BATCHWISE


BATCHWISE = ("AlphaCLPerSample", "AlphaCLLowRank", "AlignmentUniformity", "RINCE")
"""Weights that depend on all anchors at once; RINCE by its shift."""


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


BATCH_FREE = [name for name in TAKE_NEGATIVES if not (CASES[name].across or CASES[name].within or name in BATCHWISE)]


@pytest.mark.parametrize("name", BATCH_FREE)
def test_negatives_equal_to_the_batchs_give_the_batchs_weights(name: str) -> None:
    """In-batch candidates written out one by one, for one view's anchors."""
    views, loss = unit_views(n=4), CASES[name]()
    whole = loss.pair_weights(*views)
    z = torch.cat(views)
    others = torch.stack([z[[j for j in range(8) if j % 4 != i]] for i in range(4)])
    own = loss.pair_weights(*views, negatives=others)
    for i in range(4):
        columns = [i + 4, *(j for j in range(8) if j % 4 != i)]
        torch.testing.assert_close(own[i], whole[i, columns])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.loss.shares_columns])
def test_balanced_plans_refuse_negatives_that_no_two_rows_share(name: str) -> None:
    message = (
        f"{name} balances mass over columns that all anchors share, but negatives= gives each anchor its own: pass "
        "them as keys=, or use a loss with free columns such as InfoNCE"
    )
    with pytest.raises(InvalidInput, match=message):
        CASES[name]()(*unit_views(), negatives=torch.randn(N, 3, D, dtype=F64))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.repels and not case.keys])
def test_balanced_plans_with_a_target_refuse_a_queue(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"no mass on column 12, .* without positives \(keys=\) need GCAUOT"):
        CASES[name]()(*unit_views(), keys=_keys())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.repels])
@pytest.mark.parametrize("side", ["labels", "ids", "keys", "key_ids", "negatives", "mask"])
def test_what_repels_nothing_refuses_sides_that_say_who_repels(name: str, side: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} would ignore {side}=: it repels nothing, so nothing can be masked"):
        CASES[name]()(*unit_views(), **{side: torch.zeros(N)})
    torch.testing.assert_close(CASES[name]()(*unit_views(), **{side: None}), CASES[name]()(*unit_views()))


BALANCED = ("HCLOT", "RelaxedHCLOT", "BalancedAlphaCL", "SinkhornCACR")


@pytest.mark.parametrize("name", sorted({*TAKE_KEYS, *TAKE_NEGATIVES} - {*BALANCED}))
def test_one_sample_is_enough_with_negatives_or_keys(name: str) -> None:
    views, case = [v[:1] for v in unit_views()], CASES[name]
    if case.negatives:
        assert case()(*views, negatives=torch.randn(1, 3, D, dtype=F64)).isfinite()
    if case.keys:
        assert case()(*views, keys=_keys()).isfinite()


@pytest.mark.parametrize("name", BALANCED)
def test_one_sample_is_not_enough_for_a_column_marginal(name: str) -> None:
    """The columns of its own views must carry mass too, and nobody may send it there."""
    with pytest.raises(Infeasible, match=r"use more samples|drop them"):
        CASES[name]()(*(v[:1] for v in unit_views()), keys=_keys())


def test_ordered_view_pairs_need_views_as_candidates() -> None:
    views = [torch.randn(4, 3) for _ in range(2)]
    with pytest.raises(InvalidInput, match="ordered=True needs pairs of views"):
        CACR(ordered=True)(*views, negatives=torch.randn(4, 2, 3))


# Losses that match a target


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("target")])
def test_a_given_plan_is_a_target(name: str) -> None:
    """The target of the positives, handed over as a matrix and as a coupling."""
    views, case = unit_views(), CASES[name]
    target = torch.eye(2 * N, dtype=F64).roll(N, 1)
    torch.testing.assert_close(case()(*views, target=target), case()(*views))
    teacher = GCAINCE(0.1).coupling(*unit_views(seed=1))["plan"]
    soft = case()(*views, target=teacher)
    assert soft.isfinite()
    assert (soft - case()(*views)).abs() > 1e-3
    torch.testing.assert_close(case()(*views, target=teacher.plan()), soft)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("target")])
def test_a_teacher_is_a_constant(name: str) -> None:
    views = [v.requires_grad_() for v in unit_views()]
    teacher = GCAINCE(0.1).coupling(*views)["plan"]
    student = [v.detach() for v in unit_views(seed=1)]
    assert not CASES[name]()(*student, target=teacher).requires_grad


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("target")])
def test_labels_and_domains_as_targets(name: str) -> None:
    from couplings import Domains

    views, labels, case = unit_views(), torch.tensor([0, 0, 1, 1, 2, 2]), CASES[name]
    attracted = case(target="labels").pair_weights(*views, labels=labels)
    same = _same(labels)
    assert (attracted[same] < 0).any()
    assert (case().pair_weights(*views, labels=labels)[same] == 0).all()
    nothing = case(target=Domains(within=0.0, across=0.0))(*views, domains=labels)
    torch.testing.assert_close(nothing, case()(*views))
    pulled = case(target=Domains(within=0.5, across=0.0))(*views, domains=labels)
    assert (pulled - nothing).abs() > 1e-3


def test_all_sides_together() -> None:
    views, sides = unit_views(), {"ids": IDS, "keys": _keys(), "key_ids": torch.arange(QUEUE), "mask": _wide(IDS)}
    for loss in (HCL(), InfoNCE()):
        assert loss(*views, labels=torch.arange(N), **sides).isfinite()


def _wide(ids: Tensor) -> Mask:
    return SameId(ids.repeat(2), torch.cat([ids.repeat(2), torch.full((QUEUE,), 99)]))
