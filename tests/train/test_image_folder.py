from __future__ import annotations

from pathlib import Path

import pytest
from disk_files import write_images

from couplings.train import DataConfig, DataError, load


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_of_classes_is_split_for_evaluation(tmp_path: Path, mode: str) -> None:
    for name in ("ant", "bee"):
        write_images(tmp_path / name, 10, mode=mode)
    data = load(DataConfig(name="images", folder=tmp_path, test_fraction=0.3))
    assert tuple(data.train_images.shape) == (14, 3 if mode == "RGB" else 1, 9, 9)
    assert len(data.test_images) == 6
    assert data.classes == ("ant", "bee")


def test_grey_and_coloured_files_mix(tmp_path: Path) -> None:
    write_images(tmp_path / "grey", 5, mode="L")
    write_images(tmp_path / "colour", 5)
    assert load(DataConfig(name="images", folder=tmp_path)).shape.channels == 3


def test_train_and_test_folders_are_used_as_they_are(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        for name in ("ant", "bee"):
            write_images(tmp_path / part / name, count)
    data = load(DataConfig(name="images", folder=tmp_path))
    assert (len(data.train_images), len(data.test_images)) == (8, 4)


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    write_images(tmp_path, 10)
    data = load(DataConfig(name="images", folder=tmp_path))
    assert data.train_labels is None
    assert len(data.train_images) == 8


def test_images_of_different_sizes_want_a_size(tmp_path: Path) -> None:
    write_images(tmp_path / "ant", 5)
    write_images(tmp_path / "bee", 5, size=(20, 12))
    with pytest.raises(DataError, match=r"0\.png is \(12, 20\) pixels.*set data\.size"):
        load(DataConfig(name="images", folder=tmp_path))
    assert load(DataConfig(name="images", folder=tmp_path, size=8)).shape == (3, 8, 8)


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "ant", 3)
    path = tmp_path / "ant" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"1\.png is not a readable image"):
        load(DataConfig(name="images", folder=tmp_path))
    path.write_text("no image at all")
    with pytest.raises(DataError, match=r"1\.png is not a readable image"):
        load(DataConfig(name="images", folder=tmp_path))


def test_a_folder_without_images_and_a_stray_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        load(DataConfig(name="images", folder=tmp_path))
    write_images(tmp_path / "ant", 2)
    write_images(tmp_path, 1)
    with pytest.raises(DataError, match=r"0\.png lies beside folders of classes"):
        load(DataConfig(name="images", folder=tmp_path))


def _write_domains(folder: Path, each: int = 5) -> None:
    for domain in ("photo", "sketch"):
        for name in ("ant", "bee"):
            write_images(folder / domain / name, each)


def test_a_folder_of_domains(tmp_path: Path) -> None:
    _write_domains(tmp_path)
    data = load(DataConfig(name="images", folder=tmp_path, domains=True))
    assert (data.classes, data.domain_names) == (("ant", "bee"), ("photo", "sketch"))
    assert data.train_domains is not None
    assert data.test_domains is not None
    assert (len(data.train_domains), len(data.test_domains)) == (16, 4)
    assert (data.train_domains.bincount() + data.test_domains.bincount()).tolist() == [10, 10]


def test_domains_below_train_and_test(tmp_path: Path) -> None:
    _write_domains(tmp_path / "train", 3)
    write_images(tmp_path / "test" / "cartoon" / "bee", 2)
    data = load(DataConfig(name="images", folder=tmp_path, domains=True))
    assert data.domain_names == ("cartoon", "photo", "sketch")
    assert data.train_domains is not None
    assert data.train_labels is not None
    assert data.test_domains is not None
    assert data.train_domains.tolist() == [1] * 6 + [2] * 6
    assert data.train_labels.tolist() == ([0] * 3 + [1] * 3) * 2
    assert data.test_domains.tolist() == [0, 0]


@pytest.mark.parametrize("place", ["photo", "."])
def test_an_image_outside_of_domain_and_class_is_named(tmp_path: Path, place: str) -> None:
    _write_domains(tmp_path)
    write_images(tmp_path / place, 1)
    with pytest.raises(DataError, match=r"0\.png is not in DOMAIN/CLASS/.*data\.domains=false"):
        load(DataConfig(name="images", folder=tmp_path, domains=True))


def test_images_are_checked_for_their_place_before_they_are_read(tmp_path: Path) -> None:
    write_images(tmp_path / "ant", 2)
    (tmp_path / "stray.png").write_text("no image at all")
    with pytest.raises(DataError, match=r"stray\.png lies beside folders of classes"):
        load(DataConfig(name="images", folder=tmp_path))
