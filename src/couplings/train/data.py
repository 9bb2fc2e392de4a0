"""Images in memory: one value object, from any of the sources or from arrays.

A data set is uint8 tensors that fit into memory; samples are drawn by index, without worker processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from couplings.train.encoders import ImageShape
from couplings.train.errors import DataError
from couplings.train.plain import column, entries, numbered, plain

__all__ = ["DataError", "Dataset", "Part", "Places", "from_arrays", "to_float", "to_images"]


class Part(Enum):
    """A part of a data set."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, eq=False)
class Places:
    """Which images of a whole some are.

    Attributes:
        rows: int64 ``(n,)``, their numbers in it.
        count: images of the whole.
        ids: of all images of the whole.
    """

    rows: Tensor
    count: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """Images and labels.

    Attributes:
        name: what it is called in tables.
        train_images: uint8 ``(n, c, h, w)``.
        train_labels: int64 ``(n,)`` from 0, -1 where unlabelled; None if there are none at all.
        test_images: uint8 ``(m, c, h, w)``, possibly of no image.
        test_labels: as ``train_labels``.
        classes: names of the classes; empty without labels.
        train_domains: int64 ``(n,)`` from 0: where each image comes from; None if nobody said.
        test_domains: as ``train_domains``.
        domain_names: names of the domains; empty without any.
        kept: which images of their source's training part the training images are; None if they are all of it.
        train_ids: what the source calls the training images, each by a word of its own; None where it does not.
        test_ids: as ``train_ids``.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor | None
    test_images: Tensor
    test_labels: Tensor | None
    classes: tuple[str, ...] = ()
    train_domains: Tensor | None = None
    test_domains: Tensor | None = None
    domain_names: tuple[str, ...] = ()
    kept: Places | None = None
    train_ids: tuple[str, ...] | None = None
    test_ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        train = {"labels": self.train_labels, "domains": self.train_domains, "ids": self.train_ids}
        test = {"labels": self.test_labels, "domains": self.test_domains, "ids": self.test_ids}
        _check_part(self.name, "training", self.train_images, train)
        _check_part(self.name, "test", self.test_images, test)
        if len(self.train_images) < 2:
            raise DataError(f"{self.name}: {len(self.train_images)} training images; at least 2 are needed")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            shapes = [tuple(part.shape[1:]) for part in (self.train_images, self.test_images)]
            raise DataError(f"{self.name}: training images are {shapes[0]}, test images {shapes[1]}")

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width."""
        return ImageShape(*self.train_images.shape[1:])

    @property
    def places(self) -> Places:
        """Which images of their source's training part the training images are."""
        count = len(self.train_images)
        return Places(torch.arange(count), count, self.ids(Part.TRAIN)) if self.kept is None else self.kept

    def ids(self, part: Part) -> tuple[str, ...]:
        """What the images of a part are called, in whatever file they are named.

        Where the source names none they are NAME/0, NAME/1, ..., those of a test part of its own NAME/test/0, ...: the
        numbers of the source, whatever is held out or left out afterwards.

        Example:
            >>> from_arrays(np.zeros((6, 8, 8)), name="mine").keeping(torch.tensor([4, 2])).ids(Part.TRAIN)
            ('mine/4', 'mine/2')
        """
        if part is Part.TEST:
            numbered = (f"{self.name}/test/{row}" for row in range(len(self.test_images)))
            return tuple(numbered) if self.test_ids is None else self.test_ids
        if self.train_ids is not None:
            return self.train_ids
        if self.kept is not None:
            return tuple(self.kept.ids[row] for row in self.kept.rows)
        return tuple(f"{self.name}/{row}" for row in range(len(self.train_images)))

    def limited(self, limit: int | None, seed: int = 0) -> Dataset:
        """Keep a seeded subset of ``limit`` training images (all of them if None or fewer)."""
        if limit is None or limit >= len(self.train_images):
            return self
        order = torch.randperm(len(self.train_images), generator=torch.Generator().manual_seed(seed))
        return self.keeping(order[:limit])

    def keeping(self, rows: Tensor) -> Dataset:
        """Keep the training images of these rows, int64 ``(k,)``, in their order; the test images stay."""
        places = self.places
        return replace(
            self,
            train_images=self.train_images[rows],
            train_labels=_at(self.train_labels, rows),
            train_domains=_at(self.train_domains, rows),
            train_ids=_words_at(self.train_ids, rows),
            kept=Places(places.rows[rows], places.count, places.ids),
        )

    def resized(self, size: int | None) -> Dataset:
        """All images at ``size`` x ``size`` pixels (as they are if None)."""
        if size is None or tuple(self.shape[1:]) == (size, size):
            return self
        from torchvision.transforms.v2 import functional as transforms

        train, test = (
            torch.cat([transforms.resize(chunk, [size, size], antialias=True) for chunk in part.split(4096)])
            for part in (self.train_images, self.test_images)
        )
        return replace(self, train_images=train, test_images=test)


