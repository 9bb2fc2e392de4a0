"""Whole pieces of work shared out to a few threads, each of which computes with one thread an operation.

An operation that is split over threads ends when the slowest of them does, and a tile has ten. A piece has one wait:
for its turn to add to sums that other pieces add to. Turns are taken in the order of the pieces, so sums are the same,
bit for bit, from run to run and by any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import lru_cache
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ..basics.sizes import limits
from ..basics.transforms import transformed

_MOST = 64
"""Threads that one interpreter can keep busy: it starts one operation at a time."""

Piece = TypeVar("Piece")


class Turn:
    """When a piece adds to shared sums: after all before it that add to one of the same."""

    def __init__(self, before: Iterable[threading.Event]) -> None:
        self._before, self._over = list(before), threading.Event()

    def __enter__(self) -> None:
        for event in self._before:
            event.wait()

    def __exit__(self, *error: object) -> None:
        self._over.set()

    @staticmethod
    def of(pieces: Sequence[Piece], touched: Callable[[Piece], Iterable[Hashable]]) -> list[Turn]:
        """One for each piece, from what it adds to."""
        last: dict[Hashable, threading.Event] = {}
        turns = []
        for piece in pieces:
            sums = list(touched(piece))
            turns.append(Turn(last[key] for key in sums if key in last))
            last.update(dict.fromkeys(sums, turns[-1]._over))
        return turns


Work = Callable[[Piece, Turn], None]
"""work(piece, turn): computes, then adds within `with turn`."""


def by_threads(
    pieces: Sequence[Piece],
    touched: Callable[[Piece], Iterable[Hashable]],
    worker: Callable[[], Work[Piece]],
    threads: int,
) -> None:
    """The work on all pieces.

    Args:
        pieces: in the order in which they add.
        touched: names of the sums that a piece adds to.
        worker: makes what a thread works with, once for each thread.
        threads: at most so many; with one the calling thread does it all.
    """
    threads = min(len(pieces), threads)
    shared = _Shared(pieces, Turn.of(pieces, touched), worker)
    if threads < 2:
        shared.work()
    else:
        shared.by(threads)


def threads_for(entries: int, like: Tensor) -> int:
    """As many as torch gives an operation here, if there are entries enough to repay the start.

    Threads of torch that an operation has just left still look out for the next one, on cores that others need. One
    on an accelerator, and under what torch knows in the calling thread alone: modes and transforms.
    """
    if like.device.type != "cpu" or entries < limits(like.device).shared or transformed():
        return 1
    modes = torch._C._len_torch_dispatch_stack() + torch._C._len_torch_function_stack()
    return 1 if modes else torch.get_num_threads()


class _Shared(Generic[Piece]):
    def __init__(self, pieces: Sequence[Piece], turns: Sequence[Turn], worker: Callable[[], Work[Piece]]) -> None:
        self.waiting, self.worker = deque(zip(pieces, turns, strict=True)), worker

    def work(self) -> None:
        """Piece after piece, until none is left."""
        work = self.worker()
        while self.waiting:
            try:
                piece, turn = self.waiting.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                work(piece, turn)
            except BaseException:
                self.stop()
                raise
            finally:
                turn.__exit__()

    def stop(self) -> None:
        """What was begun is finished, nothing else is begun."""
        self.waiting.clear()

    def by(self, threads: int) -> None:
        """The calling thread waits, so that its own settings need no change; Ctrl-C and errors end all."""
        state = _State()
        futures = []
        try:
            for _ in range(threads):
                futures.append(pool().submit(copy_context().run, state.around, self.work))
        except RuntimeError:  # no thread starts once the interpreter shuts down
            self.work()
        try:
            for future in futures:
                future.result()
        finally:
            self.stop()
            wait(futures)


class _State:
    """Torch's settings that each thread has for itself, as they are where this is made."""

    def __init__(self) -> None:
        self.grad, self.inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        self.autocast = torch.is_autocast_enabled("cpu")
        self.dtype, self.cached = torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled()

    def around(self, work: Callable[[], None]) -> None:
        """The work under the same settings."""
        autocast = torch.autocast("cpu", self.dtype, self.autocast, self.cached)
        with torch.inference_mode(self.inference), torch.set_grad_enabled(self.grad), autocast:
            work()


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """The threads of this process, as many as were needed at once; without work they sleep and hold nothing."""
    return ThreadPoolExecutor(_MOST, "couplings", _compute_alone)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)

_starting = threading.Lock()


def _compute_alone() -> None:
    """One thread an operation in this thread; what threads to come start with stays as it is."""
    with _starting, ThreadPoolExecutor(1) as other:
        usual = torch.get_num_threads()  # as threads start; asked for later, it would be set again
        torch.set_num_threads(1)
        other.submit(torch.set_num_threads, usual).result()
