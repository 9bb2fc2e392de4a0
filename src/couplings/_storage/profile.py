"""Logits as a function of one dot product, where rows have unit norm: what makes a tile enough.

On the unit sphere every cost is a function of the cosine alone, and the inner product and the squared distance are
affine in it: h(x) = slope x + level. Then exp(h) is the exponential of the product itself, and no norm is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..costs import Cost, affine
from .functions import Elementwise, Exponentials, Moment
from .pair_sums import PairFunctions

_SAFE = {torch.float32: 80.0, torch.float64: 690.0}
"""Largest exponent range (range of the logits plus log of the sum's length) that a dtype's kernels take."""


@dataclass(frozen=True, eq=False)
class Summand:
    """One term of the logits: scale cost(x)."""

    cost: Cost
    scale: float | Tensor
    constant: bool

    def __call__(self, x: Tensor, scale: float | Tensor) -> Tensor:
        """Its values on a tile of cosines."""
        one = x.new_ones((1, 1))
        value = scale * self.cost.score(x, one, one)
        return value.detach() if self.constant else value


@dataclass(frozen=True, eq=False)
class Profile:
    """h(x) = sum of summands, over cosines x in [-1, 1]."""

    summands: tuple[Summand, ...]
