"""What `couplings runs` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from couplings.cli.options.runs import SortBy
from couplings.system.display import cell, console, duration, say, show
from couplings.train.evaluate import Evaluation
from couplings.train.runs import RunState, RunSummary, find_runs

_DEFAULT = Path("runs")
_FULL = 100
"""Columns of a terminal that takes the whole table."""

_STYLES = {RunState.DAMAGED: "red", RunState.RUNNING: "green", RunState.INTERRUPTED: "yellow"}


def list_runs(folders: Sequence[Path], sort: SortBy, *, as_json: bool) -> None:
    """Print all runs below some folders.

    Raises:
        DataError: a folder that was named is not there.
    """
    # Before the first run there is no such folder.
    looked = list(folders) or [_DEFAULT] * _DEFAULT.is_dir()
    found = _sorted(find_runs(looked), sort)
    if as_json:
        print(json.dumps([run.to_json() for run in found], indent=2))
    elif found:
        _print(found)
    else:
        say(f"No runs below {', '.join(map(str, folders)) or _DEFAULT}. Begin one: couplings train")


def _sorted(found: list[RunSummary], sort: SortBy) -> list[RunSummary]:
    """Largest first; what has no number comes last."""
    if sort is SortBy.NAME:
        return found
    numbers = [(_NUMBERS[sort](run), run) for run in found]
    known = [(number, run) for number, run in numbers if number is not None]
    return [run for _, run in sorted(known, key=lambda pair: -pair[0])] + [run for n, run in numbers if n is None]


def _reached(number: Callable[[Evaluation], float]) -> Callable[[RunSummary], float | None]:
    return lambda run: None if run.evaluation is None else number(run.evaluation)


_NUMBERS: dict[SortBy, Callable[[RunSummary], float | None]] = {
    SortBy.WHEN: lambda run: None if run.when is None else run.when.timestamp(),
    SortBy.KNN: _reached(lambda evaluation: evaluation.trained.knn),
    SortBy.LINEAR: _reached(lambda evaluation: evaluation.trained.linear),
    SortBy.FEW: _reached(lambda evaluation: evaluation.trained.few_label),
}


def _print(found: Sequence[RunSummary]) -> None:
    narrow = console.is_terminal and console.width < _FULL
    columns = [column for column in _COLUMNS if column.always or not narrow]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column.heading, justify="right" if column.number else "left", no_wrap=column.number)
    for run in found:
        table.add_row(*(cell(column.cell(run)) for column in columns), style=_STYLES.get(run.state))
    show(table)
    for run in found:
        if run.reason is not None:
            say(f"{run.folder} is damaged: {run.reason}.")
    say(_summary(found))


class _Column(NamedTuple):
    heading: str
    cell: Callable[[RunSummary], str]
    number: bool = False
    always: bool = True


def _percent(place: int) -> Callable[[RunSummary], str]:
    return lambda run: "" if run.evaluation is None else f"{100 * run.evaluation.trained[place]:.1f}"


_COLUMNS = (
    _Column("run", lambda run: str(run.folder)),
    _Column("data", lambda run: run.data or "", always=False),
    _Column("loss", lambda run: run.loss or "", always=False),
    _Column("state", lambda run: run.state.value),
    _Column("steps", lambda run: "" if run.steps is None else f"{run.step}/{run.steps}", number=True),
    _Column("kNN", _percent(0), number=True),
    _Column("linear", _percent(1), number=True),
    _Column("few", _percent(2), number=True),
    _Column("training", lambda run: "" if run.seconds is None else duration(run.seconds), number=True, always=False),
    _Column("when", lambda run: "" if run.when is None else f"{run.when:%m-%d %H:%M}", number=True),
)


def _summary(found: Sequence[RunSummary]) -> str:
    counts = {state: sum(run.state is state for run in found) for state in RunState}
    kinds = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    hints = {
        RunState.INTERRUPTED: "An interrupted run is continued by the command that began it.",
        RunState.FINISHED: "couplings evaluate RUN measures a finished one.",
    }
    told = [hint for state, hint in hints.items() if counts[state]]
    return " ".join([f"{len(found)} run{'s' * (len(found) != 1)}: {kinds}.", *told])
