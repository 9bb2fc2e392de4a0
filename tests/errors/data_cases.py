"""Images that are missing, damaged, or do not fit the settings."""

from __future__ import annotations

import gzip
import os
import struct
from urllib.error import URLError

import numpy as np
from case import Group, Place, Prepare, maker
from material import arrays, cut, folder, gone, patched, picture, raising, text
from stock import IMAGES, LABELS, PIXELS, TINY

_case = maker(Group.DATA)
_OWN = f"train {TINY}"
_PICTURES = "train --data images --data-folder pictures --steps 2 --batch-size 2"
_CLOTHES = "train --data fashion-mnist --data-folder clothes"
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _clothes(place: Place) -> None:
    """The four files of Fashion-MNIST, with two images."""
    (place.folder / "clothes").mkdir()
    for name in _IDX:
        sizes = (2, 28, 28) if "images" in name else (2,)
        data = struct.pack(f">I{len(sizes)}I", 0x800 + len(sizes), *sizes) + bytes(int(np.prod(sizes)))
        (place.folder / "clothes" / f"{name}.gz").write_bytes(gzip.compress(data))


def _first(data: bytes) -> Prepare:
    """Another content for the first of the four files."""
    return lambda place: (place.folder / "clothes" / f"{_IDX[0]}.gz").write_bytes(data)


def _cifar(place: Place) -> None:
    """Files by the names of CIFAR-10's, with another content."""
    base = place.folder / "cifar" / "cifar-10-batches-py"
    base.mkdir(parents=True)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
        (base / name).write_bytes(b"damaged")


def _pipe(place: Place) -> None:
    os.mkfifo(place.folder / IMAGES)


def _pickled(place: Place) -> None:
    np.savez(place.folder / IMAGES, images=np.array([{"a": 1}, None], dtype=object))


def _no_images(place: Place) -> None:
    np.savez(place.folder / IMAGES, pixels=PIXELS, labels=LABELS)


_SPOTTED = PIXELS / 255
_SPOTTED[3, 2, 2] = np.nan
_SOME_UNKNOWN = np.where(np.arange(40) < 5, -1, LABELS)
_LONELY = np.where(np.arange(40) == 7, 2, LABELS)
_TEST = {"test_images": PIXELS[:4], "test_labels": LABELS[:4]}

