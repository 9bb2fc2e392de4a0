"""`couplings bench`: what runs, what is said meanwhile, and what is left at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.table import Table

from couplings.basics import checks
from couplings.benchmarks.measure import Plan
from couplings.benchmarks.page import check_page, write_page
from couplings.benchmarks.result import Report, Row, Section
from couplings.benchmarks.run import FILES, Chosen, draw, opened, rows_in, run, write, write_numbers
from couplings.benchmarks.suites import SUITES, chosen
from couplings.benchmarks.tables import brief, sentence
from couplings.system.display import bar, cell, duration, say, show, titled
from couplings.system.files import refuse_foreign

_FIGURES, _FEW = "bench-", 10
"""How the figures of a page begin; names that are listed in full."""


def list_benches() -> None:
    """All benches and their works."""
    table = Table("bench", "what", "works")
    for suite in SUITES.values():
        name = suite.name if suite.usual else f"{suite.name} *"
        table.add_row(name, suite.title, _some([work.name for work in suite.works()]))
    show(table)
    say("* only when named. One work: couplings bench BENCH/WORK")


def _some(names: Sequence[str]) -> str:
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[:2])}, ...: {len(names)} losses, named as by couplings losses"


def bench_command(
    names: Sequence[str],
    output: Path,
    *,
    quick: bool = False,
    repeats: int | None = None,
    budget: float | None = None,
    device: str = "cpu",
    docs: Path | None = None,
) -> None:
    """Measure, write, sum up."""
    plan, suites = _plan(quick, repeats, budget, device), chosen(names, quick=quick)
    if docs is not None:
        check_page(docs, [suite.name for suite, _ in suites])
        opened(docs.parent)
    refuse_foreign(output, FILES)
    folder = opened(output)
    report = _with_progress(suites, plan, quick, folder)
    if not report.sections:
        raise KeyboardInterrupt("stopped before anything was measured")
    written = write(report, folder)
    for section in report.sections:
        show(_table(section))
    if report.stopped:
        raise KeyboardInterrupt(f"stopped; the rows that were done are in {folder}")
    if docs is not None:
        write_page(docs, report)
        written += [docs, *draw(report, docs.parent / "images", _FIGURES)]
    _close(report, written)


def _plan(quick: bool, repeats: int | None, budget: float | None, device: str) -> Plan:
    known = device == "cpu" or (device.split(":")[0] == "cuda" and torch.cuda.is_available())
    checks.require(known, f"--device {device} is not here: use cpu" + (", or cuda" * torch.cuda.is_available()))
    plan = Plan.quick(torch.device(device)) if quick else Plan(device=torch.device(device))
    pace = plan.pace
    if budget is not None:
        checks.finite_positive("--budget", budget)
        pace = replace(pace, seconds=budget)
    if repeats is not None:
        checks.count("--repeats", repeats)
        checks.require(repeats >= 1, f"--repeats must be >= 1, got {repeats}")
        pace = replace(pace, repeats=repeats, least=min(repeats, pace.least))
    return replace(plan, pace=pace)


def _with_progress(suites: Chosen, plan: Plan, quick: bool, folder: Path) -> Report:
    total = rows_in(suites, plan)
    say(f"{total} rows, {torch.get_num_threads()} threads on {plan.device}. Leave the machine alone meanwhile.")
    with bar(total, "measuring") as progress:
        done = 0

        def on_row(row: Row) -> None:
            nonlocal done
            done += 1
            say(sentence(row))
            progress.update(done, row.what)

        return run(suites, plan, on_row, lambda report: write_numbers(report, folder), quick=quick)


def _table(section: Section) -> Table:
    words = brief(section)
    table = titled(section.title, words.headings)
    for line in words.lines:
        table.add_row(*(cell(word.replace("**", "")) for word in line))
    return table


def _close(report: Report, written: Sequence[Path]) -> None:
    broken = [f"{row.what}: {cell.name}" for row in report.rows for cell in row.cells if cell.note.startswith("failed")]
    if broken:
        say(f"FAILED, see the tables: {', '.join(broken)}.")
    verdicts = [verdict.reached for verdict in report.verdicts()]
    if verdicts:
        missed = f", {verdicts.count(False)} missed, {verdicts.count(None)} not measured"
        say(f"Goals: {verdicts.count(True)} of {len(verdicts)} reached{missed}.")
    say(f"{sum(1 for _ in report.rows)} rows in {duration(report.seconds)}.")
    say(f"Written: {', '.join(str(path) for path in written)}.")
    pictures = [str(path) for path in written if path.suffix == ".png"]
    if pictures:
        say(f"Look at {' and '.join(pictures)}.")
    if report.quick:
        say("These sizes are small: couplings bench measures the large ones, in ten to fifteen minutes.")
    else:
        say("Next: couplings bench --docs docs/performance.md puts the tables into the page.")
