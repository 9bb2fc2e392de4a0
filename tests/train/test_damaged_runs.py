"""Folders of runs in which something is damaged, missing or not known here: one message, or done without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from trained import copied_run

from couplings.cli import main
from couplings.losses import LOSSES, InfoNCE
from couplings.train import ConfigError, DataError, Dataset, Run, RunConfig, evaluate, find_runs, train
from couplings.train import with_overrides as changed
from couplings.train.encoders import ImageShape, build_encoder
from couplings.train.evaluate import Evaluation, read_evaluation
from couplings.train.export import export
from couplings.train.run import AbsentLoss
from couplings.train.runs import RunState

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def run(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> Run:
    return copied_run(tiny_config, tiny_data, tmp_path / "run")


RECORD = '{"step": 10, "loss": 1.0%s}\n'


@pytest.mark.parametrize(
    "line",
    [
        "5\n",
        "null\n",
        "[]\n",
        '"x"\n',
        DEEP + "\n",
        '{"step": 10, "loss": "x"}\n',
        '{"step": 10, "loss": [1]}\n',
        '{"step": -1, "loss": 1.0}\n',
        RECORD % ', "images_per_second": "x"',
        RECORD % ', "plan_entropy": {"x": "y"}',
        RECORD % ', "alignment": "x"',
        RECORD % ', "uniformity": []',
    ],
)
def test_a_line_that_no_training_wrote_is_named(line: str, run: Run) -> None:
    log = run.folder / "metrics.jsonl"
    count = len(log.read_text().splitlines())
    with log.open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=rf"metrics\.jsonl: line {count + 1} is no record of a training") as refusal:
        run.metrics()
    assert len(str(refusal.value)) < 800
    (found,) = find_runs([run.folder])
    assert found.state is RunState.DAMAGED


def test_a_log_of_later_versions_is_read(run: Run) -> None:
    (run.folder / "metrics.jsonl").write_text(RECORD % ', "new": [1]' + '{"step": 11, "lo')
    assert run.metrics() == [{"step": 10, "loss": 1.0, "new": [1]}]


@pytest.mark.parametrize("content", ["", "{}"])
def test_an_empty_log_is_named_where_curves_are_drawn(
    content: str, run: Run, tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.folder / "metrics.jsonl").write_text(content)
    monkeypatch.setattr("couplings.cli.work.evaluate.load", lambda _: tiny_data)
    assert main(["evaluate", str(run.folder)]) == 2
    assert "metrics.jsonl holds no record of the training" in capsys.readouterr().err.replace("\n", "")


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    probe = {"knn": 0.5, "linear": 0.5, "few_label": 0.5, "few_label_spread": 0.1}
    geometry = {"alignment": 1.0, "uniformity": -1.0, "effective_rank": 3.0, "feature_dim": 16, "seconds": 1.0}
    return {"trained": probe, "pixels": probe, "untrained": probe, **geometry}


@pytest.mark.parametrize("value", [None, "x", [], {}], ids=str)
@pytest.mark.parametrize("key", ["effective_rank", "feature_dim", "trained", "trained.knn", "pixels.few_label_spread"])
def test_a_measurement_of_another_type_is_named(key: str, value: object, run: Run, measured: dict[str, Any]) -> None:
    values = json.loads(json.dumps(measured))
    outer, _, inner = key.partition(".")
    (values[outer] if inner else values)[inner or outer] = value
    path = run.folder / "evaluation.json"
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=rf"evaluation\.json was not written by couplings evaluate \({key}"):
        read_evaluation(run.folder)
    assert find_runs([run.folder])[0].state is RunState.DAMAGED


def test_a_measurement_is_read_back(run: Run, measured: dict[str, Any]) -> None:
    (run.folder / "evaluation.json").write_text(json.dumps(measured))
    found = read_evaluation(run.folder)
    assert found is not None
    assert found.to_json() == {**measured, "pretrained": None}
    assert Evaluation.from_json(measured) == found


@pytest.mark.parametrize("name", ["config.json", "evaluation.json"])
def test_deep_nesting_is_named(name: str, run: Run) -> None:
    (run.folder / name).write_text(DEEP)
    (found,) = find_runs([run.folder])
    assert found.state is RunState.DAMAGED
    assert name in (found.reason or "")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"checkpoint_path": "nowhere.pth"}, r"cannot be built with .*nowhere\.pth"),
        ({"act_layer": "nope"}, r"cannot be built with .*'act_layer': 'nope'"),
        ({"features_only": True}, r"it must give features \(n, d\), got a list"),
        ({"drop_rate": "a"}, "cannot be built with .*'drop_rate': 'a'"),
        ({"drop_rate": 2}, "cannot be built with .*between 0 and 1"),
    ],
)
def test_wrong_options_of_timm_are_told(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^encoder.*{words}"):
        build_encoder("timm:resnet10t", ImageShape(3, 32, 32), params)


class _Mine(InfoNCE):
    """A loss of one's own."""


@pytest.fixture
def strange(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of a loss that is not known any more, with what it has learnt."""
    with monkeypatch.context() as known:
        known.setitem(LOSSES, "root-plan", _Mine)
        run = train(
            changed(tiny_config, {"loss": "root-plan", "loss.temperature": 0.3}), tmp_path / "run", dataset=tiny_data
        )
    return run


def test_a_run_is_read_without_its_loss(strange: Run, tiny_data: Dataset, tmp_path: Path) -> None:
    found = Run.load(strange.folder)
    assert isinstance(found.loss, AbsentLoss)
    assert (found.config.loss.name, found.config.loss.params) == ("root-plan", {"temperature": 0.3})
    assert torch.equal(found.embed(tiny_data.test_images), strange.embed(tiny_data.test_images))
    assert evaluate(found, tiny_data).feature_dim == found.encoder.dim
    assert export(found, tmp_path / "exported", onnx=False).files
    with pytest.raises(ConfigError, match=r"'root-plan' is no loss .*couplings\.losses\.LOSSES under this name"):
        found.loss(torch.rand(4, 3), torch.rand(4, 3))


def test_commands_do_without_the_loss(
    strange: Run,
    tiny_data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for place in ("couplings.cli.work.evaluate.load", "couplings.inspection.runs.load"):
        monkeypatch.setattr(place, lambda _: tiny_data)
    monkeypatch.setattr("couplings.inspection.runs._images", lambda config: config.data)
    assert main(["evaluate", str(strange.folder)]) == 0
    assert "No picture of the coupling: the run's loss, 'root-plan'," in capsys.readouterr().out.replace("\n", " ")
    assert (strange.folder / "evaluation.json").is_file()
    assert not (strange.folder / "coupling.png").exists()
    assert (
        main(
            ["inspect", str(strange.folder), "--output", str(tmp_path / "o"), "--space", "features", "--beside", "hcl"]
        )
        == 0
    )
    assert "infonce takes its place" in capsys.readouterr().out.replace("\n", " ")
