"""Two pictures: how many times our time others take, and how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from couplings.report.style import BLUE, INK, PALETTE, QUIET, VERMILION, canvas, grid

from .growth import Curve
from .result import Cell, Row

__all__ = ["draw_growth", "draw_ratios"]

_DASHES = ("-", "--", ":", "-.")


def draw_ratios(path: Path, rows: Sequence[Row]) -> None:
    """Our time over theirs for every pair, with the quartiles of the rounds and the goals."""
    pairs = [(row, peer) for row in rows for peer in row.peers if row.paired(peer)]
    with canvas(path, (9, 1.6 + 0.27 * len(pairs)), "Our time over theirs: left of the line we are faster") as figure:
        axes = figure.subplots()
        for height, (row, peer) in enumerate(reversed(pairs)):
            _draw_pair(axes, height, row, peer)
        names = [f"{row.what}, {row.size.rows:,} rows: {peer.name}" for row, peer in reversed(pairs)]
        axes.set_yticks(range(len(pairs)), names, fontsize=8)
        axes.set_ylim(-0.7, len(pairs) - 0.3)
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xscale("log")
        axes.set_xlabel("ratio of times; bar: quartiles of the rounds; |: to be reached")
        grid(axes, "x")


def _draw_pair(axes: Axes, height: int, row: Row, peer: Cell) -> None:
    ratio = row.paired(peer)
    assert ratio is not None
    verdicts = [v for v in row.verdicts(peer) if v.measured is not None]
    missed = any(v.reached is False for v in verdicts)
    colour = VERMILION if missed else BLUE if verdicts else QUIET
    axes.plot([ratio.low, ratio.high], [height, height], color=colour, linewidth=4, alpha=0.4)
    axes.plot(ratio.median, height, "o", color=colour, markersize=5)
    for verdict in verdicts:
        axes.plot(verdict.goal.at_most, height, "|", color=INK, markersize=9)


def draw_growth(path: Path, curves: Sequence[Curve]) -> None:
    """Seconds and bytes over the rows, both on logarithmic axes."""
    with canvas(path, (11, 5.2), "How cost grows with the batch") as figure:
        for axes, unit in zip(figure.subplots(1, 2), ("seconds", "bytes of peak growth"), strict=True):
            for k, curve in enumerate(curves):
                points = curve.times if unit == "seconds" else curve.growths
                style = _DASHES[k // len(PALETTE) % len(_DASHES)]
                axes.loglog(*_columns(points), style, marker=".", color=PALETTE[k % len(PALETTE)], label=curve.label)
            axes.set_xlabel("rows, 2n")
            axes.set_title(unit)
            axes.set_xscale("log", base=2)
            grid(axes, "both")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [n for n, _ in points], [y for _, y in points]
