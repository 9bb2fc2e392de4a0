"""Who pushes whom, in one batch and over many."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch

from couplings import HCLOT, RINCE, Alignment, BalancedAlphaCL, InfoNCE, InvalidInput
from couplings.diagnostics import effective_negatives, pushes, repulsion, survey
from couplings.losses import LOSSES
from helpers import F64


def _views(n: int = 9, d: int = 5, count: int = 2) -> list[torch.Tensor]:
    return [torch.randn(n, d, dtype=F64) for _ in range(count)]


def _folded(weights: torch.Tensor, n: int) -> torch.Tensor:
    """R_ij by loops over the views."""
    count = len(weights) // n
    found = torch.zeros(n, n, dtype=weights.dtype)
    for a in range(count):
        for b in range(count):
            found += weights[a * n : (a + 1) * n, b * n : (b + 1) * n].clamp(min=0)
    return found.fill_diagonal_(0)


@pytest.mark.parametrize("name", LOSSES)
def test_repulsion_is_what_the_pair_weights_repel(name: str) -> None:
    loss, views = LOSSES[name](), _views()
    found = repulsion(loss, *views)
    torch.testing.assert_close(found, _folded(loss.pair_weights(*views), 9))
    assert bool(found.sum() > 0) == loss.repels


@pytest.mark.parametrize("count", [1, 3])
def test_other_numbers_of_views(count: int) -> None:
    views = _views(count=count)
    shown = views * 2 if count == 1 else views
    torch.testing.assert_close(repulsion(InfoNCE(0.3), *views), _folded(InfoNCE(0.3).pair_weights(*shown), 9))


def test_rows_of_one_id_never_repel() -> None:
    ids = torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5])
    found = repulsion(InfoNCE(0.3), *_views(), ids=ids)
    assert ((found == 0) == (ids[:, None] == ids)).all()


def test_who_wears_the_repulsion_learns_nothing_by_it() -> None:
    views = [view.requires_grad_() for view in _views()]
    assert not repulsion(InfoNCE(0.3), *views).requires_grad


def test_effective_negatives() -> None:
    one, some, none = [0.0, 2.0, 0.0, 0.0], [1.0, 0.0, 1.0, 2.0], [0.0] * 4
    found = effective_negatives(torch.tensor([one, some, none], dtype=F64))
    torch.testing.assert_close(found, torch.tensor([1.0, 2**1.5, 0.0], dtype=F64))
    uniform = effective_negatives(repulsion(InfoNCE(1e6), *_views()))
    torch.testing.assert_close(uniform, torch.full((9,), 8.0, dtype=F64), atol=1e-3, rtol=0)


class _Counted:
    """Notes the batches that a loss is shown."""

    def __init__(self, patch: pytest.MonkeyPatch, z: torch.Tensor) -> None:
        self.batches: list[list[int]] = []
        place = {tuple(row.tolist()): number for number, row in enumerate(z)}

        def noted(loss: Any, *views: torch.Tensor, **sides: Any) -> torch.Tensor:
            self.batches.append([place[tuple(row.tolist())] for row in views[0]])
            return repulsion(loss, *views, **sides)

        # The package has a function of the name of this module.
        patch.setattr(sys.modules["couplings.diagnostics.survey"], "repulsion", noted)


@pytest.mark.parametrize(("n", "batch_size", "rounds"), [(50, 16, 3), (4, 3, 2), (7, 3, 1), (2, 256, 2)])
def test_every_row_is_in_as_many_batches(monkeypatch: pytest.MonkeyPatch, n: int, batch_size: int, rounds: int) -> None:
    z = torch.randn(n, 4)
    counted = _Counted(monkeypatch, z)
    found = survey(InfoNCE(), z, batch_size=batch_size, rounds=rounds)
    sizes = [len(batch) for batch in counted.batches]
    assert torch.bincount(torch.tensor([*chain(*counted.batches)])).tolist() == [rounds] * n
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert found.batch_size == pytest.approx(sum(sizes) / len(sizes))


def test_one_batch_of_all_rows() -> None:
    z, other = _views()
    found, pushed = survey(InfoNCE(0.3), z, other, batch_size=9, rounds=1), repulsion(InfoNCE(0.3), z, other)
    torch.testing.assert_close(found.mass, pushed.sum(0) / pushed.sum(0).mean())
    torch.testing.assert_close(found.effective_negatives, effective_negatives(pushed))


def test_the_mass_is_one_on_average_and_for_all_under_a_balanced_plan() -> None:
    z = torch.randn(200, 4, dtype=F64) + torch.tensor([1.0, 0, 0, 0], dtype=F64)
    spread = {}
    for loss in (InfoNCE(0.1), HCLOT(), BalancedAlphaCL()):
        mass = survey(loss, z, batch_size=50).mass
        assert mass.mean().item() == pytest.approx(1)
        spread[type(loss)] = mass.std().item()
    assert spread[BalancedAlphaCL] < 0.05
    assert spread[HCLOT] < spread[InfoNCE] / 2


def test_a_hub_is_heavy() -> None:
    z = torch.randn(256, 16) + torch.tensor([2.0] + 15 * [0.0])
    z[77] = torch.nn.functional.normalize(z, dim=1).mean(0)
    mass = survey(InfoNCE(0.1), z, batch_size=64).mass
    assert mass.argmax() == 77
    assert mass[77] > 3


def test_the_rank_of_a_positive() -> None:
    z = torch.eye(6, dtype=F64) + 0.01 * torch.randn(6, 6, dtype=F64)
    positives = z.clone()
    positives[0] = -z[0]
    rank = survey(InfoNCE(), z, positives, batch_size=6, rounds=2).positive_rank
    assert rank[0] == 1
    assert (rank[1:] == 0).all()
    assert survey(InfoNCE(), z, batch_size=6).positive_rank.isnan().all()


def test_a_positive_is_not_recognised_among_its_equals() -> None:
    z = torch.eye(2, dtype=F64).repeat(4, 1)
    rank = survey(InfoNCE(), z, z, batch_size=8, rounds=1).positive_rank
    torch.testing.assert_close(rank, torch.full((8,), 3 / 7, dtype=F64))


def test_random_positives_have_uniform_ranks() -> None:
    rank = survey(InfoNCE(), torch.randn(400, 8), torch.randn(400, 8), batch_size=100).positive_rank
    torch.testing.assert_close(rank.sort().values, torch.linspace(0, 1, 400, dtype=F64), atol=0.1, rtol=0)


def test_a_survey_is_seeded() -> None:
    z = torch.randn(60, 4)
    one, same, other = (survey(InfoNCE(), z, batch_size=16, seed=seed).mass for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_ids_hold_in_a_survey_and_in_pushes() -> None:
    z, ids = torch.randn(12, 4, dtype=F64), torch.arange(12) // 2
    found = survey(InfoNCE(0.2), z, ids=ids, batch_size=12, rounds=1)
    torch.testing.assert_close(
        found.effective_negatives, effective_negatives(repulsion(InfoNCE(0.2), z, ids=ids)).double()
    )
    assert pushes(InfoNCE(0.2), z, torch.tensor([[0, 1], [0, 2]]), ids=ids).tolist()[0] == 0


def test_pushes_come_in_the_order_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that holds all rows pushes each pair as hard as it does alone."""
    z = torch.randn(10, 4, dtype=F64)
    pairs = torch.combinations(torch.arange(10))
    pushed = repulsion(InfoNCE(0.2), z)
    both = (pushed + pushed.T) / 2
    expected = both[pairs[:, 0], pairs[:, 1]] / (both.sum() / 90)
    torch.testing.assert_close(pushes(InfoNCE(0.2), z, pairs, batch_size=200), expected)
    counted = _Counted(monkeypatch, z)
    assert (pushes(InfoNCE(0.2), z, pairs, batch_size=4) > 0).all()
    assert len(counted.batches) == -(-len(pairs) // 2)


@pytest.mark.parametrize(("n", "batch_size"), [(40, 256), (40, 40), (41, 40), (300, 40), (7, 4)])
def test_pushes_fill_their_batches(monkeypatch: pytest.MonkeyPatch, n: int, batch_size: int) -> None:
    z = torch.randn(n, 4)
    counted = _Counted(monkeypatch, z)
    pushes(InfoNCE(), z, torch.tensor([[0, 1], [1, 2], [3, 4], [5, 6], [0, 6]]), batch_size=batch_size)
    assert all(len(batch) == len({*batch}) == min(n, batch_size) for batch in counted.batches)


def test_pushes_are_seeded_and_fill_with_any_row(monkeypatch: pytest.MonkeyPatch) -> None:
    z, pairs = torch.randn(30, 4), torch.tensor([[0, 1]])
    counted = _Counted(monkeypatch, z)
    one, same, other = (pushes(InfoNCE(0.2), z, pairs, batch_size=15, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    for seed in range(20):
        pushes(InfoNCE(0.2), z, pairs, batch_size=15, seed=seed)
    assert {*chain(*counted.batches)} == {*range(30)}


def test_pushes_of_few_rows_and_of_no_pairs() -> None:
    z = torch.randn(2, 3)
    assert pushes(InfoNCE(), z, torch.tensor([[1, 0]])).tolist() == pytest.approx([1])
    assert pushes(InfoNCE(), z, torch.zeros(0, 2, dtype=torch.int64)).tolist() == []
    assert pushes(Alignment(), torch.randn(9, 3), torch.tensor([[0, 1]])).tolist() == [0]


_Z = torch.ones(6, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: repulsion(InfoNCE(), _Z, keys=_Z), "keys: repulsion is between the samples of a batch"),
        (lambda: repulsion(InfoNCE(), _Z, _Z[:3]), "shape"),
        (lambda: survey(InfoNCE(), _Z, batch_size=2), "batch_size must be at least 3, got 2"),
        (lambda: survey(InfoNCE(), _Z, rounds=0), "rounds must be at least 1, got 0"),
        (lambda: survey(InfoNCE(), _Z[:1]), "z: 1 row came; a pair takes two"),
        (lambda: survey(InfoNCE(), _Z, _Z[:5]), r"positives has shape \(5, 3\) but z has \(6, 3\)"),
        (lambda: survey(InfoNCE(), _Z, ids=torch.arange(5)), r"ids must have shape \(6,\)"),
        (lambda: pushes(InfoNCE(), _Z, torch.tensor([[0, 1]]), batch_size=3), "batch_size must be at least 4"),
        (lambda: pushes(InfoNCE(), _Z, torch.tensor([[0, 6]])), "pairs must name rows 0 to 5, got 0 to 6"),
        (lambda: pushes(InfoNCE(), _Z, torch.tensor([[-1, 2]])), "pairs must name rows 0 to 5, got -1 to 2"),
        (lambda: pushes(InfoNCE(), _Z, torch.tensor([[2, 2]])), "pairs must be of different rows"),
        (lambda: pushes(InfoNCE(), _Z, torch.tensor([0, 1])), r"pairs must be integers of shape \(p, 2\)"),
        (lambda: pushes(InfoNCE(), _Z, torch.ones(2, 2)), "pairs must be integers"),
        (lambda: pushes(InfoNCE(), _Z, torch.tensor([[0, 1]]), _Z[:5]), "positives has shape"),
    ],
)
def test_refusals_of_surveys(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()


def test_positives_are_told_from_others_in_a_tight_cluster() -> None:
    """Rows 1e-4 of their norm apart, positives 1e-5: in single precision all cosines are 1."""
    random = torch.Generator().manual_seed(0)
    z = 1 + 1e-4 * torch.randn(60, 16, generator=random)
    rank = survey(InfoNCE(0.2), z, z + 1e-5 * torch.randn(60, 16, generator=random), batch_size=30, rounds=1)
    assert rank.positive_rank.tolist() == [0] * 60


def test_the_push_between_samples_is_the_sum_over_their_views() -> None:
    views = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    loss = HCLOT(0.3)
    weights = loss.pair_weights(*views).clamp_min(0)
    assert not torch.equal(weights, weights.T)
    found = repulsion(loss, *views)
    for i, j in ((i, j) for i in range(5) for j in range(5)):
        pushed = sum(weights[a * 5 + i, b * 5 + j] for a in range(3) for b in range(3))
        torch.testing.assert_close(found[i, j], pushed if i != j else torch.zeros((), dtype=F64))


def test_weights_that_overflow_are_refused() -> None:
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InvalidInput, match=r"the pair weights of RINCE overflow torch\.float32: raise its temperature"):
        repulsion(RINCE(1e-3, shift=0.0), z)


def test_batches_larger_than_any_number_are_all_rows() -> None:
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    assert survey(InfoNCE(0.2), z, batch_size=10**30, rounds=1).batch_size == 8
    assert pushes(InfoNCE(0.2), z, torch.tensor([[0, 1]]), batch_size=10**30).shape == (1,)
