"""Comparisons that are made: what is done is skipped, the rest goes on, and the number of workers changes nothing."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import TINY, loss, tiny

from couplings import cli
from couplings.compare import Comparison, Outcome, Trial, Variant, Varied, Watcher, compare
from couplings.system.workers import Tick
from couplings.train import ConfigError, Run, preset, with_overrides

ROWS = (loss("infonce"), loss("hcl"))


class InThisProcess:
    """Stands for the workers: no process has to be started."""

    def run(
        self,
        work: Callable[[Any, Tick], Any],
        jobs: Sequence[Any],
        on_steps: Callable[[int], None] = lambda _: None,
        on_result: Callable[[Any, Any], None] = lambda *_: None,
    ) -> list[Any]:
        found = []
        for job in jobs:
            found.append(work(job, lambda _: None))
            on_result(job, found[-1])
        return found


@contextmanager
def in_this_process(count: int, jobs: int) -> Iterator[InThisProcess]:
    yield InThisProcess()


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("couplings.compare.run.open_workers", in_this_process)


class Listener(Watcher):
    def __init__(self) -> None:
        self.done: list[str] = []
        self.left: list[str] = []
        self.ended: list[str] = []

    def on_begin(self, done: Sequence[Outcome], left: Sequence[Trial]) -> None:
        self.done, self.left = [outcome.trial.folder.name for outcome in done], [trial.folder.name for trial in left]

    def on_outcome(self, outcome: Outcome) -> None:
        self.ended.append(outcome.trial.folder.name)


def planned(folder: Path, workers: int = 1, **changes: object) -> Comparison:
    bases = {"digits": tiny()}
    settings = {"supervised": True, "workers": workers, "shared": {"log_every": 1}, **changes}
    return Comparison.plan(folder, bases, ROWS, range(2), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("couplings.compare.run.open_workers", in_this_process)
        compare(planned(folder))
    return folder


@pytest.fixture
def again(one: Path, tmp_path: Path) -> Path:
    """A copy of the comparison, to be changed."""
    shutil.copytree(one, tmp_path / "again")
    return tmp_path / "again"


def weights(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob("runs/*/weights.safetensors"))}


def test_two_worker_processes_give_the_weights_of_one(one: Path, tmp_path: Path) -> None:
    compare(planned(tmp_path, workers=2))
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("Spawn")]
    assert weights(one) == weights(tmp_path)
    assert len(weights(one)) == 6


def test_what_is_done_is_skipped_and_the_rest_made(again: Path, inline: None) -> None:
    before = weights(again)
    runs = again / "runs"
    shutil.rmtree(runs / "digits-hcl-seed1")
    (runs / "digits-infonce-seed0" / "weights.safetensors").unlink()
    (runs / "digits-infonce-seed0" / "evaluation.json").unlink()
    (runs / "digits-infonce-seed1" / "evaluation.json").write_text("{")
    (runs / "digits-supervised-seed0" / "weights.safetensors").write_bytes(b"half")
    listener = Listener()
    outcomes = compare(planned(again), listener)
    missing = {"digits-hcl-seed1", "digits-infonce-seed0", "digits-infonce-seed1", "digits-supervised-seed0"}
    assert set(listener.left) == set(listener.ended) == missing
    assert len(listener.done) == 2
    assert weights(again) == before
    assert [outcome.trial.folder.name for outcome in outcomes] == [t.folder.name for t in planned(again).trials]
    assert all(outcome.evaluation is not None for outcome in outcomes)
    # Nothing is left: no process is started.
    assert len(compare(planned(again, workers=2), listener)) == 6
    assert not listener.left


def test_other_settings_are_refused_by_name(again: Path, inline: None) -> None:
    before = weights(again)
    with pytest.raises(ConfigError, match=r"infonce-seed0.*optimiser.lr \(there 0.004, here 0.01\)"):
        compare(planned(again, shared={"log_every": 1, "optimiser.lr": 0.01}))
    assert weights(again) == before


def test_overwrite_makes_them_anew(again: Path, inline: None) -> None:
    listener = Listener()
    rows = ROWS[:1]
    comparison = Comparison.plan(again, {"digits": tiny()}, rows, [0], shared={"steps": 2}, overwrite=True)
    (outcome,) = compare(comparison, listener)
    assert listener.left == ["digits-infonce-seed0"]
    assert Run.load(outcome.trial.folder).step == 2


def pictures(path: Path, seed: int) -> Path:
    random = np.random.default_rng(seed)
    np.savez(path, images=random.random((60, 8, 8)), labels=np.arange(60) % 3)
    return path


def of_pictures(folder: Path, path: Path, **settings: Any) -> Comparison:
    small = {**TINY, "data.folder": path, "batch_size": 16, "evaluation.few_labels": 2, "evaluation.neighbours": 5}
    base = with_overrides(preset("npz"), small)
    return Comparison.plan(folder, {"pics": base}, ROWS[:1], [0], supervised=True, workers=1, **settings)


def test_other_images_are_told_from_the_same_ones_elsewhere(tmp_path: Path, inline: None) -> None:
    out, first = tmp_path / "out", pictures(tmp_path / "first.npz", seed=0)
    compare(of_pictures(out, first))
    before = weights(out)
    with pytest.raises(ConfigError, match=r"infonce-seed0 holds a run of other images.*second\.npz"):
        compare(of_pictures(out, pictures(tmp_path / "second.npz", seed=1)))
    assert weights(out) == before
    listener = Listener()
    compare(of_pictures(out, pictures(tmp_path / "moved.npz", seed=0)), listener)
    assert (len(listener.done), listener.left) == (2, [])


def test_other_pairs_under_the_same_name_are_told(tmp_path: Path, inline: None) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b\n1,2\n")

    def plan() -> Comparison:
        bases = {"digits": with_overrides(tiny(), {"pairs.exclude": pairs})}
        return Comparison.plan(tmp_path / "out", bases, ROWS[:1], [0], workers=1)

    assert [outcome.message for outcome in compare(plan())] == [""]
    pairs.write_text("a,b\n3,4\n")
    with pytest.raises(ConfigError, match=r"infonce-seed0 holds a run without the pairs that .*pairs\.csv lists"):
        compare(plan())


def test_overwrite_removes_nothing_while_the_images_are_missing(tmp_path: Path, inline: None) -> None:
    out = tmp_path / "out"
    compare(of_pictures(out, pictures(tmp_path / "first.npz", seed=0)))
    before = weights(out)
    with pytest.raises(ConfigError, match="absent"):
        compare(of_pictures(out, tmp_path / "absent.npz", overwrite=True))
    assert len(before) == 2
    assert weights(out) == before


@pytest.mark.parametrize(
    ("options", "training", "words"),
    [
        ([], True, "0 of 1 runs are done, and the same command continues\n"),
        (["--overwrite"], True, "0 of 1 runs are done, and the same command without --overwrite continues\n"),
        (["--overwrite"], False, "no run was replaced yet, and the same command begins again\n"),
    ],
)
def test_how_a_stopped_comparison_goes_on(
    options: list[str],
    training: bool,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(comparison: Comparison, watcher: Watcher) -> None:
        if training:
            watcher.on_training(None)
        raise KeyboardInterrupt

    monkeypatch.setattr("couplings.cli.work.compare.compare", stopped)
    assert cli.main(["compare", "--losses", "hcl", "--seeds", "1", "--output", str(tmp_path / "out"), *options]) == 130
    assert capsys.readouterr().err.endswith(f"stopped; {words}")


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path, inline: None) -> None:
    diverging = Variant("wild", "wild", (Varied("loss.name", "infonce"), Varied("optimiser.lr", 1e30)))
    shared = {"log_every": 1, "steps": 12}
    comparison = Comparison.plan(tmp_path, {"digits": tiny()}, [diverging, loss("hcl")], [0], shared=shared, workers=1)
    wild, fine = compare(comparison)
    assert wild.evaluation is None
    assert "diverged" in wild.message
    assert fine.evaluation is not None
    assert not wild.trial.folder.exists()


def test_a_batch_larger_than_the_images_is_told_by_its_run(tmp_path: Path, inline: None) -> None:
    large = Variant("large", "large", (Varied("loss.name", "infonce"), Varied("batch_size", 5000)))
    comparison = Comparison.plan(tmp_path, {"digits": tiny()}, [large, loss("hcl")], [0], workers=1)
    told, fine = compare(comparison)
    assert "batch_size: 5000 is more than the" in told.message
    assert told.details == ""
    assert fine.evaluation is not None


@pytest.mark.parametrize("file", [".room", "weights.safetensors"])
def test_a_full_disk_stops_the_comparison_at_once(
    file: str, tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 4 KB before anything is measured; later at the first run that finds no room, and not at each of them."""
    replace, asked = os.replace, list[str]()

    def full(source: Any, target: Any) -> None:
        if Path(target).name == file:
            asked.append(str(target))
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    listener = Listener()
    with monkeypatch.context() as disk:
        disk.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left") as failure:
            compare(planned(tmp_path / "out"), listener)
    assert [failure.value.filename] == asked
    assert listener.ended == []
    assert not list((tmp_path / "out").rglob("*.safetensors"))
    # With room again, the same comparison makes what is missing.
    assert all(outcome.evaluation is not None for outcome in compare(planned(tmp_path / "out")))


