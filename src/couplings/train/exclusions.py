"""Pairs of training images that never repel each other, and the mask that they make of a batch.

Only pairs whose two images meet in a batch are ever looked at: the excluded ones of each row are looked up in a list of
its own and joined with the columns, O(pairs of the rows' images) a step, whatever the number of pairs in all. Images
that are all alike share an id, and their pairs are listed nowhere.
"""

from __future__ import annotations

import functools
import operator
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from couplings.pieces.masks import Mask, SameId
from couplings.train.data import Dataset, Part
from couplings.train.pair_file import Pairs, read_pairs

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
    """Pairs of images that never repel each other: a list of partners an image, and groups of images that are alike.

    Attributes:
        first: int64 (images + 1,): where each image's list begins, and where the last ends.
        partners: int32 (2 pairs,): the lists, one after the other.
        groups: int64 (images,), equal for images that are alike; None where none are.
    """

    first: Tensor
    partners: Tensor
    groups: Tensor | None = None

    @staticmethod
    def of(pairs: Tensor, images: int, groups: Tensor | None = None) -> Exclusions:
        """From pairs of different images, int64 (p, 2), in any order and any number of times, and groups of images.

        Example:
            >>> Exclusions.of(torch.tensor([[0, 2], [2, 0], [1, 2]]), images=3).partners.tolist()
            [2, 2, 0, 1]
            >>> len(Exclusions.of(torch.tensor([[0, 3]]), images=5, groups=torch.tensor([7, 7, 7, 1, 2])))
            4
        """
        if groups is not None:
            pairs = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
        both = torch.cat([pairs, pairs.flip(1)])
        codes = torch.unique(both[:, 0] * images + both[:, 1])
        count = torch.bincount(codes // images, minlength=images)
        return Exclusions(torch.cat([count.new_zeros(1), count.cumsum(0)]), (codes % images).int(), groups)

    def __len__(self) -> int:
        """Pairs."""
        sizes = torch.empty(0) if self.groups is None else self.groups.unique(return_counts=True)[1]
        return len(self.partners) // 2 + int((sizes * (sizes - 1) // 2).sum())

    def to(self, device: torch.device) -> Exclusions:
        """On a device."""
        groups = None if self.groups is None else self.groups.to(device)
        return Exclusions(self.first.to(device), self.partners.to(device), groups)

    def mask(self, rows: Tensor, cols: Tensor) -> Mask | None:
        """The excluded pairs among rows and columns that show these images; None if there are none.

        Args:
            rows: image of each row, int64 (n,).
            cols: image of each column, int64 (m,).

        Example:
            >>> exclusions = Exclusions.of(torch.tensor([[0, 2]]), images=3)
            >>> exclusions.mask(torch.tensor([2, 1]), torch.tensor([2, 1, 0, 0])).forbidden().tolist()
            [[False, False, True, True], [False, False, False, False]]
        """
        masks = [mask for mask in (self._listed(rows, cols), self._alike(rows, cols)) if mask is not None]
        return functools.reduce(operator.or_, masks) if masks else None

    def _alike(self, rows: Tensor, cols: Tensor) -> Mask | None:
        """Different images of a group."""
        if self.groups is None:
            return None
        groups, images = self.groups, torch.cat([rows, cols]).unique()
        if len(groups[images].unique()) == len(images):
            return None
        return SameId(groups[rows], groups[cols]) - SameId(rows, cols)

    def _listed(self, rows: Tensor, cols: Tensor) -> PairMask | None:
        """Pairs by the lists of partners."""
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
        by_id: whether it names images by their ids.
    """

    exclusions: Exclusions
    listed: int
    path: Path
    by_id: bool

    def __str__(self) -> str:
        """A line for people."""
        if self.listed == 0:
            return f"Excluded pairs: {self.path} lists none, so nothing is excluded."
        kept = len(self.exclusions)
        rest = "" if kept == self.listed else f" of {self.listed:,}; the others have an image that is not trained on"
        # Numbers depend on what is held out, and are told.
        way = "by their ids" if self.by_id else "by row numbers of the training part"
        return f"Excluded pairs: {kept:,}{rest} ({self.path}, {way})."


def read_exclusions(path: Path, data: Dataset) -> PairList:
    """The pairs of a file, for the images of a data set.

    Pairs with an image that is not trained on, because it is of the test part or was left out by ``data.imbalance`` or
    ``data.limit``, are dropped; the other images of its group stay one.

    Args:
        path: as :func:`couplings.train.pair_file.read_pairs` takes; a and b are rows of the training part before
            ``data.imbalance`` and ``data.limit``, ids those of images of any part.
        data: as :func:`couplings.train.load` returns it, or from arrays.

    Raises:
        DataError: a file that is missing or damaged, an id of no image, or a row that does not exist or is paired with
            itself.
        ConfigError: another kind of file, or no library that reads it.
    """
    known = data.places
    ids = (*known.ids, *data.ids(Part.TEST))
    pairs = read_pairs(path, known.count, ids)
    alone = pairs.rows[pairs.groups < 0]
    whole = Exclusions.of(alone, len(ids), _grouped(pairs, len(ids)))
    here = torch.full((len(ids),), -1)
    here[known.rows] = torch.arange(len(known.rows))
    now = here[alone]
    groups = None if whole.groups is None else whole.groups[known.rows]
    return PairList(Exclusions.of(now[(now >= 0).all(1)], len(known.rows), groups), len(whole), path, pairs.by_id)


def _grouped(pairs: Pairs, images: int) -> Tensor | None:
    """(images,): equal for images that are of one group, or of groups that share an image; None without groups."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    grouped = pairs.groups >= 0
    if not grouped.any():
        return None
    # Images and groups are nodes; the columns a and b join them.
    ends, groups = pairs.rows[grouped].flatten(), images + pairs.groups[grouped].repeat_interleave(2)
    size = images + int(pairs.groups.max()) + 1
    joined = coo_array((torch.ones(len(ends)), (ends, groups)), shape=(size, size))
    return torch.from_numpy(connected_components(joined, directed=False)[1][:images]).long()
