"""A comparison as text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from couplings.compare.statistics import Difference, Verdict
from couplings.compare.tables import ACCURACIES, GEOMETRY, Compared, Measure, Row, Table
from couplings.losses import in_settings
from couplings.train.evaluate import Probe

__all__ = ["Cells", "differences_of", "levels_of", "markdown", "notes_of", "settings_of"]

Cells = tuple[str, ...]


def accuracy_headings(table: Table) -> Cells:
    """Headings of the three accuracies."""
    return f"kNN (k = {table.neighbours})", "linear", f"{table.few_labels} labels a class"


def levels_of(table: Table, brief: bool = False) -> tuple[Cells, list[Cells]]:
    """Heading and rows: what the baselines and each variant reach; ``brief`` leaves the geometry out."""
    geometry = () if brief else GEOMETRY
    heading = ("", *accuracy_headings(table), *(measure.key.replace("_", " ") for measure in geometry), "seeds")
    empty = ("",) * len(geometry)
    probes = [(name, *_probe_cells(found), *empty, str(len(found))) for name, found in table.baselines().items()]
    ceiling = [table.ceiling] if table.ceiling and table.ceiling.measured else []
    return heading, [*probes, *(_levels(row, geometry) for row in (*ceiling, *table.measured))]


def _levels(row: Row, geometry: Sequence[Measure]) -> Cells:
    cells = (_cell(*row.summary(measure), measure) for measure in (*ACCURACIES, *geometry))
    made, asked = len(row.measured), len(row.measured) + len(row.failed)
    return row.variant.name, *cells, f"{made}" if made == asked else f"{made} of {asked}"


def _probe_cells(probes: Sequence[Probe]) -> Iterable[str]:
    for measure in ACCURACIES:
        values = [float(getattr(probe, measure.key)) for probe in probes]
        yield _cell(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, measure)


def _cell(mean: float, spread: float | None, measure: Measure) -> str:
    text = f"{measure.scale * mean:.{measure.digits}f}"
    return text if spread is None else f"{text} ± {measure.scale * spread:.{measure.digits}f}"


def differences_of(table: Table) -> tuple[Cells, list[Cells]]:
    """Heading and rows: each variant minus the reference, in points."""
    heading = (f"minus {table.reference.name}", *accuracy_headings(table))
    rows = [
        (row.variant.name, *(_difference(table.differences.get((row.variant.name, m.key))) for m in ACCURACIES))
        for row in table.others
    ]
    return heading, rows if table.reference_row else []


def _difference(compared: Compared | None) -> str:
    if compared is None:
        return "no seed in common"
    text = _interval(compared.difference)
    return f"**{text}**" if compared.survives else text


def _interval(difference: Difference) -> str:
    mean = f"{100 * difference.mean:+.1f}"
    if difference.low is None or difference.high is None:
        return mean
    word = "" if difference.verdict is Verdict.OPEN else f" {difference.verdict.value}"
    return f"{mean} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]{word}"


def notes_of(table: Table) -> list[str]:
    """How to read the tables, in sentences."""
    runs = max(len(row.measured) for row in table.measured)
    if runs == 1:
        return ["Last step, one seed: no spread, no interval. With --seeds 3 or more there are both."]
    notes = ["Mean ± standard deviation over the seeds, last step. Accuracies in percent, on test images."]
    if not table.differences:
        return notes
    return [*notes, _intervals(table), _multiplicity(table)]


def _intervals(table: Table) -> str:
    return (
        "Differences are paired (same seed: same start, batches and views), with 95 % Student-t intervals; "
        '"higher" and "lower" where the interval excludes 0.'
    )


def _multiplicity(table: Table) -> str:
    count = len(table.others)
    marked = sum(compared.survives for compared in table.differences.values())
    outside = sum(c.difference.verdict in (Verdict.HIGHER, Verdict.LOWER) for c in table.differences.values())
    chance = f"{0.05 * count:.1f}"
    return (
        f"{outside} of {len(table.differences)} intervals exclude 0; with {count} variants about {chance} a column "
        f"would if all were equal. Bold: still different after Holm's correction over its column ({marked})."
    )


def settings_of(table: Table) -> list[str]:
    """Loss parameters that are not the loss's defaults, a line a variant."""
    lines = []
    for row in table.rows:
        for run in (*row.measured, *row.failed)[:1]:
            params = run.trial.config.loss.params
            if params:
                words = ", ".join(f"{key} {in_settings(value)}" for key, value in params.items())
                lines.append(f"{row.variant.name}: {words}")
    return lines


def markdown(table: Table) -> str:
    """Both tables and their notes."""
    parts = [_grid(*levels_of(table))] if table.measured else []
    heading, rows = differences_of(table)
    if rows:
        parts.append(_grid(heading, rows))
    if table.measured:
        parts.append("\n".join(notes_of(table)))
    if settings_of(table):
        parts.append("Settings of losses that are not their defaults: " + "; ".join(settings_of(table)) + ".")
    if table.failures():
        parts.append("Failed:\n\n" + "\n".join(f"- {name}: {text}" for name, text in table.failures().items()))
    return "\n\n".join(parts)


def _grid(heading: Cells, rows: Sequence[Cells]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