def test_the_command(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(one, tmp_path / "out")
    Path("page.md").write_text("<!-- compare: out -->\n<!-- end -->\n")
    settings = [word for key, value in {**TINY, "log_every": 1}.items() for word in ("--set", f"{key}={value}")]
    words = ["--losses", "infonce", "hcl", "--seeds", "2", "--supervised", "--output", "out", *settings]
    assert cli.main(["compare", *words, "--docs", "page.md"]) == 0
    said = capsys.readouterr().out
    for part in (
        "3 variants x 2 seeds: 6 runs of 4 steps",
        "6 of 6 done already",
        "raw pixels",
        "minus infonce",
        "Next:",
    ):
        assert part in said
    files = {path.name for path in Path("out").iterdir()}
    assert files == {"comparison.md", "comparison.png", "curves.png", "results.json", "runs"}
    assert json.loads(Path("out/results.json").read_text())["tables"][0]["data"] == "digits"
    assert "| hcl |" in Path("page.md").read_text()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", ["losses: none came", "--vary"]),
        ("--losses hclot", ["hclot", "'hcl-ot'"]),
        ("--losses hcl --seeds 0", ["seeds", "0"]),
        ("--losses hcl --seeds 1 1", ["each seed once"]),
        ("--losses hcl --seeds 1.5", ["--seeds", "1.5"]),
        ("--losses hcl --vary steps", ["--vary", "KEY=VALUE"]),
        ("--losses hcl --vary steps=1 --vary steps=2", ["steps", "twice"]),
        ("--losses hcl --vary stepps=1,2", ["stepps", "'steps'"]),
        ("--losses hcl --vary seed=1,2", ["--seeds"]),
        ("--losses hcl --data digits digits", ["digits", "twice"]),
        ("--losses hcl --data digit", ["digit", "'digits'"]),
        ("--losses hcl --reference infonce", ["reference", "infonce"]),
        ("--losses hcl --workers 0", ["workers", "0"]),
        ("--losses hcl --set temperature", ["--set", "key=value"]),
        ("--losses hcl --output taken.txt", ["taken.txt", "folder"]),
        ("--losses hcl --docs missing.md", ["missing.md", "no such page"]),
        ("--losses hcl --docs taken.txt", ["taken.txt", "<!-- compare: compare -->"]),
        ("--losses hcl --data digits missing.yaml", ["data.name", "missing.yaml"]),
        ("missing.yaml --losses hcl", ["missing.yaml"]),
        ("taken.txt --losses hcl --data digits", ["recipe", "--data"]),
    ],
)
def test_a_users_mistake(
    command: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.txt").write_text("mine")
    assert cli.main(["compare", *command.split()]) == 2
    message = capsys.readouterr().err
    assert message.startswith("couplings: error: ")
    assert [word for word in words if word.lower() not in message.lower()] == []
    assert [path.name for path in tmp_path.iterdir()] == ["taken.txt"]
