"""Jobs side by side: in order, counted, and none left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from couplings import __version__
from couplings.system.workers import Tick, WorkerStopped, open_workers


def job(value: int, tick: Tick) -> tuple[int, str | None]:
    tick(value)
    if value < 0:
        raise ValueError(f"value: {value}")
    if value == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * value, os.environ.get("OMP_NUM_THREADS")


def test_workers_keep_the_order_and_count_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen: list[int] = []
    ended: dict[int, int] = {}
    with open_workers(2, jobs=4) as workers:
        found = workers.run(job, [3, 1, 2, 5], seen.append, lambda value, result: ended.update({value: result[0]}))
        assert found == [(6, "1"), (2, "1"), (4, "1"), (10, "1")]
    assert ended == {3: 6, 1: 2, 2: 4, 5: 10}
    assert seen[-1] == 11
    assert seen == sorted(seen)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("Spawn")]


def test_a_failed_job_stops_the_others() -> None:
    with pytest.raises(ValueError, match="value: -1"), open_workers(1, jobs=3) as workers:
        workers.run(job, [1, -1, 2])
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("Spawn")]


def test_a_killed_worker_is_told() -> None:
    with pytest.raises(WorkerStopped, match="memory runs out"), open_workers(1, jobs=1) as workers:
        workers.run(job, [13])
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("Spawn")]


_UNGUARDED = """
import sys
sys.path.insert(0, {folder!r})
from couplings.cli import main
from couplings.system.workers import open_workers
from test_workers import job
main(["--version"])
if {guard}:
    with open_workers(1, 1) as workers:
        print(workers.run(job, [1])[0][0])
"""


def _script(folder: Path, guard: str) -> subprocess.CompletedProcess[str]:
    """A process of a script whose workers import it."""
    (folder / "script.py").write_text(_UNGUARDED.format(folder=os.path.dirname(__file__), guard=guard))
    return subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=100)


def test_a_command_of_a_script_is_not_given_again_by_its_workers(tmp_path: Path) -> None:
    assert _script(tmp_path, "__name__ == '__main__'").stdout.splitlines() == [__version__, "2"]


def test_a_script_that_starts_workers_as_it_is_imported_is_told_so(tmp_path: Path) -> None:
    said = _script(tmp_path, "True").stderr.splitlines()[-1]
    assert "WorkerStopped: a worker process ended before it began" in said
    assert "stand under if __name__ == '__main__'" in said
    assert "memory" not in said


_ORPHANS = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from couplings.system.workers import open_workers
from test_workers import job
if __name__ == "__main__":
    with open_workers(1, 1) as workers:
        print(*(process.pid for process in __import__("multiprocessing").active_children()), flush=True)
        workers.run(job, [1])
        print(*(process.pid for process in __import__("multiprocessing").active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


_WAITING = """
import sys, time
if __name__ != "__main__":
    time.sleep(1000)
sys.path.insert(0, {folder!r})
import couplings.system.workers
from test_workers import job
couplings.system.workers.START_SECONDS = 1.0
if __name__ == "__main__":
    try:
        with couplings.system.workers.open_workers(1, 1) as workers:
            workers.run(job, [1])
    except couplings.system.workers.WorkerStopped as error:
        print(error)
"""


def test_workers_that_never_begin_are_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_WAITING.format(folder=os.path.dirname(__file__)))
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False)
    assert "no worker process has begun" in found.stdout, found.stderr


def test_workers_do_not_outlive_a_killed_parent() -> None:
    code = _ORPHANS.format(folder=os.path.dirname(__file__))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    (pid,) = map(int, found.stdout.split())
    for _ in range(200):
        if not os.path.exists(f"/proc/{pid}"):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"worker {pid} outlived its parent")
