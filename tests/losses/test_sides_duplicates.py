"""Batches that no loss can learn from are warned about: once, in words that say what to do."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import couplings
from couplings import CouplingWarning, Loss
from helpers import CASES, unit_views

every_loss = pytest.mark.parametrize("name", CASES)
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


@every_loss
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


@every_loss
def test_ids_explain_duplicates(name: str) -> None:
    ids = torch.tensor([0, 1, 2, 3, 4, 2])
    assert not _said(CASES[name](), *_twins(), ids=ids)
    assert len(_said(CASES[name](), *_twins(), ids=torch.arange(6))) == 1


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
