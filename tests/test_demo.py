"""The demo: jobs side by side, the table they make, the files they leave."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from couplings.demo import Demo, DemoResult
from couplings.demo.result import Trained
from couplings.demo.workers import Tick, open_workers
from couplings.train import ConfigError, Evaluation, Probe, with_overrides

TINY = {
    "data.limit": 200,
    "batch_size": 32,
    "evaluation.draws": 1,
    "evaluation.probe_limit": 100,
}


def job(value: int, tick: Tick) -> tuple[int, str | None]:
    tick(value)
    if value < 0:
        raise ConfigError(f"value: {value}")
    return 2 * value, os.environ.get("OMP_NUM_THREADS")


def test_workers_keep_the_order_and_count_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen: list[int] = []
    with open_workers(2, jobs=4) as workers:
        assert workers.run(job, [3, 1, 2, 5], seen.append) == [(6, "1"), (2, "1"), (4, "1"), (10, "1")]
    assert seen[-1] == 11
    assert seen == sorted(seen)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert not multiprocessing.active_children()


def test_a_failed_job_stops_the_others() -> None:
    with pytest.raises(ConfigError, match="value: -1"), open_workers(1, jobs=3) as workers:
        workers.run(job, [1, -1, 2], lambda _: None)
    assert not multiprocessing.active_children()


def result(folder: Path, few: dict[str, tuple[float, float]]) -> DemoResult:
    def evaluation(accuracy: float, rank: float) -> Evaluation:
        probe = Probe(0.9, 0.9, accuracy, 0.01)
        pixels, untrained = Probe(0.9, 0.9, 0.7, 0.0), Probe(0.8, 0.8, 0.6, 0.0)
        return Evaluation(probe, pixels, untrained, 0.1, -2.0, rank, 128, 1.0)

    runs = [
        Trained(loss, seed, folder / loss, evaluation(accuracy, 40.0 - 35 * (accuracy < 0.6)))
        for loss, accuracies in few.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    return DemoResult(folder, tuple(runs), seconds=1.0)


def test_the_table_marks_what_is_not_above_the_untrained_encoder(tmp_path: Path) -> None:
    found = result(tmp_path, {"infonce": (0.8, 0.81), "hcl": (0.61, 0.65), "cacr": (0.5, 0.5)})
    assert [entry.name for entry in found.entries] == ["raw pixels", "untrained encoder", "infonce", "hcl", "cacr"]
    assert [entry.name for entry in found.entries if entry.marked] == ["hcl", "cacr"]
    assert found.note.endswith("hcl, cacr.")
    assert found.collapse().endswith("5.0 of 128 (cacr): COLLAPSED.")


def test_the_table_says_so_if_all_are_above(tmp_path: Path) -> None:
    found = result(tmp_path, {"infonce": (0.8, 0.81)})
    assert "Every loss" in found.note
    assert "no collapse" in found.collapse()


def test_the_plan_has_six_losses_and_their_seeds(tmp_path: Path) -> None:
    demo = Demo.plan(tmp_path / "demo", seeds=2)
    assert len(demo.configs) == 12
    assert len({(config.loss.name, config.seed) for config in demo.configs}) == 12
    assert not (tmp_path / "demo").exists()


def test_a_stopped_demo_leaves_no_half_runs(tmp_path: Path) -> None:
    demo = Demo.plan(tmp_path / "demo", seeds=1, steps=100_000)
    demo = replace(demo, configs=(with_overrides(demo.configs[0], TINY),), workers=1)

    def stop_after_a_step(done: int, note: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.run(stop_after_a_step, lambda line: None)
    assert not multiprocessing.active_children()
    assert not list(tmp_path.iterdir())


def test_end_to_end(tmp_path: Path) -> None:
    demo = Demo.plan(tmp_path / "demo", seeds=1, steps=3)
    short = [config for config in demo.configs if config.loss.name in ("infonce", "hcl-ot")]
    demo = replace(demo, configs=tuple(with_overrides(config, TINY) for config in short), workers=2)
    steps, lines = [], []
    found = demo.run(lambda done, note: steps.append(done), lines.append)
    assert steps[-1] == demo.total_steps == 6
    assert "raw pixels" in lines[0]
    assert "About" in lines[1]
    assert {path.name for path in demo.folder.iterdir()} == {
        *("comparison.md", "comparison.png", "coupling.png", "results.json", "runs")
    }
    numbers = json.loads((demo.folder / "results.json").read_text())
    assert [row["name"] for row in numbers["rows"]] == ["raw pixels", "untrained encoder", "infonce", "hcl-ot"]
    assert numbers["runs"][1]["trained"]["knn"] == found.runs[1].evaluation.trained.knn
    assert "| hcl-ot" in (demo.folder / "comparison.md").read_text()
    assert {path.name for path in (demo.folder / "runs").iterdir()} == {"infonce-seed0", "hcl-ot-seed0"}
