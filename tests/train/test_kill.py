"""kill -9 at any moment, the same call again: the weights are those of a run that nobody touched, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from couplings.cli import main
from couplings.train.checkpoint import checkpoints, newest_checkpoint
from couplings.train.folder import METRICS, WEIGHTS

UNIFORM, WRITING = 20, 6
SETTINGS = {
    "steps": 40,
    "checkpoint_every": 3,
    "log_every": 2,
    "diagnose_every": 5,
    "encoder.width": 8,
    "batch_size": 64,
    "momentum.queue": 100,
}


def _train(folder: Path, slow_disk: bool) -> None:
    """The body of a process that is killed."""
    import torch

    from couplings.train import preset, train, with_overrides

    torch.set_num_threads(1)
    if slow_disk:
        # The bytes lie in the temporary file, which has not got its name yet.
        os.fsync = lambda _: time.sleep(1)
    train(with_overrides(preset("digits"), SETTINGS), folder)


@pytest.fixture(scope="module")
def started() -> Callable[..., BaseProcess]:
    """Starts a training in a process that has its libraries loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["couplings.train", "lightning_fabric", "sklearn.datasets", __name__])

    def start(folder: Path, slow_disk: bool = False) -> BaseProcess:
        process = context.Process(target=_train, args=(folder, slow_disk))
        process.start()
        return process

    return start


def _finish(started: Callable[..., BaseProcess], folder: Path) -> bytes:
    process = started(folder)
    process.join()
    assert process.exitcode == 0
    return (folder / WEIGHTS).read_bytes()


def _kill(process: BaseProcess) -> bool:
    """Whether it was still running."""
    process.kill()
    process.join()
    return process.exitcode == -9


def _everything_is_whole(folder: Path) -> None:
    """What bears a name is whole, even right after a kill; half of a file is hidden."""
    said: list[str] = []
    newest_checkpoint(folder, SETTINGS["steps"], said.append)
    assert not said
    for path in folder.glob("*.json*") if folder.is_dir() else ():
        assert path.name == METRICS or path.read_text().endswith("}\n")


@pytest.fixture(scope="module")
def untouched(started: Callable[..., BaseProcess], tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """The weights of a run that nobody stops, and the seconds it takes."""
    _finish(started, tmp_path_factory.mktemp("warm") / "run")
    start = time.perf_counter()
    weights = _finish(started, tmp_path_factory.mktemp("whole") / "run")
    return weights, time.perf_counter() - start


def _after_the_end(folder: Path, weights: bytes, whole: bytes) -> None:
    assert weights == whole
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", METRICS, WEIGHTS]
    lines = (folder / METRICS).read_text().splitlines()
    steps = [line.split(",")[0] for line in lines]
    assert len(steps) == len(set(steps)) == 25


def test_killed_at_any_moment(
    started: Callable[..., BaseProcess], untouched: tuple[bytes, float], tmp_path: Path
) -> None:
    whole, seconds = untouched
    draw = random.Random(0)
    moments = [(k + draw.random()) / UNIFORM * seconds for k in range(UNIFORM)]

    def trial(moment: float) -> bool:
        folder = tmp_path / f"{moment}"
        process = started(folder)
        process.join(moment)
        killed = _kill(process)
        _everything_is_whole(folder)
        _after_the_end(folder, _finish(started, folder), whole)
        return killed

    with ThreadPoolExecutor(2) as pool:
        killed = list(pool.map(trial, moments))
    # The last moments may come after the end.
    assert sum(killed) >= UNIFORM - 5


def test_killed_while_a_checkpoint_is_written(
    started: Callable[..., BaseProcess], untouched: tuple[bytes, float], tmp_path: Path
) -> None:
    whole, _ = untouched

    def trial(which: int) -> None:
        folder = tmp_path / f"{which}"
        process = started(folder, slow_disk=True)
        # Of the which-th checkpoint.
        while not (len(checkpoints(folder)) >= min(which, 2) and list(folder.glob(".checkpoint-*.part"))):
            assert process.is_alive()
        assert _kill(process)
        assert list(folder.glob(".checkpoint-*.part"))
        _everything_is_whole(folder)
        _after_the_end(folder, _finish(started, folder), whole)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(trial, range(WRITING)))


def test_killed_again_and_again_it_gets_there(
    started: Callable[..., BaseProcess], untouched: tuple[bytes, float], tmp_path: Path
) -> None:
    whole, _ = untouched
    folder, kills = tmp_path / "run", 0
    for goal in (9, 18, 27, 36):
        process = started(folder)
        while _reached(folder) < goal and process.is_alive():
            time.sleep(0.005)
        kills += _kill(process)
    assert kills >= 3
    _after_the_end(folder, _finish(started, folder), whole)


def _reached(folder: Path) -> int:
    """The step of the newest checkpoint."""
    return max([int(path.stem.rpartition("-")[2]) for path in checkpoints(folder)], default=0)


def test_the_command_goes_on_where_it_was_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    less = {"evaluation.draws": 1, "evaluation.probe_limit": 100}
    words = [word for key, value in {**SETTINGS, **less}.items() for word in ("--set", f"{key}={value}")]
    words = ["train", "--output", str(tmp_path / "run"), *words]
    first = subprocess.Popen([sys.executable, "-m", "couplings", *words], stdout=subprocess.DEVNULL)
    while not checkpoints(tmp_path / "run"):
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert main(words) == 0
    assert "Continuing after step" in capsys.readouterr().out
    assert main(words) == 0
    again = capsys.readouterr().out
    assert "nothing is left to train" in again
    assert "It is measured, too" in again
