"""Skewed priors: the convex program, and rare classes that merge and part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from couplings.report.style import BLUE, INK, PALETTE, QUIET, grid
from couplings_theory.figures.latent_classes.circle import Points, draw_circle, draw_vectors


@dataclass(frozen=True)
class Bound:
    """A feasible gram: its loss above the optimum, and how far above its certificate says it may be, in nats."""

    excess: float
    gap: float


Labelled = tuple[str, Sequence[Sequence[float]]]
"""A gram with what is written above it."""


MOST_NAMES = 5
"""Classes that are named at an axis of a table, about."""


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
    tables = [figure.add_subplot(places[number // 2, 1 + number % 2]) for number in range(len(grams))]
    for table, (label, gram) in zip(tables, grams, strict=True):
        draw_gram(table, label, gram)
    colour_bar(figure, tables)


def draw_gram(axes: Axes, label: str, gram: Sequence[Sequence[float]]) -> None:
    """A gram as a table of colours, with its numbers where they fit."""
    axes.imshow(gram, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_title(label, fontsize=9, loc="center")
    shown = range(0, len(gram), -(-len(gram) // MOST_NAMES))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(shown, [f"{place + 1}" for place in shown])
    axes.set(xlabel="class $c'$", ylabel="class $c$")
    axes.tick_params(length=0)
    if len(gram) > 6:
        return
    for i, row in enumerate(gram):
        for j, value in enumerate(row):
            color = "white" if abs(value) > 0.6 else INK
            axes.text(j, i, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center", color=color, fontsize=8)


def colour_bar(figure: Figure, tables: Sequence[Axes]) -> None:
    """What the colours of `draw_gram` mean, beside the tables."""
    bar = figure.colorbar(tables[0].images[0], ax=tables, ticks=(-1, 0, 1), shrink=0.8, pad=0.02)
    bar.set_label(r"$\langle v_c, v_{c'}\rangle$")
    bar.outline.set_visible(False)


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
