"""What a user sees while something runs: a bar with throughput and time left, and few lines beside it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from couplings.basics.errors import CouplingWarning
from couplings.basics.words import one_line, visible
from couplings.system.rank import first_process

if TYPE_CHECKING:
    from couplings.train.records import Plan, StepRecord

console = Console(highlight=False, emoji=False, quiet=not first_process())
# Where no bar can be drawn (a log file), so many lines stand for it.
_LINES = 4
_NO_EDGE = 10_000
"""Columns of a file or a pipe; more than any table has."""


def titled(title: str, heading: Sequence[str]) -> Table:
    """An empty table whose title and headings may come from data."""
    return Table(*(Column(cell(word)) for word in heading), title=cell(title) if title else None, title_justify="left")


def show(table: Table) -> None:
    """Print a table. A cell is folded where it has no room, never cut, and a file or a pipe has no edge to fold at."""
    for column in table.columns:
        column.overflow = "fold"
    edgeless = Console(file=console.file, highlight=False, emoji=False, quiet=console.quiet, width=_NO_EDGE)
    (console if console.is_terminal else edgeless).print(table)


def cell(name: str, style: str = "") -> Text:
    r"""A name from data in a table, as it is: never markup, never more than a line.

    >>> cell("[red]\x1b[0m")
    <text '[red]?[0m' [] ''>
    """
    return Text(one_line(name), style=style)


def say(text: str) -> None:
    """Print one line, words unbroken where the output is no terminal."""
    console.print(visible(text), markup=False, soft_wrap=not console.is_terminal)


@contextmanager
def short_warnings() -> Iterator[None]:
    """Say each kind of `CouplingWarning` once, in a line; the same words with other numbers are the same kind."""
    seen: set[str] = set()
    show = warnings.showwarning

    def once(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, CouplingWarning):
            return show(message, category, *place, **more)
        kind = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", str(message))
        if kind not in seen:
            seen.add(kind)
            say(f"Warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", CouplingWarning)
        warnings.showwarning = once
        yield


def duration(seconds: float) -> str:
    """Seconds as a person would say them.

    >>> duration(8.6), duration(95), duration(7300)
    ('9 s', '1 min 35 s', '2 h 1 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@dataclass
class Bar:
    """A bar on a terminal; a few lines of text anywhere else."""

    total: int
    what: str
    _progress: Progress
    _task: TaskID
    _said: int = 0
    _last: str = ""

    def update(self, done: int, note: str) -> None:
        """Move the bar to `done` of the total; `note` stands beside it."""
        self._progress.update(self._task, completed=done, note=note)
        if console.is_terminal:
            return
        if done * _LINES // self.total > self._said:
            self._said = done * _LINES // self.total
            left = self._progress.tasks[0].time_remaining
            # A note that has been said is of an earlier step.
            parts = [
                f"{done}/{self.total}",
                note if note != self._last else "",
                f"{duration(left)} left" if left else "",
            ]
            self._last = note
            say(f"{self.what}: {', '.join(part for part in parts if part)}")


@contextmanager
def bar(total: int, what: str) -> Iterator[Bar]:
    """A progress bar that is gone when the block ends."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(total, what, progress, progress.add_task(what, total=total, note=""))


class TrainingDisplay(AbstractContextManager["TrainingDisplay"]):
    """An observer of one training: first the estimate, then the bar. Leave the block to take the bar away."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._note = ""

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def on_start(self, plan: Plan) -> None:
        """Say what is about to happen and how long it takes."""
        say(
            f"{plan.loss}: {plan.steps} steps of {plan.images_per_step} of {plan.train_images} images, "
            f"{plan.parameters:,} parameters on {plan.device}: about {duration(plan.seconds)}."
        )
        self._bar = self._stack.enter_context(bar(plan.steps, "training"))

    def on_step(self, step: StepRecord) -> None:
        """Move the bar."""
        if step.loss is not None and step.images_per_second is not None:
            self._note = f"loss {step.loss:.3f}, {step.images_per_second:,.0f} images/s"
        if self._bar is not None:
            self._bar.update(step.step, self._note)

    def on_message(self, text: str) -> None:
        """Print a line above the bar."""
        say(text)
