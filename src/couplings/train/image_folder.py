"""Images in folders: CLASS/image, DOMAIN/CLASS/image, or images alone, in parts for training and testing or in none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from couplings.basics.errors import warn
from couplings.system.image_files import MOST_PIXELS, UnreadableImage, read_image
from couplings.train.data import Dataset, Part, held_out
from couplings.train.errors import DataError
from couplings.train.image_layout import places_of

__all__ = ["Found", "read_folder", "read_images"]

_NAMED = 10
"""Files that a message names."""


class Found(NamedTuple):
    """Images ``(n, c, h, w)``, and of each what its path says; a list is None where it says so of no image.

    ``ids`` are the paths relative to the folder.
    """

    images: Tensor
    ids: tuple[str, ...]
    parts: list[Part] | None
    classes: list[str | None] | None
    domains: list[str | None] | None
    paths: list[Path]


def read_folder(
    folder: Path, size: int | None, test_fraction: float, domains: bool, most_pixels: int = MOST_PIXELS
) -> Dataset:
    """The images below a folder; those of its parts for training and testing, or a share of them held out.

    Args:
        folder: as :func:`read_images` takes.
        size: resize the shorter side to it and keep the centre; None wants images of one size.
        test_fraction: share held out where there is no part for testing.
        domains: the first level of folders, in each part, are domains.
        most_pixels: of the largest image that is decoded.

    Raises:
        DataError: no images, another layout, files that cannot be read, or several sizes and no ``size``.
    """
    found = read_images(folder, size, domains, most_pixels)
    labels, classes = _numbers(found.classes)
    places, names = _numbers(found.domains)
    test = torch.tensor([part is Part.TEST for part in found.parts or ()] or [False] * len(found.ids))
    train, rest = (~test).nonzero()[:, 0], test.nonzero()[:, 0]
    whole = Dataset(
        name=_printable(folder.name),
        train_images=found.images[train],
        train_labels=None if labels is None else labels[train],
        test_images=found.images[rest],
        test_labels=None if labels is None else labels[rest],
        classes=classes,
        train_domains=None if places is None else places[train],
        test_domains=None if places is None else places[rest],
        domain_names=names,
        train_ids=tuple(found.ids[row] for row in train),
        test_ids=tuple(found.ids[row] for row in rest),
    )
    return whole if len(rest) else held_out(whole, test_fraction)


def read_images(folder: Path, size: int | None, domains: bool = False, most_pixels: int = MOST_PIXELS) -> Found:
    """All images below a folder, in the order of their paths; links to folders are followed.

    Args:
        folder: holds ``CLASS/image``, or with ``domains`` ``DOMAIN/CLASS/image``, or images and no folders; or folders
            ``train`` and ``test`` (or ``val``) that do.
        size: resize the shorter side to it and keep the centre; None wants images of one size.
        domains: the first level of folders, in each part, are domains.
        most_pixels: of the largest image that is decoded.

    Raises:
        DataError: no images, another layout, files that cannot be read, or several sizes and no ``size``.

    Warns:
        CouplingWarning: files of other kinds, which are left out.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    files = sorted(_files(folder))
    paths = [path for path in files if path.suffix.lower() in IMG_EXTENSIONS]
    if not paths:
        raise DataError(f"{folder} holds no images ({', '.join(IMG_EXTENSIONS)})")
    _tell_left_out(folder, [path for path in files if path.suffix.lower() not in IMG_EXTENSIONS], IMG_EXTENSIONS)
    places = places_of(folder, paths, domains)
    images = _stack(_decoded(paths, size, most_pixels), paths)
    parts, classes, kinds = zip(*places, strict=True)
    return Found(
        images,
        tuple(_printable(path.relative_to(folder).as_posix()) for path in paths),
        list(parts) if any(parts) else None,
        _printables(classes),
        _printables(kinds),
        paths,
    )


def _files(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """All below a folder that is no folder; a link to a folder that it lies in is not followed."""
    here = folder.stat()
    inside = above | {(here.st_dev, here.st_ino)}
    for path in folder.iterdir():
        if not path.is_dir():
            yield path
        elif (path.stat().st_dev, path.stat().st_ino) not in inside:
            yield from _files(path, inside)


def _tell_left_out(folder: Path, paths: Sequence[Path], known: Sequence[str]) -> None:
    kinds = Counter(path.suffix.lower() or path.name for path in paths if not path.name.startswith("."))
    if kinds:
        named = ", ".join(f"{_printable(kind)} ({count})" for kind, count in sorted(kinds.items()))
        warn(f"{_printable(str(folder))}: files that are none of {', '.join(known)} are left out: {named}")


def _decoded(paths: Sequence[Path], size: int | None, most_pixels: int) -> list[Tensor]:
    """All of them, or one message about those that cannot be."""
    with _our_own_limit(), ThreadPoolExecutor() as pool:
        found = list(pool.map(partial(_read_image, size=size, most_pixels=most_pixels), paths))
    bad = [(path, image) for path, image in zip(paths, found, strict=True) if isinstance(image, UnreadableImage)]
    if bad:
        named = [f"{path} ({reason})" for path, reason in bad[:_NAMED]]
        more = f" and {len(bad) - _NAMED:,} more" if len(bad) > _NAMED else ""
        if len(bad) == 1:
            raise DataError(f"{bad[0][0]} is not a readable image ({bad[0][1]}); repair or remove it")
        raise DataError(f"{len(bad):,} files are not readable images: {', '.join(named)}{more}; repair or remove them")
    return [image for image in found if isinstance(image, Tensor)]


@contextmanager
def _our_own_limit() -> Iterator[None]:
    """Pillow warns of large pictures and reads them; ours are refused before."""
    from PIL import Image

    theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = theirs


def _read_image(path: Path, size: int | None, most_pixels: int) -> Tensor | UnreadableImage:
    """uint8 ``(c, h, w)``; with a ``size``, the shorter side is resized to it and the centre is kept."""
    from torchvision.transforms.v2 import functional as transforms

    try:
        plain = read_image(path, most_pixels)
    except UnreadableImage as error:
        return error
    if size is not None:
        plain = transforms.center_crop(transforms.resize(plain, [size], antialias=True), [size, size])
    found: Tensor = transforms.pil_to_tensor(plain)
    return found


def _stack(images: list[Tensor], paths: list[Path]) -> Tensor:
    channels = max(image.shape[0] for image in images)
    for image, path in zip(images, paths, strict=True):
        if image.shape[1:] != images[0].shape[1:]:
            first, other = tuple(images[0].shape[1:]), tuple(image.shape[1:])
            raise DataError(f"{path} is {other} pixels, {paths[0]} is {first}; set data.size, e.g. --set data.size=64")
    return torch.stack([image.expand(channels, -1, -1) for image in images])


def _numbers(words: Sequence[str | None] | None) -> tuple[Tensor | None, tuple[str, ...]]:
    """Numbers of words in their order, -1 for none, and the words."""
    if words is None:
        return None, ()
    names = sorted({word for word in words if word is not None})
    place = {name: number for number, name in enumerate(names)}
    return torch.tensor([-1 if word is None else place[word] for word in words]), tuple(names)


def _printables(names: Sequence[str | None]) -> list[str | None] | None:
    return None if not any(names) else [None if name is None else _printable(name) for name in names]


def _printable(name: str) -> str:
    r"""Bytes of a name that are no UTF-8 are written as \xe9."""
    return os.fsencode(name).decode(errors="backslashreplace")
