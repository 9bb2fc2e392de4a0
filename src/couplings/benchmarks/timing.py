"""Times of several calls in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

__all__ = ["Clock", "Pace", "Spread", "clock_of", "in_turns", "paired", "spread"]

Clock = Callable[[], float]

_LONG, _PATIENCE = 2.0, 12.0
"""Seconds from which a call is its own warm-up; how many times its seconds a row may take to get its least rounds."""


@dataclass(frozen=True)
class Pace:
    """How long one row is timed: `least` rounds, then more until `seconds` have passed or `repeats` are done."""

    seconds: float = 5.0
    repeats: int = 25
    least: int = 3

    def over(self, rounds: int, spent: float) -> bool:
        """Whether to stop after so many rounds, which took `spent` seconds in all."""
        if rounds >= self.repeats:
            return True
        if rounds >= self.least:
            return spent >= self.seconds
        return spent + spent / max(rounds, 1) > _PATIENCE * self.seconds


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles.

    >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
    Spread(median=3.0, low=2.0, high=4.0)
    """
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The ratios ours / theirs of each round.

    >>> paired([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).median
    0.5
    """
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def clock_of(device: torch.device) -> Clock:
    """Seconds, once the device has done what it was asked to."""
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def in_turns(calls: Sequence[Callable[[], object]], pace: Pace, clock: Clock) -> list[tuple[float, ...]]:
    """Seconds of each call, round by round; every other round in reverse order."""
    with _without_collector():
        first = [_timed(call, clock) for call in calls]
        times = [[seconds] if seconds >= _LONG else [] for seconds in first]
        rounds, spent = (1, sum(first)) if min(first) >= _LONG else (0, 0.0)
        while not pace.over(rounds, spent):
            order = range(len(calls)) if rounds % 2 == 0 else reversed(range(len(calls)))
            for k in order:
                times[k].append(_timed(calls[k], clock))
            rounds += 1
            spent += sum(taken[-1] for taken in times)
    # A long call among short ones has its warm-up as one time too many.
    return [tuple(taken[-max(rounds, 1) :]) for taken in times]


def _timed(call: Callable[[], object], clock: Clock) -> float:
    start = clock()
    call()
    return clock() - start


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
