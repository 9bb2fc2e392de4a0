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
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    _draw_row(left)
    start = 2.2 * math.sqrt(projection.kernel_leg)
    _draw_triangle(right, projection, BLUE, "rows divided by row sums", 0.0)
    _draw_triangle(right, other, VERMILION, "rows divided by column sums", start)
    right.set_title("16 x 16, to scale: the length of a side is the root of its KL")
    right.set(aspect="equal", xlim=(-0.25 * start, 1.85 * start))
    right.margins(y=0.25)
    right.axis("off")


def _draw_row(axes: Axes) -> None:
    """K = (0.25, 0.2), rows of mass one: P = K / 0.45."""
    kernel, target = np.array([0.25, 0.2]), np.array([0.9, 0.1])
    nearest = kernel / kernel.sum()
    x, y = np.meshgrid(np.linspace(1e-3, 1.05, 200), np.linspace(1e-3, 1.05, 200))
    level = x * np.log(x / kernel[0]) - x + y * np.log(y / kernel[1]) - y + kernel.sum()
    least = float(nearest @ np.log(nearest / kernel) - 1 + kernel.sum())
    axes.contour(x, y, level, levels=[least * k for k in (0.1, 0.4, 1, 1.8)], colors="#bcd3e6", linewidths=1.2)
    axes.plot((0, 1), (1, 0), color=INK, linewidth=1.6)
    axes.annotate("rows of mass 1", (0.14, 0.9), color=INK)
    axes.plot(*zip(kernel, nearest, strict=True), color=BLUE, linewidth=2.2, linestyle="--")
    axes.plot(*zip(nearest, target, strict=True), color=GREEN, linewidth=2.6)
    axes.annotate("KL(P‖K)", (0.43, 0.27), color=BLUE)
    axes.annotate("KL(Q‖P)", (0.75, 0.32), color=GREEN)
    for name, point, shift in (
        ("K", kernel, (-0.07, -0.07)),
        ("P", nearest, (0.02, 0.03)),
        ("Q", target, (0.02, 0.03)),
    ):
        axes.plot(*point, "o", color=INK, markersize=6)
        axes.annotate(name, tuple(point), tuple(point + shift), fontsize=13, fontweight="bold")
    axes.set(xlabel="first entry", ylabel="second entry", xlim=(0, 1.05), ylim=(0, 1.05), aspect="equal")
    axes.set_title("One row: level curves of KL( · ‖ K)")


def _draw_triangle(axes: Axes, triangle: Triangle, colour: str, name: str, start: float) -> None:
    """P at (start, 0), K to its right, Q at the triangle's angle."""
    near, far = math.sqrt(triangle.kernel_leg), math.sqrt(triangle.target_leg)
    angle = math.radians(triangle.angle)
    corners = np.array([(0, 0), (near, 0), (far * math.cos(angle), far * math.sin(angle))])
    corners[:, 0] += start
    axes.fill(*corners.T, facecolor=colour, alpha=0.12)
    axes.plot(*np.vstack([corners, corners[:1]]).T, color=colour, linewidth=2)
    for letter, point, shift in zip("PKQ", corners, ((-9, -4), (9, -4), (0, 9)), strict=True):
        axes.annotate(
            letter, tuple(point), shift, textcoords="offset points", ha="center", fontsize=13, fontweight="bold"
        )
    text = f"{name}\nangle at P: {triangle.angle:.1f}°\nKL(Q‖K) = {triangle.whole:.4f}\n"
    text += f"KL(Q‖P) + KL(P‖K) = {triangle.target_leg + triangle.kernel_leg:.4f}"
    axes.annotate(text, (start, 0), (-10, -22), textcoords="offset points", color=colour, va="top")


def draw_tightening(
    figure: Figure, chart: tuple[Sequence[Point], Point], excess: Curve, heavy: Curve, uneven: Mapping[str, Curve]
) -> None:
    """The zigzag between two marginals, the excess over the limit, and targets with other marginals."""
    names = [["zigzag", "excess", "heavy"], ["zigzag", "excess", "uneven"]]
    panels: dict[str, Axes] = figure.subplot_mosaic(names)
    _draw_zigzag(panels["zigzag"], *chart)
    shown = [(step, value) for step, value in enumerate(excess) if value > 1e-15]
    panels["excess"].semilogy(*zip(*shown, strict=True), "o-", color=BLUE, markersize=4)
    panels["excess"].set(xlabel="half-steps", ylabel="KL(limit ‖ plan), nats")
    panels["excess"].set_title("Left to gain, any feasible target")
    panels["heavy"].plot(range(len(heavy)), heavy, "o-", color=VERMILION, markersize=3.5)
    panels["heavy"].set_title("Target rows of 3.6 times the mass")
    for (name, curve), colour in zip(uneven.items(), (VERMILION, BLUE), strict=True):
        panels["uneven"].plot(range(1, len(curve)), curve[1:], "o-", color=colour, markersize=3.5, label=name)
    panels["uneven"].set_title("Uneven domains, near their target")
    panels["uneven"].set(xlabel="half-steps", ylim=(0, None))
    panels["uneven"].legend(frameon=False, fontsize=9, loc="center right")
    for name in ("excess", "heavy", "uneven"):
        grid(panels[name], "both")
    for name in ("heavy", "uneven"):
        panels[name].set(ylabel="KL(T ‖ plan), nats", xlim=(-0.8, len(heavy) - 0.2))
    for name in ("excess", "heavy", "uneven"):
        panels[name].set_xticks(range(0, len(heavy), 5))


