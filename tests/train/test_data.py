from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from couplings.train import ConfigError, DataConfig, DataError, Dataset, from_arrays, load
from couplings.train.data import held_out, to_images
from couplings.train.imbalance import SHARES, imbalanced


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 1, 6, 7), (5, 6, 7, 1)])
def test_all_layouts_become_channels_first(shape: tuple[int, ...]) -> None:
    grey = np.arange(5 * 42, dtype=np.uint8).reshape(5, 1, 6, 7)
    assert torch.equal(to_images(grey.reshape(shape)), torch.from_numpy(grey))


def test_channels_last_colours_are_moved() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 7, 3), dtype=np.uint8)
    assert np.array_equal(to_images(colours).numpy(), colours.transpose(0, 3, 1, 2))


def test_floats_and_integers_mean_the_same_images() -> None:
    numbers = torch.randint(256, (4, 8, 8))
    assert torch.equal(to_images(numbers), to_images(numbers.double() / 255))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 8)), r"images must be \(n, h, w\).*got \(4, 8\)"),
        (np.zeros((4, 5, 8, 8)), r"1 or 3 channels, got \(4, 5, 8, 8\)"),
        (np.full((4, 8, 8), np.nan), "images must be finite; image 0"),
        (np.full((4, 8, 8), np.inf), "images must be finite; image 0"),
        (np.full((4, 8, 8), 255.0), "floats from 0 to 1, got values from 255 to 255; divide them by 255"),
        (np.full((4, 8, 8), -1), "integers from 0 to 255, got values from -1 to -1"),
        (np.full((4, 8, 8), 4000, np.uint16), "integers from 0 to 255, got values from 4000 to 4000; divide them"),
        (np.full((4, 8, 8), 70_000, np.uint32), "integers from 0 to 255, got values from 70000"),
        (np.zeros((4, 8, 8), complex), "got torch.complex128; take their magnitude"),
        (np.zeros((4, 8, 8), bool), "got torch.bool; convert them to floats"),
        (np.full((4, 8, 8), None), "one array of numbers"),
        ([[1, 2], [3]], "one array of numbers"),
        (np.zeros((1, 8, 8)), "1 training images; at least 2"),
        (np.zeros((0, 8, 8)), "0 training images; at least 2"),
    ],
)
def test_bad_images_are_refused(images: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(5, int), "10 training images but 5 training labels"),
        (np.zeros((10, 2), int), r"labels must be \(n,\)"),
        (np.linspace(0, 1, 10), r"labels must be .* got 0\.111111 among them; numpy\.asarray\(labels, dtype=str\)"),
    ],
)
def test_bad_labels_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(np.zeros((10, 8, 8)), labels)


def test_train_and_test_images_must_have_one_shape() -> None:
    with pytest.raises(DataError, match=r"training images are \(1, 8, 8\), test images \(1, 9, 9\)"):
        from_arrays(np.zeros((10, 8, 8)), None, np.zeros((10, 9, 9)))


def test_words_and_gaps_become_class_numbers_shared_by_both_parts() -> None:
    zeros = np.zeros((3, 8, 8))
    data = from_arrays(zeros, ["cat", "ant", "cat"], zeros, ["dog", "cat", "ant"])
    assert data.classes == ("ant", "cat", "dog")
    assert data.train_labels is not None
    assert data.test_labels is not None
    assert data.train_labels.tolist() == [1, 0, 1]
    assert data.test_labels.tolist() == [2, 1, 0]


def test_digits_are_split_as_the_recipe_says() -> None:
    data = load(DataConfig(name="digits"))
    assert tuple(data.train_images.shape) == (1297, 1, 8, 8)
    assert tuple(data.test_images.shape) == (500, 1, 8, 8)
    assert data.test_labels is not None
    counts = torch.bincount(data.test_labels)
    assert counts.min() >= 48
    assert data.train_images.max() == 255
    assert torch.equal(load(DataConfig(name="digits")).test_images, data.test_images)


def test_limit_and_size_apply_to_any_source() -> None:
    data = load(DataConfig(name="digits", limit=100, size=12))
    assert tuple(data.train_images.shape) == (100, 1, 12, 12)
    assert tuple(data.test_images.shape) == (500, 1, 12, 12)
    assert data.train_labels is not None
    assert len(data.train_labels) == 100
    assert len(load(DataConfig(name="digits", limit=10_000)).train_images) == 1297


def test_held_out_images_are_not_trained_on(tiny_data: Dataset) -> None:
    train = {bytes(image.numpy().tobytes()) for image in tiny_data.train_images}
    test = {bytes(image.numpy().tobytes()) for image in tiny_data.test_images}
    assert (len(train), len(test)) == (48, 12)
    assert not train & test


def test_a_class_of_one_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match=r"class '7' has one image.*add another, or remove it"):
        from_arrays(np.zeros((10, 8, 8)), [0] * 9 + [7], test_fraction=0.2)


def test_too_few_images_to_hold_out_some_of_each_class() -> None:
    with pytest.raises(DataError, match=r"cannot hold out 0\.2 of 10 images of 5 classes.*data\.test_fraction$"):
        from_arrays(np.zeros((10, 8, 8)), np.arange(10) % 5, test_fraction=0.2)


def test_wide_unsigned_integers_are_images_too() -> None:
    numbers = np.arange(4 * 64).reshape(4, 8, 8)
    assert torch.equal(to_images(numbers.astype(np.uint16)), to_images(numbers))


def test_arrays_cannot_be_loaded_again() -> None:
    with pytest.raises(DataError, match="pass dataset="):
        load(DataConfig(name="arrays"))


