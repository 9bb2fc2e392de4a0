"""`couplings runs`, `export`, `embed` and `train --log` as a user meets them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from couplings import cli
from couplings.train import Run, load_encoder, preset, train, with_overrides

_TEMPLATE: list[Path] = []


@pytest.fixture(autouse=True)
def _runs_a(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with one finished run, runs/a, of two steps on digits."""
    if not _TEMPLATE:
        changes = {"steps": 2, "batch_size": 16, "data.limit": 40, "encoder.width": 4}
        config = with_overrides(preset("digits"), changes)
        _TEMPLATE.append(train(config, tmp_path_factory.mktemp("template") / "run").folder)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(_TEMPLATE[0], "runs/a")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("runs none", ["none is no folder"]),
        ("runs --sort accuracy", ["--sort", "accuracy", '"knn"']),
        ("export runs/a", ["--output"]),
        ("export runs/none --output out", ["runs/none", "not a run folder"]),
        ("export runs/a --output runs/a", ["runs/a", "no export"]),
        ("embed runs/a --output e.csv", ["'.csv'", ".npz or .parquet"]),
        ("embed runs/none --output e.npz", ["runs/none", "not a run folder"]),
        ("embed runs/a --output e.npz --part some", ["--part", "some", '"test"']),
        ("embed runs/a --output e.npz --data digit", ["digit", "'digits'"]),
        ("embed runs/a --output e.npz --data npz --data-folder none.npz", ["none.npz", "does not exist"]),
        ("embed runs/a --output e.npz --data npz --data-folder other.npz", ["(1, 9, 9) came", "trained on (1, 8, 8)"]),
        ("embed runs/a --output e.npz --set steps=3", ["--set steps", "data.size"]),
        ("embed runs/a --output e.npz --set size", ["--set", "key=value"]),
        ("train --log tensorbord", ["--log", "tensorbord", '"tensorboard"']),
        ("train --log wandb", ["wandb", "pip install wandb"]),
    ],
)
def test_a_mistake_is_one_message_and_writes_nothing(
    command: str, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    np.savez("other.npz", images=np.zeros((9, 9, 9)))
    before = sorted(Path().rglob("*"))
    assert cli.main(command.split()) == 2
    message = capsys.readouterr().err
    assert message.startswith("couplings: error: ")
    assert [word for word in words if word not in message] == []
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("command", ["runs", "export", "embed"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"Usage: couplings {command}" in capsys.readouterr().out


def test_a_list_of_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("runs/a", "runs/b")
    Path("runs/b/weights.safetensors").write_text("damaged")
    assert cli.main(["runs"]) == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:5] for line in said.splitlines() if line.startswith(" runs/")}
    assert rows == {
        "runs/a": ["digits", "infonce", "finished", "2/2"],
        "runs/b": ["digits", "infonce", "damaged", "0/2"],
    }
    assert "runs/b is damaged: runs/b/weights.safetensors cannot be read" in said
    assert "2 runs: 1 finished, 1 damaged. couplings evaluate RUN measures a finished one." in said


def test_no_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("runs")
    assert cli.main(["runs"]) == 0
    assert "No runs below runs. Begin one: couplings train" in capsys.readouterr().out
    assert cli.main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def measured(folder: str, few: float) -> None:
    shutil.copytree("runs/a", folder)
    probe = {"knn": 1 - few, "linear": few, "few_label": few, "few_label_spread": 0.0}
    rest = {"alignment": 1.0, "uniformity": -1.0, "effective_rank": 2.0, "feature_dim": 8, "seconds": 1.0}
    values = {"trained": probe, "pixels": probe, "untrained": probe, **rest}
    Path(folder, "evaluation.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("order", "names"),
    [("name", "abcd"), ("knn", "dbca"), ("linear", "cbda"), ("few", "cbda")],
)
def test_sorted_by(order: str, names: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, few in (("b", 0.5), ("c", 0.75), ("d", 0.25)):
        measured(f"runs/{name}", few)
    assert cli.main(["runs", "--json", "--sort", order]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["folder"] for run in found] == [f"runs/{name}" for name in names]


def test_export_and_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "runs/a", "--output", "out", "--no-onnx"]) == 0
    said = capsys.readouterr().out
    assert 'load_encoder("out")(images)' in said
    assert "Written to out: config.json, model.safetensors, README.md." in said
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(load_encoder("out")(images), Run.load("runs/a").encoder(images))
    assert cli.main(["export", "runs/a", "--output", "out", "--no-onnx"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(["export", "runs/a", "--output", "out", "--overwrite"]) == 0
    assert "ONNX agrees with torch: they differ by" in capsys.readouterr().out
    assert Path("out/encoder.onnx").is_file()
    capsys.readouterr()
    for command in ("embed out --output e.npz", "evaluate out", "export out --output more"):
        assert cli.main(command.split()) == 2
        assert "out is an export, which knows its encoder alone; name the folder of the run" in capsys.readouterr().err


def test_embed_the_run_s_own_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["embed", "runs/a", "--output", "e.npz"]) == 0
    assert "Written: e.npz, 540 x 16 features (float32) of digits, 10 classes." in capsys.readouterr().out
    with np.load("e.npz") as file:
        assert file["features"].shape == (540, 16)
        assert len(set(file["labels"][40:])) == 10
    assert cli.main(["embed", "runs/a", "--output", "e.npz"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(["embed", "runs/a", "--output", "e.npz", "--part", "test", "--overwrite"]) == 0
    with np.load("e.npz") as file:
        assert file["features"].shape == (500, 16)


def test_embed_other_images() -> None:
    np.savez("other.npz", images=np.zeros((10, 9, 9)), labels=np.array(list("ababababab")))
    command = "embed runs/a --output e.npz --data npz --data-folder other.npz --set data.size=8"
    assert cli.main(command.split()) == 0
    with np.load("e.npz") as file:
        assert file["features"].shape == (10, 16)
        assert file["classes"].tolist() == ["a", "b"]


def test_images_that_were_given_in_python_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("runs/a/config.json")
    saved = json.loads(path.read_text())
    saved["config"]["data"] = {"name": "arrays"}
    path.write_text(json.dumps(saved))
    assert cli.main(["embed", "runs/a", "--output", "e.npz"]) == 2
    assert "name others with --data" in capsys.readouterr().err


def test_train_shows_its_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    class Tracked:
        def log(self, metrics: dict[str, float], step: int) -> None:
            steps.append(step)

        def finish(self) -> None:
            steps.append(-1)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **_: Tracked()))
    small = "--steps 2 --batch-size 16 --limit 40 --set evaluation.draws=1 --set evaluation.probe_limit=50"
    assert cli.main(f"train {small} --output b --log tensorboard --log wandb --log wandb".split()) == 0
    assert steps == [1, 2, -1]
    assert len(list(Path("b/tensorboard").iterdir())) == 1
