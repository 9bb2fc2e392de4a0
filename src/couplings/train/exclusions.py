"""Pairs of training images that never repel each other, and the mask that they make of a batch.

Only pairs whose two images meet in a batch are ever looked at: the excluded ones of each row are looked up in a list of
its own and joined with the columns, O(pairs of the rows' images) a step, whatever the number of pairs in all.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from couplings.masks import Mask, SameId
from couplings.train.data import Dataset
from couplings.train.pair_file import read_pairs

__all__ = ["Exclusions", "PairList", "PairMask", "read_exclusions"]

Index = Tensor | slice


@dataclass(frozen=True, eq=False)
class PairMask(Mask):
    """Listed pairs, each once.

    Attributes:
        codes: i m + j of each pair (i, j), ascending.
        size: rows n and columns m.
    """

    codes: Tensor
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.size

    def forbidden(self) -> Tensor:
        """Boolean (n, m)."""
        n, m = self.shape
        matrix = torch.zeros(n * m, dtype=torch.bool, device=self.codes.device)
        return matrix.index_fill_(0, self.codes, True).view(n, m)

    def block(self, rows: Index, cols: Index) -> Mask:
        """The mask of a sub-matrix; indices come once each."""
        n, m = self.shape
        i, j = self._split()
        (above, height), (left, width) = _places(rows, n, i), _places(cols, m, j)
        kept = (above >= 0) & (left >= 0)
        codes = above[kept] * width + left[kept]
        return PairMask(codes.sort().values, (height, width))

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Looked up by bisection."""
        wanted = i * self.shape[1] + j
        if len(self.codes) == 0:
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.codes, wanted).clamp_max(len(self.codes) - 1)
        return self.codes[place] == wanted

    def pairs(self, limit: int) -> tuple[Tensor, Tensor] | None:
        """As they are listed."""
        return self._split() if len(self.codes) <= limit else None

    def is_transpose_of(self, other: Mask) -> bool:
        """Rows and columns exchanged."""
        if not isinstance(other, PairMask) or self.shape != other.shape[::-1] or len(self.codes) != len(other.codes):
            return False
        i, j = self._split()
        return torch.equal((j * self.shape[0] + i).sort().values, other.codes)

    @property
    def symmetric(self) -> bool:
        """Its own transpose."""
        return self.is_transpose_of(self)

    def _split(self) -> tuple[Tensor, Tensor]:
        m = self.shape[1]
        return self.codes.div(m, rounding_mode="floor"), self.codes % m


def _places(chosen: Index, count: int, numbers: Tensor) -> tuple[Tensor, int]:
    """Where in the chosen ones of 0, ..., count - 1 some numbers stand, -1 if nowhere; and how many are chosen."""
    rows = torch.arange(count, device=numbers.device)[chosen]
    place = torch.full((count,), -1, device=numbers.device)
    place[rows] = torch.arange(len(rows), device=numbers.device)
    return place[numbers], len(rows)


@dataclass(frozen=True, eq=False)
class Exclusions:
    """Pairs of images that never repel each other, as a list of partners an image.

    Attributes:
        first: int64 (images + 1,): where each image's list begins, and where the last ends.
        partners: int32 (2 pairs,): the lists, one after the other.
    """

    first: Tensor
    partners: Tensor

    @staticmethod
    def of(pairs: Tensor, images: int) -> Exclusions:
        """From pairs of different images, int64 (p, 2), in any order and any number of times.

        Example:
            >>> Exclusions.of(torch.tensor([[0, 2], [2, 0], [1, 2]]), images=3).partners.tolist()
            [2, 2, 0, 1]
        """
        both = torch.cat([pairs, pairs.flip(1)])
        codes = torch.unique(both[:, 0] * images + both[:, 1])
        count = torch.bincount(codes // images, minlength=images)
        return Exclusions(torch.cat([count.new_zeros(1), count.cumsum(0)]), (codes % images).int())

    def __len__(self) -> int:
        """Pairs."""
        return len(self.partners) // 2

    def to(self, device: torch.device) -> Exclusions:
        """On a device."""
        return Exclusions(self.first.to(device), self.partners.to(device))

    def mask(self, rows: Tensor, cols: Tensor) -> PairMask | None:
        """The excluded pairs among rows and columns that show these images; None if there are none.

        Args:
            rows: image of each row, int64 (n,).
            cols: image of each column, int64 (m,).

        Example:
            >>> exclusions = Exclusions.of(torch.tensor([[0, 2]]), images=3)
            >>> exclusions.mask(torch.tensor([2, 1]), torch.tensor([2, 1, 0, 0])).forbidden().tolist()
            [[False, False, True, True], [False, False, False, False]]
        """
        one, other = self._meeting(rows, cols)
        if len(one) == 0:
            return None
        pair, i = _joined(one, rows)
        again, j = _joined(other[pair], cols)
        return PairMask((i[again] * len(cols) + j).sort().values, (len(rows), len(cols)))

    def _meeting(self, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
        """Excluded pairs of an image among the rows and one among the columns, each once."""
        images = rows.unique()
        stop = self.first.index_select(0, images + 1)
        count = stop - self.first.index_select(0, images)
        end = count.cumsum(0)
        total = int(end[-1])
        where = (stop - end).repeat_interleave(count, output_size=total)
        partners = self.partners.index_select(0, where.add_(torch.arange(total, device=rows.device)))
        there = torch.zeros(len(self.first), dtype=torch.bool, device=rows.device).index_fill_(0, cols, True)
        met = there.index_select(0, partners).nonzero()[:, 0]
        return images[torch.searchsorted(end, met, right=True)], partners[met].long()


def _joined(ids: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Where ids equal others, as places in both."""
    found = SameId(ids, others).pairs(sys.maxsize)
    assert found is not None  # there are no more than that
    return found


@dataclass(frozen=True)
class PairList:
    """What a file of pairs came to.

    Attributes:
        exclusions: of the images that are trained on.
        listed: different pairs in the file.
        path: of the file.
    """

    exclusions: Exclusions
    listed: int
    path: Path

    def __str__(self) -> str:
        """A line for people."""
        if self.listed == 0:
            return f"Excluded pairs: {self.path} lists none, so nothing is excluded."
        kept = len(self.exclusions)
        rest = "" if kept == self.listed else f" of {self.listed:,}; the others have an image that is not trained on"
        return f"Excluded pairs: {kept:,}{rest} ({self.path})."


def read_exclusions(path: Path, data: Dataset) -> PairList:
    """The pairs of a file, for the images of a data set.

    Args:
        path: as :func:`couplings.train.pair_file.read_pairs` takes; a and b are rows of the training part before
            ``data.imbalance`` and ``data.limit``, which drop the pairs of images that they leave out.
        data: as :func:`couplings.train.load` returns it, or from arrays.

    Raises:
        DataError: a file that is missing or damaged, or a row that does not exist or is paired with itself.
        ConfigError: another kind of file, or no library that reads it.
    """
    known = data.places
    pairs = read_pairs(path, known.count)
    listed = len(Exclusions.of(pairs, known.count))
    here = torch.full((known.count,), -1)
    here[known.rows] = torch.arange(len(known.rows))
    now = here[pairs]
    return PairList(Exclusions.of(now[(now >= 0).all(1)], len(known.rows)), listed, path)
