"""How many runs came to where they are: the geometry of their embeddings over the steps, side by side.

The value of the loss is left out: that of one loss says nothing beside that of another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from couplings.report.curves import Panel, Record
from couplings.report.style import INK, PALETTE, canvas, grid, label

Runs = Sequence[Sequence[Record]]
"""The records of each seed."""


_PANELS = (
    Panel("alignment", "Alignment", "squared distance of positives"),
    Panel("uniformity", "Uniformity", "log mean exp(-2 d²), nats"),
    Panel("effective_rank", "Effective rank", "dimensions"),
    Panel("plan_entropy", "Entropy of the plan", "nats"),
)
_LINES = len(PALETTE)
"""More variants than that are rows of a map instead of lines."""
_SHARES = (3, 97)
"""Percentiles at the ends of the colours: one collapsed loss must not take them all."""


def histories(variants: Mapping[str, Runs], path: str | os.PathLike[str], title: str) -> None:
    """Draw alignment, uniformity, effective rank and plan entropy over the steps, mean over the seeds, into a PNG.

    Up to ten variants are lines, each seed a thin one; more are the rows of four maps whose colour is the value. Of
    several plans of a loss the highest entropy is shown.

    Args:
        variants: by name, the records of each seed: mappings with the key ``"step"`` and any of the four quantities.
        path: the PNG to write.
        title: printed above the panels.

    Raises:
        ValueError: if no record holds any of the four quantities.

    Example:
        >>> record = {"step": 1, "alignment": 0.3, "uniformity": -2.0}
        >>> histories({"infonce": [[record, {**record, "step": 2}]]}, "curves.png", "Digits")  # doctest: +SKIP
    """
    tables = {panel: _tables(variants, panel.key) for panel in _PANELS}
    shown = {panel: found for panel, found in tables.items() if found}
    if not shown:
        raise ValueError(
            f"variants: {len(variants)} came and no record has any of the four quantities; nothing to draw"
        )
    many = len(variants) > _LINES
    size = (4.0 + 3.0 * len(shown), 1.8 + 0.24 * len(variants)) if many else (11.0, 1.2 + 2.7 * ((len(shown) + 1) // 2))
    with canvas(path, size, title) as figure:
        (_maps if many else _lines)(figure, shown, list(variants))


_Table = dict[float, list[float]]
"""Values of all seeds by step."""


def _tables(variants: Mapping[str, Runs], key: str) -> dict[str, _Table]:
    found: dict[str, _Table] = {}
    for name, runs in variants.items():
        for record in (record for run in runs for record in run if record.get(key) is not None):
            found.setdefault(name, {}).setdefault(record["step"], []).append(_number(record[key]))
    return found


def _number(value: Any) -> float:
    return max(value.values()) if isinstance(value, Mapping) else float(value)


def _lines(figure: Figure, shown: Mapping[Panel, Mapping[str, _Table]], names: Sequence[str]) -> None:
    colours = dict(zip(names, cycle(PALETTE), strict=False))
    panels = figure.subplots((len(shown) + 1) // 2, 2, squeeze=False).ravel()
    for axes, (panel, tables) in zip(panels, shown.items(), strict=False):
        for name, table in tables.items():
            _line(axes, table, colours[name], name)
        axes.set(title=panel.title, xlabel="training step", ylabel=panel.unit)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        grid(axes, "y")
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)


def _line(axes: Axes, table: _Table, colour: str, name: str) -> None:
    steps = sorted(table)
    seeds = max(len(values) for values in table.values())
    if seeds > 1:
        for seed in range(seeds):
            points = [(step, table[step][seed]) for step in steps if len(table[step]) > seed]
            axes.plot(*np.asarray(points).T, color=colour, linewidth=0.7, alpha=0.35)
    axes.plot(steps, [float(np.mean(table[step])) for step in steps], color=colour, linewidth=1.8, label=label(name))


def _maps(figure: Figure, shown: Mapping[Panel, Mapping[str, _Table]], names: Sequence[str]) -> None:
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (panel, tables) in zip(panels, shown.items(), strict=True):
        steps = sorted({step for table in tables.values() for step in table})
        means = [[float(np.mean(tables.get(name, {}).get(step, np.nan))) for step in steps] for name in names]
        values = np.ma.masked_invalid(np.asarray(means))
        low, high = np.percentile(values.compressed(), _SHARES)
        image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap="viridis", vmin=low, vmax=high)
        shown_steps = range(0, len(steps), max(1, len(steps) // 6))
        axes.set_xticks(shown_steps, [f"{steps[place]:g}" for place in shown_steps])
        axes.set(title=panel.title, xlabel="training step (number: last)")
        axes.tick_params(length=0)
        figure.colorbar(image, ax=axes, label=panel.unit, orientation="horizontal", pad=0.01, extend="both")
        for row, line in enumerate(values):
            last = line.compressed()
            if len(last):
                axes.text(len(steps) - 0.4, row, f"{last[-1]:.3g}", va="center", fontsize=8, color=INK)
    panels[0].set_yticks(range(len(names)), [label(name) for name in names])
