"""Drawings of alignment by plans: projections as geometry, curves over sweeps, prices and powers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from couplings.report.style import BLUE, GREEN, INK, PALETTE, QUIET, VERMILION, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..alignment import Triangle

Point = tuple[float, float]
Curve = Sequence[float]

_BY_SWEEPS = {0: PALETTE[7], 1: PALETTE[4], 2: PALETTE[1], 10: PALETTE[0]}


def draw_pythagoras(figure: Figure, projection: Triangle, other: Triangle) -> None:
    """A row of two entries with level curves of KL(. || K); two triangles to scale."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _draw_row(left)
    _draw_triangle(right, projection, BLUE, "rows by row sums", below=False)
    _draw_triangle(right, other, VERMILION, "rows by column sums", below=True)
    right.set_title("Sides are roots of divergences, drawn to scale")
    right.set_aspect("equal")
    right.axis("off")


def _draw_row(axes: Axes) -> None:
    """K = (0.25, 0.2), rows of mass one: P = K / 0.45."""
    kernel, allowed = np.array([0.25, 0.2]), np.linspace(0, 1, 2)
    nearest, target = kernel / kernel.sum(), np.array([0.9, 0.1])
    x, y = np.meshgrid(np.linspace(1e-3, 1.05, 200), np.linspace(1e-3, 1.05, 200))
    level = x * np.log(x / kernel[0]) - x + y * np.log(y / kernel[1]) - y + kernel.sum()
    least = float(nearest @ np.log(nearest / kernel) - 1 + kernel.sum())
    axes.contour(x, y, level, levels=[least * k for k in (0.1, 0.4, 1, 1.8)], colors="#bcd3e6", linewidths=1.2)
    axes.plot(allowed, 1 - allowed, color=INK, linewidth=1.6)
    axes.annotate("rows of mass 1", (0.18, 0.82), (0.24, 0.88), color=INK)
    axes.plot(*zip(kernel, nearest, strict=True), color=BLUE, linewidth=1.6, linestyle="--")
    axes.plot(*zip(nearest, target, strict=True), color=GREEN, linewidth=2.6)
    for name, point, shift in (
        ("K", kernel, (-0.07, -0.07)),
        ("P", nearest, (0.03, 0.03)),
        ("Q", target, (0.03, 0.03)),
    ):
        axes.plot(*point, "o", color=INK, markersize=6)
        axes.annotate(name, point, (point[0] + shift[0], point[1] + shift[1]), fontsize=13, fontweight="bold")
    axes.set(xlabel="first entry", ylabel="second entry", xlim=(0, 1.05), ylim=(0, 1.05), aspect="equal")
    axes.set_title("One row: level curves of KL( · ‖ K)")


def _draw_triangle(axes: Axes, triangle: Triangle, colour: str, name: str, below: bool) -> None:
    """P at the origin, K to its right, Q at the triangle's angle; below the first one for the second."""
    near, far = math.sqrt(triangle.kernel_leg), math.sqrt(triangle.target_leg)
    drop, angle = (-1.55 if below else 0.0), math.radians(triangle.angle)
    corners = np.array([(0, 0), (near, 0), (far * math.cos(angle), far * math.sin(angle))])
    corners[:, 1] += drop
    axes.fill(*corners.T, facecolor=colour, alpha=0.12)
    axes.plot(*np.vstack([corners, corners[:1]]).T, color=colour, linewidth=2)
    for letter, point, place in zip("PKQ", corners, ("right", "left", "center"), strict=True):
        vertical = "bottom" if letter == "Q" else "top"
        axes.annotate(letter, point, point, ha=place, va=vertical, fontsize=13, fontweight="bold")
    text = f"{name}\nangle at P  {triangle.angle:.1f}°\nKL(Q‖K) = {triangle.whole:.4f}\n"
    text += f"KL(Q‖P) + KL(P‖K) = {triangle.target_leg + triangle.kernel_leg:.4f}"
    axes.annotate(text, corners[1], (corners[:, 0].max() + 0.25, corners[2, 1] - 0.1), color=colour, va="top")
    axes.set_xlim(-0.8, 4.2)


