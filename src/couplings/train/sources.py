"""Where images come from: scikit-learn's digits, torchvision's data sets, a folder, an .npz file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from couplings.system.image_files import MOST_PIXELS
from couplings.train.config import DataConfig
from couplings.train.data import Dataset, from_arrays, held_out, to_images
from couplings.train.errors import DataError
from couplings.train.folder import remove_empty
from couplings.train.idx import find_idx, read_idx
from couplings.train.image_folder import read_folder
from couplings.train.imbalance import SHARES, imbalanced
from couplings.train.npz import Npz

__all__ = ["load"]

DEFAULT_FOLDER = Path("data")
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def _digits(config: DataConfig) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Sixteen grey levels become bytes; 500 of the 1,797 images are for testing.
    whole = from_arrays(bunch.images / 16, bunch.target, name=config.name)
    return held_out(whole, 500)


def _fashion_mnist(config: DataConfig) -> Dataset:
    folder = config.folder or DEFAULT_FOLDER
    folders = [folder, folder / "FashionMNIST" / "raw"]
    files = find_idx(folders if config.folder else [*folders, DEBIAN_FASHION_MNIST])
    if files is None and config.download:
        _fetch("FashionMNIST", folder, {"train": True}, config.name)
        files = find_idx(folders)
    if files is None:
        raise DataError(
            f"fashion-mnist: its four idx files are not in {folder}; 'apt-get install dataset-fashion-mnist' puts"
            f" them into {DEBIAN_FASHION_MNIST} (--data-folder), or add --download to fetch them with torchvision"
        )
    images, labels, test_images, test_labels = map(read_idx, files)
    data = from_arrays(images, labels, test_images, test_labels, name=config.name)
    return replace(data, classes=CLOTHES) if len(data.classes) == len(CLOTHES) else data


def _fetch(kind: str, folder: Path, split: dict[str, Any], name: str, download: bool = True) -> Any:
    """One of torchvision's data sets, read if its files have the published checksums; its errors become ours."""
    from torchvision import datasets

    before = _folders(folder)
    try:
        return getattr(datasets, kind)(root=str(folder), download=download, **split)
    except (OSError, RuntimeError) as error:
        # Torchvision ends with advice in its own words, and leaves the folders that it made.
        reason = " ".join(str(error).split()).partition(". You can use")[0]
        for path in sorted(_folders(folder) - before, reverse=True):
            remove_empty([path])
        if download:
            raise DataError(f"{name}: download into {folder} failed ({reason}); is there a network?") from None
        reason = _first_flaw(getattr(datasets, kind), folder) or reason
        raise DataError(f"{name}: not complete in {folder} ({reason}); fetch it with --download") from None


def _first_flaw(kind: Any, folder: Path) -> str | None:
    """What is wrong with the first file that keeps torchvision from reading a data set."""
    from torchvision.datasets.utils import check_integrity

    if hasattr(kind, "split_list"):
        listed = [(folder / name, md5) for _, name, md5 in kind.split_list.values() if name != "extra_32x32.mat"]
    else:
        meta = getattr(kind, "meta", None)
        files = [*kind.train_list, *kind.test_list, *([(meta["filename"], meta["md5"])] if meta else [])]
        listed = [(folder / kind.base_folder / name, md5) for name, md5 in files]
    for path, md5 in listed:
        if not path.is_file():
            return f"{path.relative_to(folder)} is missing"
        if not check_integrity(str(path), md5):
            return f"{path.relative_to(folder)} is damaged: its checksum is not the published one"
    return None


def _folders(folder: Path) -> set[Path]:
    return {path for path in (folder, *folder.parents, *folder.glob("*"), *folder.glob("*/*")) if path.is_dir()}


def _torchvision(kind: str, splits: tuple[dict[str, Any], dict[str, Any]], config: DataConfig) -> Dataset:
    folder = config.folder or DEFAULT_FOLDER
    parts = [_fetch(kind, folder, split, config.name, config.download) for split in splits]
    train, test = (to_images(part.data, config.name) for part in parts)
    numbers = [torch.as_tensor(part.targets if hasattr(part, "targets") else part.labels) for part in parts]
    classes = getattr(parts[0], "classes", None) or [str(digit) for digit in range(10)]
    return Dataset(config.name, train, numbers[0].long(), test, numbers[1].long(), tuple(classes))


_TEST_FRACTION = 0.2
_NPZ_KEYS = (
    ("images", "labels", "test_images", "test_labels"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)


def _npz(config: DataConfig) -> Dataset:
    path = _existing(config)
    arrays = Npz(path)
    for keys in _NPZ_KEYS:
        if keys[0] in arrays:
            images, labels, test_images, test_labels = (arrays.get(key) for key in keys)
            more: dict[str, Any] = {key: arrays.get(key) for key in ("domains", "test_domains", "ids", "test_ids")}
            data = from_arrays(images, labels, test_images, test_labels, **more, name=path.stem)
            return data if len(data.test_images) else held_out(data, config.test_fraction or _TEST_FRACTION)
    raise DataError(
        f"{path} has no array 'images' (nor 'train_images' or 'x_train'); it holds {', '.join(map(repr, arrays))}:"
        " rename the one with the images to 'images'"
    )


def _existing(config: DataConfig) -> Path:
    assert config.folder is not None  # the config checks it
    if not config.folder.exists():
        what = "the folder of the images" if config.name == "images" else "the .npz file"
        raise DataError(f"data.folder: {config.folder} does not exist; --data-folder names {what}")
    return config.folder


def _image_folder(config: DataConfig) -> Dataset:
    folder = _existing(config)
    if not folder.is_dir():
        raise DataError(f"data.folder: {folder} is a file; --data-folder names the folder of the images")
    fraction, most = config.test_fraction or _TEST_FRACTION, config.max_pixels or MOST_PIXELS
    return read_folder(folder, config.size, fraction, config.domains, most)


def _arrays(config: DataConfig) -> Dataset:
    raise DataError("data.name 'arrays' stands for images given in Python; pass dataset=")


_TRAIN_TEST = ({"train": True}, {"train": False})

SOURCES: dict[str, Callable[[DataConfig], Dataset]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "cifar10": partial(_torchvision, "CIFAR10", _TRAIN_TEST),
    "cifar100": partial(_torchvision, "CIFAR100", _TRAIN_TEST),
    # The 100,000 unlabelled images (label -1) train the encoder, the labelled ones the probes.
    "stl10": partial(_torchvision, "STL10", ({"split": "train+unlabeled"}, {"split": "test"})),
    "svhn": partial(_torchvision, "SVHN", ({"split": "train"}, {"split": "test"})),
    "images": _image_folder,
    "npz": _npz,
    "arrays": _arrays,
}


def load(config: DataConfig) -> Dataset:
    """The images that a config names, thinned out, limited and resized as it says.

    Raises:
        DataError: files are missing (the message says what fetches them) or damaged (it names the file), or
            ``imbalance`` without labels.

    Example:
        >>> len(load(DataConfig(name="digits")).test_images)
        500
    """
    whole = SOURCES[config.name](config)
    data = whole if config.imbalance is None else imbalanced(whole, SHARES[config.imbalance])
    return data.limited(config.limit).resized(config.size)
