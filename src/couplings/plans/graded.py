"""Targets of a few levels, named by masks: one class, one domain, everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import torch
from torch import Tensor

from ..pieces.groups import GroupMatrix, level_matrix
from ..pieces.masks import Mask
from .targets import Spread


@dataclass(frozen=True, eq=False)
class Graded(Spread):
    """The target whose pairs weigh as the last level that names them, else `rest`; none `nowhere`; rows of mass 1/n.

    A matrix while that is small. Beyond, masks that are made of ids are summed group by group in O(n d) a level,
    others panel by panel. A row without a pair of positive weight has no mass.

    Attributes:
        levels: masks that name pairs, and their weights.
        rest: weight of all other pairs.
        nowhere: pairs of weight zero.
        like: an (empty) tensor of the dtype and device of the masses.
    """

    levels: tuple[tuple[Mask, float], ...]
    rest: float
    nowhere: Mask
    like: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.nowhere.shape

    @property
    def _device(self) -> torch.device:
        return self.like.device

    def _panel(self, rows: slice) -> Tensor:
        whole = rows == slice(0, self.shape[0])

        def named(mask: Mask) -> Tensor:
            return (mask if whole else mask.block(rows, slice(None))).forbidden()

        nowhere = named(self.nowhere)
        weights = self.like.new_full(nowhere.shape, self.rest)
        for mask, weight in self.levels:
            weights.masked_fill_(named(mask), weight)
        weights.masked_fill_(nowhere, 0.0)
        return weights.mul_(self._per_weight(weights.sum(1, keepdim=True)))

    def _per_weight(self, weight: Tensor) -> Tensor:
        """What scales a row of that weight to mass 1/n; zero where there is none."""
        return torch.where(weight > 0, 1 / (self.shape[0] * weight), 0.0)

    @cached_property
    def filled(self) -> Tensor:
        """Rows that have mass, (n,)."""
        return self.times(self.like.new_ones(self.shape[1])) > 0

    def _by_ids(self, fn: Callable[[float], float]) -> GroupMatrix | None:
        """fn of the weights as a sum over groups, if it is worth it and the masks are made of ids."""
        if not self._large or self._device.type != "cpu":  # groups are counted, which an accelerator would wait for
            return None
        levels = [*((mask, fn(weight)) for mask, weight in self.levels), (self.nowhere, fn(0.0))]
        return level_matrix(levels, fn(self.rest), GroupMatrix.ones(self.shape, self._device))

    @cached_property
    def _weights(self) -> GroupMatrix | None:
        return self._by_ids(lambda weight: weight)

    @cached_property
    def _scale(self) -> Tensor:
        """Mass of each row over its weight, where weights are sums over groups, (n,)."""
        assert self._weights is not None
        weight = self._weights.times(self.like.new_ones(self.shape[1], dtype=torch.float64))
        return self._per_weight(weight)

    def column_marginal(self, m: int) -> Tensor:
        """Column sums."""
        return self._column_mass

    @cached_property
    def _column_mass(self) -> Tensor:
        return self.transposed_times(self.like.new_ones(self.shape[0], dtype=torch.float64))

    def row_mass(self, like: Tensor) -> Tensor:
        """1/n each."""
        return like.new_full((self.shape[0],), 1 / self.shape[0])

    def times(self, x: Tensor) -> Tensor:
        """T x for x of shape (m, ...)."""
        if self._weights is None:
            return super().times(x)
        return _per_row(self._scale, x) * self._weights.times(x)

    def transposed_times(self, y: Tensor) -> Tensor:
        """T^T y for y of shape (n, ...)."""
        if self._weights is None:
            return super().transposed_times(y)
        return self._weights.transposed_times(_per_row(self._scale, y) * y)

    def entropy(self) -> Tensor:
        """-sum T log T, from how often each weight occurs in a row."""
        terms = self._by_ids(lambda weight: weight * math.log(weight) if weight else 0.0)
        if terms is None:
            return super().entropy()
        scale, log_weights = self._scale, terms.times(self._scale.new_ones(self.shape[1]))
        return -torch.log(scale).mean() - (scale * log_weights).sum()


@dataclass(frozen=True, eq=False)
class Mixed(Spread):
    """Several targets, each with a share of every row's mass: T_ij = sum_k share_ik T^k_ij, rows of mass 1/n.

    Attributes:
        parts: targets of one shape, with rows of mass 1/n, or 0 where their share is.
        shares: of each part, (n,); their sum is one.
    """

    parts: tuple[Graded, ...]
    shares: tuple[Tensor, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.parts[0].shape

    @property
    def _device(self) -> torch.device:
        return self.parts[0].like.device

    def _panel(self, rows: slice) -> Tensor:
        total = self.parts[0].like.new_zeros(len(self.shares[0][rows]), self.shape[1])
        for part, share in self._pairs():
            total.addcmul_(share[rows, None], part.mass(rows))
        return total

    def _pairs(self) -> Iterator[tuple[Graded, Tensor]]:
        return zip(self.parts, self.shares, strict=True)

    def column_marginal(self, m: int) -> Tensor:
        """Column sums."""
        return self._column_mass

    @cached_property
    def _column_mass(self) -> Tensor:
        return self.transposed_times(self.shares[0].new_ones(self.shape[0], dtype=torch.float64))

    def row_mass(self, like: Tensor) -> Tensor:
        """1/n each."""
        return like.new_full((self.shape[0],), 1 / self.shape[0])

    def times(self, x: Tensor) -> Tensor:
        """T x for x of shape (m, ...)."""
        return reduce(add, (_per_row(share, x) * part.times(x) for part, share in self._pairs()))

    def transposed_times(self, y: Tensor) -> Tensor:
        """T^T y for y of shape (n, ...)."""
        return reduce(add, (part.transposed_times(_per_row(share, y) * y) for part, share in self._pairs()))


def _per_row(vector: Tensor, like: Tensor) -> Tensor:
    return vector.to(like).reshape(-1, *(1,) * (like.dim() - 1))