def draw_tightening(
    figure: Figure, chart: tuple[Sequence[Point], Point], excess: Curve, curves: Mapping[str, Curve]
) -> None:
    """The zigzag between two marginals, the excess over the limit, and targets with other marginals."""
    zigzag, middle, right = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    _draw_zigzag(zigzag, *chart)
    shown = [(step, value) for step, value in enumerate(excess) if value > 1e-15]
    middle.semilogy(*zip(*shown, strict=True), "o-", color=BLUE, markersize=4)
    middle.set(xlabel="half-steps", ylabel="KL(limit ‖ plan), nats")
    middle.set_title("Left to gain, any feasible target")
    _draw_targets(right, curves)
    for axes in (middle, right):
        grid(axes, "both")


def _draw_zigzag(axes: Axes, points: Sequence[Point], wanted: Point) -> None:
    axes.axvline(wanted[0], color=VERMILION, linewidth=1.6)
    axes.axhline(wanted[1], color=GREEN, linewidth=1.6)
    axes.plot(*zip(*points, strict=True), "o-", color=INK, markersize=4, linewidth=1.2)
    low = min(y for _, y in points), min(x for x, _ in points)
    axes.annotate("row sums\nhold", (wanted[0], low[0]), (6, 2), textcoords="offset points", color=VERMILION)
    axes.annotate("column sums hold", (low[1], wanted[1]), (2, -14), textcoords="offset points", color=GREEN)
    axes.annotate("kernel", points[0], (6, 4), textcoords="offset points", color=INK)
    axes.set(xlabel="mass of row 1", ylabel="mass of column 1")
    axes.margins(0.12)
    axes.set_title("Plans of one 2 × 2 kernel")


def _draw_targets(axes: Axes, curves: Mapping[str, Curve]) -> None:
    for (name, curve), colour in zip(curves.items(), (PALETTE[3], VERMILION, BLUE), strict=True):
        axes.plot(range(1, len(curve)), curve[1:], "o-", color=colour, markersize=3.5, label=name)
    axes.set(xlabel="half-steps", ylabel="KL(T ‖ plan), nats", yscale="log")
    axes.set_title("Other marginals than the target's")
    axes.legend(frameon=False, fontsize=8.5, loc="center right")


def draw_residuals(
    figure: Figure,
    sweeps: Sequence[int],
    residual: Mapping[float, Curve],
    excess: Mapping[float, Curve],
    rates: Mapping[float, float],
) -> None:
    """Residual of the dual gradient and excess of the value over sweeps, a colour a temperature."""
    panels = figure.subplots(1, 2)
    names = ("|exact gradient − (P − T)/ε|, relative", "KL(limit ‖ P), nats")
    for axes, values, name, power in zip(panels, (residual, excess), names, (1, 2), strict=True):
        for (temperature, curve), colour in zip(values.items(), PALETTE, strict=False):
            shown = [(k, v) for k, v in zip(sweeps, curve, strict=True) if v > 1e-14]
            axes.semilogy(*zip(*shown, strict=True), "o-", color=colour, markersize=4, label=f"ε = {temperature:g}")
            _draw_rate(axes, shown, rates[temperature] ** power, colour)
        axes.set(xlabel="sweeps T (then a row step)", ylabel=name, ylim=(1e-14, 3), xlim=(-3, None))
        grid(axes, "both")
    panels[0].set_title("Gradient: zero before the first sweep (not shown)")
    panels[1].set_title("Value: twice as fast")
    panels[0].legend(frameon=False, title="solid: measured, dashed: predicted")


def _draw_rate(axes: Axes, shown: Sequence[Point], rate: float, colour: str) -> None:
    """A line of the predicted slope through the last point that is clear of rounding."""
    step, value = [point for point in shown if point[1] > 1e-11][-1]
    ends = np.array([0.0, step])
    axes.plot(ends, value * rate ** (ends - step) * 3, "--", color=colour, linewidth=1, alpha=0.8)


