"""Drawings of pair weights. They compute nothing but where to put ink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from couplings.report.style import BLUE, GREEN, INK, PALETTE, QUIET, VERMILION, grid

Numbers = Any
"""A NumPy array."""


def importances(figure: Figure, *, gap: Numbers, alphas: Mapping[str, Numbers], errors: Mapping[str, float]) -> None:
    """Importance over distance difference, one panel a loss."""
    panels = figure.subplots(3, 3, sharex=True)
    for axes, (name, alpha) in zip(panels.flat, alphas.items(), strict=True):
        axes.scatter(gap, alpha, s=9, color=BLUE, alpha=0.5, linewidths=0)
        axes.set_title(name)
        axes.set_ylim(-0.05 * alpha.max(), 1.3 * alpha.max())
        axes.text(
            0.03,
            0.95,
            f"relative error {errors[name]:.0e}",
            transform=axes.transAxes,
            va="top",
            color=QUIET,
            fontsize=9,
        )
        axes.axvline(0, color=QUIET, linewidth=0.8, linestyle=":")
        grid(axes, "y")
    figure.supxlabel(
        r"nearer than the positive by $d_i^2 - d_{ij}^2$   (units of 1 $-$ cosine)", color=INK, fontsize=10
    )
    figure.supylabel(r"importance $\alpha_{ij}$ of the pair", color=INK, fontsize=10)


def entropy_player(
    figure: Figure,
    *,
    distances: Numbers,
    weights: Mapping[str, Numbers],
    gaps: Mapping[str, float],
    excess: Numbers,
    temperature: float,
) -> None:
    """Weights over distance, distances from optimality, and the excess of random points."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1.2, 1))
    _log_weights(left, distances, weights, temperature)
    _gap_dots(middle, gaps, temperature)
    right.hist(np.log10(excess), bins=40, color=BLUE)
    for place, label in ((-5.1, "within 1 %"), (-0.5, "anywhere")):
        right.text(place, right.get_ylim()[1], label, ha="center", va="bottom", color=QUIET, fontsize=9)
    right.set_ylim(top=1.08 * right.get_ylim()[1])
    right.set_xlabel(r"$\log_{10}$ of (value $-$ InfoNCE's)")
    right.set_ylabel("points, of all anchors")
    right.set_title("500 random points a row")
    grid(right, "y")


def _log_weights(axes: Axes, distances: Numbers, weights: Mapping[str, Numbers], temperature: float) -> None:
    order = np.argsort(distances)
    order = order[np.isfinite(distances[order])]
    for (name, row), color, marker in zip(weights.items(), PALETTE, "os^D", strict=False):
        share = row[order] / row[order].max()
        kept = share > 0
        axes.plot(
            distances[order][kept], share[kept], marker=marker, color=color, label=name, markersize=5, linewidth=1.2
        )
    axes.set_yscale("log")
    axes.set_xlabel(r"distance $d_{ij}^2$ of the negative (1 $-$ cosine)")
    axes.set_ylabel("weight / largest weight of the anchor")
    axes.set_title(f"One anchor (temperature {temperature:g})")
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    grid(axes, "y")


def _gap_dots(axes: Axes, gaps: Mapping[str, float], temperature: float) -> None:
    names, values = list(gaps), np.clip(list(gaps.values()), 1e-17, 300.0)
    colors = [BLUE if value < 1e-8 else VERMILION for value in values]
    axes.hlines(range(len(names)), 1e-17, values, color="#d8d8d8", linewidth=2)
    axes.scatter(values, range(len(names)), color=colors, s=40, zorder=3)
    for place, (gap, value) in enumerate(zip(gaps.values(), values, strict=True)):
        axes.text(value * 8, place, r"$\infty$" if np.isinf(gap) else f"{gap:.0e}" if gap < 1e-8 else f"{gap:.2g}",
                  va="center", color=INK, fontsize=9)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(1e-17, 1e6)
    axes.set_xticks([1e-16, 1e-12, 1e-8, 1e-4, 1])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(1e-8, color=QUIET, linestyle=":", linewidth=1)
    axes.set_xlabel("KKT gap (0 is optimal)")
    axes.set_title(f"Optimal at temperature {temperature:g}?")


def square_player(
    figure: Figure,
    *,
    distances: Numbers,
    weights: Numbers,
    temperatures: Sequence[float],
    shown: float,
    sums: Sequence[Numbers],
    late: Sequence[Numbers],
) -> None:
    """Water over sorted distances, and row sums over temperatures."""
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _water(left, distances, weights, shown)
    places = np.arange(len(temperatures))
    for rows, color, label, shift in (
        (sums, BLUE, "projection", -0.08),
        (late, VERMILION, "threshold one element late", 0.08),
    ):
        for place, values in zip(places, rows, strict=True):
            spread = np.full(len(values), place + shift)
            right.scatter(
                spread, values, s=14, color=color, alpha=0.6, linewidths=0, label=label if place == 0 else None
            )
    right.axhline(1, color=QUIET, linestyle=":", linewidth=1)
    right.set_yscale("log")
    right.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    right.minorticks_off()
    right.set_xticks(places, [f"{t:g}" for t in temperatures])
    right.set_xlabel("temperature")
    right.set_ylabel("sum of the weights of an anchor")
    right.set_title("Rows must sum to one")
    right.legend(frameon=False, fontsize=9, loc="upper left")
    grid(right, "y")


