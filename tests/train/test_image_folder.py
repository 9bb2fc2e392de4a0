from __future__ import annotations

import os
from pathlib import Path

import pytest
from disk_files import write_images

from couplings import CouplingWarning
from couplings.train import DataConfig, DataError, Dataset, load
from couplings.train.data import Part


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


@pytest.mark.parametrize("grey", ["train", "test"])
def test_a_grey_part_and_a_coloured_part_mix(grey: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_images(tmp_path / part / "ant", 3, mode="L" if part == grey else "RGB")
    assert load(DataConfig(name="images", folder=tmp_path)).shape.channels == 3


def _read(folder: Path) -> Dataset:
    return load(DataConfig(name="images", folder=folder))


def _tops(data: Dataset, part: Part) -> set[str]:
    """The folders of the first level that the images of a part come from."""
    return {name.split("/")[0] for name in data.ids(part)}


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("train", "val"), ("train", "valid"), ("Train", "Test"), ("training", "validation")],
)
def test_parts_are_used_as_they_are(train: str, test: str, tmp_path: Path) -> None:
    for part, count in ((train, 4), (test, 2)):
        for name in ("ant", "bee"):
            write_images(tmp_path / part / name, count)
    data = _read(tmp_path)
    assert (len(data.train_images), len(data.test_images), data.classes) == (8, 4, ("ant", "bee"))
    assert (_tops(data, Part.TRAIN), _tops(data, Part.TEST)) == ({train}, {test})


def test_a_part_for_training_alone_is_split(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        write_images(tmp_path / "train" / name, 5)
    data = _read(tmp_path)
    assert (len(data.train_images), len(data.test_images), data.classes) == (8, 2, ("ant", "bee"))


@pytest.mark.parametrize("parts", [("train/", "test/"), ("train/",), ("",)], ids=" ".join)
def test_images_without_labels_are_trained_on(parts: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        for part in parts:
            write_images(tmp_path / f"{part}{name}", 5)
    write_images(tmp_path / "unlabeled" / "batch 1", 3)
    data = _read(tmp_path)
    assert data.train_labels is not None
    assert data.classes == ("ant", "bee")
    bare = {name for name, label in zip(data.ids(Part.TRAIN), data.train_labels, strict=True) if label < 0}
    assert bare == {f"unlabeled/batch 1/{row}.png" for row in range(3)}
    assert len(data.train_images) + len(data.test_images) == 10 * len(parts) + 3


def test_pictures_of_trains_are_a_class(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        write_images(tmp_path / name, 5)
    assert _read(tmp_path).classes == ("bus", "train")


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "two to measure on": (("train/ant", "val/ant", "test/ant"), r"holds test/ and val/: .*move the other away"),
    "two to train on": (("train/ant", "Training/ant"), r"holds Training/ and train/: .*move the other away"),
    "a class beside parts": (
        ("train/ant", "test/ant", "extra"),
        r"extra lies beside train/ and test/, which are parts",
    ),
    "a class beside a part": (("train/ant", "extra/ant"), r"extra lies beside train/, which are parts"),
    "classes and a test part": (("ant", "bee", "test"), r"ant lies beside test/, which are parts"),
    "no part to train on": (("test/ant", "test/bee"), r"holds test/ and no train/; name .*test itself"),
    "no labels at all": (("unlabeled",), r"holds unlabeled/ and no train/; name .*unlabeled itself"),
    "an image beside parts": (("train/ant", "test/ant", "."), r"0\.png lies beside train/ and test/; move it into one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_layouts_are_refused(case: str, tmp_path: Path) -> None:
    folders, message = REFUSED[case]
    for folder in folders:
        write_images(tmp_path / folder, 3)
    with pytest.raises(DataError, match=message):
        _read(tmp_path)


def test_classes_that_look_like_domains_are_told(tmp_path: Path) -> None:
    _write_domains(tmp_path)
    with pytest.warns(CouplingWarning, match=r"photo, sketch are read as classes.*ant, bee; .*data\.domains=true"):
        assert _read(tmp_path).classes == ("photo", "sketch")


def test_links_to_folders_are_followed_and_end(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere" / "cat", 3)
    write_images(tmp_path / "mine" / "dog", 3)
    (tmp_path / "mine" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "elsewhere" / "cat" / "back").symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "dog" / "again").symlink_to(tmp_path / "mine" / "dog")
    data = _read(tmp_path / "mine")
    assert data.classes == ("cat", "dog")
    assert len(data.train_images) + len(data.test_images) == 6


def test_images_are_called_by_their_paths(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        write_images(tmp_path / name / "deep", 5)
    data = _read(tmp_path).limited(4)
    names = [*data.places.ids, *data.ids(Part.TEST)]
    assert sorted(names) == [f"{name}/deep/{row}.png" for name in ("ant", "bee") for row in range(5)]
    assert data.ids(Part.TRAIN) == tuple(data.places.ids[row] for row in data.places.rows)
    assert data.train_labels is not None
    assert [data.classes[label] for label in data.train_labels] == [name.split("/")[0] for name in data.ids(Part.TRAIN)]


def test_bytes_of_a_name_that_are_no_letters_are_written_out(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"caf\xe8"):
        write_images(tmp_path / os.fsdecode(name), 3)
    data = _read(tmp_path)
    assert data.classes == (r"caf\xe8", r"caf\xe9")
    assert all(name.isprintable() for name in data.ids(Part.TRAIN))


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    write_images(tmp_path, 5)
    for name in ("a.HEIC", "b.heic", "c.mov", "README", ".hidden"):
        (tmp_path / name).touch()
    with pytest.warns(CouplingWarning, match=r"left out: \.heic \(2\), \.mov \(1\), README \(1\)$"):
        _read(tmp_path)


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    write_images(tmp_path / "tiles.png", 5)
    assert len(_read(tmp_path).train_images) == 4


def test_all_unreadable_files_are_named_at_once(tmp_path: Path) -> None:
    write_images(tmp_path, 14)
    for number in range(12):
        (tmp_path / f"{number}.png").write_text("no image at all")
    with pytest.raises(DataError, match=r"12 files are not readable images: .*0\.png .*7\.png .* and 2 more; repair"):
        _read(tmp_path)


def test_the_limit_of_pixels_is_a_setting(tmp_path: Path) -> None:
    write_images(tmp_path, 5)
    with pytest.raises(DataError, match=r"9 x 9 pixels, more than 80: "):
        load(DataConfig(name="images", folder=tmp_path, max_pixels=80))
    assert load(DataConfig(name="images", folder=tmp_path, max_pixels=81)).shape.height == 9


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
