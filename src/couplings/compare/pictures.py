"""The pictures of a comparison. Needs matplotlib."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from couplings.compare.plan import slug
from couplings.compare.tables import Row, Table
from couplings.compare.work import Outcome
from couplings.report import Entry, comparison, histories, response
from couplings.report.comparison import Scores
from couplings.train.evaluate import Probe
from couplings.train.folder import METRICS

__all__ = ["draw", "entries_of"]


def draw(tables: Sequence[Table], folder: Path, prefix: str = "") -> list[Path]:
    """Write the pictures of all tables and return their paths.

    ``comparison.png``: the accuracies of all variants; ``curves.png``: how they came there; ``KEY.png``: the
    accuracies over a setting whose values are numbers. With several data sets their names come first.
    """
    drawn = [table for table in tables if table.measured]
    return [path for table in drawn for path in _draw(table, folder, prefix + f"{table.data}-" * (len(tables) > 1))]


def _draw(table: Table, folder: Path, prefix: str) -> list[Path]:
    entries, measures = entries_of(table), measures_of(table)
    paths = [folder / f"{prefix}comparison.png"]
    note = "Dots: seeds; bars: standard deviation. Dotted lines: baselines."
    comparison(entries, paths[0], f"{table.data}: test accuracy of frozen features", note, measures)
    records = {row.variant.name: [_records(run) for run in row.measured] for row in table.measured}
    if any("alignment" in record for runs in records.values() for run in runs for record in run):
        paths.append(folder / f"{prefix}curves.png")
        histories(records, paths[-1], f"{table.data}: embeddings over the steps")
    for key in _numeric_keys(table):
        paths.append(folder / f"{prefix}{slug(key)}.png")
        baselines = {entry.name: _mean(entry) for entry in entries if entry.baseline}
        curves = _curves(table, key)
        response(curves, paths[-1], key, f"{table.data}: test accuracy over {key}", baselines, measures)
    return paths


def measures_of(table: Table) -> tuple[str, str, str]:
    """Titles of the three panels."""
    return (
        f"kNN (k = {table.neighbours})",
        "linear probe, all labels",
        f"linear probe, {table.few_labels} labels a class",
    )


def entries_of(table: Table) -> list[Entry]:
    """Baselines, then the variants."""
    probes = [Entry(name, tuple(map(_scores, found)), baseline=True) for name, found in table.baselines().items()]
    ceiling = table.ceiling
    if ceiling is not None and ceiling.measured:
        probes.append(Entry(ceiling.variant.name, _seeds(ceiling), baseline=True))
    return [*probes, *(Entry(row.variant.name, _seeds(row)) for row in table.measured)]


def _scores(probe: Probe) -> Scores:
    return probe.knn, probe.linear, probe.few_label


def _seeds(row: Row) -> tuple[Scores, ...]:
    return tuple(_scores(run.evaluation.trained) for run in row.measured if run.evaluation is not None)


def _mean(entry: Entry) -> Scores:
    knn, linear, few = (statistics.fmean(column) for column in zip(*entry.scores, strict=True))
    return knn, linear, few


def _records(run: Outcome) -> list[dict[str, Any]]:
    path = run.trial.folder / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _numeric_keys(table: Table) -> list[str]:
    """Varied settings with two numbers or more."""
    values: dict[str, list[Any]] = {}
    for row in table.measured:
        for varied in row.variant.varied:
            values.setdefault(varied.key, []).append(varied.value)
    return [key for key, found in values.items() if all(map(_is_number, found)) and len(set(found)) > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(table: Table, key: str) -> dict[str, dict[float, tuple[Scores, ...]]]:
    """A line for each combination of everything else."""
    curves: dict[str, dict[float, tuple[Scores, ...]]] = {}
    for row in table.measured:
        others = [str(varied) for varied in row.variant.varied if varied.key != key]
        name = ", ".join([row.variant.family] * bool(row.variant.family) + others)
        value = next(varied.value for varied in row.variant.varied if varied.key == key)
        curves.setdefault(name, {})[value] = _seeds(row)
    return curves
