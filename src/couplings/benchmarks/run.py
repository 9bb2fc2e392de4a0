"""The whole command: all works of the chosen suites, then tables, figures and numbers in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from couplings.system.files import named, write_bytes

from .figures import draw_growth, draw_ratios
from .growth import curves
from .machine import described
from .measure import Plan, measured
from .result import Report, Row, Section
from .suites import Suite
from .tables import GROWTH, markdown
from .work import Work

__all__ = ["FILES", "Chosen", "OnReport", "OnRow", "opened", "rows_in", "run", "write", "write_numbers"]

FILES = ("results.json", "results.md", "ratios.png", "growth.png")
"""What a measurement writes; the first tells whose the others are."""
Chosen = Sequence[tuple[Suite, Sequence[Work]]]
OnRow = Callable[[Row], None]
OnReport = Callable[[Report], object]


def rows_in(suites: Chosen, plan: Plan) -> int:
    """How many rows will be measured."""
    return sum(len(plan.sizes(work)) for _, works in suites for work in works)


def opened(folder: Path) -> Path:
    """The folder, made if it is not there and tried: before minutes are spent on what goes into it.

    Raises:
        OSError: no file can be written there.
    """
    with named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    return folder


def _nobody(report: Report) -> None:
    pass


def run(suites: Chosen, plan: Plan, on_row: OnRow, on_report: OnReport = _nobody, *, quick: bool = False) -> Report:
    """Measure everything. Ctrl-C ends it with the rows that are done.

    Args:
        suites: what to measure.
        plan: how much.
        on_row: hears of each row.
        on_report: gets all rows so far at the end of each suite, however it ends.
        quick: the report says that sizes are small.
    """
    start = time.perf_counter()
    machine, sections, stopped = described(plan.device), list[Section](), False

    def report() -> Report:
        return Report(machine, tuple(sections), time.perf_counter() - start, quick, stopped)

    for suite, works in suites:
        rows: list[Row] = []
        try:
            for row in (row for work in works for row in measured(work, plan)):
                rows.append(row)
                on_row(row)
        except KeyboardInterrupt:
            stopped = True
        finally:
            if rows:
                sections.append(Section(suite.name, suite.title, tuple(rows)))
                on_report(report())
        if stopped:
            break
    return report()


def write(report: Report, folder: Path) -> list[Path]:
    """Numbers, tables and figures; the files that were written."""
    return [*write_numbers(report, folder), *draw(report, folder)]


def write_numbers(report: Report, folder: Path) -> list[Path]:
    """Numbers and tables; the files that were written."""
    numbers, words = folder / "results.json", folder / "results.md"
    write_bytes(numbers, report.json().encode())
    write_bytes(words, _page(report).encode())
    return [numbers, words]


def draw(report: Report, folder: Path, prefix: str = "") -> list[Path]:
    """The figures that the report has numbers for."""
    written = []
    compared = [row for section in report.sections if section.name != GROWTH for row in section.rows]
    if any(row.paired(peer) for row in compared for peer in row.peers):
        written.append(folder / f"{prefix}ratios.png")
        draw_ratios(written[-1], compared)
    grown = [curve for section in report.sections if section.name == GROWTH for curve in curves(section.rows)]
    if any(curve.times for curve in grown):
        written.append(folder / f"{prefix}growth.png")
        draw_growth(written[-1], grown)
    return written


def _page(report: Report) -> str:
    parts = ["# Measurements", report.machine.line]
    parts += [f"## {section.title}\n\n{markdown(section)}" for section in report.sections]
    return "\n\n".join(parts) + "\n"
