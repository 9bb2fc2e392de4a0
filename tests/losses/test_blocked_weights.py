"""The gradient that tiles and panels give is the one that the pair weights, a matrix, imply: W z + W^T z."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from couplings.basics.sizes import limited
from helpers import CASES, unit_views

EVERYTHING = {"tiled": 0, "dense": 0, "tile": 8, "panel": 200, "budget": 0}


def _implied(weights: Tensor, z: Tensor) -> Tensor:
    """dL/dz on the sphere: what moves z along itself is lost in its normalisation."""
    gradient = weights @ z + weights.T @ z
    return gradient - (gradient * z).sum(1, keepdim=True) * z


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_pair_weights(name: str, count: int) -> None:
    views = [view.requires_grad_() for view in unit_views(n=11, d=5, count=count)]
    loss = CASES[name]()
    with limited(**EVERYTHING):
        gradients = torch.autograd.grad(loss(*views), views)
        weights = loss.pair_weights(*views)
    z = torch.cat([view.detach() for view in views])
    torch.testing.assert_close(torch.cat(gradients), _implied(weights, z), rtol=1e-8, atol=1e-11)
