from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from trained import copied_run

from couplings.train import DataError, Dataset, Run, RunConfig, evaluate, find_runs, train, with_overrides
from couplings.train.export import export
from couplings.train.folder import run_folder
from couplings.train.run import describe_run
from couplings.train.runs import RunState, RunSummary


@pytest.fixture
def run(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> Run:
    return copied_run(tiny_config, tiny_data, tmp_path / "runs" / "a")


def only(folder: Path) -> RunSummary:
    (found,) = find_runs([folder])
    return found


def test_a_finished_run_and_what_it_reached(run: Run, tiny_data: Dataset) -> None:
    before = only(run.folder)
    assert (before.state, before.data, before.loss, before.seed) == (RunState.FINISHED, "arrays", "infonce", 0)
    assert (before.step, before.steps, before.evaluation, before.reason) == (6, 6, None, None)
    assert before.when is not None
    assert abs((datetime.now(timezone.utc) - before.when).total_seconds()) < 3600
    found = evaluate(run, tiny_data)
    after = only(run.folder)
    assert (after.state, after.evaluation) == (RunState.MEASURED, found)


def test_the_time_is_that_of_the_records(run: Run) -> None:
    lines = [
        {"step": 1, "images_per_second": 16.0},
        {"step": 3, "images_per_second": 8.0},
        {"step": 6, "images_per_second": 48.0},
    ]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert only(run.folder).seconds == pytest.approx(1 + 2 * 2 + 3 / 3)


def test_an_interrupted_run(run: Run, tmp_path: Path) -> None:
    (run.folder / "weights.safetensors").unlink()
    metrics = run.folder / "metrics.jsonl"
    # The last line as a kill leaves it.
    metrics.write_text(metrics.read_text().splitlines()[0] + '\n{"step": 4, "lo')
    assert (only(run.folder).state, only(run.folder).step) == (RunState.INTERRUPTED, 1)
    (run.folder / "checkpoint-000000003.safetensors").write_bytes(b"")
    assert (only(run.folder).state, only(run.folder).step) == (RunState.INTERRUPTED, 3)
    metrics.unlink()
    assert only(run.folder).seconds is None


def test_a_running_run(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with run_folder(tmp_path / "a", describe_run(tiny_config, tiny_data), overwrite=False):
        assert (only(tmp_path).state, only(tmp_path).step) == (RunState.RUNNING, 0)
    assert only(tmp_path).state is RunState.INTERRUPTED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"{}"),
        ("config.json", b'{"config": {"steps": 3}, "image_shape": [1, 8, 8]}'),
        ("config.json", b'{"config": null, "image_shape": [1, 8, 8]}'),
        (
            "config.json",
            b'{"config": {"data": {"name": "a"}, "loss": {"name": 1}, "seed": 0, "steps": 1, "batch_size": 2}}',
        ),
        ("weights.safetensors", b"no such thing"),
        ("metrics.jsonl", b"{\n{}\n"),
        ("metrics.jsonl", b"{}\n"),
        ("metrics.jsonl", b'{"step": "many"}\n'),
        ("metrics.jsonl", b"\xff\xff\n"),
        ("evaluation.json", b"[]"),
        ("evaluation.json", b'{"trained": {}}'),
    ],
)
def test_a_damaged_run_stands_in_the_list_with_its_reason(run: Run, name: str, content: bytes) -> None:
    shutil.copytree(run.folder, run.folder.parent / "b")
    (run.folder / name).write_bytes(content)
    damaged, whole = find_runs([run.folder.parent])
    assert (damaged.state, whole.state) == (RunState.DAMAGED, RunState.FINISHED)
    assert damaged.reason is not None
    assert str(run.folder / name) in damaged.reason


def test_weights_cut_short_are_damaged(run: Run) -> None:
    weights = run.folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert only(run.folder).state is RunState.DAMAGED


def test_where_runs_are_looked_for(run: Run, tmp_path: Path) -> None:
    top = run.folder.parent
    for name in ("deep/er/b", "seed10", "seed2", ".hidden/c", "a/inside"):
        shutil.copytree(run.folder, top / name, dirs_exist_ok=True)
    # What is no run: an export, another program's folder, a file.
    export(run, top / "exported", onnx=False)
    (top / "other").mkdir()
    (top / "other" / "config.json").write_text("{}")
    (top / "notes.txt").write_text("")
    names = [str(found.folder.relative_to(top)) for found in find_runs([top])]
    assert names == ["a", "deep/er/b", "seed2", "seed10"]
    # Each once, wherever it is looked for from.
    assert len(find_runs([top, top / "deep", top / "seed2"])) == 4


def test_no_folder(tmp_path: Path) -> None:
    assert find_runs([tmp_path]) == []
    with pytest.raises(DataError, match="none is no folder"):
        find_runs([tmp_path / "none"])


def test_runs_of_an_older_version_are_listed(run: Run) -> None:
    path = run.folder / "config.json"
    saved = json.loads(path.read_text())
    saved["config"]["forgotten"] = 1
    path.write_text(json.dumps(saved))
    assert only(run.folder).state is RunState.FINISHED


def test_json(run: Run, tiny_data: Dataset) -> None:
    evaluate(run, tiny_data)
    values = json.loads(json.dumps(only(run.folder).to_json()))
    assert (values["folder"], values["state"], values["step"]) == (str(run.folder), "measured", 6)
    assert datetime.fromisoformat(values["when"]).tzinfo is not None
    assert set(values["evaluation"]["trained"]) == {"knn", "linear", "few_label", "few_label_spread"}


def test_the_state_follows_the_steps_that_were_asked_for(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    run = train(with_overrides(tiny_config, {"steps": 4}), tmp_path / "a", dataset=tiny_data)
    path = run.folder / "config.json"
    path.write_text(path.read_text().replace('"steps": 4', '"steps": 40'))
    assert (only(run.folder).state, only(run.folder).step) == (RunState.INTERRUPTED, 4)
