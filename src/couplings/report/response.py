"""Accuracy as a function of one setting."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from itertools import cycle

from matplotlib.axes import Axes

from couplings.report.comparison import MEASURES, Scores
from couplings.report.style import PALETTE, QUIET, canvas, grid, label

Curve = Mapping[float, Sequence[Scores]]
"""By the value of the setting, the accuracies of each seed."""


def response(
    curves: Mapping[str, Curve],
    path: str | os.PathLike[str],
    key: str,
    title: str,
    baselines: Mapping[str, Scores],
    measures: Sequence[str] = MEASURES,
) -> None:
    """Draw the accuracies over the values of a setting into a PNG: a dot a seed, a line through the means.

    Args:
        curves: by name; one line each.
        path: the PNG to write.
        key: name of the setting; its axis is logarithmic where all values are positive and span a factor of 8.
        title: printed above the panels.
        baselines: mean accuracies in [0, 1] that become horizontal lines.
        measures: titles of the three panels.

    Raises:
        ValueError: fewer than two values.

    Example:
        >>> rising = {1: [(0.8, 0.8, 0.6)], 4: [(0.9, 0.9, 0.7)], 16: [(0.92, 0.92, 0.75)]}
        >>> response({"infonce": rising}, "negatives.png", "negatives", "Digits", {})  # doctest: +SKIP
    """
    values = sorted({value for curve in curves.values() for value in curve})
    if len(values) < 2:
        raise ValueError(f"curves: {len(values)} values of {key} came; a curve needs two")
    with canvas(path, (11.0, 4.2), title) as figure:
        panels = figure.subplots(1, len(measures))
        for measure, axes in enumerate(panels):
            for colour, (name, curve) in zip(cycle(PALETTE), curves.items(), strict=False):
                _draw(axes, curve, measure, colour, name)
            axes.set(title=measures[measure], xlabel=label(key), ylabel="test accuracy, %")
            _levels(axes, {name: 100 * scores[measure] for name, scores in baselines.items()})
            _scale(axes, values)
            grid(axes, "y")
        if len(curves) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def _draw(axes: Axes, curve: Curve, measure: int, colour: str, name: str) -> None:
    for value, scores in curve.items():
        seeds = [100 * score[measure] for score in scores]
        axes.plot([value] * len(seeds), seeds, "o", markersize=3.5, markerfacecolor="none", color=colour)
    order = sorted(curve)
    means = [100 * statistics.fmean(score[measure] for score in curve[value]) for value in order]
    axes.plot(order, means, "-o", color=colour, linewidth=1.6, markersize=5, label=label(name))


def _levels(axes: Axes, heights: Mapping[str, float]) -> None:
    """Lines across the panel, named at its right side."""
    for height in heights.values():
        axes.axhline(height, color=QUIET, linewidth=1, linestyle=(0, (2, 3)), zorder=0.5)
    axes.margins(y=0.08)
    low, high = axes.get_ylim()
    beside = axes.get_yaxis_transform()
    last = -math.inf
    for name, height in sorted(heights.items(), key=lambda level: level[1]):
        # Names of lines that nearly touch are moved apart.
        last = max(height, last + 0.09 * (high - low))
        axes.text(1.01, last, label(name).replace(" ", "\n", 1), transform=beside, va="center", fontsize=8, color=QUIET)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    if values[0] > 0 and values[-1] / values[0] >= 8:
        axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
