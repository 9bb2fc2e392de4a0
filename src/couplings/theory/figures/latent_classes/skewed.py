"""Skewed priors: the convex program, and rare classes that merge and part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from couplings.report.style import BLUE, INK, PALETTE, QUIET, grid
from couplings.theory.figures.latent_classes.circle import Points, draw_circle, draw_vectors


@dataclass(frozen=True)
class Bound:
    """A feasible gram: its loss above the optimum, and how far above its certificate says it may be, in nats."""

    excess: float
    gap: float


Labelled = tuple[str, Sequence[Sequence[float]]]
"""A gram with what is written above it."""


def draw_convex_program(figure: Figure, *, bounds: Sequence[Bound], grams: Sequence[Labelled]) -> None:
    """Certified gaps against true ones; optimal grams as tables of colours."""
    rows = (len(grams) + 1) // 2
    places = figure.add_gridspec(rows, 3, width_ratios=(2.4, 1, 1))
    axes = figure.add_subplot(places[:, 0])
    ends = (min(b.excess for b in bounds), max(b.gap for b in bounds))
    axes.plot(ends, ends, color=QUIET, linewidth=1)
    axes.annotate("gap = excess", (ends[0], ends[0]), (30, 14), textcoords="offset points", color=QUIET)
    axes.plot([b.excess for b in bounds], [b.gap for b in bounds], "o", color=BLUE, markersize=3, alpha=0.6)
    axes.set(xscale="log", yscale="log", xlabel="loss above the optimum (nats)", ylabel="certified gap (nats)")
    axes.set_title("feasible grams, and what duality proves of them")
    grid(axes, "both")
    for number, (label, gram) in enumerate(grams):
        draw_gram(figure.add_subplot(places[number // 2, 1 + number % 2]), label, gram)


def draw_gram(axes: Axes, label: str, gram: Sequence[Sequence[float]]) -> None:
    """A gram as a table of colours, with its numbers where they fit."""
    axes.imshow(gram, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_title(label, fontsize=9, loc="center")
    axes.set_xticks([])
    axes.set_yticks([])
    if len(gram) > 6:
        return
    for i, row in enumerate(gram):
        for j, value in enumerate(row):
            color = "white" if abs(value) > 0.6 else INK
            axes.text(j, i, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center", color=color, fontsize=8)


@dataclass(frozen=True)
class Sweep:
    """A number over the number of negatives."""

    label: str
    ks: Sequence[int]
    values: Sequence[float]


def draw_rare_classes(figure: Figure, *, planes: Mapping[int, Points], sweeps: Sequence[Sweep]) -> None:
    """Circles over k above, inner products of the two rarest classes below."""
    places = figure.add_gridspec(2, len(planes), height_ratios=(1, 1.35))
    for number, (k, points) in enumerate(planes.items()):
        circle = figure.add_subplot(places[0, number])
        draw_circle(circle, f"$k = {k}$")
        draw_vectors(circle, points, ("$v_1$", "$v_2$", "$v_3$"))
    axes = figure.add_subplot(places[1, :])
    for rank, sweep in enumerate(sweeps):
        axes.plot(sweep.ks, sweep.values, "o-", color=PALETTE[rank], markersize=5, label=sweep.label)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_xscale("log", base=2)
    axes.set_xticks(sweeps[0].ks, [str(k) for k in sweeps[0].ks])
    axes.set(xlabel="number of negatives $k$", ylabel=r"$\langle v_2, v_3\rangle$")
    grid(axes, "both")
