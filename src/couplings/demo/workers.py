"""Independent jobs side by side in processes of one thread each.

Small networks gain little from a second thread and lose much to a busy machine, so a core takes a job of its own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

Tick = Callable[[int], None]
"""A job calls it with the steps it has done."""

_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
_POLL_SECONDS = 0.2

_counters: Any = None


class Workers:
    """Processes that take jobs; made by `open_workers`."""

    def __init__(self, pool: ProcessPoolExecutor, counters: Any) -> None:
        self._pool = pool
        self._counters = counters

    def run(
        self, work: Callable[[Job, Tick], Result], jobs: Sequence[Job], on_steps: Callable[[int], None]
    ) -> list[Result]:
        """Run `work(job, tick)` for every job; results in the order of the jobs.

        Args:
            work: a function of a module, so that another process finds it.
            jobs: picklable, as are the results.
            on_steps: told the sum of all jobs' steps a few times a second.

        Raises:
            Exception: the first that a job raised.
        """
        futures = [self._pool.submit(_work, work, job, place) for place, job in enumerate(jobs)]
        waiting: set[Future[Result]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                future.result()
            on_steps(sum(self._counters))
        return [future.result() for future in futures]


@contextmanager
def open_workers(count: int, jobs: int) -> Iterator[Workers]:
    """`count` processes for at most `jobs` jobs at a time; none is left behind on an error or Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    counters = context.RawArray(ctypes.c_long, jobs)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, context, _begin, (counters,))
    try:
        with _single_threaded():
            yield Workers(pool, counters)
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


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
    """First thing in a worker: the parent alone answers Ctrl-C."""
    global _counters
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _counters = counters


def _work(work: Callable[[Job, Tick], Result], job: Job, place: int) -> Result:
    def tick(steps: int) -> None:
        _counters[place] = steps

    return work(job, tick)