def _water(axes: Axes, distances: Numbers, weights: Numbers, temperature: float) -> None:
    order = np.argsort(distances)
    order = order[np.isfinite(distances[order])]
    ground, depth = distances[order], weights[order] * temperature
    places = np.arange(len(order))
    axes.bar(places, ground, color="#cfcfcf", label=r"distance $d_{ij}^2$")
    axes.bar(places, depth, bottom=ground, color=BLUE, label=r"depth = temperature $\times$ weight")
    level = (ground + depth)[0]
    axes.axhline(level, color=INK, linewidth=1, linestyle="--")
    axes.text(len(order) - 0.5, level + 0.02, r"level $\mu$", ha="right", va="bottom", color=INK)
    axes.set_xticks(places, [str(place + 1) for place in places])
    axes.set_xlabel("negatives of one anchor, nearest first")
    axes.set_ylabel(r"$d_{ij}^2$ (1 $-$ cosine)")
    axes.set_title(f"Temperature {temperature:g}: the water holds mass one")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def power_player(
    figure: Figure,
    *,
    lines: Mapping[float, Sequence[Numbers]],
    distances: Numbers,
    rows: Mapping[str, Numbers],
    temperature: float,
) -> None:
    """Power laws, and one anchor's weights under all regularisers."""
    left, right = figure.subplots(1, 2)
    for (gamma, (x, y)), color in zip(lines.items(), (GREEN, VERMILION, PALETTE[3]), strict=False):
        left.scatter(x, y, s=10, color=color, alpha=0.6, linewidths=0)
        end = int(np.argmax(x))
        label = rf"$\gamma$ = {gamma:g}, slope {-1 / gamma:g}"
        left.annotate(label, (x[end], y[end]), (6, 0), textcoords="offset points", color=color, va="center", fontsize=9)
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_xlim(right=left.get_xlim()[1] * 4)
    left.set_xlabel(r"$d_{ij}^2 + \mu_i$")
    left.set_ylabel(r"weight $\alpha_{ij}$")
    left.set_title("All anchors, all negatives")
    grid(left, "both")
    _rows_over_distance(right, distances, rows)
    right.set_title(f"One anchor, temperature {temperature:g}")


def _rows_over_distance(axes: Axes, distances: Numbers, rows: Mapping[str, Numbers]) -> None:
    order = np.argsort(distances)
    order = order[np.isfinite(distances[order])]
    colors = (INK, BLUE, GREEN, VERMILION, PALETTE[3])
    for (name, row), color, marker in zip(rows.items(), colors, "sov^D", strict=True):
        axes.plot(distances[order], row[order], marker=marker, markersize=4, linewidth=1.2, color=color, label=name)
    axes.set_yscale("symlog", linthresh=1e-3, linscale=0.4)
    axes.set_yticks([0, 1e-3, 1e-2, 1e-1, 1], ["0", "0.001", "0.01", "0.1", "1"])
    axes.set_ylim(-1e-4, 1.5)
    axes.set_xlabel(r"distance $d_{ij}^2$ of the negative (1 $-$ cosine)")
    axes.set_ylabel(r"weight $\alpha_{ij}$")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    grid(axes, "y")


def low_rank(figure: Figure, *, images: Mapping[str, Numbers], values: Numbers, misses: Mapping[int, float]) -> None:
    """Weight matrices side by side, and the error of each rank."""
    panels = figure.subplots(1, len(images) + 1, width_ratios=(*[1] * len(images), 1.5))
    top = max(float(image.max()) for image in images.values())
    for axes, (name, image) in zip(panels, images.items(), strict=False):
        shown = axes.imshow(image, cmap="Blues", vmin=0, vmax=top, aspect="auto")
        axes.set_title(name)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[0].set_ylabel("anchors")
    panels[0].set_xlabel("negatives")
    figure.colorbar(shown, ax=list(panels[: len(images)]), pad=0.01, label="pair weight")
    _decay(panels[-1], values, misses)


def _decay(axes: Axes, values: Numbers, misses: Mapping[int, float]) -> None:
    tail = np.sqrt(np.maximum(np.cumsum(values[::-1] ** 2)[::-1], 0))
    ranks = np.arange(1, len(values))
    axes.plot(ranks, tail[1:] / tail[0], color=QUIET, label="best approximation")
    kept = {rank: miss for rank, miss in misses.items() if rank < len(values)}
    axes.scatter(list(kept), list(kept.values()), color=BLUE, zorder=3, label="cut weights")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MultipleLocator(2))
    axes.set_xlabel("rank")
    axes.set_ylabel("error / norm of all weights")
    axes.set_title("What the cut leaves out")
    axes.legend(frameon=False, fontsize=9)
    grid(axes, "y")
