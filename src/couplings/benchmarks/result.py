"""What came out: cells, rows, sections, and the report that holds them all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from .machine import Machine
from .timing import Spread, paired, spread
from .work import Goal, Quantity, Size

__all__ = ["Cell", "Report", "Row", "Section", "Verdict"]


@dataclass(frozen=True)
class Cell:
    """One contender at one size: seconds of each round, bytes of peak growth, and why something is missing."""

    name: str
    seconds: tuple[float, ...] = ()
    growth: int | None = None
    note: str = ""

    @cached_property
    def time(self) -> Spread | None:
        """Median and quartiles of the seconds."""
        return spread(self.seconds) if self.seconds else None


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured; None where nothing was."""

    goal: Goal
    measured: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met."""
        return None if self.measured is None else self.measured <= self.goal.at_most


@dataclass(frozen=True)
class Row:
    """One work at one size: our cell, then the peers'."""

    work: str
    what: str
    size: Size
    cells: tuple[Cell, ...]
    goals: tuple[Goal, ...] = ()
    unit: str = ""
    units: float = 1.0

    @property
    def ours(self) -> Cell:
        """Our cell."""
        return self.cells[0]

    @property
    def peers(self) -> tuple[Cell, ...]:
        """The others'."""
        return self.cells[1:]

    def ratio(self, peer: Cell) -> float | None:
        """Our median seconds over theirs."""
        ours, theirs = self.ours.time, peer.time
        return ours.median / theirs.median if ours and theirs else None

    def paired(self, peer: Cell) -> Spread | None:
        """The ratios of each round; None if they were not timed in turns."""
        together = self.ours.seconds and len(self.ours.seconds) == len(peer.seconds)
        return paired(self.ours.seconds, peer.seconds) if together else None

    def memory_ratio(self, peer: Cell) -> float | None:
        """Our peak growth over theirs."""
        ours, theirs = self.ours.growth, peer.growth
        return ours / theirs if ours is not None and theirs else None

    def verdicts(self, peer: Cell | None) -> list[Verdict]:
        """The goals against a peer, or those of our own where it is None."""
        name = peer.name if peer else ""
        return [Verdict(goal, self._measured(goal, peer)) for goal in self.goals if goal.concerns(self.size, name)]

    def _measured(self, goal: Goal, peer: Cell | None) -> float | None:
        if goal.quantity is Quantity.MEMORY:
            return self.memory_ratio(peer) if peer else self.ours.growth
        if peer is None:
            return self.ours.time.median if self.ours.time else None
        return self.ratio(peer)


@dataclass(frozen=True)
class Section:
    """The rows of one suite."""

    name: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """Everything that one command measured."""

    machine: Machine
    sections: tuple[Section, ...]
    seconds: float
    quick: bool = False
    stopped: bool = False
    """Whether Ctrl-C ended it, so that rows are missing."""

    @property
    def rows(self) -> Iterator[Row]:
        """All rows."""
        return (row for section in self.sections for row in section.rows)

    def verdicts(self) -> list[Verdict]:
        """All goals of the sizes that were run."""
        return [verdict for row in self.rows for peer in (None, *row.peers) for verdict in row.verdicts(peer)]

    def json(self) -> str:
        """All numbers, with the ratios that follow from them."""
        sections = [{"name": s.name, "title": s.title, "rows": [_plain(row) for row in s.rows]} for s in self.sections]
        content = {
            "machine": asdict(self.machine),
            "seconds": self.seconds,
            "quick": self.quick,
            "stopped": self.stopped,
            "sections": sections,
        }
        return json.dumps(content, indent=1)


def _plain(row: Row) -> dict[str, Any]:
    return {
        "work": row.work,
        "what": row.what,
        "size": asdict(row.size),
        "unit": row.unit,
        "units": row.units,
        "ours": asdict(row.ours),
        "peers": [
            {
                **asdict(peer),
                "ratio_of_medians": row.ratio(peer),
                "paired_ratio": _spread(row.paired(peer)),
                "memory_ratio": row.memory_ratio(peer),
                "goals": _goals(row.verdicts(peer)),
            }
            for peer in row.peers
        ],
        "goals": _goals(row.verdicts(None)),
    }


def _spread(values: Spread | None) -> dict[str, float] | None:
    return None if values is None else asdict(values)


def _goals(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "quantity": verdict.goal.quantity.value,
            "at_most": verdict.goal.at_most,
            "measured": verdict.measured,
            "reached": verdict.reached,
        }
        for verdict in verdicts
    ]