def _draw_zigzag(axes: Axes, points: Sequence[Point], wanted: Point) -> None:
    axes.axvline(wanted[0], color=VERMILION, linewidth=1.6)
    axes.axhline(wanted[1], color=GREEN, linewidth=1.6)
    axes.plot(*zip(*points, strict=True), "o-", color=INK, markersize=4, linewidth=1.2)
    left, low = min(x for x, _ in points), min(y for _, y in points)
    axes.annotate("row sums\nhold", (wanted[0], low), (-6, 0), textcoords="offset points", color=VERMILION, ha="right")
    axes.annotate("column sums hold", (left, wanted[1]), (2, 5), textcoords="offset points", color=GREEN)
    axes.annotate("kernel", points[0], (6, -10), textcoords="offset points", color=INK)
    for number, (point, shift) in enumerate(zip(points[1:3], ((5, 4), (-4, -15)), strict=True), start=1):
        axes.annotate(f"{number}", point, shift, textcoords="offset points", color=INK)
    axes.set(xlabel="mass of row 1", ylabel="mass of column 1")
    axes.margins(0.1)
    axes.set_title("Plans of one 2 × 2 kernel")


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
    panels[0].set_title("Gradient: residual (exactly zero at T = 0, not shown)")
    panels[1].set_title("Value: the excess falls at the square of that rate")
    panels[0].legend(frameon=False, title="dots: measured, bands: predicted slope")


def _draw_rate(axes: Axes, shown: Sequence[Point], rate: float, colour: str) -> None:
    """A band of the predicted slope through the last point that is clear of rounding, up to 1e-5."""
    step, value = [point for point in shown if point[1] > 1e-13][-1]
    ends = np.array([max(0.0, step - math.log(value / 1e-5) / math.log(rate)), step])
    axes.plot(ends, value * rate ** (ends - step), color=colour, linewidth=7, alpha=0.22, solid_capstyle="butt")


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
    left.annotate("mass of a and b", (rhos[0], 1), (0, -14), textcoords="offset points", color=QUIET)
    left.set_ylim(0.6, None)
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
    figure: Figure, excess: Mapping[int, Sequence[Point]], far: Sequence[Point], near: Sequence[Point]
) -> None:
    """Loss over its bound by steps; the same at other places without sweeps and with ten."""
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for sweeps, points in excess.items():
        shown = [point for point in points if point[1] > 1e-12]
        left.semilogy(*zip(*shown, strict=True), color=_BY_SWEEPS[sweeps], linewidth=1.8, label=_sweeps(sweeps))
    left.set(xlabel="steps of free embeddings", ylabel="loss − bound, nats")
    left.set_title("One start: every number of sweeps ends at the bound")
    left.legend(frameon=False)
    for points, colour, name in ((far, VERMILION, "random views"), (near, BLUE, "views near the aligned simplex")):
        gained = [(before, before - after) for before, after in points]
        right.loglog(*zip(*gained, strict=True), "o", color=colour, markersize=3.5, alpha=0.7, label=name)
    right.set(xlabel="loss − bound without a sweep, nats", ylabel="lower with 10 sweeps by, nats")
    right.set_title("Elsewhere: what 10 sweeps take off the loss")
    right.legend(frameon=False)
    for axes in (left, right):
        grid(axes, "both")


def draw_plane(
    figure: Figure, positives: Mapping[int, Sequence[Point]], conflict: Mapping[int, Sequence[Point]]
) -> None:
    """Where each start ended, joined over its numbers of sweeps."""
    panels = figure.subplots(1, 2)
    for axes, finals, title in zip(
        panels,
        (positives, conflict),
        ("Positives: sweeps change nothing", "Conflicting target: it depends on the start"),
        strict=True,
    ):
        for trail in zip(*finals.values(), strict=True):
            axes.plot(*zip(*trail, strict=True), color="#c9c9c9", linewidth=1.2, zorder=1)
        for sweeps, points in finals.items():
            axes.scatter(*zip(*points, strict=True), s=44, color=_BY_SWEEPS[sweeps], label=_sweeps(sweeps), zorder=2)
        axes.set_title(title)
        _plane_labels(axes)
        grid(axes, "both")
    panels[1].legend(frameon=False, loc="lower left")
    _say_where(panels[0], [point for points in positives.values() for point in points])
    _same_extent(*panels)


def _say_where(axes: Axes, points: Sequence[Point]) -> None:
    middle = sum(x for x, _ in points) / len(points), max(y for _, y in points)
    axes.annotate(f"all {len(points)} runs", middle, (0, 9), textcoords="offset points", ha="center", color=INK)


def _same_extent(narrow: Axes, wide: Axes) -> None:
    """Give both panels axes of equal length, so that a distance means the same in both."""
    for limits, set_limits in ((wide.get_xlim(), narrow.set_xlim), (wide.get_ylim(), narrow.set_ylim)):
        bounds = narrow.get_xlim() if set_limits == narrow.set_xlim else narrow.get_ylim()
        centre, half = sum(bounds) / 2, (limits[1] - limits[0]) / 2
        set_limits(centre - half, centre + half)


def _plane_labels(axes: Axes) -> None:
    axes.set(xlabel="alignment: mean squared distance of wanted pairs", ylabel="uniformity (lower: more spread)")


def _sweeps(count: int) -> str:
    return "1 sweep" if count == 1 else f"{count} sweeps"
