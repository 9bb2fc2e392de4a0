"""Which pairs carry no mass, as small objects over global ids.

Two id vectors, one entry a row and one a column, say everything that a batch needs: a sample never meets
itself, its other views, its duplicates or its class. Masks combine with `|` (either forbids), `-`
(forbidden by the first unless the second names the pair) and `~` (all but these); no one writes index offsets
by hand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, TypeVar, cast

import torch
from torch import Tensor

from ..basics.checks import require, tensor, unchanged, version
from ..basics.sizes import Index, is_large, is_small, row_parts
from ..basics.transforms import one_memory
from .groups import GroupMatrix, Reader, level_matrix

_LISTED = 16
"""Forbidden pairs a row or column that are few enough to be listed."""


_Made = TypeVar("_Made")


class Mask(ABC):
    """A set of forbidden pairs (i, j)."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @abstractmethod
    def forbidden(self) -> Tensor:
        """Boolean (n, m): True where a pair may carry no mass."""

    @abstractmethod
    def block(self, rows: Index, cols: Index) -> Mask:
        """The mask of a sub-matrix, by row and column indices or slices."""

    @property
    def device(self) -> torch.device:
        """Where pairs are looked up."""
        return self.block(slice(0, 1), slice(0, 1)).forbidden().device

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Whether the pairs (i, j) are forbidden; index shapes that broadcast."""
        return self.forbidden()[i, j]

    @property
    def by_ids(self) -> bool:
        """Whether pairs are forbidden by ids alone."""
        return False

    @property
    def symmetric(self) -> bool:
        """Whether (i, j) is known to be forbidden exactly where (j, i) is."""
        return False

    def is_transpose_of(self, other: Mask) -> bool:
        """Whether (i, j) is known to be forbidden here exactly where (j, i) is there."""
        return False

    def pairs(self, limit: int) -> tuple[Tensor, Tensor] | None:
        """The forbidden pairs as rows and columns, each once, if there are known to be at most `limit`."""
        return None

    def few_pairs(self) -> tuple[Tensor, Tensor] | None:
        """The forbidden pairs where they are few enough to be listed, else None.

        Only on a CPU: how many they are is read, which an accelerator would have to wait for.
        """
        return self.pairs(_LISTED * sum(self.shape)) if self.device.type == "cpu" else None

    @cached_property
    def listed(self) -> tuple[Tensor, Tensor] | None:
        """`few_pairs`, found once."""
        return self.few_pairs()

    @cached_property
    def _row_counts(self) -> Tensor:
        n, m = self.shape
        device = self.device
        if not is_large(n, m, device):
            return self.forbidden().sum(1)
        if self.listed is not None:
            return torch.bincount(self.listed[0], minlength=n)
        one = GroupMatrix.ones(self.shape, device)
        by_ids = level_matrix([(self, 1.0)], 0.0, one) if device.type == "cpu" else None
        if by_ids is not None:
            return by_ids.times(torch.ones(m, dtype=torch.float64, device=device)).round().long()
        parts = row_parts(n, m, device)
        return torch.cat([self.block(part, slice(None)).forbidden().sum(1) for part in parts])

    def row_counts(self) -> Tensor:
        """How many columns each row may not use, (n,), without the matrix; found once."""
        return self._row_counts

    def once(self, key: object, make: Callable[[], _Made]) -> _Made:
        """What is made of the mask for a key; the last one is remembered, since a mask does not change."""
        known = self._last
        if known is None or known[0] != key:
            known = key, make()
            object.__setattr__(self, "_last", known)
        return cast(_Made, known[1])

    _last: ClassVar[tuple[object, object] | None] = None

    def id_masks(self) -> Iterator[SameId]:
        """The id masks whose every pair is forbidden: what exact feasibility is checked on."""
        yield from ()

    def indicator(self, reader: Reader) -> GroupMatrix | None:
        """One where a pair is forbidden, as a sum over groups; None for a mask that is not made of ids."""
        return None

    def __or__(self, other: Mask) -> Mask:
        """Forbidden by either."""
        return _Either(self, other)

    def __sub__(self, other: Mask) -> Mask:
        """Forbidden by the first, unless the second names the pair."""
        return _Except(self, other)

    def __invert__(self) -> Mask:
        """Forbidden where the mask is not."""
        return _Not(self)


@dataclass(frozen=True, eq=False)
class SameId(Mask):
    """Pairs whose row id equals their column id.

    Args:
        rows: integer ids of the rows, shape (n,); copied, as those of the columns are.
        cols: integer ids of the columns, shape (m,).

    Example:
        >>> import torch
        >>> from couplings import SameId
        >>> SameId(torch.tensor([0, 1]), torch.tensor([1, 1, 2])).forbidden().tolist()
        [[False, False, False], [True, True, False]]
    """

    rows: Tensor
    cols: Tensor

    def __post_init__(self) -> None:
        for name, ids in (("rows", self.rows), ("cols", self.cols)):
            tensor(f"{name} of SameId", ids)
            ok = ids.dim() == 1 and not ids.is_floating_point()
            require(ok, f"{name} of SameId must be a vector of integer ids, got {ids.dtype} {tuple(ids.shape)}")
        rows = self.rows.clone()  # what was found out about a mask stays true of it
        object.__setattr__(self, "cols", rows if self.cols is self.rows else self.cols.clone())
        object.__setattr__(self, "rows", rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.cols)

    def forbidden(self) -> Tensor:
        """Boolean (n, m)."""
        if self.device.type == "cpu" and is_small(*self.shape, self.device):
            return self._small
        return self.rows[:, None] == self.cols

    @cached_property
    def _small(self) -> Tensor:
        """The matrix, where it is small; masks of one batch size are shared by the calls."""
        return self.rows[:, None] == self.cols

    def block(self, rows: Index, cols: Index) -> Mask:
        """The mask of a sub-matrix."""
        return _of_copies(self.rows[rows], self.cols[cols])

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Ids looked up, O(pairs)."""
        return self.rows[i] == self.cols[j]

    @property
    def device(self) -> torch.device:
        """Of the ids."""
        return self.rows.device

    @property
    def by_ids(self) -> bool:
        """By nothing else."""
        return True

    @property
    def symmetric(self) -> bool:
        """Where rows and columns have the same ids."""
        return _same(self.rows, self.cols)

    def is_transpose_of(self, other: Mask) -> bool:
        """Ids exchanged."""
        return isinstance(other, SameId) and _same(self.rows, other.cols) and _same(self.cols, other.rows)

    def pairs(self, limit: int) -> tuple[Tensor, Tensor] | None:
        """Rows and columns joined on their ids, O((n + m) log m)."""
        ids, order = self.cols.sort()
        first = torch.searchsorted(ids, self.rows)
        count = torch.searchsorted(ids, self.rows, right=True) - first
        total = int(count.sum())
        if total > limit:
            return None
        rows = torch.arange(len(count), device=count.device).repeat_interleave(count, output_size=total)
        before = count.cumsum(0) - count
        within = torch.arange(total, device=count.device) - before[rows]
        return rows, order[first[rows] + within]

    def id_masks(self) -> Iterator[SameId]:
        """Itself."""
        yield self

    def indicator(self, reader: Reader) -> GroupMatrix:
        """One group an id."""
        return reader.same(self.rows, self.cols)


