"""What the optimum is worth: margin and cross entropy, collisions and coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from couplings.report.style import INK, PALETTE, grid


@dataclass(frozen=True)
class Outcome:
    """The mean classifier over k, for one prior."""

    label: str
    ks: Sequence[int]
    margins: Sequence[float]
    entropies: Sequence[float]


def draw_downstream(figure: Figure, *, outcomes: Sequence[Outcome]) -> None:
    """Margin, cross entropy, and how the latter moves from k = 1."""
    panels = figure.subplots(1, 3)
    moved = [[value - each.entropies[0] for value in each.entropies] for each in outcomes]
    rows: tuple[tuple[str, list[Sequence[float]]], ...] = (
        ("margin", [each.margins for each in outcomes]),
        ("cross entropy (nats)", [each.entropies for each in outcomes]),
        ("its change since $k = 1$ (nats)", [*moved]),
    )
    for axes, (label, curves) in zip(panels, rows, strict=True):
        for rank, (each, values) in enumerate(zip(outcomes, curves, strict=True)):
            axes.plot(each.ks, values, "o-", color=PALETTE[rank], markersize=4, label=each.label)
        _negatives(axes, outcomes[0].ks[::2])
        axes.set_title(label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(outcomes), frameon=False)


@dataclass(frozen=True)
class Floor:
    """Collisions and coverage over k.

    Attributes:
        ks: numbers of negatives.
        chances: P(no collision), by the anchor's class.
        covered: expected number of different classes among the negatives, by prior.
        losses: optimal loss of ten equal classes by scale, in nats.
        bound: what collisions alone cost there.
    """

    ks: Sequence[int]
    chances: Mapping[str, Sequence[float]]
    covered: Mapping[str, Sequence[float]]
    losses: Mapping[float, Sequence[float]]
    bound: Sequence[float]


def draw_collisions(figure: Figure, *, floor: Floor) -> None:
    """Three panels over k."""
    left, middle, right = figure.subplots(1, 3)
    for axes, curves in ((left, floor.chances), (middle, floor.covered)):
        for rank, (label, values) in enumerate(curves.items()):
            axes.plot(floor.ks, values, "o-", color=PALETTE[rank], markersize=4, label=label)
        axes.legend(frameon=False, title="class with" if axes is left else None)
    for rank, (scale, values) in enumerate(floor.losses.items()):
        right.plot(floor.ks, values, "o-", color=PALETTE[rank], markersize=4, label=f"$s = {scale:g}$")
    right.plot(floor.ks, floor.bound, "--", color=INK, label="collisions alone")
    right.legend(frameon=False)
    for axes, title in zip((left, middle, right), _TITLES, strict=True):
        _negatives(axes, floor.ks[::2])
        axes.set_title(title)


_TITLES = ("P(no collision)", "different classes", "optimal loss, 10 equal (nats)")


def _negatives(axes: Axes, ks: Sequence[int]) -> None:
    """A logarithmic axis of numbers of negatives."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_xlabel("number of negatives $k$")
    grid(axes, "both")
