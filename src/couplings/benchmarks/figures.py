"""Two pictures: how many times our time others take, and how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

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
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
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
    """Seconds and bytes over the rows, both on logarithmic axes: a colour a work, a stroke a dimension."""
    colours = dict(zip(dict.fromkeys(_kind(curve) for curve in curves), cycle(PALETTE)))
    strokes = dict(zip(sorted({curve.dim for curve in curves}), cycle(_DASHES)))
    with canvas(path, (11, 5.2), "How cost grows with the batch") as figure:
        left, right = figure.subplots(1, 2)
        for curve in curves:
            style = {"color": colours[_kind(curve)], "linestyle": strokes[curve.dim], "label": curve.label}
            left.plot(*_columns(curve.times), marker=".", **style)
            right.plot(*_columns([(n, y / 1e6) for n, y in curve.growths]), marker=".", **style)
        for axes, unit in ((left, "seconds"), (right, "peak growth, MB")):
            _logarithmic(axes, unit)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)


def _kind(curve: Curve) -> tuple[str, int]:
    return (curve.what if curve.ours else curve.name), curve.sweeps


def _logarithmic(axes: Axes, title: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.tick_params(axis="x", rotation=45)
    axes.set_xlabel("rows, 2n")
    axes.set_title(title)
    grid(axes, "both")


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [n for n, _ in points], [y for _, y in points]
