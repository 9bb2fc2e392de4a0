"""Tiny files in the on-disk formats of the published data sets.

Torchvision reads files with the published checksums only. ``publish`` gives a class the checksums of ours: every test
that reads them says so.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision import datasets

from couplings.train.idx import FILES

RANDOM = np.random.default_rng(0)
CIFAR = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}


def random_bytes(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, zipped: bool = True) -> np.ndarray:
    """The four files of Fashion-MNIST with 20 and 10 images; returns the training images."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = random_bytes(20, 28, 28), np.arange(20, dtype=np.uint8) % 10
    for name, array in zip(FILES, (images, labels, images[:10], labels[:10]), strict=True):
        path = folder / (name + (".gz" if zipped else ""))
        path.write_bytes(gzip.compress(_idx(array)) if zipped else _idx(array))
    return images


def write_cifar(folder: Path, name: str, each: int = 4) -> None:
    """All pickled files of CIFAR-10 or CIFAR-100, each with ``each`` images a class."""
    kind = CIFAR[name]
    count, key = (10, "labels") if name == "cifar10" else (100, "fine_labels")
    place = folder / kind.base_folder
    place.mkdir()
    for file, _ in [*kind.train_list, *kind.test_list]:
        labels = [row % count for row in range(count * each)]
        (place / file).write_bytes(pickle.dumps({"data": random_bytes(len(labels), 3072), key: labels}))
    names = [f"kind {number}" for number in range(count)]
    (place / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: names}))


def write_stl10(folder: Path) -> None:
    """10 labelled, 5 unlabelled and 10 test images of 96 x 96 pixels."""
    place = folder / datasets.STL10.base_folder
    place.mkdir()
    for part, count in (("train", 10), ("test", 10), ("unlabeled", 5)):
        (place / f"{part}_X.bin").write_bytes(random_bytes(count, 3, 96, 96).tobytes())
        (place / f"{part}_y.bin").write_bytes(bytes(range(1, count + 1)))
    (place / datasets.STL10.class_names_file).write_text("".join(f"kind {number}\n" for number in range(10)))


def write_svhn(folder: Path) -> None:
    """20 training and 20 test images; the digit 0 is written as 10."""
    for split in ("train", "test"):
        labels = np.arange(20)[:, None] % 10 + 1
        scipy.io.savemat(folder / f"{split}_32x32.mat", {"X": random_bytes(32, 32, 3, 20), "y": labels})


def write_images(folder: Path, count: int, size: tuple[int, int] = (9, 9), mode: str = "RGB") -> None:
    """Image files ``0.png``, ``1.png`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(count):
        pixels = random_bytes(size[1], size[0], 3) if mode == "RGB" else random_bytes(size[1], size[0])
        Image.fromarray(pixels).save(folder / f"{row}.png")


def publish(monkeypatch: pytest.MonkeyPatch, kind: Any, folder: Path) -> None:
    """Make torchvision take the files in ``folder`` for the published ones of ``kind``."""
    if hasattr(kind, "split_list"):
        ours = {split: ["", f"{split}_32x32.mat", _md5(folder / f"{split}_32x32.mat")] for split in ("train", "test")}
        monkeypatch.setattr(kind, "split_list", ours)
        return
    place = folder / kind.base_folder
    for attribute in ("train_list", "test_list"):
        listed = [[name, _md5(place / name)] for name, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, listed)
    if hasattr(kind, "meta"):
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": _md5(place / kind.meta["filename"])})


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
