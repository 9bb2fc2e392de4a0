"""Drawings of linear networks. They compute nothing but where to put ink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from couplings.report.style import BLUE, GREEN, INK, PALETTE, QUIET, VERMILION, grid

Numbers = Any
"""A NumPy array."""


def pca(
    figure: Figure, *, values: Numbers, drawn: Numbers, views: Sequence[Numbers], ours: Numbers, plain: Numbers
) -> None:
    """Two views in the plane with both directions, and the energies of random maps."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    _plane(left, views, ours, plain)
    right.hist(drawn, bins=50, color=BLUE)
    for place, value in enumerate(values):
        right.axvline(value, color=VERMILION if place == 0 else QUIET, linewidth=1.6 if place == 0 else 0.9)
    height = right.get_ylim()[1]
    right.text(values[0], 1.01 * height, r"$\lambda_{\mathrm{max}}$", color=VERMILION, ha="center", va="bottom")
    right.text(values[-1], 1.01 * height, r"$\lambda_{\mathrm{min}}$", color=QUIET, ha="center", va="bottom")
    right.set_xlabel(r"$2E_\alpha$ of a map of norm one; lines: eigenvalues of $X$")
    right.set_ylabel("random maps")
    grid(right, "y")


def _plane(axes: Axes, views: Sequence[Numbers], ours: Numbers, plain: Numbers) -> None:
    first, second = views
    for a, b in zip(first, second, strict=True):
        axes.plot([a[0], b[0]], [a[1], b[1]], color="#d0d0d0", linewidth=1, zorder=1)
    for view in views:
        axes.scatter(view[:, 0], view[:, 1], s=14, color=QUIET, linewidths=0, zorder=2)
    for way, color, label in ((ours, BLUE, "contrastive"), (plain, VERMILION, "PCA")):
        end = 4 * way * np.sign(way[np.argmax(np.abs(way))])
        axes.annotate("", end, -end, arrowprops={"arrowstyle": "<->", "color": color, "linewidth": 2}, zorder=3)
        axes.annotate(label, end, (6, 6), textcoords="offset points", color=color, weight="bold")
    axes.set_aspect("equal")
    axes.set_xlim(-6, 7)
    axes.set_xlabel("content: what both views share")
    axes.set_ylabel("what augmentation makes up")


def global_maxima(
    figure: Figure, *, energies: Sequence[Numbers], ratios: Mapping[int, Sequence[Sequence[float]]], values: Numbers
) -> None:
    """Energies over steps, and the second singular value by depth."""
    left, right = figure.subplots(1, 2)
    _levels(left, values)
    for curve in energies:
        left.plot(np.arange(len(curve)) + 1, curve, color=BLUE, linewidth=1.2, alpha=0.8)
    _steps(left)
    for (depth, curves), color in zip(ratios.items(), (GREEN, BLUE, VERMILION), strict=True):
        for place, curve in enumerate(curves):
            share = np.linspace(0, 1, len(curve))
            label = f"{depth} layers" if place == 0 else None
            right.plot(share, np.maximum(curve, 1e-17), color=color, linewidth=1, alpha=0.8, label=label)
    right.set_yscale("log")
    right.set_xlabel("share of the ascent")
    right.set_ylabel("second / first singular value (worst layer)")
    right.legend(frameon=False, fontsize=9, loc="lower left")
    grid(right, "y")


def _levels(axes: Axes, values: Numbers) -> None:
    """A line at each eigenvalue, the first two by name."""
    for place, value in enumerate(values):
        axes.axhline(
            value, color=VERMILION if place == 0 else "#c8c8c8", linewidth=1.4 if place == 0 else 0.8, zorder=0
        )
    for place in (0, 1):
        color = VERMILION if place == 0 else QUIET
        axes.annotate(
            rf"$\lambda_{place + 1}$", (1, values[place]), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", color=color, va="center",
        )  # fmt: skip