DATA = (
    _case("a folder that is not there", _PICTURES, "data.folder pictures", "--data-folder"),
    _case(
        "a file for a folder of images", _PICTURES, "data.folder pictures is a file", "--data-folder", text("pictures")
    ),
    _case("`--data images` without a folder", "train --data images", "data.folder images", "--data-folder"),
    _case("an empty folder", _PICTURES, "pictures", "no images (.jpg", folder("pictures")),
    _case("a text file named .png", _PICTURES, "pictures/a.png", "repair or remove it", text("pictures/a.png")),
    _case(
        "a picture that is cut short",
        _PICTURES,
        "pictures/0.png",
        "repair or remove it",
        picture("pictures/", (64, 64)),
        cut("pictures/0.png"),
    ),
    _case(
        "two pictures that cannot be read",
        _PICTURES,
        "2 pictures/a.png pictures/b.png",
        "repair or remove them",
        text("pictures/a.png"),
        text("pictures/b.png"),
    ),
    _case(
        "a picture of more pixels than are decoded",
        f"{_PICTURES} --set data.max_pixels=4000",
        "pictures/0.png 64 4,000",
        "raise data.max_pixels",
        picture("pictures/", (64, 64)),
    ),
    _case(
        "pictures of different sizes",
        _PICTURES,
        "pictures/b0.png",
        "--set data.size=64",
        picture("pictures/a"),
        picture("pictures/b", (9, 8)),
    ),
    _case(
        "a picture beside the folders of classes",
        _PICTURES,
        "pictures/0.png",
        "move it into one of them",
        picture("pictures/ant/", count=3),
        picture("pictures/"),
    ),
    _case(
        "a class with one picture, none of which can be held out",
        _PICTURES,
        "pictures 'bee'",
        "add another, or remove it",
        picture("pictures/ant/", count=9),
        picture("pictures/bee/"),
    ),
    _case(
        "`data.domains` where pictures lie in CLASS/ only",
        f"{_PICTURES} --set data.domains=true",
        "pictures/ant/0.png DOMAIN/CLASS/",
        "set data.domains=false",
        picture("pictures/ant/", count=3),
    ),
    _case(
        "a folder `test` without images",
        _PICTURES,
        "pictures/test",
        "no images",
        picture("pictures/train/ant/", count=3),
        folder("pictures/test"),
    ),
    _case(
        "parts of three purposes",
        _PICTURES,
        "pictures test/ val/",
        "move the other away",
        *(picture(f"pictures/{part}/ant/") for part in ("train", "val", "test")),
    ),
    _case("an .npz file that is not there", _OWN, "data.folder images.npz", "--data-folder"),
    _case("a folder for an .npz file", _OWN, "images.npz", "numpy.savez", folder(IMAGES)),
    _case("a pipe for an .npz file", _OWN, "images.npz", "numpy.savez", _pipe),
    _case("a text file named .npz", _OWN, "images.npz", "numpy.savez", text(IMAGES)),
    _case("an .npz file that is cut short", _OWN, "images.npz", "numpy.savez", arrays(), cut(IMAGES)),
    _case("an .npz file of pickled objects, which are never loaded", _OWN, "images.npz", "dtype=str", _pickled),
    _case("an .npz file without an array of images", _OWN, "images.npz 'images' 'pixels'", "rename", _no_images),
    _case("images that hold NaN", _OWN, "images NaN 3", "finite", arrays(images=_SPOTTED)),
    _case("pixels from 0 to 254 as floats", _OWN, "images floats", "divide them by 255", arrays(images=PIXELS * 1.0)),
    _case(
        "images of a wrong shape", _OWN, "images (40, 64)", "must be (n, h, w)", arrays(images=PIXELS.reshape(40, 64))
    ),
    _case("images with 5 channels", _OWN, "images 5", "1 or 3 channels", arrays(images=np.zeros((9, 5, 8, 8)))),
    _case("no image at all", _OWN, "images 0", "at least 2", arrays(images=PIXELS[:0], labels=None)),
    _case("labels of another length", _OWN, "images 39 labels", "one each", arrays(labels=LABELS[:-1])),
    _case("labels that are no integers", _OWN, "labels 0.5", "dtype=str", arrays(labels=LABELS * 0.5)),
    _case(
        "test images of another size",
        _OWN,
        "images",
        "training images are (1, 8, 8), test images (1, 9, 9)",
        arrays(test_images=np.zeros((4, 9, 9)), test_labels=LABELS[:4]),
    ),
    _case("domains of another length", _OWN, "images 3 domains", "one each", arrays(domains=LABELS[:3])),
    _case("Fashion-MNIST's files are missing", _CLOTHES, "fashion-mnist clothes", "--download", folder("clothes")),
    _case(
        "one of its four files is missing",
        _CLOTHES,
        "clothes",
        f"lacks {_IDX[3]}",
        _clothes,
        gone(f"clothes/{_IDX[3]}.gz"),
    ),
    _case("an idx file that is cut short", _CLOTHES, _IDX[0], "fetch it again", _clothes, cut(f"clothes/{_IDX[0]}.gz")),
    _case(
        "an idx file with fewer images than it says",
        _CLOTHES,
        f"{_IDX[0]} 1568",
        "fetch it again",
        _clothes,
        _first(gzip.compress(struct.pack(">IIII", 0x803, 2, 28, 28))),
    ),
    _case(
        "an idx file with another magic number",
        _CLOTHES,
        _IDX[0],
        "fetch it again",
        _clothes,
        _first(gzip.compress(b"IDX!")),
    ),
    _case(
        "CIFAR-10's files are missing",
        "train --data cifar10 --data-folder cifar",
        "cifar10 cifar data_batch_1",
        "--download",
    ),
    _case(
        "CIFAR-10's files are damaged (a pickle with another checksum is not opened)",
        "train --data cifar10 --data-folder cifar",
        "cifar10 data_batch_1 checksum",
        "--download",
        _cifar,
    ),
    _case(
        "CIFAR-100's files are missing",
        "train --data cifar100 --data-folder c",
        "cifar100 train",
        "--download",
        folder("c"),
    ),
    _case(
        "STL-10's files are missing",
        "train --data stl10 --data-folder stl",
        "stl10 train_X.bin",
        "--download",
        folder("stl"),
    ),
    _case(
        "SVHN's files are missing",
        "train --data svhn --data-folder svhn",
        "svhn train_32x32.mat",
        "--download",
        folder("svhn"),
    ),
    _case(
        "SVHN's files are damaged",
        "train --data svhn --data-folder svhn",
        "svhn train_32x32.mat checksum",
        "--download",
        text("svhn/train_32x32.mat"),
    ),
    _case(
        "`--download` without a network",
        "train --data cifar10 --data-folder cifar --download",
        "cifar10 cifar",
        "network",
        patched("urllib.request.urlopen", raising(URLError("no route to host"))),
    ),
    _case(
        "`data.imbalance` without labels",
        f"{_OWN} --set data.imbalance=linear",
        "data.imbalance",
        "leave it out",
        arrays(labels=None),
    ),
    _case(
        "`pairs.labels` without labels",
        f"{_OWN} --set pairs.labels=true",
        "pairs.labels",
        "leave pairs.labels out",
        arrays(labels=None),
    ),
    _case(
        "positives of a class without labels",
        f"{_OWN} --set pairs.positives=class",
        "pairs.positives=class",
        "leave pairs.positives=class out",
        arrays(labels=None),
    ),
    _case(
        "positives of a class, some images without a label",
        f"{_OWN} --set pairs.positives=class",
        "pairs.positives=class 5 -1",
        "train on the labelled ones",
        arrays(labels=_SOME_UNKNOWN, **_TEST),
    ),
    _case(
        "positives of a class that has one image",
        f"{_OWN} --set pairs.positives=class",
        "pairs.positives=class '2'",
        "raise data.limit",
        arrays(labels=_LONELY, **_TEST),
    ),
    _case(
        "`pairs.domains` without domains",
        f"{_OWN} --loss gca-ince --set pairs.domains=true --set 'loss.target={{within: 1, across: 0.5}}'",
        "pairs.domains",
        "data.domains=true",
        arrays(),
    ),
    _case(
        "more images a batch than there are",
        "train --batch-size 5000",
        "batch_size 5000 1297",
        "lower it",
    ),
    _case("`--limit 1`", f"{_OWN} --limit 1", "1", "at least 2", arrays()),
    _case("colours of grey images", f"{_OWN} --set views.hue=0.1", "views.hue 1", "set it to 0", arrays()),
    _case(
        "local views larger than the images",
        f"{_OWN} --set views.local.size=9",
        "views.local.size 9 8",
        "take 4",
        arrays(),
    ),
)
