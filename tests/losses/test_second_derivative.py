"""A second derivative is right or refused, never a number that is something else."""

from __future__ import annotations

import pytest
import torch

from couplings.basics.sizes import limited
from helpers import CASES, differentiated, unit_views

STORAGES = {
    "tiles": {"tiled": 0, "dense": 1 << 40},
    "panels": {"tiled": 0, "dense": 0, "tile": 8, "panel": 200, "budget": 0},
}


def _second(name: str) -> torch.Tensor:
    views = [view.requires_grad_() for view in unit_views(n=7, d=3)]
    first = torch.autograd.grad(CASES[name]()(*views), views, create_graph=True)
    return torch.autograd.grad(first[0].square().sum(), views)[0]


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_refused_or_right(name: str, storage: dict[str, int]) -> None:
    with limited(dense=1 << 40, tiled=1 << 40):
        try:
            expected = _second(name)
        except NotImplementedError:
            expected = None
    with limited(**storage):
        try:
            seen = _second(name)
        except NotImplementedError:
            return
    assert expected is not None
    torch.testing.assert_close(seen, expected, rtol=1e-7, atol=1e-10)


REFUSED = {"SparseGCA"}
"""Sweeps that find roots by Newton's steps."""


@pytest.mark.parametrize("name", CASES)
def test_small_batches_have_second_derivatives(name: str) -> None:
    """One matrix is plain torch, but where sweeps find roots step by step. Plans that are constants stay constants."""
    views = [view.requires_grad_() for view in unit_views(n=4, d=3)]
    value = differentiated(name, CASES[name](), views)
    if name in REFUSED:
        with pytest.raises(NotImplementedError, match="second derivative"):
            torch.autograd.gradgradcheck(value, views)
    else:
        assert torch.autograd.gradgradcheck(value, views)
