"""The supervised ceiling: the encoder of the other runs, taught the labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made import tiny

from couplings.compare.supervised import train_supervised
from couplings.train import ConfigError, DataError, Dataset, Run, from_arrays, with_overrides
from couplings.train.run import build_model

CONFIG = with_overrides(tiny(), {"steps": 12, "batch_size": 16, "momentum.decay": 0.9, "loss.temperature": 0.2})


@pytest.fixture
def halves() -> Dataset:
    """Two classes that differ in which half is bright."""
    labels = torch.arange(60) % 2
    images = torch.rand(60, 8, 8) * 0.5
    images[labels == 0, :4] += 0.5
    images[labels == 1, 4:] += 0.5
    return from_arrays(images, labels, test_fraction=0.2)


def test_it_learns_the_labels_and_leaves_a_run(halves: Dataset, tmp_path: Path) -> None:
    ticks: list[int] = []
    run = train_supervised(CONFIG, tmp_path / "run", halves, ticks.append)
    assert ticks == list(range(1, 13))
    losses = [record["loss"] for record in run.metrics()]
    assert losses[-1] < 0.6 * losses[0]
    again = Run.load(tmp_path / "run")
    assert again.finished
    assert again.model.projector[-1].out_features == 2
    assert "supervised" in json.loads((tmp_path / "run" / "config.json").read_text())


def test_the_start_is_that_of_the_other_runs(halves: Dataset, tmp_path: Path) -> None:
    still = with_overrides(CONFIG, {"optimiser.lr": 1e-12, "optimiser.weight_decay": 0.0, "steps": 1})
    run = train_supervised(still, tmp_path / "run", halves)
    torch.manual_seed(still.seed)
    start = build_model(still, halves.shape).encoder
    for ours, theirs in zip(run.encoder.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_it_begins_anew_and_replaces_no_other_run(halves: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train_supervised(CONFIG, folder, halves)
    before = {name: (folder / name).read_bytes() for name in ("weights.safetensors", "metrics.jsonl", "config.json")}
    (folder / "weights.safetensors").write_bytes(b"half")
    unused = with_overrides(CONFIG, {"loss.temperature": 0.7, "momentum": None})
    train_supervised(unused, folder, halves)
    assert {name: (folder / name).read_bytes() for name in before} == before
    for other, words in ((with_overrides(CONFIG, {"steps": 3}), "steps is 12 there"), (CONFIG, "images")):
        data = halves if other is not CONFIG else replace(halves, train_images=halves.train_images.flip(0))
        with pytest.raises(ConfigError, match=words):
            train_supervised(other, folder, data)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_folder_that_is_being_written_is_refused(halves: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def second(_: int) -> None:
        train_supervised(CONFIG, folder, halves)

    with pytest.raises(ConfigError, match="is writing a run"):
        train_supervised(CONFIG, folder, halves, second)


def test_unlabelled_images_are_left_out(halves: Dataset, tmp_path: Path) -> None:
    assert halves.train_labels is not None
    partly = halves.train_labels.clone()
    partly[::3] = -1
    train_supervised(CONFIG, tmp_path / "run", replace(halves, train_labels=partly))
    with pytest.raises(DataError, match="needs labels"):
        train_supervised(CONFIG, tmp_path / "none", replace(halves, train_labels=None))
    assert not (tmp_path / "none").exists()
