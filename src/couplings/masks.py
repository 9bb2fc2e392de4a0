"""Which pairs carry no mass, as small objects over global ids.

Two id vectors, one entry a row and one a column, say everything that a batch needs: a sample never meets
itself, its other views, its duplicates or its class. Masks combine with `|` (either forbids), `-`
(forbidden by the first unless the second names the pair) and `~` (all but these); no one writes index offsets
by hand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import require, tensor


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
    def block(self, rows: Tensor, cols: Tensor) -> Mask:
        """The mask of a sub-matrix, by row and column indices."""

    def id_masks(self) -> Iterator[SameId]:
        """The id masks whose every pair is forbidden: what exact feasibility is checked on."""
        yield from ()

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
        rows: integer ids of the rows, shape (n,).
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

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.cols)

    def forbidden(self) -> Tensor:
        """Boolean (n, m)."""
        return self.rows[:, None] == self.cols[None, :]

    def block(self, rows: Tensor, cols: Tensor) -> Mask:
        """The mask of a sub-matrix."""
        return SameId(self.rows[rows], self.cols[cols])

    def id_masks(self) -> Iterator[SameId]:
        """Itself."""
        yield self


@dataclass(frozen=True, eq=False)
class GivenMask(Mask):
    """Pairs given as a boolean matrix (n, m), True where forbidden."""

    matrix: Tensor

    def __post_init__(self) -> None:
        ok = self.matrix.dim() == 2 and self.matrix.dtype == torch.bool
        got = f"{self.matrix.dtype} {tuple(self.matrix.shape)}"
        require(ok, f"mask must be a boolean matrix (True = forbidden), got {got}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def forbidden(self) -> Tensor:
        """The matrix."""
        return self.matrix

    def block(self, rows: Tensor, cols: Tensor) -> Mask:
        """The mask of a sub-matrix."""
        return GivenMask(self.matrix[rows][:, cols])


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

    def block(self, rows: Tensor, cols: Tensor) -> Mask:
        return type(self)(self.first.block(rows, cols), self.second.block(rows, cols))


class _Either(_Pair):
    def forbidden(self) -> Tensor:
        return self.first.forbidden() | self.second.forbidden()

    def id_masks(self) -> Iterator[SameId]:
        yield from self.first.id_masks()
        yield from self.second.id_masks()


class _Except(_Pair):
    def forbidden(self) -> Tensor:
        return self.first.forbidden() & ~self.second.forbidden()


@dataclass(frozen=True, eq=False)
class _Not(Mask):
    mask: Mask

    @property
    def shape(self) -> tuple[int, int]:
        return self.mask.shape

    def forbidden(self) -> Tensor:
        return ~self.mask.forbidden()

    def block(self, rows: Tensor, cols: Tensor) -> Mask:
        return _Not(self.mask.block(rows, cols))