def draw_rince(
    figure: Figure, chance: Curve, by_q: Mapping[float, Curve], qs: Curve, ours: Curve, theirs: Curve
) -> None:
    """Loss over the positive's probability for several q; distance from the limit over q."""
    left, right = figure.subplots(1, 2)
    for (q, curve), colour in zip(by_q.items(), ("#000000", *PALETTE), strict=False):
        left.semilogx(chance, curve, color=colour, linewidth=2, label="q → 0: −log p" if q == 0 else f"q = {q:g}")
    left.set(xlabel="probability p of the positive", ylabel="loss (1 − p$^q$) / q, nats")
    left.set_title("From logarithm to linear")
    left.legend(frameon=False)
    right.loglog(qs, ours, "o-", color=BLUE, markersize=4, label="RINCE")
    right.loglog(qs, theirs, "s-", color=VERMILION, markersize=4, label="positive divided by n = 16")
    right.set(xlabel="q", ylabel="distance from InfoNCE + log λ, nats")
    right.set_title("How fast the lower end is reached")
    right.legend(frameon=False)
    for axes in (left, right):
        grid(axes, "both")


def draw_prices(figure: Figure, rhos: Curve, masses: Mapping[str, Curve], distances: Mapping[str, Curve]) -> None:
    """Mass of the plan over rho; its distance from kernel, balanced plan and marginals."""
    left, right = figure.subplots(1, 2)
    for (name, curve), colour in zip(masses.items(), (BLUE, VERMILION), strict=True):
        left.loglog(rhos, curve, "o-", color=colour, markersize=4, label=name)
    left.axhline(1, color=QUIET, linewidth=1, linestyle=":")
    left.annotate("mass asked for", (rhos[0], 1), (0, -13), textcoords="offset points", color=QUIET)
    left.set_ylabel("mass of the plan")
    left.set_title("Mass")
    for (name, curve), colour in zip(distances.items(), (VERMILION, BLUE, GREEN), strict=True):
        right.loglog(rhos, curve, "o-", color=colour, markersize=4, label=f"from the {name}")
    right.set_ylabel("L1 distance")
    right.set_title("Distance of the plan")
    for axes in (left, right):
        axes.set_xlabel("price of mass ρ, units of a score")
        axes.legend(frameon=False)
        grid(axes, "both")


def draw_bound(
    figure: Figure, excess: Mapping[int, Sequence[Point]], plane: Mapping[int, Sequence[Point]], simplex: float
) -> None:
    """Loss over its bound by steps; the way through the plane of alignment and uniformity."""
    left, right = figure.subplots(1, 2)
    for sweeps, points in excess.items():
        shown = [point for point in points if point[1] > 1e-12]
        left.semilogy(*zip(*shown, strict=True), color=_BY_SWEEPS[sweeps], linewidth=1.8, label=_sweeps(sweeps))
        right.plot(*zip(*plane[sweeps], strict=True), "o-", color=_BY_SWEEPS[sweeps], markersize=3, linewidth=1.2)
    left.set(xlabel="steps", ylabel="loss − bound, nats")
    left.set_title("One start, one limit")
    left.legend(frameon=False)
    right.plot(0, simplex, "x", color=INK, markersize=12, markeredgewidth=2.5)
    right.annotate("aligned simplex", (0, simplex), (12, -4), textcoords="offset points", color=INK)
    _plane_labels(right)
    grid(left, "both")
    grid(right, "both")


def draw_plane(
    figure: Figure, positives: Mapping[int, Sequence[Point]], conflict: Mapping[int, Sequence[Point]]
) -> None:
    """Where each start ended, joined over its numbers of sweeps."""
    panels = figure.subplots(1, 2)
    for axes, finals, title in zip(
        panels,
        (positives, conflict),
        ("Positives: sweeps change nothing", "Conflicting target: balance has a price"),
        strict=True,
    ):
        for trail in zip(*finals.values(), strict=True):
            axes.plot(*zip(*trail, strict=True), color="#c9c9c9", linewidth=1.2, zorder=1)
        for sweeps, points in finals.items():
            axes.scatter(*zip(*points, strict=True), s=44, color=_BY_SWEEPS[sweeps], label=_sweeps(sweeps), zorder=2)
        axes.set_title(title)
        _plane_labels(axes)
        grid(axes, "both")
    panels[1].legend(frameon=False, loc="best")


def _plane_labels(axes: Axes) -> None:
    axes.set(xlabel="alignment: mean squared distance of wanted pairs", ylabel="uniformity (lower: more spread)")


def _sweeps(count: int) -> str:
    return "1 sweep" if count == 1 else f"{count} sweeps"