def _at(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]


def _words_at(words: tuple[str, ...] | None, rows: Tensor) -> tuple[str, ...] | None:
    return None if words is None else tuple(words[row] for row in rows)


def _check_part(name: str, part: str, images: Tensor, known: Mapping[str, Sized | None]) -> None:
    if images.ndim != 4 or images.dtype != torch.uint8:
        raise DataError(f"{name}: {part} images must be uint8 (n, c, h, w), got {images.dtype} {tuple(images.shape)}")
    for what, values in known.items():
        if values is not None and len(values) != len(images):
            raise DataError(f"{name}: {len(images)} {part} images but {len(values)} {part} {what}; one each")


def to_float(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]; uint8 is divided by 255."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def to_images(images: Any, name: str = "images") -> Tensor:
    """An array or tensor as uint8 ``(n, c, h, w)``.

    Taken are ``(n, h, w)``, ``(n, c, h, w)`` and ``(n, h, w, c)`` with one or three channels, as integers from
    0 to 255 or floats from 0 to 1.

    Raises:
        DataError: another shape or range, a value that is not finite, or objects instead of numbers.
    """
    return _as_bytes(_channels_first(_as_tensor(images, name), name), name)


def _as_tensor(values: Any, name: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = plain(np.ascontiguousarray(values))
        # Torch computes little with these.
        return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array)
    except (TypeError, ValueError):
        kind = np.asarray(values, dtype=object).dtype if not hasattr(values, "dtype") else values.dtype
        raise DataError(f"{name} must be one array of numbers, got {type(values).__name__} of {kind}") from None


def _channels_first(images: Tensor, name: str) -> Tensor:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.permute(0, 3, 1, 2).contiguous()
    raise DataError(
        f"{name} must be (n, h, w), (n, c, h, w) or (n, h, w, c) with 1 or 3 channels, got {tuple(images.shape)}"
    )


def _as_bytes(images: Tensor, name: str) -> Tensor:
    if images.dtype == torch.uint8 or images.numel() == 0:
        return images.to(torch.uint8)
    if images.is_complex() or images.dtype == torch.bool:
        remedy = "take their magnitude" if images.is_complex() else "convert them to floats"
        raise DataError(f"{name} must be integers from 0 to 255 or floats from 0 to 1, got {images.dtype}; {remedy}")
    if not images.is_floating_point():
        low, high, scale, rule = 0, 255, 1, "integers from 0 to 255"
    else:
        low, high, scale, rule = 0, 1, 255, "floats from 0 to 1"
        if not images.isfinite().all():
            bad = int((~images.isfinite()).flatten(1).any(1).nonzero()[0])
            raise DataError(f"{name} must be finite; image {bad} holds NaN or infinity")
    least, most = images.min().item(), images.max().item()
    if least < low or most > high:
        remedy = f"divide them by {255 if most <= 255 else most:g}" if least >= 0 else "rescale them"
        raise DataError(f"{name} must be {rule}, got values from {least:g} to {most:g}; {remedy}")
    return (images * scale).round().to(torch.uint8)


_UNLABELLED = -1


def _numbered(what: str, train: Any, test: Any) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
    """Numbers from 0 for any whole numbers or words, shared by both parts, and what they stand for; -1 stays -1."""
    parts = [None if part is None else _listed(what, part, one_hot=True) for part in (train, test)]
    known = [None if part is None else [None if _is_unlabelled(one) else one for one in part] for part in parts]
    (first, second), names = numbered(known)
    return first, second, names


def _is_unlabelled(value: Any) -> bool:
    return value == _UNLABELLED and not isinstance(value, str)


def _words(what: str, values: Any) -> tuple[str, ...] | None:
    return None if values is None else tuple("" if one is None else str(one) for one in _listed(what, values))


