"""Pictures of attraction and repulsion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from numpy.typing import NDArray

from couplings.report.style import BLUE, GREEN, INK, PALETTE, QUIET, VERMILION, grid

__all__ = [
    "Fan",
    "Level",
    "Strip",
    "draw_attraction",
    "draw_entropies",
    "draw_information",
    "draw_limit",
    "draw_query",
    "draw_simplex",
    "draw_weights",
]

Numbers = NDArray[np.float64]
_SHADES = (PALETTE[5], BLUE, GREEN, PALETTE[4], VERMILION)


@dataclass(frozen=True)
class Level:
    """A predicted number and what it is."""

    value: float
    name: str


@dataclass(frozen=True)
class Strip:
    """Points on the sphere at several moments: points (T, M, 3), who repels whom (T, M, M), a title each."""

    points: Numbers
    weights: Numbers
    titles: Sequence[str]


@dataclass(frozen=True)
class Fan:
    """One query on a circle and its other views, as points (n, 2), with the weight of each at several hardnesses."""

    query: Numbers
    others: Numbers
    weights: Mapping[str, Numbers]


def draw_attraction(figure: Figure, fan: Fan, spread: Numbers, values: Mapping[str, Numbers]) -> None:
    """Whom a query attracts, at several hardnesses; the value over the spread of the views."""
    axes = figure.subplots(1, len(fan.weights) + 1, width_ratios=[1] * len(fan.weights) + [1.6])
    for ax, (name, weights) in zip(axes, fan.weights.items(), strict=False):
        _circle(ax, name, 1.4)
        _spokes(ax, fan, weights)
    right = axes[-1]
    for (name, curve), colour in zip(values.items(), _SHADES[1::2], strict=True):
        right.plot(spread, curve, color=colour)
        right.annotate(name, (spread[-1], curve[-1]), xytext=(4, 0), textcoords="offset points", va="center", color=INK)
    right.set(xlabel="angle between the outermost views (degrees)", ylabel="attraction", xlim=(0, spread[-1] * 1.25))
    right.set_title("Zero only where views coincide")
    right.set_xticks([0, 30, 60, 90, 120])
    right.set_ylim(0)
    grid(right, "y")


def _spokes(ax: Axes, fan: Fan, weights: Numbers) -> None:
    for point, weight in zip(fan.others, weights, strict=True):
        ax.plot(
            *zip(fan.query, point, strict=True), color=BLUE, linewidth=14 * weight, alpha=0.5, solid_capstyle="butt"
        )
        ax.annotate(f"{weight:.2f}", 1.22 * point, ha="center", va="center", color=INK, fontsize=9)
    ax.plot(*fan.others.T, "o", color=BLUE, markersize=6)
    ax.plot(*fan.query, "s", color=VERMILION, markersize=8)
    ax.annotate("query", (fan.query[0], fan.query[1] - 0.22), ha="center", va="center", color=VERMILION)


def draw_simplex(figure: Figure, strip: Strip, seen: Mapping[str, Numbers], bound: Level) -> None:
    """Four points that find the simplex; the repulsion of random configurations against the bound."""
    cells = figure.add_gridspec(2, len(strip.titles), height_ratios=[1.15, 1])
    _strip(figure, cells[0, :], strip)
    ax = figure.add_subplot(cells[1, :])
    bins = np.histogram_bin_edges(np.concatenate(list(seen.values())), bins=70)
    for (name, values), colour in zip(seen.items(), (VERMILION, GREEN, BLUE), strict=True):
        ax.hist(values, bins=bins.tolist(), color=colour, alpha=0.75)
        ax.annotate(name, (float(np.median(values)), 1.02), xycoords=("data", "axes fraction"), ha="center", color=INK)
    ax.axvline(bound.value, color=INK, linewidth=1.5)
    ax.annotate(
        bound.name,
        (bound.value, 0.9),
        xycoords=("data", "axes fraction"),
        xytext=(6, 0),
        color=INK,
        textcoords="offset points",
        va="center",
    )
    ax.set(xlabel="repulsion of ten random points", ylabel="configurations")
    ax.set_xlim(bound.value - 0.05)
    ax.set_ylim(0, 1.35 * ax.get_ylim()[1])
    grid(ax, "y")


def draw_weights(figure: Figure, squared: Numbers, far: Mapping[str, Numbers], near: Mapping[str, Numbers]) -> None:
    """Weights of positives and of negatives over their squared distance from the query."""
    titles = ("Attraction: far positives weigh most", "Repulsion: near negatives weigh most")
    for ax, curves, title in zip(figure.subplots(1, 2, sharey=True), (far, near), titles, strict=True):
        for (name, curve), colour in zip(curves.items(), _SHADES, strict=False):
            ax.plot(squared, curve, color=colour, label=name)
        ax.set(xlabel="squared distance from the query", title=title, yscale="log")
        grid(ax, "y")
        side = -1 if curves is far else 0
        for name, curve in curves.items():
            ax.annotate(
                name,
                (squared[side], curve[side]),
                xytext=(5 if side else -5, 0),
                textcoords="offset points",
                va="center",
                ha="left" if side else "right",
                color=INK,
                fontsize=9,
            )
    _widen(figure.axes[0], 0.0, 0.9)
    _widen(figure.axes[1], 0.9, 0.0)
    figure.axes[0].set_ylabel("weight, relative to equal weights")


def _widen(ax: Axes, left: float, right: float) -> None:
    """Room beside the curves for their names."""
    ax.set_xlim(-0.1 - left, 4.1 + right)
    ax.set_xticks([0, 1, 2, 3, 4])


def draw_information(
    figure: Figure,
    strip: Strip,
    values: Mapping[str, Numbers],
    information: Mapping[str, Numbers],
    levels: tuple[Level, Level],
) -> None:
    """Ten points on the sphere under repulsion; repulsion and information over steps, a line for each seed."""
    cells = figure.add_gridspec(2, 1, height_ratios=[1, 1.25])
    _strip(figure, cells[0], strip)
    below = cells[1].subgridspec(1, 2)
    for k, (curves, level, label) in enumerate(
        zip((values, information), levels, ("repulsion", "mutual information (nats)"), strict=True)
    ):
        ax = figure.add_subplot(below[k])
        _falling(ax, curves, level)
        ax.set(xlabel="steps of Adam", ylabel=label)


def _falling(ax: Axes, curves: Mapping[str, Numbers], level: Level) -> None:
    for (name, runs), colour in zip(curves.items(), (BLUE, VERMILION), strict=True):
        ax.plot(runs.T, color=colour, linewidth=1, alpha=0.7)
        ax.annotate(
            name,
            (runs.shape[1] - 1, runs[:, -1].mean()),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=colour,
        )
    ax.axhline(level.value, color=INK, linewidth=1, linestyle="--")
    ax.annotate(
        level.name,
        (0.98, level.value),
        xycoords=("axes fraction", "data"),
        xytext=(0, -5),
        ha="right",
        va="top",
        textcoords="offset points",
        color=INK,
    )
    ax.margins(x=0.02, y=0.14)
    grid(ax, "y")


def draw_entropies(
    figure: Figure, steps: Numbers, panels: Mapping[str, Mapping[str, Numbers]], levels: Sequence[Level]
) -> None:
    """Entropies over training: mean and range over seeds, against the largest possible."""
    for ax, (title, curves), level in zip(figure.subplots(1, len(panels)), panels.items(), levels, strict=True):
        for (name, runs), colour in zip(curves.items(), (BLUE, VERMILION), strict=True):
            ax.fill_between(steps, runs.min(0), runs.max(0), color=colour, alpha=0.2, linewidth=0)
            ax.plot(steps, runs.mean(0), color=colour, label=name)
        ax.axhline(level.value, color=INK, linewidth=1, linestyle="--")
        ax.annotate(
            level.name, (steps[-1], level.value), xytext=(0, 4), textcoords="offset points", ha="right", color=INK
        )
        ax.set(xlabel="steps of Adam", ylabel="mean entropy of weights (nats)", title=title)
        ax.margins(y=0.12)
        grid(ax, "y")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def draw_limit(
    figure: Figure, counts: Numbers, distance: Numbers, rate: float, gradients: Mapping[str, tuple[Numbers, Numbers]]
) -> None:
    """How fast InfoNCE reaches its limit; one gradient against another, entry by entry."""
    left, right = figure.subplots(1, 2)
    left.loglog(counts, np.abs(distance), "o", color=BLUE, label="exact expectation")
    left.loglog(counts, abs(rate) / counts, color=INK, linewidth=1, label=f"predicted: {rate:.3g} / k")
    left.set(xlabel="negatives k", ylabel="distance from the limit", title="InfoNCE less log k tends to its limit")
    left.legend(frameon=False)
    grid(left, "both")
    for (name, pair), colour, marker in zip(gradients.items(), (VERMILION, BLUE), ("x", "o"), strict=True):
        right.plot(*pair, marker, color=colour, markersize=4, label=name)
    ends = [min(min(x) for x, _ in gradients.values()), max(max(x) for x, _ in gradients.values())]
    right.plot(ends, ends, color=QUIET, linewidth=1, zorder=0)
    right.set(
        xlabel="gradient of decoupled InfoNCE",
        ylabel="gradient of attraction + repulsion",
        title="Gradients, entry by entry",
    )
    right.legend(frameon=False)
    grid(right, "both")


def draw_query(
    figure: Figure, squared: Numbers, weights: Mapping[str, Numbers], counts: Numbers, distance: Mapping[str, Numbers]
) -> None:
    """Expected weights of positives over their distance for several K; total variation from the conditional over K."""
    left, right = figure.subplots(1, 2)
    for (name, curve), colour in zip(weights.items(), (*_SHADES, INK)[-len(weights) :], strict=True):
        left.plot(squared, curve, color=colour, label=name)
    left.set(xlabel="squared distance from the query", ylabel="expected weight, relative to equal weights")
    left.set_title("Expected weights of positives, $t_+$ = 1")
    left.legend(frameon=False)
    for (name, curve), colour in zip(distance.items(), (BLUE, GREEN, VERMILION), strict=True):
        right.loglog(counts, curve, color=colour)
        right.annotate(name, (counts[-1], curve[-1]), xytext=(6, 0), textcoords="offset points", va="center", color=INK)
    right.set(xlabel="views K drawn for a query", ylabel="total variation", title="Distance from the true conditional")
    right.set_xlim(counts[0] / 1.2, counts[-1] * 2.5)
    right.set_xticks(counts, [f"{k:g}" for k in counts])
    right.minorticks_off()
    grid(left, "y")
    grid(right, "both")


def _strip(figure: Figure, cell: SubplotSpec, strip: Strip) -> None:
    inner = cell.subgridspec(1, len(strip.titles))
    for k, title in enumerate(strip.titles):
        ax = figure.add_subplot(inner[k])
        _circle(ax, title.replace("-", "\N{MINUS SIGN}"), 1.15)
        _edges(ax, strip.points[k], strip.weights[k])
        x, y, height = strip.points[k].T
        ax.scatter(
            x,
            y,
            s=60 + 35 * height,
            c=height,
            cmap="Blues",
            vmin=-2.2,
            vmax=1.2,
            edgecolors=INK,
            linewidths=0.8,
            zorder=3,
        )


def _edges(ax: Axes, points: Numbers, weights: Numbers) -> None:
    """A line for each pair, as thick as the two weigh each other."""
    i, j = np.triu_indices(len(points), 1)
    widths = (weights + weights.T)[i, j]
    lines = np.stack([points[i, :2], points[j, :2]], 1)
    ax.add_collection(LineCollection(list(lines), linewidths=list(5 * widths), colors=VERMILION, alpha=0.6))


def _circle(ax: Axes, title: str, room: float) -> None:
    """The outline of the sphere, and as much room as that each way."""
    turn = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(turn), np.sin(turn), color=QUIET, linewidth=0.8)
    ax.set(xlim=(-room, room), ylim=(-room, room), aspect="equal")
    ax.set_axis_off()
    ax.set_title(title, loc="center", fontweight="normal", fontsize=10)
