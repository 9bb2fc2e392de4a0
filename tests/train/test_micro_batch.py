"""`micro_batch` changes what a step costs, not what it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from couplings import CouplingWarning
from couplings.cli.options.train import TrainOptions
from couplings.train import ConfigError, Dataset, Run, RunConfig, train, with_overrides
from couplings.train.encoders import ENCODERS, ImageShape

Trained = Callable[..., Run]


def _normless(shape: ImageShape) -> nn.Module:
    conv, side = nn.Conv2d(shape.channels, 8, 3, 2, 1), (shape.height + 1) // 2
    return nn.Sequential(conv, nn.GroupNorm(2, 8), nn.GELU(), nn.Flatten(), nn.Linear(8 * side * side, 12))


@pytest.fixture
def trained(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Trains an encoder without batch norm."""
    monkeypatch.setitem(ENCODERS, "normless", _normless)
    plain = {"encoder": "normless", "projector.hidden": None, "log_every": 1}

    def run(name: str, **changes: object) -> Run:
        return train(with_overrides(tiny_config, {**plain, **changes}), tmp_path / name, dataset=tiny_data)

    return run


def _told(run: Run) -> list[float]:
    """All numbers of the log but the speed."""
    lines = [{key: value for key, value in line.items() if key != "images_per_second"} for line in run.metrics()]
    numbers = [value for line in lines for value in line.values()]
    return [number for value in numbers for number in (value.values() if isinstance(value, Mapping) else [value])]


@pytest.mark.parametrize("precision", ["64-true", "32-true"])
@pytest.mark.parametrize("changes", [{}, {"views.count": 3}, {"loss": "clip", "loss.learnable": True}, {"loss": "hcl"}])
def test_a_run_is_the_same(trained: Trained, changes: dict[str, object], precision: str) -> None:
    # Plain descent: Adam divides by the size of a gradient, and so blows up the roundings of a small one.
    plain = {"precision": precision, "optimiser.name": "sgd", "optimiser.momentum": 0.0, "optimiser.lr": 0.1, **changes}
    one, two = trained("one", **plain), trained("two", micro_batch=5, **plain)
    # Six steps, in each of which a weight's gradient is a sum over 16 positions of 48 images.
    tolerance = 6 * 16 * 48 * torch.finfo(torch.float64 if precision == "64-true" else torch.float32).eps / 2
    assert _told(two) == pytest.approx(_told(one), rel=tolerance, abs=tolerance)
    weights, others = (load_file(run.folder / "weights.safetensors") for run in (one, two))
    torch.testing.assert_close(others, weights, rtol=0, atol=tolerance)


def test_the_encoder_never_sees_more(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    def watched(shape: ImageShape) -> nn.Module:
        network = _normless(shape)
        network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])) if inputs[0].any() else None)
        return network

    monkeypatch.setitem(ENCODERS, "normless", watched)
    run = trained("run", micro_batch=6)
    assert run.config.micro_batch == 6
    assert set(rows) == {12, 8}  # two views of 6, 6 and 4 of the 16 images


def test_batch_norm_warns_and_trains(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    config = with_overrides(tiny_config, {"micro_batch": 8})
    with pytest.warns(CouplingWarning, match="batch norm .*8 samples instead of 16"):
        run = train(config, tmp_path / "run", dataset=tiny_data)
    assert run.finished
    assert run.encoder.backbone[1].num_batches_tracked == 2 * config.steps  # two micro-batches, the first pass only
    assert json.loads((run.folder / "config.json").read_text())["config"]["micro_batch"] == 8
    assert Run.load(run.folder).config == config


def test_a_run_of_before_is_read(tiny_config: RunConfig) -> None:
    saved = {key: value for key, value in tiny_config.model_dump().items() if key != "micro_batch"}
    assert RunConfig(**saved).micro_batch is None


@pytest.mark.parametrize(
    ("micro_batch", "message"),
    [
        (17, "micro_batch: 17 is more than batch_size, 16; lower it, or leave it out"),
        (0, "micro_batch: .*got 0"),
        (2.5, r"micro_batch: .*got 2\.5"),
    ],
)
def test_a_micro_batch_that_does_not_fit(tiny_config: RunConfig, micro_batch: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_overrides(tiny_config, {"micro_batch": micro_batch})


def test_the_command_line_takes_it(tiny_config: RunConfig) -> None:
    (setting,) = TrainOptions(micro_batch=4).settings()
    assert setting.words == "--micro-batch 4"
    assert with_overrides(tiny_config, {setting.key: setting.value}).micro_batch == 4
