"""Independent jobs side by side in processes of one thread each.

Small networks gain little from a second thread and lose much to a busy machine, so a core takes a job of its own.
One thread also makes a job's numbers the same however many run beside it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from couplings.system.interrupts import stoppable

__all__ = ["Tick", "WorkerStopped", "Workers", "open_workers"]

Job = TypeVar("Job")
Result = TypeVar("Result")

Tick = Callable[[int], None]
"""A job calls it with the steps it has done."""

_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
"""For a job to save what it continues from."""
_REAP_SECONDS = 0.01

_BEGUN, _ENDING = -2, -1
"""Behind the steps of the jobs: whether a worker has begun, and whether no further job is to begin."""
_OUT_OF_MEMORY = (
    "a worker process was stopped by the system, which does so when memory runs out; take fewer "
    "--workers, or smaller batches"
)
_NOT_BEGUN = (
    "a worker process ended before it began: each one imports the script again, so that what a script starts must "
    "stand under if __name__ == '__main__'"
)

_NEVER_BEGUN = (
    "no worker process has begun in five minutes: each one imports the script again, which must not wait for anything "
    "outside of: if __name__ == '__main__':"
)
START_SECONDS = 300.0
"""Until then a worker has loaded torch even on a machine that swaps."""

_counters: Any = None


class WorkerStopped(RuntimeError):
    """A worker ended in the middle of a job, or before its first."""


def _ignore(*_: object) -> None:
    return None


class Workers:
    """Processes that take jobs; made by `open_workers`."""

    def __init__(self, pool: ProcessPoolExecutor, counters: Any) -> None:
        self._pool = pool
        self._counters = counters

    def run(
        self,
        work: Callable[[Job, Tick], Result],
        jobs: Sequence[Job],
        on_steps: Callable[[int], None] = _ignore,
        on_result: Callable[[Job, Result], None] = _ignore,
    ) -> list[Result]:
        """Run `work(job, tick)` for every job; results in the order of the jobs.

        Args:
            work: a function of a module, so that another process finds it.
            jobs: picklable, as are the results.
            on_steps: told the sum of all jobs' steps a few times a second.
            on_result: told of each job as it ends.

        Raises:
            Exception: the first that a job raised.
            WorkerStopped: the system stopped a worker, or none could begin, or has in five minutes.
            KeyboardInterrupt: Ctrl-C, a fraction of a second later.
        """
        futures = {self._pool.submit(_work, work, job, place): job for place, job in enumerate(jobs)}
        waiting: set[Future[Result]] = set(futures)
        latest = time.monotonic() + START_SECONDS
        # An exception in the middle of `wait` can leave a lock of the pool held, which then never ends.
        with stoppable((signal.SIGINT,)) as stop:
            while waiting:
                done, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    on_result(futures[future], self._result(future))
                on_steps(sum(self._counters[:_BEGUN]))
                if not self._counters[_BEGUN] and time.monotonic() > latest:
                    raise WorkerStopped(_NEVER_BEGUN)
                if stop.asked:
                    raise KeyboardInterrupt
        return [future.result() for future in futures]

    def _result(self, future: Future[Result]) -> Result:
        try:
            return future.result()
        except BrokenProcessPool:
            raise WorkerStopped(_OUT_OF_MEMORY if self._counters[_BEGUN] else _NOT_BEGUN) from None


@contextmanager
def open_workers(count: int, jobs: int) -> Iterator[Workers]:
    """`count` processes for at most `jobs` jobs at a time; none is left behind on an error or Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    counters = context.RawArray(ctypes.c_long, jobs - _BEGUN)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, context, _begin, (counters,))
    try:
        with _single_threaded():
            yield Workers(pool, counters)
    except BaseException:
        counters[_ENDING] = 1
        _stop(set(multiprocessing.active_children()) - before, pool)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _stop(children: set[BaseProcess], pool: ProcessPoolExecutor) -> None:
    """Let a training save where it is; whatever else goes on ends at once."""
    for child in children:
        child.terminate()
    pool.shutdown(wait=False, cancel_futures=True)
    end = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.join(max(0.0, end - time.monotonic()))
        child.kill()
    # The pool's own thread may be the one that learns how a child ended, a moment after it did.
    while any(child.exitcode is None for child in children) and time.monotonic() < end + _GRACE_SECONDS:
        time.sleep(_REAP_SECONDS)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Children read these variables when they load torch; the parent gets its own back."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(_THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _begin(counters: Any) -> None:
    """First thing in a worker: the parent alone answers Ctrl-C, and no worker outlives it."""
    global _counters
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _counters = counters
    _counters[_BEGUN] = 1


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(work: Callable[[Job, Tick], Result], job: Job, place: int) -> Result:
    def tick(steps: int) -> None:
        _counters[place] = steps

    if _counters[_ENDING]:
        raise CancelledError
    return work(job, tick)
