"""Batches that no loss can learn from are warned about: once, in words that say what to do."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import couplings
from couplings import CouplingWarning, Loss, SameId
from helpers import CASES, unit_views

REPELLING = [name for name, case in CASES.items() if case.repels]
every_loss = pytest.mark.parametrize("name", CASES)
repelling = pytest.mark.parametrize("name", REPELLING)
LABELS_MASK = [name for name in REPELLING if not CASES[name]().labels_attract]
TWINS = torch.tensor([0, 1, 2, 3, 4, 2])
"""Which samples of `_twins` are one."""
COLLAPSE = r"all 6 samples have the same embedding.*collapsed.*lower the learning rate"
DUPLICATES = r"1 of 6 samples have the embedding of another one.*\(first: samples .* pass ids="


def _said(loss: Loss, *views: Tensor, **sides: Any) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss(*views, **sides)
    return [w for w in caught if issubclass(w.category, CouplingWarning)]


def _twins(count: int = 2, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.cat([v, v[2:3]]).to(dtype) for v in unit_views(n=5, count=count, noise=1.0)]


def _collapsed() -> list[Tensor]:
    return [torch.ones(6, 4), torch.ones(6, 4)]


@every_loss
def test_one_warning_once_when_all_rows_are_equal(name: str) -> None:
    loss = CASES[name]()
    with pytest.warns(CouplingWarning, match=COLLAPSE) as caught:
        value = loss(*_collapsed())
    assert len(caught) == 1
    assert value.isfinite()
    assert not _said(loss, *_collapsed())
    assert len(_said(CASES[name](), *_collapsed())) == 1


@repelling
def test_one_warning_once_when_samples_are_duplicated(name: str) -> None:
    loss = CASES[name]()
    with pytest.warns(CouplingWarning, match=DUPLICATES) as caught:
        loss(*_twins())
    assert len(caught) == 1
    assert not _said(loss, *_twins())
    assert len(_said(CASES[name](), *_twins())) == 1


@every_loss
def test_healthy_batches_are_silent(name: str) -> None:
    for noise in (0.0, 0.2, 3.0):
        assert not _said(CASES[name](), *unit_views(noise=noise))
        assert not _said(CASES[name](), *(v.bfloat16() for v in unit_views(noise=noise)))


def _sides(which: Tensor, count: int = 2) -> dict[str, dict[str, Any]]:
    """The same samples named in each of the ways that there are."""
    rows = which.repeat(count)
    return {
        "ids": {"ids": which},
        "labels": {"labels": which},
        "mask": {"mask": SameId(rows, rows)},
        "matrix": {"mask": rows[:, None] == rows},
    }


EXPLAINED = [(name, kind) for kind in _sides(TWINS) for name in (LABELS_MASK if kind == "labels" else REPELLING)]


@pytest.mark.parametrize(("name", "kind"), EXPLAINED)
def test_what_masks_duplicates_explains_them(name: str, kind: str) -> None:
    assert not _said(CASES[name](), *_twins(), **_sides(TWINS)[kind])
    assert len(_said(CASES[name](), *_twins(), **_sides(torch.arange(6))[kind])) == 1


@pytest.mark.parametrize(("name", "options"), [("SupCon", {}), ("GCAINCE", {"target": "labels"})])
def test_labels_that_attract_explain_duplicates_too(name: str, options: dict[str, Any]) -> None:
    """Twins of one class are positives of each other; twins of two classes still repel."""
    assert not _said(CASES[name](**options), *_twins(), labels=TWINS)
    assert len(_said(CASES[name](**options), *_twins(), labels=torch.arange(6))) == 1


def test_a_mask_that_leaves_twins_in_another_view_does_not_explain_them() -> None:
    """Sample 2 of view 1 no longer meets its twin in view 1, but still does in view 2."""
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[2, 5] = mask[5, 2] = True
    assert len(_said(CASES["InfoNCE"](), *_twins(), mask=mask)) == 1
    mask[2, 11] = mask[5, 8] = True
    assert not _said(CASES["InfoNCE"](), _twins()[0], unit_views()[1].float(), mask=mask)


@pytest.mark.parametrize("name", [name for name in REPELLING if CASES[name].negatives])
def test_with_negatives_of_ones_own_duplicates_do_not_meet(name: str) -> None:
    assert not _said(CASES[name](), *_twins(), negatives=torch.randn(6, 3, 4))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.repels])
def test_what_repels_nothing_pushes_no_twins_apart(name: str) -> None:
    """That they have collapsed it says nevertheless."""
    assert not _said(CASES[name](), *_twins())
    assert len(_said(CASES[name](), *_collapsed())) == 1


@every_loss
def test_views_that_have_collapsed_each_to_a_point_of_its_own(name: str) -> None:
    (warning,) = _said(CASES[name](), torch.ones(6, 4), torch.tensor([1.0, -2.0, 0.5, 3.0]).repeat(6, 1))
    assert "collapsed" in str(warning.message)


@repelling
def test_rows_are_looked_at_as_the_loss_sees_them(name: str) -> None:
    """Rows in one direction with norms of their own are one point to a loss that normalises, and none to another."""
    one_way = [torch.ones(6, 4) * (1 + torch.arange(6.0))[:, None] / 10] * 2
    (warning,) = _said(CASES[name](), *one_way)
    assert "collapsed" in str(warning.message)
    assert not _said(CASES[name](normalize=False), *one_way)
    scaled = [torch.cat([v[:5], 1.5 * v[5:]]) for v in _twins()]
    (warning,) = _said(CASES[name](), *scaled)
    assert re.search("samples (2 and 5|5 and 2) in view 1", str(warning.message))
    assert not _said(CASES[name](normalize=False), *scaled)


@pytest.mark.parametrize(("gap", "equal"), [(0.0, True), (2e-7, True), (1e-5, False), (1e-3, False)])
def test_how_near_twins_are(gap: float, equal: bool) -> None:
    views = _twins(dtype=torch.float64)
    for view in views:
        view[5] += gap * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    assert bool(_said(CASES["InfoNCE"](), *views)) == equal


def test_both_warnings_can_come_from_one_loss() -> None:
    loss = CASES["InfoNCE"]()
    assert len(_said(loss, *_twins())) == 1
    (warning,) = _said(loss, *_collapsed())
    assert "collapsed" in str(warning.message)
    assert not _said(loss, *_twins())


def test_the_warning_names_the_samples() -> None:
    (warning,) = _said(CASES["InfoNCE"](), *_twins())
    assert "samples 2 and 5 in view 1" in str(warning.message)


def test_the_warning_points_at_the_line_that_called_the_loss() -> None:
    (warning,) = _said(CASES["InfoNCE"](), *_twins())
    assert warning.filename == __file__


def test_a_duplicate_in_one_view_only() -> None:
    views = unit_views()
    views[1] = torch.cat([views[1][:5], views[1][:1]])
    (warning,) = _said(CASES["InfoNCE"](), *views)
    assert "in view 2" in str(warning.message)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_duplicates_among_many_rows_of_half_precision(dtype: torch.dtype) -> None:
    for seed in range(20):
        views = [torch.cat([v, v[:1]]).to(dtype) for v in unit_views(n=128, d=16, seed=seed, noise=1.0)]
        assert len(_said(CASES["InfoNCE"](), *views)) == 1


def test_equal_views_are_not_duplicates() -> None:
    view = unit_views()[0]
    assert not _said(CASES["InfoNCE"](), view, view)


def test_switched_off_with_the_other_checks() -> None:
    couplings.set_checks(False)
    try:
        assert not _said(CASES["InfoNCE"](), *_twins())
    finally:
        couplings.set_checks(True)


@every_loss
def test_collapsed_batches_have_finite_gradients(name: str) -> None:
    views = [v.requires_grad_() for v in _collapsed()]
    with pytest.warns(CouplingWarning, match="collapsed"):
        value = CASES[name]()(*views)
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, views))
