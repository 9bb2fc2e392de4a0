"""Matrices that are constant where ids are equal, as sums over groups: O(n d) for a product, no entry is ever made.

The indicator of pairs with equal ids is a grouping of rows and columns; of masks that are combined, a sum of those:

    1[A or B] = 1[A] + 1[B] - 1[A] 1[B],    1[A unless B] = 1[A] - 1[A] 1[B],    1[not A] = 1 - 1[A]

and the product of two groupings is the grouping by both ids. So such a matrix is W = sum_l w_l 1[row and column in the
same group of l], and W x is one sum a group and one look-up a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from ..basics.sizes import slices
from ..basics.transforms import Opaque

_CHUNK = 1024
"""Rows that are summed together in double precision."""


class LinearMap(Protocol):
    """A constant matrix that multiplies from both sides."""

    def times(self, x: Tensor) -> Tensor:
        """W x for x of shape (m, ...)."""
        ...

    def transposed_times(self, y: Tensor) -> Tensor:
        """W^T y for y of shape (n, ...)."""
        ...


def product(matrix: LinearMap, x: Tensor) -> Tensor:
    """W x, differentiable in x; keeps nothing for the gradient."""
    return cast(Tensor, _Product.apply(matrix, x))


class _Product(Opaque):
    @staticmethod
    def forward(ctx: Any, matrix: LinearMap, x: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix.times(x)

    @staticmethod
    def backward(ctx: Any, y: Tensor) -> tuple[None, Tensor]:
        return None, product(_Transposed(ctx.matrix), y)


@dataclass(frozen=True, eq=False)
class _Transposed:
    """Rows and columns exchanged."""

    matrix: LinearMap

    def times(self, x: Tensor) -> Tensor:
        return self.matrix.transposed_times(x)

    def transposed_times(self, y: Tensor) -> Tensor:
        return self.matrix.times(y)


@dataclass(frozen=True, eq=False)
class Groups:
    """A group of each row and each column, numbered by first member: equal groupings have equal numbers."""

    of_rows: Tensor
    of_cols: Tensor
    count: int

    @staticmethod
    def by(ids: Tensor, n: int) -> Groups:
        """Of the ids of n rows and then those of the columns."""
        _, code = torch.unique(ids, return_inverse=True)
        place = torch.arange(len(ids), device=ids.device)
        first = place.scatter_reduce(0, code, place, "amin", include_self=False)[code]
        number = (first == place).cumsum(0)[first] - 1
        return Groups(number[:n], number[n:], int(number.max()) + 1)

    @cached_property
    def numbers(self) -> Tensor:
        """Of rows and columns in one vector."""
        return torch.cat([self.of_rows, self.of_cols])

    def equals(self, other: Groups) -> bool:
        """Whether the same pairs are in one group."""
        return self is other or (self.count == other.count and torch.equal(self.numbers, other.numbers))

    def __mul__(self, other: Groups) -> Groups:
        """Grouped by both."""
        if self.equals(other):
            return self
        return Groups.by(self.numbers * other.count + other.numbers, len(self.of_rows))

    @property
    def T(self) -> Groups:
        """Columns in place of rows."""
        return Groups(self.of_cols, self.of_rows, self.count)

    @cached_property
    def _rows_in_order(self) -> bool:
        return _counts_up(self.of_rows)

    @cached_property
    def _cols_in_order(self) -> bool:
        return _counts_up(self.of_cols)

    def sums(self, x: Tensor) -> Tensor:
        """The sum of x over each group's columns, (count, ...)."""
        if self._cols_in_order and self.count == len(x):
            return x
        total = x.new_zeros((self.count, *x.shape[1:]), dtype=torch.float64)
        for part in slices(len(x), _CHUNK):
            total.index_add_(0, self.of_cols[part], x[part].double())
        return total

    def look_up(self, sums: Tensor, rows: slice) -> Tensor:
        """The sums of some rows' groups."""
        return sums[rows] if self._rows_in_order else sums.index_select(0, self.of_rows[rows])


