"""Each source of images through a few steps of its own recipe, shrunk, and what the papers train on through theirs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disk_files import publish, random_bytes, write_cifar, write_idx, write_images, write_stl10, write_svhn
from torchvision import datasets

from couplings.train import Run, RunConfig, load, preset, train, with_overrides

SHRUNK = {
    "encoder.name": "small-cnn",
    "encoder.width": 4,
    "projector.hidden": 16,
    "projector.dim": 8,
    "batch_size": 8,
    "steps": 2,
    "optimiser.warmup_steps": 0,
}


def _write_domains(folder: Path) -> None:
    for domain in ("photo", "sketch"):
        for name in ("ant", "bee"):
            write_images(folder / domain / name, 5, size=(16, 12))


def _write_npz(folder: Path) -> None:
    rows = np.arange(20)
    np.savez(folder / "a.npz", images=random_bytes(20, 12, 12, 3), labels=rows % 2, domains=rows // 10)


def _classes(folder: Path) -> None:
    for name in ("ant", "bee"):
        write_images(folder / name, 10, size=(16, 12))


FILES: dict[str, tuple[Any, Callable[[Path], object], tuple[int, int, int]]] = {
    "fashion-mnist": (None, write_idx, (1, 28, 28)),
    "cifar10": (datasets.CIFAR10, partial(write_cifar, name="cifar10"), (3, 32, 32)),
    "cifar100": (datasets.CIFAR100, partial(write_cifar, name="cifar100"), (3, 32, 32)),
    "stl10": (datasets.STL10, write_stl10, (3, 96, 96)),
    "svhn": (datasets.SVHN, write_svhn, (3, 32, 32)),
    "images": (None, _classes, (3, 12, 16)),
    "npz": (None, _write_npz, (3, 12, 12)),
}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunConfig]:
    """The shrunk recipe of a source whose files lie on the disk."""

    def make(name: str, **changes: Any) -> RunConfig:
        kind, write, _ = FILES[name]
        folder = tmp_path / "files"
        folder.mkdir()
        write(folder)
        if kind is not None:
            publish(monkeypatch, kind, folder)
        place = folder / "a.npz" if name == "npz" else folder
        return with_overrides(preset(name), {**SHRUNK, "data.folder": place, **changes})

    return make


def _assert_learns(config: RunConfig, folder: Path) -> Run:
    """Train, and read the run back."""
    run = train(config, folder)
    assert run.finished
    assert all(math.isfinite(record["loss"]) for record in run.metrics())
    assert run.dataset is not None
    assert Run.load(folder).embed(run.dataset.test_images).shape == (len(run.dataset.test_images), 16)
    return run


@pytest.mark.parametrize("name", list(FILES))
def test_each_source_is_trained_on(name: str, recipe: Callable[..., RunConfig], tmp_path: Path) -> None:
    run = _assert_learns(recipe(name), tmp_path / "run")
    assert run.shape == FILES[name][2]


def test_stl10_with_multi_crop(recipe: Callable[..., RunConfig], tmp_path: Path) -> None:
    run = _assert_learns(recipe("stl10", **{"views.local": {"count": 2, "size": 24}}), tmp_path / "run")
    assert run.dataset is not None
    assert run.dataset.train_labels is not None
    assert (run.dataset.train_labels < 0).any()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_thinned_out_cifar(name: str, recipe: Callable[..., RunConfig], tmp_path: Path) -> None:
    config = recipe(name, **{"data.imbalance": "linear", "loss.name": "cacr", "views.count": 3})
    run = _assert_learns(config, tmp_path / "run")
    assert run.dataset is not None
    assert run.dataset.train_labels is not None
    counts = run.dataset.train_labels.bincount()
    assert counts[-1] == 4 * (5 if name == "cifar10" else 1)
    assert counts[0] < counts[-1]


def test_classes_as_positives_with_negatives_of_their_own(recipe: Callable[..., RunConfig], tmp_path: Path) -> None:
    _assert_learns(recipe("svhn", **{"pairs.positives": "class", "pairs.negatives": 3}), tmp_path / "run")


@pytest.mark.parametrize("name", ["images", "npz"])
def test_domains_reach_the_loss(
    name: str, recipe: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = {"loss.name": "gca-ince", "loss.target": {"within": 1.0, "across": 0.5}, "pairs.domains": True}
    if name == "images":
        monkeypatch.setitem(FILES, "images", (None, _write_domains, (3, 12, 16)))
        target["data.domains"] = True
    config = recipe(name, **target)
    run = _assert_learns(config, tmp_path / "run")
    assert run.dataset is not None
    assert len(run.dataset.domain_names) == 2
    blind = train(with_overrides(config, {"pairs.domains": False, "loss": "infonce"}), tmp_path / "blind")
    assert blind.metrics()[0]["loss"] != run.metrics()[0]["loss"]


STRONG = {
    "erase": {"views.erase": 1.0, "views.erase_area": (0.2, 0.5)},
    "brightness": {"views.brightness": 0.5},
    "crop": {"views.crop": (0.08, 0.2)},
    "wrong": {"pairs.wrong": 0.3},
}


@pytest.mark.parametrize("kind", list(STRONG))
def test_strong_and_corrupted_views_change_what_is_learnt(
    kind: str, recipe: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = recipe("fashion-mnist")
    data = load(config.data)
    plain = train(config, tmp_path / "plain", dataset=data)
    strong = train(with_overrides(config, STRONG[kind]), tmp_path / "strong", dataset=data)
    assert math.isfinite(strong.metrics()[-1]["loss"])
    assert strong.metrics()[0]["loss"] != plain.metrics()[0]["loss"]
