"""Loss and geometry of the embedding over the training steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from couplings.report.style import PALETTE, canvas, grid, label

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Panel:
    """A quantity of the records, and how it is drawn."""

    key: str
    title: str
    unit: str


_PANELS = (
    Panel("loss", "Loss", "loss value"),
    Panel("alignment", "Alignment (lower: positives closer)", "squared distance"),
    Panel("uniformity", "Uniformity (lower: more spread out)", "log mean exp(-2 d²), nats"),
    Panel("plan_entropy", "Entropy of the plan", "nats"),
)


def curves(metrics: Sequence[Record], path: str | os.PathLike[str], title: str = "Training curves") -> None:
    """Draw loss, alignment, uniformity and plan entropy over the steps into a PNG.

    Args:
        metrics: one mapping a recorded step with the key ``"step"`` and any of ``"loss"``, ``"alignment"``,
            ``"uniformity"``, ``"plan_entropy"``; a record may lack some of them, a value may be a mapping from
            names to parts (the entropies of a loss's plans).
        path: the PNG to write.
        title: printed above the panels.

    Raises:
        ValueError: if no record holds any of the four quantities.

    Example:
        >>> records = [{"step": t, "loss": 5 / t, "alignment": 1 / t} for t in range(1, 30)]
        >>> curves(records, "curves.png")  # doctest: +SKIP
    """
    panels = [panel for panel in _PANELS if series_of(panel.key, metrics)]
    if not panels:
        wanted = ", ".join(panel.key for panel in _PANELS)
        raise ValueError(f"metrics: {len(metrics)} records came and none has any of {wanted}; nothing to draw")
    rows = (len(panels) + 1) // 2
    with canvas(path, (9.0, 0.6 + 2.6 * rows), title) as figure:
        grids = figure.subplots(rows, 2, squeeze=False).ravel()
        for axes, panel in zip(grids, panels, strict=False):
            draw_panel(axes, panel, metrics)
        for axes in grids[len(panels) :]:
            axes.set_visible(False)


def draw_panel(axes: Axes, panel: Panel, metrics: Sequence[Record]) -> None:
    """Draw a quantity over the steps; several series of it get a legend."""
    series = series_of(panel.key, metrics)
    for colour, (name, points) in zip(cycle(PALETTE), series.items(), strict=False):
        steps, values = np.asarray(points, dtype=float).T
        smooth = _smooth(values)
        if smooth is not values:
            axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
        axes.plot(steps, smooth, color=colour, linewidth=1.8, label=label(name))
        axes.plot(steps[-1], smooth[-1], "o", color=colour, markersize=4)
        # Right of the last point, where no curve goes.
        place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(f"{smooth[-1]:.3g}", (steps[-1], smooth[-1]), **place)  # type: ignore[arg-type]
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8.5)
    axes.set(title=panel.title, xlabel="training step", ylabel=panel.unit)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.margins(y=0.12)
    grid(axes, "y")


def series_of(key: str, metrics: Sequence[Record]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) points by name: a quantity with parts, as the entropies of two plans, has several."""
    series: dict[str, list[tuple[float, float]]] = {}
    for record in metrics:
        value = record.get(key)
        parts = value if isinstance(value, Mapping) else {} if value is None else {key: value}
        for name, part in parts.items():
            series.setdefault(name, []).append((record["step"], part))
    return series


def _smooth(values: np.ndarray) -> np.ndarray:
    """A centred running median over about 5 % of the records; short series are left as they are."""
    width = 2 * (len(values) // 40) + 1
    if width < 3:
        return values
    padded = np.pad(values, width // 2, mode="edge")
    median = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    return np.asarray(median)
