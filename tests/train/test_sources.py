"""Every source reads files of its own on-disk format; the files here are tiny but otherwise real."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision import datasets

from couplings.train import DataConfig, DataError, load
from couplings.train import sources as sources_module
from couplings.train.config import DATA_NAMES
from couplings.train.idx import FILES
from couplings.train.sources import SOURCES

RANDOM = np.random.default_rng(0)


def test_every_name_has_a_source() -> None:
    assert set(SOURCES) == set(DATA_NAMES)


def _bytes(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def _write_idx(folder: Path, zipped: bool) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    images = _bytes(20, 28, 28)
    labels = np.arange(20, dtype=np.uint8) % 10
    for name, array in zip(FILES, (images, labels, images[:10], labels[:10]), strict=True):
        data = _idx(array)
        path = folder / (name + (".gz" if zipped else ""))
        path.write_bytes(gzip.compress(data) if zipped else data)
    return images


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_idx_files_are_read_compressed_or_not(tmp_path: Path, zipped: bool, below: str) -> None:
    images = _write_idx(tmp_path / below, zipped)
    data = load(DataConfig(name="fashion-mnist", folder=tmp_path))
    assert np.array_equal(data.train_images[:, 0].numpy(), images)
    assert data.train_labels is not None
    assert data.train_labels.tolist() == [row % 10 for row in range(20)]
    assert data.classes[9] == "ankle boot"
    assert len(data.test_images) == 10


def test_the_debian_folder_is_found_without_being_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _write_idx(tmp_path / "debian", zipped=True)
    monkeypatch.setattr(sources_module, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setattr(sources_module, "DEFAULT_FOLDER", tmp_path / "none")
    assert len(load(DataConfig(name="fashion-mnist")).train_images) == len(images)


def test_missing_fashion_mnist_says_which_command_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"apt-get install dataset-fashion-mnist.*--data-folder.*--download"):
        load(DataConfig(name="fashion-mnist", folder=tmp_path))


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    _write_idx(tmp_path, zipped=True)
    (tmp_path / (FILES[1] + ".gz")).unlink()
    with pytest.raises(DataError, match=f"lacks {FILES[1]}"):
        load(DataConfig(name="fashion-mnist", folder=tmp_path))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "header", "longer"])
def test_a_damaged_idx_file_is_named(tmp_path: Path, zipped: bool, damage: str) -> None:
    _write_idx(tmp_path, zipped)
    path = tmp_path / (FILES[0] + (".gz" if zipped else ""))
    whole = path.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "noise": b"certainly not an idx file",
        "header": whole[:7],
        "longer": gzip.compress(gzip.decompress(whole) + b"x") if zipped else whole + b"x",
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=f"{FILES[0]}.*fetch it again"):
        load(DataConfig(name="fashion-mnist", folder=tmp_path))


def _register(monkeypatch: pytest.MonkeyPatch, kind: type, attribute: str, folder: Path) -> None:
    """Make torchvision accept our tiny files: the checksums of ``kind`` become theirs."""
    listed = [[name, hashlib.md5((folder / name).read_bytes()).hexdigest()] for name, _ in getattr(kind, attribute)]
    monkeypatch.setattr(kind, attribute, listed)


@pytest.mark.parametrize(("name", "kind"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type) -> None:
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    coarse = name == "cifar10"
    for file, _ in [*kind.train_list, *kind.test_list]:
        labels = {"labels" if coarse else "fine_labels": [0, 1, 2, 1]}
        (folder / file).write_bytes(pickle.dumps({"data": _bytes(4, 3072), **labels}))
    meta = kind.meta
    (folder / meta["filename"]).write_bytes(pickle.dumps({meta["key"]: ["ant", "bee", "cat"]}))
    md5 = hashlib.md5((folder / meta["filename"]).read_bytes()).hexdigest()
    monkeypatch.setattr(kind, "meta", {**meta, "md5": md5})
    _register(monkeypatch, kind, "train_list", folder)
    _register(monkeypatch, kind, "test_list", folder)
    data = load(DataConfig(name=name, folder=tmp_path))
    assert tuple(data.train_images.shape) == (20 if coarse else 4, 3, 32, 32)
    assert tuple(data.test_images.shape) == (4, 3, 32, 32)
    assert data.classes == ("ant", "bee", "cat")


def test_stl10_trains_on_unlabelled_images_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = datasets.STL10
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    for part, count in (("train", 4), ("test", 3), ("unlabeled", 5)):
        (folder / f"{part}_X.bin").write_bytes(_bytes(count, 3, 96, 96).tobytes())
        (folder / f"{part}_y.bin").write_bytes(bytes(range(1, count + 1)))
    (folder / kind.class_names_file).write_text("airplane\nbird\n")
    _register(monkeypatch, kind, "train_list", folder)
    _register(monkeypatch, kind, "test_list", folder)
    data = load(DataConfig(name="stl10", folder=tmp_path, size=64))
    assert tuple(data.train_images.shape) == (9, 3, 64, 64)
    assert data.train_labels is not None
    assert data.train_labels.tolist() == [0, 1, 2, 3, -1, -1, -1, -1, -1]


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_list = dict(datasets.SVHN.split_list)
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        scipy.io.savemat(path, {"X": _bytes(32, 32, 3, 4), "y": np.array([[1], [10], [2], [1]])})
        split_list[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    data = load(DataConfig(name="svhn", folder=tmp_path))
    assert tuple(data.train_images.shape) == (4, 3, 32, 32)
    assert data.train_labels is not None
    assert data.train_labels.tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "svhn"])
def test_missing_files_say_what_fetches_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: not complete in .*--download") as error:
        load(DataConfig(name=name, folder=tmp_path))
    assert "You can use" not in str(error.value)


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "svhn"])
def test_no_network_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(DataError, match=f"{name}: download into .*no route to host.*is there a network"):
        load(DataConfig(name=name, folder=tmp_path / "new", download=True))
    assert not list(tmp_path.iterdir())


def _save_images(folder: Path, count: int, size: tuple[int, int] = (9, 9), mode: str = "RGB") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(count):
        pixels = _bytes(size[1], size[0], 3) if mode == "RGB" else _bytes(size[1], size[0])
        Image.fromarray(pixels).save(folder / f"{row}.png")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_of_classes_is_split_for_evaluation(tmp_path: Path, mode: str) -> None:
    for name in ("ant", "bee"):
        _save_images(tmp_path / name, 10, mode=mode)
    data = load(DataConfig(name="images", folder=tmp_path, test_fraction=0.3))
    assert tuple(data.train_images.shape) == (14, 3 if mode == "RGB" else 1, 9, 9)
    assert len(data.test_images) == 6
    assert data.classes == ("ant", "bee")


def test_grey_and_coloured_files_mix(tmp_path: Path) -> None:
    _save_images(tmp_path / "grey", 5, mode="L")
    _save_images(tmp_path / "colour", 5)
    assert load(DataConfig(name="images", folder=tmp_path)).shape.channels == 3


def test_train_and_test_folders_are_used_as_they_are(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        for name in ("ant", "bee"):
            _save_images(tmp_path / part / name, count)
    data = load(DataConfig(name="images", folder=tmp_path))
    assert (len(data.train_images), len(data.test_images)) == (8, 4)


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    _save_images(tmp_path, 10)
    data = load(DataConfig(name="images", folder=tmp_path))
    assert data.train_labels is None
    assert len(data.train_images) == 8


def test_images_of_different_sizes_want_a_size(tmp_path: Path) -> None:
    _save_images(tmp_path / "ant", 5)
    _save_images(tmp_path / "bee", 5, size=(20, 12))
    with pytest.raises(DataError, match=r"0\.png is \(12, 20\) pixels.*set data\.size"):
        load(DataConfig(name="images", folder=tmp_path))
    assert load(DataConfig(name="images", folder=tmp_path, size=8)).shape == (3, 8, 8)


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    _save_images(tmp_path / "ant", 3)
    path = tmp_path / "ant" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"1\.png is not a readable image"):
        load(DataConfig(name="images", folder=tmp_path))
    path.write_text("no image at all")
    with pytest.raises(DataError, match=r"1\.png is not a readable image"):
        load(DataConfig(name="images", folder=tmp_path))


@pytest.mark.parametrize("name", ["images", "npz"])
def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"data\.folder: .*absent does not exist"):
        load(DataConfig(name=name, folder=tmp_path / "absent"))


def test_a_folder_without_images_and_a_stray_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        load(DataConfig(name="images", folder=tmp_path))
    _save_images(tmp_path / "ant", 2)
    _save_images(tmp_path, 1)
    with pytest.raises(DataError, match=r"0\.png lies beside folders of classes"):
        load(DataConfig(name="images", folder=tmp_path))


@pytest.mark.parametrize("keys", sources_module._NPZ_KEYS)
def test_npz_with_its_own_test_images(tmp_path: Path, keys: tuple[str, ...]) -> None:
    arrays = (_bytes(6, 8, 8, 3), np.arange(6)[:, None], _bytes(4, 8, 8, 3), np.arange(4)[:, None])
    np.savez(tmp_path / "a.npz", **dict(zip(keys, arrays, strict=True)))
    data = load(DataConfig(name="npz", folder=tmp_path / "a.npz"))
    assert (len(data.train_images), len(data.test_images)) == (6, 4)
    assert np.array_equal(data.train_images.numpy(), arrays[0].transpose(0, 3, 1, 2))


def test_npz_without_labels_or_test_images_is_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=_bytes(10, 8, 8))
    data = load(DataConfig(name="npz", folder=tmp_path / "a.npz"))
    assert (len(data.train_images), len(data.test_images), data.train_labels) == (8, 2, None)


def test_npz_with_pickled_objects_is_refused_unread(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{"pickled": 1}, None], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz is not an \.npz file of plain arrays .*allow_pickle"):
        load(DataConfig(name="npz", folder=tmp_path / "a.npz"))


@pytest.mark.parametrize("damage", ["cut", "noise", "npy"])
def test_damaged_npz_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=_bytes(10, 8, 8))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "noise":
        path.write_text("no arrays here")
    else:
        with path.open("wb") as file:
            np.save(file, _bytes(10, 8, 8))
    with pytest.raises(DataError, match=r"a\.npz is not an \.npz file"):
        load(DataConfig(name="npz", folder=path))


def test_npz_without_images_names_the_nearest_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=_bytes(10, 8, 8))
    with pytest.raises(DataError, match=r"no array 'images'.*it holds 'image': rename .* to 'images'"):
        load(DataConfig(name="npz", folder=tmp_path / "a.npz"))


def test_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=_bytes(10, 8, 8), labels=np.arange(9))
    with pytest.raises(DataError, match="10 training images but 9 training labels"):
        load(DataConfig(name="npz", folder=tmp_path / "a.npz"))


def test_loading_keeps_the_random_state(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    load(DataConfig(name="digits", limit=50))
    assert torch.equal(torch.get_rng_state(), before)
