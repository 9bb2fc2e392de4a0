from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from disk_files import CIFAR, publish, write_cifar

from couplings.train import DataConfig, DataError, Dataset, from_arrays, load
from couplings.train.imbalance import SHARES, imbalanced


def _classes(count: int, each: int) -> Dataset:
    labels = np.arange(count * each) % count
    return from_arrays(np.zeros((len(labels), 2, 2)), labels, np.zeros((count, 2, 2)), np.arange(count))


def _counts(data: Dataset) -> list[int]:
    assert data.train_labels is not None
    return data.train_labels[data.train_labels >= 0].bincount(minlength=len(data.classes)).tolist()


def test_ten_classes_keep_what_the_papers_say() -> None:
    data = _classes(10, 1000)
    assert _counts(imbalanced(data, SHARES["linear"])) == [100 * tenth for tenth in range(1, 11)]
    exponential = [max(1, round(1000 * math.exp(number + 1) / math.exp(10))) for number in range(10)]
    assert _counts(imbalanced(data, SHARES["exponential"])) == exponential
    assert (exponential[0], exponential[-1]) == (1, 1000)


@pytest.mark.parametrize(("count", "kept"), [(2, [5, 10]), (3, [4, 7, 10]), (1, [10]), (20, [1, 1, 2, 2])])
def test_the_last_class_keeps_all_and_others_their_tenth(count: int, kept: list[int]) -> None:
    found = _counts(imbalanced(_classes(count, 10), SHARES["linear"]))
    assert found[: len(kept)] == kept
    assert found[-1] == 10


@pytest.mark.parametrize("name", list(CIFAR))
@pytest.mark.parametrize("kind", list(SHARES))
def test_the_files_of_cifar_are_thinned_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    each = 4 if name == "cifar10" else 10  # five files of CIFAR-10, one of CIFAR-100
    write_cifar(tmp_path, name, each)
    publish(monkeypatch, CIFAR[name], tmp_path)
    settings = {"name": name, "folder": tmp_path}
    whole, thin = load(DataConfig(**settings)), load(DataConfig(**settings, imbalance=kind))
    before, blocks = _counts(whole), len(whole.classes) // 10
    share = SHARES[kind]
    assert _counts(thin) == [max(1, round(n * share(row // blocks + 1))) for row, n in enumerate(before)]
    assert torch.equal(thin.test_images, whole.test_images)


def test_which_images_stay_is_seeded_and_random() -> None:
    rows = np.arange(200, dtype=np.uint8)
    data = from_arrays(rows[:, None, None].repeat(2, 1).repeat(2, 2), rows % 2)

    def kept(seed: int) -> list[int]:
        return imbalanced(data, SHARES["linear"], seed).train_images[:, 0, 0, 0].tolist()

    assert kept(0) == kept(0)
    assert kept(0) != kept(1)
    first = [row for row in kept(0) if row % 2 == 0]
    assert max(first) > 100  # not the first fifty


def test_unlabelled_images_stay() -> None:
    data = from_arrays(np.zeros((60, 2, 2)), [-1] * 40 + [0, 1] * 10)
    thin = imbalanced(data, SHARES["linear"])
    assert _counts(thin) == [5, 10]
    assert thin.train_labels is not None
    assert (thin.train_labels < 0).sum() == 40


def test_without_labels_there_is_nothing_to_thin_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((10, 4, 4)))
    with pytest.raises(DataError, match=r"a: data\.imbalance thins out classes, and there are no labels; leave it out"):
        load(DataConfig(name="npz", folder=tmp_path / "a.npz", imbalance="linear"))
