"""Images in folders: CLASS/image, DOMAIN/CLASS/image, or images alone."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from couplings.train.data import Dataset, from_arrays, held_out
from couplings.train.errors import DataError

__all__ = ["Found", "read_folder", "read_images"]


class Found(NamedTuple):
    """Images ``(n, c, h, w)``, the names of the folders that they lie in where there are any, and their files."""

    images: Tensor
    classes: list[str] | None
    domains: list[str] | None
    paths: list[Path]


def read_folder(folder: Path, size: int | None, test_fraction: float, domains: bool) -> Dataset:
    """The images below a folder; those of its folders ``train`` and ``test``, or a share of them held out.

    Args:
        folder: holds ``CLASS/image``, or with ``domains`` ``DOMAIN/CLASS/image``, or images and no folders.
        size: resize the shorter side to it and keep the centre; None wants images of one size.
        test_fraction: share held out where there are not both ``train`` and ``test``.
        domains: the first level of folders are domains.

    Raises:
        DataError: no images, another layout, a file that cannot be read, or several sizes and no ``size``.
    """
    read = partial(read_images, size=size, domains=domains)
    parts = [folder / "train", folder / "test"]
    if not all(part.is_dir() for part in parts):
        found = read(folder)
        data = from_arrays(found.images, found.classes, domains=found.domains, name=folder.name)
        return held_out(data, test_fraction)
    train, test = map(read, parts)
    return from_arrays(
        train.images,
        train.classes,
        test.images,
        test.classes,
        domains=train.domains,
        test_domains=test.domains,
        name=folder.name,
    )


def read_images(folder: Path, size: int | None, domains: bool = False) -> Found:
    """All images below a folder, in the order of their paths.

    Args:
        folder: holds ``CLASS/image``, or with ``domains`` ``DOMAIN/CLASS/image``, or images and no folders.
        size: resize the shorter side to it and keep the centre; None wants images of one size.
        domains: the first level of folders are domains.

    Raises:
        DataError: no images, another layout, a file that cannot be read, or several sizes and no ``size``.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
    if not paths:
        raise DataError(f"{folder} holds no images ({', '.join(IMG_EXTENSIONS)})")
    inside = [path.relative_to(folder).parts for path in paths]
    depths = [len(parts) for parts in inside]
    if domains and min(depths) < 3:
        shallow = paths[depths.index(min(depths))]
        raise DataError(f"{shallow} is not in DOMAIN/CLASS/; move it there, or set data.domains=false")
    flat = min(depths) == 1
    if flat and max(depths) > 1:
        raise DataError(f"{paths[depths.index(1)]} lies beside folders of classes; move it into one of them")
    with ThreadPoolExecutor() as pool:
        images = _stack(list(pool.map(partial(_read_image, size=size), paths)), paths)
    classes = None if flat else [parts[1 if domains else 0] for parts in inside]
    return Found(images, classes, [parts[0] for parts in inside] if domains else None, paths)


def _read_image(path: Path, size: int | None) -> Tensor:
    """uint8 ``(c, h, w)``; with a ``size``, the shorter side is resized to it and the centre is kept."""
    from PIL import Image
    from torchvision.transforms.v2 import functional as transforms

    try:
        with Image.open(path) as image:
            plain = image.convert("L" if image.mode in ("1", "L") else "RGB")
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image ({error}); repair or remove it") from None
    if size is not None:
        plain = transforms.center_crop(transforms.resize(plain, [size], antialias=True), [size, size])
    return transforms.pil_to_tensor(plain)


def _stack(images: list[Tensor], paths: list[Path]) -> Tensor:
    channels = max(image.shape[0] for image in images)
    for image, path in zip(images, paths, strict=True):
        if image.shape[1:] != images[0].shape[1:]:
            first, other = tuple(images[0].shape[1:]), tuple(image.shape[1:])
            raise DataError(f"{path} is {other} pixels, {paths[0]} is {first}; set data.size, e.g. --set data.size=64")
    return torch.stack([image.expand(channels, -1, -1) for image in images])