class Mutual(SameId):
    """Equal ids that hold both ways: (i, j) is named exactly where (j, i) is, as whoever makes it knows."""

    @property
    def symmetric(self) -> bool:
        """By declaration; keys of a queue have no rows of their own."""
        return len(self.rows) == len(self.cols)


def _of_copies(rows: Tensor, cols: Tensor) -> SameId:
    """Of ids that nobody else can write to."""
    mask = object.__new__(SameId)
    object.__setattr__(mask, "rows", rows)
    object.__setattr__(mask, "cols", cols)
    return mask


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two vectors hold the same ids; an accelerator is not asked for its numbers, only where they are."""
    return one_memory(a, b) or (a.device.type == "cpu" and b.device == a.device and torch.equal(a, b))


@dataclass(frozen=True, eq=False)
class GivenMask(Mask):
    """Pairs given as a boolean matrix (n, m), True where forbidden.

    The matrix is not copied: one that was written to since is refused (`Overwritten`), make a mask of it anew.
    """

    matrix: Tensor
    _version: int | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        tensor("mask", self.matrix)
        ok = self.matrix.dim() == 2 and self.matrix.dtype == torch.bool
        got = f"{self.matrix.dtype} {tuple(self.matrix.shape)}"
        require(ok, f"mask must be a boolean matrix (True = forbidden), got {got}")
        object.__setattr__(self, "_version", version(self.matrix))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def forbidden(self) -> Tensor:
        """The matrix."""
        unchanged("mask", self.matrix, self._version)
        return self.matrix

    def block(self, rows: Index, cols: Index) -> Mask:
        """The mask of a sub-matrix."""
        return GivenMask(self.forbidden()[rows][:, cols])

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Entries of the matrix."""
        return self.forbidden()[i, j]