def _counts_up(numbers: Tensor) -> bool:
    return torch.equal(numbers, torch.arange(len(numbers), device=numbers.device))


@dataclass(frozen=True, eq=False)
class GroupMatrix:
    """W = sum_l w_l 1[row and column in the same group of l], shape (n, m). Sums are taken in double precision."""

    parts: tuple[tuple[Groups, float], ...]
    shape: tuple[int, int]

    @staticmethod
    def ones(shape: tuple[int, int], device: torch.device) -> GroupMatrix:
        """All pairs in one group."""
        n, m = shape
        zeros = torch.zeros(n + m, dtype=torch.long, device=device)
        return GroupMatrix(((Groups(zeros[:n], zeros[n:], 1), 1.0),), shape)

    def __add__(self, other: GroupMatrix) -> GroupMatrix:
        """Entries added."""
        parts: list[tuple[Groups, float]] = []
        for groups, weight in (*self.parts, *other.parts):
            same = next((k for k, (known, _) in enumerate(parts) if known.equals(groups)), None)
            if same is None:
                parts.append((groups, weight))
            else:
                parts[same] = groups, parts[same][1] + weight
        return GroupMatrix(tuple((groups, weight) for groups, weight in parts if weight), self.shape)

    def __mul__(self, other: GroupMatrix | float) -> GroupMatrix:
        """Scaled, or entries multiplied."""
        if not isinstance(other, GroupMatrix):
            return GroupMatrix(tuple((groups, weight * other) for groups, weight in self.parts if other), self.shape)
        total = GroupMatrix((), self.shape)
        for groups, weight in other.parts:
            total = total + GroupMatrix(tuple((own * groups, w * weight) for own, w in self.parts), self.shape)
        return total

    def __sub__(self, other: GroupMatrix) -> GroupMatrix:
        """Entries subtracted."""
        return self + other * -1.0

    def times(self, x: Tensor) -> Tensor:
        """W x for x of shape (m, ...)."""
        sums = [groups.sums(x) for groups, _ in self.parts]
        result = x.new_empty((self.shape[0], *x.shape[1:]))
        for rows in slices(len(result), _CHUNK):
            total = torch.zeros_like(result[rows], dtype=torch.float64)
            for (groups, weight), summed in zip(self.parts, sums, strict=True):
                total.add_(groups.look_up(summed, rows), alpha=weight)
            result[rows] = total
        return result

    def transposed_times(self, y: Tensor) -> Tensor:
        """W^T y for y of shape (n, ...)."""
        return GroupMatrix(tuple((g.T, w) for g, w in self.parts), (self.shape[1], self.shape[0])).times(y)


class Reader:
    """Indicators of pairs with equal ids; ids that come again are grouped once."""

    def __init__(self, one: GroupMatrix) -> None:
        self.one = one
        """The matrix of ones."""
        self._known: list[tuple[Tensor, Tensor, Groups]] = []

    def same(self, rows: Tensor, cols: Tensor) -> GroupMatrix:
        """One where the id of the row is that of the column."""
        groups = next((known for r, c, known in self._known if r is rows and c is cols), None)
        if groups is None:
            groups = Groups.by(torch.cat([rows, cols]), len(rows))
            self._known.append((rows, cols, groups))
        return GroupMatrix(((groups, 1.0),), (len(rows), len(cols)))


class Indicated(Protocol):
    """A set of pairs that may be made of ids."""

    def indicator(self, reader: Reader) -> GroupMatrix | None:
        """One on the pairs; None when they are not made of ids."""
        ...


def level_matrix(levels: Iterable[tuple[Indicated, float]], rest: float, one: GroupMatrix) -> GroupMatrix | None:
    """The matrix whose entries are the weight of the last level that names a pair, else `rest`.

    None where a level is not made of ids. `one` is the matrix of ones.
    """
    reader, total = Reader(one), one * rest
    for level, weight in levels:
        named = level.indicator(reader)
        if named is None:
            return None
        total = total - total * named + named * weight
    return total