def test_minus_one_stays_unlabelled_whatever_the_other_numbers() -> None:
    zeros = np.zeros((5, 8, 8))
    data = from_arrays(zeros, [7, -1, 3, 7, -1], zeros, [-1, 3, 3, 9, 7])
    assert data.classes == ("3", "7", "9")
    assert data.train_labels is not None
    assert data.test_labels is not None
    assert data.train_labels.tolist() == [1, -1, 0, 1, -1]
    assert data.test_labels.tolist() == [-1, 0, 0, 2, 1]


def test_only_labelled_images_are_held_out() -> None:
    labels = np.where(np.arange(40) < 30, -1, np.arange(40) % 2)
    data = from_arrays(
        np.arange(40, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2), labels, test_fraction=0.4
    )
    assert data.test_labels is not None
    assert data.train_labels is not None
    assert data.test_labels.bincount().tolist() == [2, 2]
    assert (data.train_labels < 0).sum() == 30
    assert len(torch.cat([data.train_images, data.test_images]).unique()) == 40


@pytest.fixture
def marked() -> Dataset:
    """40 images whose pixels tell their class (in fives), their domain (in threes) and themselves."""
    rows = np.arange(40, dtype=np.uint8)
    images = rows[:, None, None].repeat(8, 1).repeat(8, 2)
    return from_arrays(images, rows % 5, images[:9], rows[:9] % 5, domains=rows % 3, test_domains=rows[:9] % 3)


def _assert_together(images: torch.Tensor, labels: torch.Tensor | None, domains: torch.Tensor | None) -> None:
    rows = images[:, 0, 0, 0].long()
    assert labels is not None
    assert domains is not None
    assert torch.equal(labels, rows % 5)
    assert torch.equal(domains, rows % 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: data.limited(17, seed=3),
        lambda data: data.resized(6),
        lambda data: data.keeping(torch.tensor([31, 2, 5])),
        lambda data: held_out(data, 10),
        lambda data: imbalanced(data, SHARES["linear"]),
    ],
    ids=["none", "limited", "resized", "keeping", "held_out", "imbalanced"],
)
def test_images_labels_and_domains_stay_together(marked: Dataset, change: Callable[[Dataset], Dataset]) -> None:
    data = change(marked)
    _assert_together(data.train_images, data.train_labels, data.train_domains)
    _assert_together(data.test_images, data.test_labels, data.test_domains)
    assert data.domain_names == ("0", "1", "2")


def test_domains_are_words_or_numbers_one_an_image() -> None:
    zeros = np.zeros((4, 8, 8))
    data = from_arrays(zeros, domains=["photo", "art", "art", "photo"])
    assert data.domain_names == ("art", "photo")
    assert data.train_domains is not None
    assert data.train_domains.tolist() == [1, 0, 0, 1]
    with pytest.raises(DataError, match="4 training images but 3 training domains"):
        from_arrays(zeros, domains=[0, 1, 1])
    with pytest.raises(DataError, match=r"domains must be .* got 0\.\d+ among them; numpy\.asarray\(domains"):
        from_arrays(zeros, domains=np.linspace(0, 1, 4))


@pytest.mark.parametrize("key", ["size", "limit", "imbalance"])
def test_what_would_not_be_done_to_arrays_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: 'arrays' are taken as they come"):
        DataConfig(**{"name": "arrays", key: "linear" if key == "imbalance" else 8})


_PIXELS = np.random.default_rng(0).random((6, 4, 4)).round(2)


@pytest.mark.parametrize("kind", [">f4", ">f8", "longdouble", ">f2"])
def test_images_of_another_machine(kind: str) -> None:
    wanted = from_arrays(_PIXELS).train_images
    assert (from_arrays(_PIXELS.astype(kind)).train_images.int() - wanted.int()).abs().max() <= 1
    assert torch.equal(from_arrays(wanted.numpy().astype(">u2")).train_images, wanted)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["cat", None, "dog", "cat", "", "dog"], dtype=object),
        ["cat", float("nan"), b"dog", "cat", None, "dog"],
        np.array([[7], [-1], [9], [7], [-1], [9]]),
        np.array([7, np.nan, 9, 7, -1, 9]),
        np.array([7, -1, 9, 7, -1, 9], dtype=">i8"),
        np.array(["2000-01-01", "NaT", "20000-01-01", "2000-01-01", "NaT", "20000-01-01"], dtype="datetime64[D]"),
    ],
    ids=["words of pandas", "a list", "a column", "floats with holes", "big end first", "days"],
)
def test_labels_as_others_write_them(labels: Any) -> None:
    data = from_arrays(_PIXELS, labels, _PIXELS[:1], labels[:1])
    assert data.train_labels is not None
    assert data.train_labels.tolist() == [0, -1, 1, 0, -1, 1]
    assert data.classes in (("cat", "dog"), ("7", "9"), ("2000-01-01", "20000-01-01"))


def test_one_hot_labels_and_halves_of_characters() -> None:
    hot = from_arrays(_PIXELS, np.eye(3)[[2, 0, 2, 1, 0, 0]])
    assert hot.train_labels is not None
    assert (hot.train_labels.tolist(), hot.classes) == ([2, 0, 2, 1, 0, 0], ("0", "1", "2"))
    assert from_arrays(_PIXELS, ["a\ud800", "b"] * 3).classes == (r"a\ud800", "b")
    with pytest.raises(DataError, match=r"labels must be .*; an entry is a list; a number or a word a row is needed"):
        from_arrays(_PIXELS, np.array([[1], [1, 2], [1], [1], [1], [1]], dtype=object))