def _steps(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(r"$2E = \mathrm{tr}(W X W^T)$")


def repeated_top(figure: Figure, *, places: Numbers, ratios: Mapping[int, Sequence[float]]) -> None:
    """Directions in the plane of the top eigenvectors, and ranks by depth."""
    left, right = figure.subplots(1, 2)
    turn = np.linspace(0, 2 * np.pi, 200)
    left.plot(np.cos(turn), np.sin(turn), color="#d0d0d0", linewidth=1)
    for place, color in zip(places, (PALETTE * 2)[: len(places)], strict=True):
        left.plot([-place[0], place[0]], [-place[1], place[1]], color=color, linewidth=1.5)
    left.set_aspect("equal")
    left.set_xlabel(r"along $v_1$")
    left.set_ylabel(r"along $v_2$")
    left.set_title("The directions of ten seeds")
    for depth, found in ratios.items():
        right.scatter(np.full(len(found), depth), np.maximum(found, 1e-17), color=BLUE, alpha=0.6, linewidths=0)
    right.set_yscale("log")
    right.set_xticks(list(ratios))
    right.set_xlabel("layers")
    right.set_ylabel("second / first singular value (worst layer)")
    right.set_title("Rank one from two layers on")
    grid(right, "y")


def saddles(
    figure: Figure,
    *,
    climbs: Mapping[str, Numbers],
    values: Numbers,
    points: Sequence[tuple[float, float, int]],
    bounds: Mapping[str, Sequence[tuple[float, float]]],
) -> None:
    """Ascents from beside saddles, and curvature over energy at critical points."""
    left, right = figure.subplots(1, 2)
    _levels(left, values)
    for (name, curve), color in zip(climbs.items(), PALETTE, strict=False):
        left.plot(np.arange(len(curve)) + 1, curve, color=color, label=name)
    _steps(left)
    left.legend(frameon=False, fontsize=9, title="starts beside the network on", loc="lower right")
    for (label, found), marker in zip(bounds.items(), "_x", strict=True):
        size = 160 if marker == "_" else 45
        right.scatter(*zip(*found, strict=True), marker=marker, s=size, color=INK, label=f"promised: {label}", zorder=3)
    for one, color, label in ((True, BLUE, "one eigenvector"), (False, GREEN, "several, balanced")):
        chosen = [(level, bend) for level, bend, count in points if (count == 1) == one]
        right.scatter(*zip(*chosen, strict=True), color=color, s=40, label=label, zorder=2)
    right.annotate("the maximum", points[0][:2], (-8, 12), textcoords="offset points", ha="right", color=QUIET)
    right.set_xlabel(r"$2E$ at the critical point")
    right.set_ylabel("largest curvature")
    right.legend(frameon=False, fontsize=9)
    grid(right, "y")


def narrow_layers(
    figure: Figure, *, values: Numbers, climbs: Mapping[int, Sequence[Numbers]], widths: tuple[int, int]
) -> None:
    """The spectrum, and ascents of narrow and wide networks."""
    left, *others = figure.subplots(1, 3, width_ratios=(0.8, 1, 1))
    colors = [VERMILION if value < 0 else BLUE for value in values]
    left.bar_label(left.bar(np.arange(len(values)) + 1, values, color=colors), fmt="%.3g", padding=2, fontsize=9)
    left.margins(y=0.08)
    left.axhline(0, color=INK, linewidth=0.8)
    left.set_xlabel("eigenvalue")
    left.set_ylabel(r"eigenvalues of $X$")
    left.set_title("One direction worth learning")
    grid(left, "y")
    for axes, width in zip(others, widths, strict=True):
        _fates(axes, climbs[width], float(values[0]))
        axes.set_title(f"Hidden width {width}")
    others[1].sharey(others[0])


def _fates(axes: Axes, curves: Sequence[Numbers], top: float) -> None:
    dead = [abs(curve[-1]) < 0.5 * top for curve in curves]
    for curve, died in sorted(zip(curves, dead, strict=True), key=lambda pair: pair[1]):
        axes.plot(np.arange(len(curve)) + 1, curve, color=VERMILION if died else BLUE, linewidth=2 if died else 0.9)
    axes.axhline(top, color=QUIET, linestyle=":", linewidth=1)
    label = f"{sum(dead)} of {len(dead)} end at zero"
    axes.text(0.97, 0.06, label, transform=axes.transAxes, ha="right", color=VERMILION if any(dead) else BLUE)
    _steps(axes)
    grid(axes, "y")


def dynamics(
    figure: Figure,
    *,
    strips: Sequence[Sequence[Numbers]],
    moments: Sequence[int],
    energies: Numbers,
    every: int,
    singular: Numbers,
    seen: Numbers,
    said: Numbers,
) -> None:
    """A strip of layers at some moments; singular values; imbalance and its law."""
    pictures, curves = figure.subfigures(1, 2, width_ratios=(1.7, 1)).flat  # type: ignore[union-attr]
    _strip(pictures, strips, moments, energies)
    upper, lower = curves.subplots(2, 1, sharex=True)
    steps = every * (np.arange(len(singular)) + 1)
    for layer, color in zip(range(singular.shape[1] // 2), PALETTE, strict=False):
        upper.plot(steps, singular[:, 2 * layer], color=color, label=f"$W_{layer + 1}$")
        upper.plot(steps, singular[:, 2 * layer + 1], color=color, linestyle="--")
    upper.set_ylabel("two largest singular values")
    upper.legend(frameon=False, fontsize=9, loc="center right")
    lower.plot(steps, seen, color=BLUE, linewidth=3.5, alpha=0.45, label="seen")
    lower.plot(steps, said, color=INK, linestyle="--", linewidth=1.2, label=r"$\exp(-4\int E\,dt)$")
    lower.set_yscale("log")
    lower.set_ylim(1e-9, 3)
    lower.set_xlim(0, steps[np.argmax(said < 1e-9)])
    lower.set_xlabel("step")
    lower.set_ylabel("imbalance of layers")
    lower.legend(frameon=False, fontsize=9, loc="lower left")
    for axes in (upper, lower):
        grid(axes, "y")


def _strip(figure: SubFigure, strips: Sequence[Sequence[Numbers]], moments: Sequence[int], energies: Numbers) -> None:
    heights = [len(layer) for layer in strips[0]]
    panels = figure.subplots(len(heights), len(strips), height_ratios=heights)
    for column, (layers, step) in enumerate(zip(strips, moments, strict=True)):
        panels[0, column].set_title(f"step {step}\n$2E$ = {energies[step]:.3g}", fontsize=9, loc="center")
        for axes, layer in zip(panels[:, column], layers, strict=True):
            size = np.abs(layer).max()
            axes.imshow(layer, cmap="RdBu_r", vmin=-size, vmax=size, aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
    for row, axes in enumerate(panels[:, 0]):
        axes.set_ylabel(f"$W_{row + 1}$", rotation=0, labelpad=14, va="center")
