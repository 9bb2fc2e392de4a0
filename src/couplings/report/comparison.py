"""Losses side by side, next to raw pixels and an untrained encoder."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from couplings.basics.words import visible
from couplings.report.style import BLUE, INK, QUIET, VERMILION, canvas, grid, label

MEASURES = ("kNN (k = 20)", "linear probe, all labels", "linear probe, 10 labels a class")
_HEADINGS = ("kNN", "linear", "10 labels a class")
_FEW = 14
"""Rows that have room for their numbers above the dots."""

Scores = tuple[float, float, float]
"""Accuracies in [0, 1]: kNN, linear probe, probe with few labels."""


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: three accuracies in [0, 1] for every seed.

    Args:
        name: what was measured.
        scores: one (kNN, linear, ten-label) triple a seed, at least one.
        baseline: True for raw pixels and for an untrained encoder.
        marked: True if the row falls short and has to be marked.
    """

    name: str
    scores: tuple[Scores, ...]
    baseline: bool = False
    marked: bool = False

    def mean(self, measure: int) -> float:
        """Mean over the seeds of one of the three measures."""
        return statistics.fmean(score[measure] for score in self.scores)

    def spread(self, measure: int) -> float:
        """Sample standard deviation over the seeds; 0 for one seed."""
        values = [score[measure] for score in self.scores]
        return statistics.stdev(values) if len(values) > 1 else 0.0


def comparison(
    entries: Sequence[Entry],
    path: str | os.PathLike[str],
    title: str,
    note: str = "",
    measures: Sequence[str] = MEASURES,
) -> None:
    """Draw one dot a seed and the mean with its spread, for each measure, into a PNG.

    Args:
        entries: top to bottom; the baselines also become vertical lines through every panel.
        path: the PNG to write.
        title: printed above the panels.
        note: printed small below them.
        measures: titles of the three panels.

    Raises:
        ValueError: if there is no entry.

    Example:
        >>> rows = [Entry("raw pixels", ((0.9, 0.91, 0.8),), baseline=True)]
        >>> rows += [Entry("infonce", ((0.95, 0.97, 0.9),))]
        >>> comparison(rows, "comparison.png", "Digits")  # doctest: +SKIP
    """
    if not entries:
        raise ValueError("entries: none came; give at least one row to compare")
    look = _Look.of(len(entries))
    with canvas(path, (11.0, 1.7 + look.height * len(entries)), title) as figure:
        panels = figure.subplots(1, len(measures), sharey=True)
        for measure, axes in enumerate(panels):
            _draw(axes, entries, measure, look)
            axes.set(title=measures[measure], xlabel="test accuracy, %")
        names = [label(f"{entry.name} *" if entry.marked else entry.name) for entry in entries]
        panels[0].set_yticks(range(len(entries)), names)
        panels[0].set_ylim(len(entries) - 0.4, -0.6)
        figure.supxlabel(visible(note), fontsize=8.5, color=QUIET, x=0.01, ha="left")


@dataclass(frozen=True)
class _Look:
    """Sizes that fit the number of rows: inches of a row, and of what is drawn in it."""

    height: float
    mean: float
    below: float
    numbers_beside: bool

    @classmethod
    def of(cls, rows: int) -> _Look:
        return cls(0.42, 7, 0.24, False) if rows <= _FEW else cls(0.25, 5, 0.0, True)


def _draw(axes: Axes, entries: Sequence[Entry], measure: int, look: _Look) -> None:
    for row, entry in enumerate(entries):
        if look.numbers_beside and row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=0)
        _draw_row(axes, row, entry, measure, look)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    grid(axes, "x")


def _draw_row(axes: Axes, row: int, entry: Entry, measure: int, look: _Look) -> None:
    mean, spread = 100 * entry.mean(measure), 100 * entry.spread(measure)
    colour = QUIET if entry.baseline else VERMILION if entry.marked else BLUE
    seeds = [100 * score[measure] for score in entry.scores]
    axes.plot(seeds, [row + look.below] * len(seeds), "o", markersize=3.5, markerfacecolor="none", color=colour)
    marker = "s" if entry.baseline else "D" if entry.marked else "o"
    axes.errorbar(mean, row, xerr=spread, fmt=marker, color=colour, markersize=look.mean, capsize=3, linewidth=1.6)
    if look.numbers_beside:
        edge = axes.get_yaxis_transform()
        axes.text(1.01, row, f"{mean:.1f}", transform=edge, va="center", fontsize=8, color=INK)
    else:
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
        axes.text(mean, row - 0.2, f"{mean:.1f}", ha="center", va="bottom", fontsize=8.5, color=INK, bbox=plate)
    if entry.baseline:
        axes.axvline(mean, color=QUIET, linewidth=1, linestyle=(0, (2, 3)), zorder=0.5)


def markdown_table(entries: Sequence[Entry]) -> str:
    """The comparison as a markdown table of mean +- spread in percent; marked rows carry an asterisk.

    Example:
        >>> print(markdown_table([Entry("infonce", ((0.95, 0.97, 0.9), (0.95, 0.98, 0.92)))]))
        | | kNN | linear | 10 labels a class |
        |---|---|---|---|
        | infonce | 95.0 ± 0.0 | 97.5 ± 0.7 | 91.0 ± 1.4 |
    """
    lines = ["| | " + " | ".join(_HEADINGS) + " |", "|---" * 4 + "|"]
    for entry in entries:
        name = f"{entry.name} \\*" if entry.marked else entry.name
        lines.append(f"| {name} | " + " | ".join(cells(entry)) + " |")
    return "\n".join(lines)


def cells(entry: Entry) -> tuple[str, ...]:
    """The three accuracies of a row as text in percent, with the spread where there are several seeds."""
    return tuple(_cell(entry, measure) for measure in range(len(MEASURES)))


def _cell(entry: Entry, measure: int) -> str:
    mean = f"{100 * entry.mean(measure):.1f}"
    return mean if len(entry.scores) == 1 else f"{mean} ± {100 * entry.spread(measure):.1f}"


def clearly_above(entry: Entry, reference: Entry, spreads: float = 2.0) -> bool:
    """Whether the ten-label accuracy is above the reference's by more than `spreads` times the larger spread.

    Example:
        >>> better, base = Entry("a", ((1, 1, 0.9), (1, 1, 0.92))), Entry("b", ((1, 1, 0.8), (1, 1, 0.82)))
        >>> clearly_above(better, base)
        True
    """
    few = len(MEASURES) - 1
    gain = entry.mean(few) - reference.mean(few)
    return gain > spreads * max(entry.spread(few), reference.spread(few))


def collapsed(effective_rank: float, dimension: int) -> bool:
    """Whether features of that RankMe fill less than a twentieth of their dimensions."""
    return effective_rank < 0.05 * dimension
