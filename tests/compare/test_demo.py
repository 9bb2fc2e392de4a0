"""The demo: a comparison of six losses on digits, the table it makes, the files it leaves."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from couplings.compare import Comparison, Outcome, Watcher
from couplings.compare.demo import DemoResult, demo, demo_plan
from couplings.train import Evaluation, Probe, with_overrides

TINY = {"data.limit": 200, "batch_size": 32, "evaluation.draws": 1, "evaluation.probe_limit": 100}


def tiny(comparison: Comparison, *losses: str) -> Comparison:
    """Only some of the losses, with little to do."""
    trials = [
        replace(trial, config=with_overrides(trial.config, TINY))
        for trial in comparison.trials
        if trial.variant.name in losses
    ]
    variants = tuple(variant for variant in comparison.variants if variant.name in losses)
    return replace(comparison, trials=tuple(trials), variants=variants, workers=min(2, len(trials)))


def result(folder: Path, few: dict[str, tuple[float, float]]) -> DemoResult:
    def evaluation(accuracy: float) -> Evaluation:
        probe = Probe(0.9, 0.9, accuracy, 0.01)
        pixels, untrained = Probe(0.9, 0.9, 0.7, 0.0), Probe(0.8, 0.8, 0.6, 0.0)
        return Evaluation(probe, pixels, untrained, 0.1, -2.0, 40.0 - 35 * (accuracy < 0.6), 128, 1.0)

    comparison = tiny(demo_plan(folder), *few)
    made = [Outcome(trial, evaluation(few[trial.variant.name][trial.seed])) for trial in comparison.trials]
    return DemoResult(comparison, tuple(made), seconds=1.0)


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
    comparison = demo_plan(tmp_path / "demo", seeds=2)
    assert len(comparison.trials) == 12
    assert len({(trial.config.loss.name, trial.seed) for trial in comparison.trials}) == 12
    assert not (tmp_path / "demo").exists()


class Impatient(Watcher):
    def on_steps(self, steps: int) -> None:
        if steps:
            raise KeyboardInterrupt


def test_a_stopped_demo_leaves_no_half_runs(tmp_path: Path) -> None:
    comparison = tiny(demo_plan(tmp_path / "demo", seeds=1, steps=100_000), "infonce")
    with pytest.raises(KeyboardInterrupt):
        demo(comparison, Impatient())
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("Spawn")]
    assert not list(tmp_path.iterdir())


class Listener(Watcher):
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.seconds: float | None = None

    def on_training(self, seconds: float | None) -> None:
        self.seconds = seconds

    def on_steps(self, steps: int) -> None:
        self.steps.append(steps)


def test_end_to_end(tmp_path: Path) -> None:
    comparison = tiny(demo_plan(tmp_path / "demo", seeds=1, steps=3), "infonce", "hcl-ot")
    listener = Listener()
    found = DemoResult(comparison, tuple(demo(comparison, listener)), seconds=1.0)
    found.write()
    assert listener.steps[-1] == comparison.total_steps == 6
    assert listener.seconds is not None
    assert {path.name for path in comparison.folder.iterdir()} == {
        *("comparison.md", "comparison.png", "coupling.png", "results.json", "runs")
    }
    numbers = json.loads((comparison.folder / "results.json").read_text())
    assert [row["name"] for row in numbers["rows"]] == ["raw pixels", "untrained encoder", "infonce", "hcl-ot"]
    assert found.outcomes[1].evaluation is not None
    assert numbers["runs"][1]["trained"]["knn"] == found.outcomes[1].evaluation.trained.knn
    assert "| hcl-ot" in (comparison.folder / "comparison.md").read_text()
    assert {path.name for path in comparison.runs.iterdir()} == {"digits-infonce-seed0", "digits-hcl-ot-seed0"}
