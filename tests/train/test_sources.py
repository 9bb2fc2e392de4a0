"""Every source reads files of its own on-disk format; the files here are tiny but otherwise real."""

from __future__ import annotations

import gzip
import pickle
import urllib.error
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from disk_files import CIFAR, publish, random_bytes, write_cifar, write_idx, write_stl10, write_svhn
from torchvision import datasets

from couplings.train import DataConfig, DataError, load
from couplings.train import sources as sources_module
from couplings.train.config import DATA_NAMES
from couplings.train.idx import FILES
from couplings.train.sources import SOURCES


def test_every_name_has_a_source() -> None:
    assert set(SOURCES) == set(DATA_NAMES)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_idx_files_are_read_compressed_or_not(tmp_path: Path, zipped: bool, below: str) -> None:
    images = write_idx(tmp_path / below, zipped)
    data = load(DataConfig(name="fashion-mnist", folder=tmp_path))
    assert np.array_equal(data.train_images[:, 0].numpy(), images)
    assert data.train_labels is not None
    assert data.train_labels.tolist() == [row % 10 for row in range(20)]
    assert data.classes[9] == "ankle boot"
    assert len(data.test_images) == 10


def test_the_debian_folder_is_found_without_being_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_idx(tmp_path / "debian", zipped=True)
    monkeypatch.setattr(sources_module, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setattr(sources_module, "DEFAULT_FOLDER", tmp_path / "none")
    assert len(load(DataConfig(name="fashion-mnist")).train_images) == len(images)


def test_missing_fashion_mnist_says_which_command_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"apt-get install dataset-fashion-mnist.*--data-folder.*--download"):
        load(DataConfig(name="fashion-mnist", folder=tmp_path))


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path, zipped=True)
    (tmp_path / (FILES[1] + ".gz")).unlink()
    with pytest.raises(DataError, match=f"lacks {FILES[1]}"):
        load(DataConfig(name="fashion-mnist", folder=tmp_path))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "header", "longer"])
def test_a_damaged_idx_file_is_named(tmp_path: Path, zipped: bool, damage: str) -> None:
    write_idx(tmp_path, zipped)
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


@pytest.mark.parametrize("name", list(CIFAR))
def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_cifar(tmp_path, name, each=2)
    publish(monkeypatch, CIFAR[name], tmp_path)
    data = load(DataConfig(name=name, folder=tmp_path))
    count, batches = (10, 5) if name == "cifar10" else (100, 1)
    assert tuple(data.train_images.shape) == (2 * count * batches, 3, 32, 32)
    assert tuple(data.test_images.shape) == (2 * count, 3, 32, 32)
    assert data.classes == tuple(f"kind {number}" for number in range(count))
    assert data.train_labels is not None
    assert data.train_labels.bincount().tolist() == [2 * batches] * count


def test_cifar_keeps_each_pixel_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, "cifar100", each=1)
    publish(monkeypatch, datasets.CIFAR100, tmp_path)
    rows = pickle.loads((tmp_path / "cifar-100-python" / "train").read_bytes())["data"]
    data = load(DataConfig(name="cifar100", folder=tmp_path))
    assert np.array_equal(data.train_images.numpy(), rows.reshape(-1, 3, 32, 32))


def test_stl10_trains_on_unlabelled_images_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stl10(tmp_path)
    publish(monkeypatch, datasets.STL10, tmp_path)
    data = load(DataConfig(name="stl10", folder=tmp_path, size=64))
    assert tuple(data.train_images.shape) == (15, 3, 64, 64)
    assert data.train_labels is not None
    assert data.train_labels.tolist() == [*range(10), -1, -1, -1, -1, -1]
    assert data.classes[9] == "kind 9"


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_svhn(tmp_path)
    publish(monkeypatch, datasets.SVHN, tmp_path)
    data = load(DataConfig(name="svhn", folder=tmp_path))
    assert tuple(data.train_images.shape) == (20, 3, 32, 32)
    assert data.train_labels is not None
    assert data.train_labels.tolist() == [*range(1, 10), 0] * 2
    assert data.classes == tuple("0123456789")


class _Harm:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_no_cifar_file_with_another_checksum_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    write_cifar(tmp_path, "cifar10", each=1)
    publish(monkeypatch, datasets.CIFAR10, tmp_path)
    harm = tmp_path / "harm"
    (tmp_path / "cifar-10-batches-py" / file).write_bytes(pickle.dumps(_Harm(harm)))
    with pytest.raises(DataError, match=rf"cifar10: .*{file} is damaged: its checksum is not the published one"):
        load(DataConfig(name="cifar10", folder=tmp_path))
    assert not harm.exists()


