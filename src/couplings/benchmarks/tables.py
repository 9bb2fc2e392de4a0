"""Sections as tables: one set of cells for Markdown and for the screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .growth import Curve, curves
from .result import Cell, Row, Section, Verdict
from .timing import Spread
from .work import Quantity

__all__ = ["GROWTH", "Grid", "brief", "grid", "markdown", "sentence"]

GROWTH = "growth"
"""The suite whose table holds exponents."""


@dataclass(frozen=True)
class Grid:
    """Headings and lines of words."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    @property
    def without_empty(self) -> Grid:
        """The columns that say something."""
        kept = [k for k in range(len(self.headings)) if any(line[k] for line in self.lines)]
        return Grid(tuple(self.headings[k] for k in kept), tuple(tuple(line[k] for k in kept) for line in self.lines))


def grid(section: Section) -> Grid:
    """The table of a section."""
    if section.name == GROWTH:
        return Grid(_FITTED, tuple(_fitted(curve) for curve in curves(section.rows))).without_empty
    return Grid(_COMPARED, tuple(line for row in section.rows for line in _compared(row))).without_empty


def brief(section: Section) -> Grid:
    """The same in few columns, for a screen."""
    if section.name == GROWTH:
        return grid(section)
    lines = tuple(line for row in section.rows for line in _in_short(row))
    return Grid(("work", "ours", "peak growth", "against", "ratio", "memory", "to reach"), lines).without_empty


_COMPARED = (
    "work",
    "size",
    "ours",
    "peak growth",
    "against",
    "theirs",
    "their growth",
    "ratio of medians",
    "median of paired ratios",
    "memory ratio",
    "to reach",
)
_FITTED = ("work", "d", "T", "rows", "time ~ rows^", "peak growth ~ rows^", "at most rows", "left out")


def _compared(row: Row) -> Iterator[tuple[str, ...]]:
    ours = (row.what, str(row.size), _speed(row, row.ours), _bytes(row.ours.growth))
    own_goals = _goals(row.verdicts(None))
    if not row.peers:
        yield (*ours, *[""] * 6, own_goals)
    for k, peer in enumerate(row.peers):
        goals = [_goals(row.verdicts(peer)), own_goals if k == 0 else ""]
        yield (
            *(ours if k == 0 else [""] * 4),
            peer.name,
            _speed(row, peer),
            _bytes(peer.growth),
            _number(row.ratio(peer)),
            _ratio(row.paired(peer)),
            _number(row.memory_ratio(peer)),
            "; ".join(goal for goal in goals if goal),
        )


def _in_short(row: Row) -> Iterator[tuple[str, ...]]:
    for full in _compared(row):
        what, size, own, growth, peer, theirs, _, ratio, _, memory, goals = full
        yield f"{what}\n{size}" if what else "", own, growth, peer, ratio or theirs, memory, goals.replace("; ", "\n")


def _fitted(curve: Curve) -> tuple[str, ...]:
    fit, times = curve.fit, curve.times
    return (
        curve.what if curve.ours else curve.name,
        str(curve.dim),
        str(curve.sweeps or ""),
        f"{curve.rows[0]:,} to {times[-1][0]:,}" if times else "",
        _number(fit.time),
        _number(fit.memory),
        ", ".join([_seconds(times[-1][1]), _bytes(curve.cells[len(times) - 1].growth)]) if times else "",
        curve.left_out,
    )


def _speed(row: Row, cell: Cell) -> str:
    if cell.time is None:
        return cell.note
    if row.unit:
        return f"{row.units / cell.time.median:,.0f} {row.unit}"
    return _seconds(cell.time.median)


def _seconds(seconds: float) -> str:
    """Three digits, in the unit that suits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _bytes(growth: int | None) -> str:
    if growth is None:
        return ""
    return f"{growth / 1e9:.2f} GB" if growth >= 1e9 else f"{growth / 1e6:.3g} MB"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _ratio(ratio: Spread | None) -> str:
    return "" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _goals(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(_goal(verdict) for verdict in verdicts)


def _goal(verdict: Verdict) -> str:
    goal = verdict.goal
    if goal.against:
        wanted = f"{goal.quantity.value} ≤ {goal.at_most:.2g}"
    else:
        wanted = f"≤ {_bytes(round(goal.at_most)) if goal.quantity is Quantity.MEMORY else _seconds(goal.at_most)}"
    return f"{wanted}: {_OUTCOME[verdict.reached]}"


_OUTCOME = {True: "yes", False: "**no**", None: "not measured"}


def markdown(section: Section) -> str:
    """The table in Markdown."""
    table = grid(section)
    lines = [table.headings, tuple("---" for _ in table.headings), *table.lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sentence(row: Row) -> str:
    """One row as a line of text, while others are still to come."""
    ratios = [(peer, row.ratio(peer)) for peer in row.peers]
    compared = ", ".join(f"{ratio:.2f} of {peer.name}" for peer, ratio in ratios if ratio is not None)
    own = ", ".join(part for part in (_speed(row, row.ours), _bytes(row.ours.growth)) if part)
    return f"{row.what}, {row.size}: {own}" + (f"; {compared}" if compared else "")