def _listed(what: str, values: Any, *, one_hot: bool = False) -> list[Any]:
    """Whole numbers or words, one an image; None where there is none."""
    try:
        array = column(np.asarray(values.cpu() if isinstance(values, Tensor) else values), one_hot=one_hot)
        found = entries(array) if array.ndim == 1 and array.dtype.kind in "biufUSOmM" else None
    except (DataError, ValueError) as error:
        raise DataError(f"{what} must be (n,) whole numbers or words; {error}") from None
    if found is None:
        remedy = "convert them" if array.ndim == 1 else "give one an image"
        raise DataError(f"{what} must be (n,) whole numbers or words, got {array.dtype} {array.shape}; {remedy}")
    broken = next((one for one in found if isinstance(one, float) and not one.is_integer()), None)
    if broken is not None:
        raise DataError(
            f"{what} must be (n,) whole numbers or words, got {broken:g} among them; numpy.asarray({what}, dtype=str) "
            "takes each number for a word"
        )
    return found


def from_arrays(
    images: Any,
    labels: Any = None,
    test_images: Any = None,
    test_labels: Any = None,
    *,
    domains: Any = None,
    test_domains: Any = None,
    ids: Any = None,
    test_ids: Any = None,
    name: str = "arrays",
    test_fraction: float = 0.0,
) -> Dataset:
    """A data set from arrays or tensors.

    Args:
        images: as :func:`to_images` takes.
        labels: whole numbers or words ``(n,)`` or ``(n, 1)``, also as objects or floats, or one-hot rows ``(n, c)``;
            -1, None, NaN and an empty word are an image without a label.
        test_images: as ``images``. Without them a seeded share ``test_fraction`` is held out, each class in
            proportion.
        test_labels: as ``labels``.
        domains: where each image comes from, as ``labels``.
        test_domains: as ``domains``.
        ids: what the images are called, whole numbers or words ``(n,)``; :meth:`Dataset.ids` without.
        test_ids: as ``ids``.
        name: what the data set is called in tables.
        test_fraction: share of the images held out where there are no ``test_images``.

    Raises:
        DataError: images, labels, domains or ids of a wrong shape, kind or range, or too few to hold some out.

    Example:
        >>> data = from_arrays(np.zeros((20, 8, 8)), np.arange(20) % 2, test_fraction=0.5)
        >>> data.shape, len(data.test_images), data.classes
        (ImageShape(channels=1, height=8, width=8), 10, ('0', '1'))
    """
    train = to_images(images)
    numbers, test_numbers, classes = _numbered("labels", labels, test_labels)
    places, test_places, names = _numbered("domains", domains, test_domains)
    test = train[:0] if test_images is None else to_images(test_images, "test_images")
    whole = Dataset(
        name,
        train,
        numbers,
        test,
        test_numbers,
        classes,
        places,
        test_places,
        names,
        train_ids=_words("ids", ids),
        test_ids=_words("test_ids", test_ids),
    )
    return whole if test_images is not None or test_fraction == 0 else held_out(whole, test_fraction)


def held_out(data: Dataset, test_size: float | int) -> Dataset:
    """Hold out a seeded share or number of the training images for evaluation, each class in proportion.

    Images without a label cannot be evaluated on: where others have one, they all stay for training.
    What is left is the training part from then on.
    """
    from sklearn.model_selection import train_test_split

    _check_classes(data)
    labelled, bare = _by_label(data)
    classes = _at(data.train_labels, labelled)
    try:
        train, test = train_test_split(labelled.numpy(), test_size=test_size, random_state=0, stratify=classes)
    except ValueError:
        raise DataError(
            f"{data.name}: cannot hold out {test_size} of {len(labelled)} images of {len(data.classes)} classes, each"
            " in proportion; give more images or another data.test_fraction"
        ) from None
    rows = torch.from_numpy(test)
    # The numbers of the whole stay what they are called by.
    data = replace(data, train_ids=data.ids(Part.TRAIN))
    return replace(
        data.keeping(torch.cat([torch.from_numpy(train), bare])),
        test_images=data.train_images[rows],
        test_labels=_at(data.train_labels, rows),
        test_domains=_at(data.train_domains, rows),
        test_ids=_words_at(data.train_ids, rows),
        kept=None,
    )


def _by_label(data: Dataset) -> tuple[Tensor, Tensor]:
    """Rows of the training images that have a label, and of those that have none; all are the former if none has."""
    rows = torch.arange(len(data.train_images))
    known = None if data.train_labels is None else data.train_labels >= 0
    return (rows, rows[:0]) if known is None or not known.any() else (rows[known], rows[~known])


def _check_classes(data: Dataset) -> None:
    if data.train_labels is None:
        return
    names, counts = data.train_labels.unique(return_counts=True)
    for name in names[(counts < 2) & (names >= 0)]:
        raise DataError(
            f"{data.name}: class '{data.classes[name]}' has one image, so none can be held out for testing; add"
            " another, or remove it"
        )
