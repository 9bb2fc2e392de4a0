"""Runs works: memory first, each contender in a process of its own; then times, in turns, in this one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from couplings.basics.errors import CouplingWarning

from .memory import Footprint, available, footprint
from .result import Cell, Row
from .timing import Pace, clock_of, in_turns
from .work import INSTALL, Call, Contender, NotComparable, Size, Work, reason

__all__ = ["Plan", "measured"]

_SHARE_OF_MEMORY = 0.7
_FLOOR = 4_000_000
"""Bytes that threads and the allocator take whatever the size."""


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes:
        pace: rounds and seconds a row.
        device: where.
        largest: rows above which a size is left out; a work with none left is run at this many. None for no bound.
        longest: seconds a call may take at most, beside the work's own limit.
    """

    pace: Pace = field(default_factory=Pace)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    largest: int | None = None
    longest: float = float("inf")

    @classmethod
    def quick(cls, device: torch.device) -> Plan:
        """A look at everything, small."""
        return cls(Pace(seconds=0.3, repeats=5), device, largest=1024, longest=2.0)

    def sizes(self, work: Work) -> tuple[Size, ...]:
        """The sizes that are run."""
        if self.largest is None:
            return work.sizes
        largest = self.largest
        return tuple(dict.fromkeys(replace(size, rows=min(size.rows, largest)) for size in work.sizes))


class _Expected:
    """What a call at a larger size would take, from the last smaller one."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int, int], tuple[int, Footprint]] = {}

    def learn(self, contender: Contender, size: Size, seen: Footprint) -> None:
        self._last[contender.name, size.dim, size.sweeps] = size.rows, seen

    def refuse(self, contender: Contender, size: Size, limit: float, memory: float) -> None:
        """Raise `NotComparable` if it would take too long or too much."""
        known = self._last.get((contender.name, size.dim, size.sweeps))
        if known is None:
            return
        rows, seen = known
        factor = (size.rows / rows) ** contender.order
        if factor * seen.seconds > limit:
            raise NotComparable(f"left out: about {factor * seen.seconds:,.0f} s a call, above {limit:,.0f} s")
        growth = factor * max(0, seen.growth - _FLOOR)
        if growth > memory:
            raise NotComparable(f"left out: about {growth / 1e9:,.0f} GB of memory")


def measured(work: Work, plan: Plan) -> Iterator[Row]:
    """The rows of a work, size by size."""
    expected = _Expected()
    for size in plan.sizes(work):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CouplingWarning)
            yield _row(work, size, plan, expected)


def _row(work: Work, size: Size, plan: Plan, expected: _Expected) -> Row:
    limit = min(work.limit, plan.longest)
    cells = [_looked_at(work, contender, size, plan.device, limit, expected) for contender in work.contenders]
    pace = replace(plan.pace, seconds=work.pace * plan.pace.seconds)
    cells = _timed(work.contenders, cells, size, pace, plan.device)
    for contender, cell in zip(work.contenders, cells, strict=True):
        if cell.time is not None:
            seconds = cell.time.median / contender.share(size)
            expected.learn(contender, size, Footprint(cell.growth or 0, seconds))  # a first call is slower
    return Row(work.name, work.what, size, tuple(cells), work.goals, work.unit, work.units(size))


def _looked_at(
    work: Work, contender: Contender, size: Size, device: torch.device, limit: float, expected: _Expected
) -> Cell:
    """The contender's memory, or why it cannot take part."""
    if not contender.installed:
        return Cell(contender.name, note=f"not installed: {INSTALL}")
    try:
        expected.refuse(contender, size, limit, _SHARE_OF_MEMORY * available(device))
        if not (work.memory and contender.whole):
            return Cell(contender.name)
        seen = footprint(contender.make, size, device, 2 * limit + _STARTING)
    except Exception as error:  # a peer's defect costs its own cell, not what others did
        return Cell(contender.name, note=reason(error))
    expected.learn(contender, size, seen)
    if seen.seconds > limit:
        return Cell(contender.name, growth=seen.growth, note=f"one call took {seen.seconds:.0f} s, above {limit:.0f} s")
    return Cell(contender.name, growth=seen.growth)


_STARTING = 120.0
"""Seconds that imports and inputs may take in a process of its own."""


def _timed(
    contenders: Sequence[Contender], cells: Sequence[Cell], size: Size, pace: Pace, device: torch.device
) -> list[Cell]:
    """The cells with seconds for those that have no note yet."""
    done, calls = list(cells), dict[int, Call]()
    for k, contender in enumerate(contenders):
        try:
            if not done[k].note:
                calls[k] = contender.make(size, device)
        except Exception as error:
            done[k] = replace(done[k], note=reason(error))
    times, failed = _those_that_work(calls, pace, device)
    for k, note in failed.items():
        done[k] = replace(done[k], note=note)
    for k, seconds in times.items():
        share = contenders[k].share(size)
        done[k] = replace(done[k], seconds=tuple(share * s for s in seconds))
    return done


class _Failed(Exception):
    """The call of this number raised; the note says what."""

    def __init__(self, number: int, note: str) -> None:
        super().__init__(note)
        self.number, self.note = number, note


def _those_that_work(
    calls: dict[int, Call], pace: Pace, device: torch.device
) -> tuple[dict[int, tuple[float, ...]], dict[int, str]]:
    """Seconds of the calls, timed anew without one that fails; and why those failed."""
    left, failed = dict(calls), dict[int, str]()
    while left:
        try:
            times = in_turns([_named(k, call) for k, call in left.items()], pace, clock_of(device))
            return dict(zip(left, times, strict=True)), failed
        except _Failed as failure:
            failed[failure.number] = failure.note
            del left[failure.number]
    return {}, failed


def _named(number: int, call: Call) -> Callable[[], None]:
    def named() -> None:
        try:
            call()
        except Exception as error:
            raise _Failed(number, reason(error)) from error

    return named