@dataclass(frozen=True, eq=False)
class _Pair(Mask):
    first: Mask
    second: Mask

    def __post_init__(self) -> None:
        same = self.first.shape == self.second.shape
        require(same, f"masks of shapes {self.first.shape} and {self.second.shape} do not combine")

    @property
    def shape(self) -> tuple[int, int]:
        return self.first.shape

    def block(self, rows: Index, cols: Index) -> Mask:
        return type(self)(self.first.block(rows, cols), self.second.block(rows, cols))

    @property
    def by_ids(self) -> bool:
        return self.first.by_ids and self.second.by_ids

    @property
    def symmetric(self) -> bool:
        return self.first.symmetric and self.second.symmetric

    def is_transpose_of(self, other: Mask) -> bool:
        if not isinstance(other, _Pair) or type(other) is not type(self):
            return False
        return self.first.is_transpose_of(other.first) and self.second.is_transpose_of(other.second)

    def indicator(self, reader: Reader) -> GroupMatrix | None:
        first, second = self.first.indicator(reader), self.second.indicator(reader)
        return None if first is None or second is None else self._combined(first, second)

    @abstractmethod
    def _combined(self, first: GroupMatrix, second: GroupMatrix) -> GroupMatrix:
        """The indicator, of those of both."""


class _Either(_Pair):
    def forbidden(self) -> Tensor:
        return self.first.forbidden() | self.second.forbidden()

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        return self.first.at(i, j) | self.second.at(i, j)

    def pairs(self, limit: int) -> tuple[Tensor, Tensor] | None:
        first, second = self.first.pairs(limit), self.second.pairs(limit)
        if first is None or second is None:
            return None
        fresh = ~self.first.at(*second)  # not listed by the first already
        return torch.cat([first[0], second[0][fresh]]), torch.cat([first[1], second[1][fresh]])

    def id_masks(self) -> Iterator[SameId]:
        yield from self.first.id_masks()
        yield from self.second.id_masks()

    def _combined(self, first: GroupMatrix, second: GroupMatrix) -> GroupMatrix:
        return first + second - first * second


class _Except(_Pair):
    def forbidden(self) -> Tensor:
        return self.first.forbidden() & ~self.second.forbidden()

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        return self.first.at(i, j) & ~self.second.at(i, j)

    def pairs(self, limit: int) -> tuple[Tensor, Tensor] | None:
        first = self.first.pairs(limit)
        if first is None:
            return None
        kept = ~self.second.at(*first)
        return first[0][kept], first[1][kept]

    def _combined(self, first: GroupMatrix, second: GroupMatrix) -> GroupMatrix:
        return first - first * second


@dataclass(frozen=True, eq=False)
class _Not(Mask):
    mask: Mask

    @property
    def shape(self) -> tuple[int, int]:
        return self.mask.shape

    def forbidden(self) -> Tensor:
        return ~self.mask.forbidden()

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        return ~self.mask.at(i, j)

    @property
    def by_ids(self) -> bool:
        return self.mask.by_ids

    @property
    def symmetric(self) -> bool:
        return self.mask.symmetric

    def block(self, rows: Index, cols: Index) -> Mask:
        return _Not(self.mask.block(rows, cols))

    def indicator(self, reader: Reader) -> GroupMatrix | None:
        inner = self.mask.indicator(reader)
        return None if inner is None else reader.one - inner
