from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from couplings import CouplingWarning
from couplings.train import (
    ConfigError,
    Dataset,
    Plan,
    RunConfig,
    Several,
    Silent,
    StepRecord,
    to_tensorboard,
    to_tracker,
    to_trackio,
    to_wandb,
    train,
    with_overrides,
)
from couplings.train.loggers import Logger


class Tracked:
    """Stands for a run of wandb or trackio."""

    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.points.append((step, metrics))

    def finish(self) -> None:
        self.finished += 1

    @property
    def steps(self) -> list[int]:
        return [step for step, _ in self.points]


def record(step: int, loss: float | None = 1.0) -> StepRecord:
    return StepRecord(step, 0, 1e-3, loss)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a run, as far as loggers look at it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    return tmp_path / "mine"


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_a_tracker_gets_what_metrics_hold(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    tracked = Tracked()
    with to_tracker(tracked) as logger:
        run = train(tiny_config, tmp_path / "run", logger, tiny_data)
    assert tracked.finished == 1
    lines = run.metrics()
    assert tracked.steps == [line["step"] for line in lines] == [1, 2, 3, 4, 6]
    for (_, numbers), line in zip(tracked.points, lines, strict=True):
        wanted = {f"plan_entropy/{name}": value for name, value in line.pop("plan_entropy", {}).items()}
        del line["step"]
        assert numbers == {**wanted, **line}


def test_tensorboard_shows_what_metrics_hold(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with to_tensorboard(tmp_path / "run") as logger:
        run = train(tiny_config, tmp_path / "run", logger, tiny_data)
    found = curves(run.folder)
    assert set(found) >= {"loss", "lr", "epoch", "alignment", "plan_entropy/plan"}
    wanted = [(line["step"], line["loss"]) for line in run.metrics()]
    assert found["loss"] == [(step, pytest.approx(loss)) for step, loss in wanted]


def test_tensorboard_has_no_point_twice_after_a_kill(folder: Path) -> None:
    killed = to_tensorboard(folder)
    for step in range(1, 8):
        killed.on_step(record(step, float(step)))
    # Not closed; the checkpoint was of step 4.
    with to_tensorboard(folder) as logger:
        logger.on_step(record(5, None))
        for step in range(6, 10):
            logger.on_step(record(step, -float(step)))
    assert curves(folder)["loss"] == [(1, 1), (2, 2), (3, 3), (4, 4), (6, -6), (7, -7), (8, -8), (9, -9)]


def test_tensorboard_forgets_a_run_that_was_replaced(folder: Path) -> None:
    for sign in (1, -1):
        with to_tensorboard(folder) as logger:
            for step in (1, 2):
                logger.on_step(record(step, sign * float(step)))
    assert curves(folder)["loss"] == [(1, -1), (2, -2)]


@pytest.fixture(params=["wandb", "trackio"])
def viewer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A library that remembers with what its runs were opened."""
    opened: list[dict[str, Any]] = []
    runs: list[Tracked] = []

    def init(**words: Any) -> Tracked:
        opened.append(words)
        runs.append(Tracked())
        return runs[-1]

    name = request.param
    monkeypatch.delenv(f"{name.upper()}_PROJECT", raising=False)
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(init=init))
    make = {"wandb": to_wandb, "trackio": to_trackio}[name]
    return SimpleNamespace(name=name, make=make, opened=opened, runs=runs)


def known_by(viewer: SimpleNamespace, place: int) -> str:
    words = viewer.opened[place]
    return words["id"] if viewer.name == "wandb" else words["name"]


def test_a_stopped_run_continues_its_curves(viewer: SimpleNamespace, folder: Path) -> None:
    # Killed: never closed.
    first = viewer.make(folder, {"steps": 9})
    for step in range(1, 8):
        first.on_step(record(step))
    with viewer.make(folder) as second:
        for step in range(5, 10):
            second.on_step(record(step, None if step == 5 else 1.0))
    assert viewer.runs[0].steps == [1, 2, 3, 4, 5, 6, 7]
    assert viewer.runs[1].steps == [8, 9]
    assert [run.finished for run in viewer.runs] == [0, 1]
    assert known_by(viewer, 0) == known_by(viewer, 1)
    words = viewer.opened[0]
    assert words["project"] == "couplings"
    assert words["config"] == {"steps": 9}
    assert words["resume"] == "allow"
    assert words["name"].startswith("mine")


def test_a_run_that_begins_anew_is_another_one(viewer: SimpleNamespace, folder: Path) -> None:
    for _ in range(2):
        with viewer.make(folder) as logger:
            logger.on_step(record(1))
            logger.on_step(record(2))
    assert known_by(viewer, 0) != known_by(viewer, 1)
    assert viewer.runs[1].steps == [1, 2]


@pytest.mark.parametrize("content", [None, "[", "[1]", '{"else": 1}'])
def test_a_continued_run_without_memory_is_tracked_from_there(
    viewer: SimpleNamespace, folder: Path, content: str | None
) -> None:
    if content is not None:
        (folder / f"{viewer.name}.json").write_text(content)
    with viewer.make(folder) as logger:
        logger.on_step(record(51))
    assert viewer.runs[0].steps == [51]


def test_the_project_can_be_named(viewer: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{viewer.name.upper()}_PROJECT", "thesis")
    viewer.make(folder).on_step(record(1))
    assert viewer.opened[0]["project"] == "thesis"


def test_nothing_is_opened_before_the_first_step(viewer: SimpleNamespace, folder: Path) -> None:
    with viewer.make(folder) as logger:
        logger.on_message("hello")
    assert not viewer.opened
    assert [path.name for path in folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("library", "make", "command"),
    [
        ("wandb", to_wandb, "pip install wandb"),
        ("trackio", to_trackio, "pip install trackio"),
        ("tensorboard", to_tensorboard, r"pip install 'couplings\[tensorboard\]'"),
    ],
)
def test_a_missing_library_says_what_installs_it(
    library: str, make: Any, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"needs {library}, which is not installed; {command}"):
        make(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_viewer_that_fails_does_not_end_the_training(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    class Failing(Tracked):
        def log(self, metrics: dict[str, float], step: int) -> None:
            if step == 3:
                raise ConnectionError("no network")
            super().log(metrics, step)

    tracked = Failing()
    words = r"Failing: no curves from step 3 on \(ConnectionError: no network\)\. Training goes on"
    with pytest.warns(CouplingWarning, match=words) as told, to_tracker(tracked) as logger:
        run = train(tiny_config, tmp_path / "run", logger, tiny_data)
    assert len(told) == 1
    assert run.finished
    assert tracked.steps == [1, 2]


def test_a_viewer_that_cannot_be_opened_or_closed() -> None:
    def refuse(first: int) -> Any:
        raise RuntimeError("no account.")

    logger = Logger("some viewer", refuse)
    with pytest.warns(CouplingWarning, match=r"some viewer: no curves from step 7 on \(RuntimeError: no account\)"):
        logger.on_step(record(7))
    with logger:
        logger.on_step(record(8))

    class Sticky(Tracked):
        def finish(self) -> None:
            raise RuntimeError("stuck")

    with pytest.warns(CouplingWarning, match="its curves may not be complete"), to_tracker(Sticky()) as logger:
        logger.on_step(record(1))


def test_a_run_that_fails_takes_the_curves_along(
    viewer: SimpleNamespace, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    changes = {"optimiser.lr": 1e30, "optimiser.warmup_steps": 0, "log_every": 1, "steps": 30}
    place, config = tmp_path / "run", with_overrides(tiny_config, changes)
    with pytest.raises(ConfigError, match="diverged"), viewer.make(place) as one, to_tensorboard(place) as other:
        train(config, place, Several([one, other]), tiny_data)
    assert not place.exists()


def test_ctrl_c_closes_and_keeps(folder: Path) -> None:
    tracked = Tracked()

    def stopped() -> None:
        with to_tracker(tracked) as one, to_tensorboard(folder) as other:
            Several([one, other]).on_step(record(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert tracked.finished == 1
    assert curves(folder)["loss"] == [(1, 1.0)]


def test_several_observers_are_told_in_turn() -> None:
    heard: list[tuple[str, object]] = []

    class Listener(Silent):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_start(self, plan: Plan) -> None:
            heard.append((self.name, plan))

        def on_step(self, step: StepRecord) -> None:
            heard.append((self.name, step.step))

        def on_message(self, text: str) -> None:
            heard.append((self.name, text))

    both, plan = Several([Listener("a"), Listener("b")]), Plan(1, 1, 1.0, "cpu", 1, 1, "hcl")
    both.on_start(plan)
    both.on_step(record(3))
    both.on_message("hello")
    assert heard == [(name, said) for said in (plan, 3, "hello") for name in "ab"]


def test_what_is_remembered_is_json(viewer: SimpleNamespace, folder: Path) -> None:
    viewer.make(folder).on_step(record(1))
    saved = json.loads((folder / f"{viewer.name}.json").read_text())
    assert saved["step"] == 1
    assert saved["ident"] in known_by(viewer, 0)


def test_curves_do_not_change_the_weights(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    plain = train(tiny_config, tmp_path / "plain", dataset=tiny_data)
    with to_tensorboard(tmp_path / "seen") as logger:
        seen = train(tiny_config, tmp_path / "seen", logger, tiny_data)
    for one, other in zip(plain.model.parameters(), seen.model.parameters(), strict=True):
        assert torch.equal(one, other)
