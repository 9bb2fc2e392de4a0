"""Equal classes: collapse, the simplex, its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from couplings.report.style import BLUE, INK, PALETTE, QUIET, VERMILION, grid
from couplings_theory.figures.latent_classes.circle import Points, draw_circle, draw_vectors

_MARKS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Spread:
    """Encoders of one population around the optimum; losses in nats above it.

    Attributes:
        sizes: samples of each class.
        within: mean squared distance of samples from their class mean, one an encoder.
        excess: the loss of the encoder.
        means: the loss of its class means.
        collapsed: the loss of the library at the optimal class vectors.
        optimum: the loss that the convex program finds.
    """

    sizes: tuple[int, ...]
    within: tuple[float, ...]
    excess: tuple[float, ...]
    means: tuple[float, ...]
    collapsed: float
    optimum: float


def draw_collapse(figure: Figure, *, spreads: Sequence[Spread]) -> None:
    """Loss over within-class scatter, a panel a population."""
    panels = figure.subplots(1, len(spreads), sharey=True, squeeze=False)[0]
    for axes, spread in zip(panels, spreads, strict=True):
        axes.vlines(spread.within, spread.means, spread.excess, color="#d9d9d9", linewidth=1, zorder=1)
        axes.plot(spread.within, spread.excess, "o", color=VERMILION, markersize=5, label="encoder $f$")
        axes.plot(spread.within, spread.means, "o", color=BLUE, markersize=5, mfc="white", label="its class means")
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_title("classes of " + ", ".join(str(size) for size in spread.sizes) + " samples")
        axes.set_xlabel(r"within-class scatter $E\,\|f(x) - \bar{f}_c\|^2$")
        grid(axes, "both")
    panels[0].set_ylabel("loss above the optimum (nats)")
    panels[0].legend(frameon=False, loc="upper left")


def draw_simplex(figure: Figure, *, planes: Mapping[int, Points], angles: Mapping[tuple[int, int], float]) -> None:
    """Three classes on the circle for each k; inner products against -1/(C - 1).

    Args:
        figure: to draw on.
        planes: class vectors by k.
        angles: inner product of two classes by (C, k).
    """
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    draw_circle(left, "three classes, $k = $" + ", ".join(str(k) for k in planes))
    for points in planes.values():
        draw_vectors(left, points, ("$v_1$", "$v_2$", "$v_3$"))
    largest = max(classes for classes, _ in angles)
    curve = [2 + (largest - 2) * step / 200 for step in range(201)]
    right.plot(curve, [-1 / (c - 1) for c in curve], color=QUIET, label="$-1/(C-1)$")
    ks = sorted({k for classes, k in angles if (2, k) in angles})
    for rank, k in enumerate(ks):
        found = {c: value for (c, each), value in angles.items() if each == k}
        style: dict[str, Any] = {
            "marker": _MARKS[rank],
            "mfc": "none",
            "markersize": 13 - 4 * rank,
            "linestyle": "none",
        }
        right.plot(
            list(found), list(found.values()), color=PALETTE[rank], markeredgewidth=1.6, label=f"$k = {k}$", **style
        )
    right.set(xlabel="number of classes $C$", ylabel=r"inner product $\langle v_c, v_{c'}\rangle$")
    right.set_title("any two classes")
    right.set_xticks(range(2, largest + 1))
    right.legend(frameon=False, loc="lower right")
    grid(right, "both")


@dataclass(frozen=True)
class LossCurve:
    """The loss of the simplex over k, in nats.

    Attributes:
        label: C and s.
        classes: C; curves of equal C have one bound.
        ks: numbers of negatives.
        closed: by the closed form.
        integral: by the integral, for every fifth k.
        bound: what collisions alone cost.
    """

    label: str
    classes: int
    ks: tuple[int, ...]
    closed: tuple[float, ...]
    integral: tuple[float, ...]
    bound: tuple[float, ...]


def draw_closed_form(figure: Figure, *, curves: Sequence[LossCurve]) -> None:
    """Loss over k, a panel for each number of classes."""
    counts = list(dict.fromkeys(curve.classes for curve in curves))
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, count in zip(panels, counts, strict=True):
        mine = [curve for curve in curves if curve.classes == count]
        for rank, curve in enumerate(mine):
            _draw_curve(axes, curve, PALETTE[rank])
        axes.plot(mine[0].ks, mine[0].bound, "--", color=INK, linewidth=1.2)
        axes.annotate("collisions alone", (mine[0].ks[-1], mine[0].bound[-1]), (6, 0), **_BESIDE)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="number of negatives $k$", title=f"{count} equal classes")
        axes.set_xticks(mine[0].ks[::2])
        axes.set_xlim(mine[0].ks[0] / 1.2, mine[0].ks[-1] * 12)
        grid(axes, "both")
    panels[0].set_ylabel("optimal loss (nats)")


_BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}


def _draw_curve(axes: Axes, curve: LossCurve, color: str) -> None:
    axes.plot(curve.ks, curve.closed, color=color)
    axes.plot(curve.ks[::5], curve.integral, "o", color=color, markersize=5)
    axes.annotate(curve.label.split(", ")[1], (curve.ks[-1], curve.closed[-1]), (6, 0), color=color, **_BESIDE)
