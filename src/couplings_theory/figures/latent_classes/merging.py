"""Where rare classes merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from couplings.report.style import PALETTE, QUIET, grid


@dataclass(frozen=True)
class Border:
    """The critical scale over k, and its limit for many negatives, for one share of the most frequent class."""

    label: str
    ks: Sequence[int]
    scales: Sequence[float]
    limit: float


def draw_merging(figure: Figure, *, borders: Sequence[Border]) -> None:
    """A line a share, the region below it shaded."""
    axes = figure.subplots()
    for rank, border in enumerate(borders):
        color = PALETTE[rank]
        axes.plot(border.ks, border.scales, "o-", color=color, markersize=5)
        axes.fill_between(border.ks, 0, border.scales, color=color, alpha=0.08, linewidth=0)
        axes.hlines(border.limit, border.ks[0], border.ks[-1] * 1.6, color=color, linestyle=":", linewidth=1.2)
        place = (border.ks[-1] * 1.7, border.limit)
        axes.annotate(f"largest class {border.label}", place, color=color, va="center")
    axes.text(1.3, 0.06, "all other classes share one vector", color=QUIET)
    axes.text(1.3, 2.25, "they have parted", color=QUIET)
    axes.set_xscale("log", base=2)
    axes.set_xticks(borders[0].ks, [str(k) for k in borders[0].ks])
    axes.set(xlabel="number of negatives $k$", ylabel="scale $s$ (one over the temperature)")
    axes.set_xlim(0.9, borders[0].ks[-1] * 9)
    axes.set_ylim(0, 2.4)
    axes.minorticks_off()
    grid(axes, "both")