WRITERS = {
    "cifar10": (datasets.CIFAR10, partial(write_cifar, name="cifar10"), "cifar-10-batches-py/data_batch_2"),
    "cifar100": (datasets.CIFAR100, partial(write_cifar, name="cifar100", each=1), "cifar-100-python/train"),
    "stl10": (datasets.STL10, write_stl10, "stl10_binary/unlabeled_X.bin"),
    "svhn": (datasets.SVHN, write_svhn, "train_32x32.mat"),
}


@pytest.mark.parametrize("damage", ["cut", "missing"])
@pytest.mark.parametrize("name", list(WRITERS))
def test_a_cut_or_missing_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    kind, write, file = WRITERS[name]
    write(tmp_path)
    publish(monkeypatch, kind, tmp_path)
    path = tmp_path / file
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.unlink()
    word = "damaged: its checksum" if damage == "cut" else "missing"
    with pytest.raises(DataError, match=rf"{name}: .*\({file} is {word}.*--download"):
        load(DataConfig(name=name, folder=tmp_path))


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


@pytest.mark.parametrize("name", ["images", "npz"])
def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"data\.folder: .*absent does not exist"):
        load(DataConfig(name=name, folder=tmp_path / "absent"))


@pytest.mark.parametrize("keys", sources_module._NPZ_KEYS)
def test_npz_with_its_own_test_images(tmp_path: Path, keys: tuple[str, ...]) -> None:
    arrays = (random_bytes(6, 8, 8, 3), np.arange(6)[:, None], random_bytes(4, 8, 8, 3), np.arange(4)[:, None])
    np.savez(tmp_path / "a.npz", **dict(zip(keys, arrays, strict=True)))
    data = load(DataConfig(name="npz", folder=tmp_path / "a.npz"))
    assert (len(data.train_images), len(data.test_images)) == (6, 4)
    assert np.array_equal(data.train_images.numpy(), arrays[0].transpose(0, 3, 1, 2))


def test_npz_without_labels_or_test_images_is_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=random_bytes(10, 8, 8))
    data = load(DataConfig(name="npz", folder=tmp_path / "a.npz"))
    assert (len(data.train_images), len(data.test_images), data.train_labels) == (8, 2, None)


def test_npz_with_domains(tmp_path: Path) -> None:
    images, domains = random_bytes(10, 8, 8), np.array(["art", "photo"] * 5)
    np.savez(tmp_path / "a.npz", images=images, domains=domains)
    data = load(DataConfig(name="npz", folder=tmp_path / "a.npz"))
    assert data.domain_names == ("art", "photo")
    assert data.train_domains is not None
    assert data.test_domains is not None
    assert (len(data.train_domains), len(data.test_domains)) == (8, 2)
    np.savez(tmp_path / "b.npz", images=images, domains=domains, test_images=images, test_domains=domains[::-1])
    data = load(DataConfig(name="npz", folder=tmp_path / "b.npz"))
    assert data.test_domains is not None
    assert data.test_domains.tolist() == [1, 0] * 5


def test_npz_with_pickled_objects_is_refused_unread(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{"pickled": 1}, None], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz: 'images' holds pickled Python objects"):
        load(DataConfig(name="npz", folder=tmp_path / "a.npz"))


def test_arrays_that_nobody_asks_for_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=random_bytes(10, 8, 8), meta=np.array([{"pickled": 1}], dtype=object))
    assert len(load(DataConfig(name="npz", folder=tmp_path / "a.npz")).test_images) == 2


@pytest.mark.parametrize("damage", ["cut", "noise", "npy"])
def test_damaged_npz_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=random_bytes(10, 8, 8))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "noise":
        path.write_text("no arrays here")
    else:
        with path.open("wb") as file:
            np.save(file, random_bytes(10, 8, 8))
    with pytest.raises(DataError, match=r"a\.npz is no \.npz file"):
        load(DataConfig(name="npz", folder=path))


def test_npz_without_images_names_the_nearest_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=random_bytes(10, 8, 8))
    with pytest.raises(DataError, match=r"no array 'images'.*it holds 'image': rename .* to 'images'"):
        load(DataConfig(name="npz", folder=tmp_path / "a.npz"))


def test_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=random_bytes(10, 8, 8), labels=np.arange(9))
    with pytest.raises(DataError, match="10 training images but 9 training labels"):
        load(DataConfig(name="npz", folder=tmp_path / "a.npz"))


def test_loading_keeps_the_random_state(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    load(DataConfig(name="digits", limit=50))
    assert torch.equal(torch.get_rng_state(), before)
