"""What is inspected: embeddings, and what is known of the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.basics.errors import InvalidInput

__all__ = ["Pictures", "Subject"]

Pictures = Callable[[Sequence[int]], list[bytes]]
"""The PNG files of small pictures of some rows, in their order."""


@dataclass(frozen=True)
class Subject:
    """Embeddings and what is known of their rows. A row is named by its number, from 0.

    Attributes:
        name: of the file or run.
        embeddings: float32 (n, d), n >= 2, finite, no zero row.
        positives: another view of each row, (n, d); None where there is a single view.
        still: the samples as they are, (n, d), where `embeddings` are of random views, in which copies of a sample
            differ; None where `embeddings` are that.
        labels: int64 (n,), numbers of `classes`; -1 where there is none. None without labels.
        classes: names of the labels.
        groups: int64 (n,), equal for rows of one sample, which never repel each other.
        numbers: int64 (n,), the rows' numbers in the training data that they are a part of; None where they are all.
        training: int64 (n,), the number of each row in the training data, -1 where it is no row of it; None where
            `numbers` say so. Rows of a file keep the file's numbers, and training is told these.
        ids: what the user or the data set calls the rows; by these they are found elsewhere.
        texts: of the rows.
        pictures: of the rows.
        history: records of the training, one a logged step.
        unused: what the source holds under a usual name and is not used, each with the reason.

    Raises:
        InvalidInput: a shape, NaN, infinity or a zero row.
    """

    name: str
    embeddings: Tensor
    positives: Tensor | None = None
    still: Tensor | None = None
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    groups: Tensor | None = None
    numbers: Tensor | None = None
    training: Tensor | None = None
    ids: tuple[str, ...] | None = None
    texts: tuple[str, ...] | None = None
    pictures: Pictures | None = None
    history: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    unused: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        checks.matrix("embeddings", self.embeddings)
        checks.rows_usable("embeddings", self.embeddings, zero=False, raw=False)
        n = len(self.embeddings)
        checks.require(n >= 2, f"embeddings: {n} row came; a pair takes two")
        for name, view in (("positives", self.positives), ("still", self.still)):
            if view is not None:
                checks.same_shape(["embeddings", name], [self.embeddings, view])
                checks.rows_usable(name, view, zero=False, raw=False)
        for name in ("labels", "groups", "numbers", "training"):
            ids = getattr(self, name)
            if ids is not None:
                checks.ids(name, ids, n)
        for name, words in (("ids", self.ids), ("texts", self.texts)):
            if words is not None and len(words) != n:
                raise InvalidInput(f"{name}: {len(words)} came for {n} embeddings; one a row")

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def samples(self) -> Tensor:
        """One embedding of each sample, by which samples are compared."""
        return self.embeddings if self.still is None else self.still

    def label_of(self, row: int) -> str:
        """The name of a row's class; empty where it has none."""
        number = -1 if self.labels is None else int(self.labels[row])
        if number < 0:
            return ""
        return self.classes[number] if number < len(self.classes) else str(number)

    def named(self, rows: Tensor) -> Tensor:
        """The numbers by which people and the JSON know rows."""
        return rows if self.numbers is None else self.numbers[rows]

    def trained(self, rows: Tensor) -> Tensor:
        """The numbers by which training knows rows; -1 where it does not."""
        return self.named(rows) if self.training is None else self.training[rows]

    def of_training(self, pairs: Tensor) -> Tensor:
        """Whether each pair (p, 2) is one of two different rows of the training data."""
        known = self.trained(pairs)
        return (known >= 0).all(1) & (known[:, 0] != known[:, 1])

    def id_of(self, row: int) -> str:
        """What the user calls a row; its number where nothing else is known."""
        return str(int(self.named(torch.tensor(row)))) if self.ids is None else self.ids[row]

    @property
    def called(self) -> tuple[str, ...] | None:
        """What each row is called in files; None where numbers of training images say it.

        Rows without an id are called by the name of their source and their number, as no image is: whoever takes their
        number for that of an image is told.
        """
        if self.ids is not None or self.training is not None:
            return self.ids
        return tuple(f"{self.name}/{number}" for number in self.named(torch.arange(len(self))).tolist())

    def same_label(self, pairs: Tensor) -> Tensor | None:
        """Whether the rows of each pair (p, 2) share a label; None without labels."""
        if self.labels is None:
            return None
        first, second = self.labels[pairs[:, 0]], self.labels[pairs[:, 1]]
        return (first == second) & (first >= 0)

    def apart(self, pairs: Tensor) -> Tensor:
        """Whether the rows of each pair (p, 2) are of different groups."""
        if self.groups is None:
            return torch.ones(len(pairs), dtype=torch.bool)
        return self.groups[pairs[:, 0]] != self.groups[pairs[:, 1]]

    def views(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The views of some rows."""
        if self.positives is None:
            return (self.embeddings[rows],)
        return self.embeddings[rows], self.positives[rows]

    def sides(self, rows: Tensor) -> dict[str, Tensor]:
        """What a loss must know of some rows beside their views."""
        return {} if self.groups is None else {"ids": self.groups[rows]}


def numbered(values: Sequence[str | None]) -> tuple[Tensor, tuple[str, ...]]:
    """Numbers of words, in the order of the sorted names, -1 for none, and the names.

    >>> numbered(["b", "a", None, "b"])
    (tensor([ 1,  0, -1,  1]), ('a', 'b'))
    """
    names = sorted({value for value in values if value is not None})
    place = {name: number for number, name in enumerate(names)}
    return torch.tensor([-1 if value is None else place[value] for value in values]), tuple(names)
