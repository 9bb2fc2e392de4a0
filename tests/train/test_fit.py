from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from couplings.train import ConfigError, DataError, Run, evaluate, fit, load, preset, train, with_overrides

SMALL = {"encoder.width": 4, "batch_size": 16, "steps": 3}


def test_five_lines_from_an_array_to_an_encoder(tmp_path: Path) -> None:
    digits = load_digits()
    run = fit(digits.images / 16, digits.target, steps=15, **{"encoder.width": 8})
    assert run.knn_accuracy(digits.images / 16, digits.target) > 0.8
    assert run.picture(tmp_path / "map.png").is_file()
    assert Run.load(run.folder).finished


def test_overrides_and_folder_are_used(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((40, 8, 8))
    run = fit(images, loss="gca-ince", folder=tmp_path / "run", **SMALL, **{"loss.sweeps": 2})
    assert run.folder == tmp_path / "run"
    assert (run.config.loss.name, run.config.loss.params) == ("gca-ince", {"sweeps": 2})
    assert run.step == 3


def test_the_batch_shrinks_to_a_small_array() -> None:
    assert fit(torch.rand(20, 8, 8), steps=1, **{"encoder.width": 2}).config.batch_size == 20


def test_labels_are_not_trained_on() -> None:
    images = torch.rand(40, 8, 8)
    runs = [fit(images, labels, **SMALL) for labels in (None, torch.arange(40) % 2, torch.arange(40) // 20)]
    features = [run.embed(images) for run in runs]
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"loss": "infonec"}, ConfigError, "did you mean 'infonce'"),
        ({"stepz": 3}, ConfigError, "did you mean 'steps'"),
        ({"labels": [1, 2]}, DataError, "40 training images but 2 training labels"),
        ({"images": torch.full((40, 8, 8), torch.nan)}, DataError, "must be finite"),
        ({"images": torch.rand(40, 8)}, DataError, r"got \(40, 8\)"),
    ],
)
def test_mistakes_are_told(wrong: dict[str, object], error: type[Exception], message: str) -> None:
    arguments: dict[str, object] = {"images": torch.rand(40, 8, 8), **SMALL, **wrong}
    with pytest.raises(error, match=message):
        fit(**arguments)  # type: ignore[arg-type]


def test_a_short_run_on_digits_beats_the_untrained_encoder(tmp_path: Path) -> None:
    config = with_overrides(preset("digits"), {"steps": 60, "encoder.width": 16})
    run = train(config, tmp_path / "run", dataset=load(config.data))
    result = evaluate(run)
    assert result.trained.few_label > result.untrained.few_label + 0.02
    assert result.trained.few_label > result.pixels.few_label
    assert result.trained.knn > 0.94
