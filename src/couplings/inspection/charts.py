"""The charts of the page that need no hand on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from couplings.diagnostics import hub_bound
from couplings.inspection.inspection import Inspection
from couplings.inspection.payload import clipped
from couplings.report.curves import Panel, Record, draw_panel, series_of
from couplings.report.html import data_uri
from couplings.report.style import BLUE, INK, PALETTE, VERMILION, drawn_svg, grid, label

__all__ = ["Chart", "history", "mass", "negatives", "responses", "spectrum"]

_STYLES = ("-", "--", "-.", ":")
_BINS = 50
_WIDE, _HALF = (9.0, 4.2), (5.4, 3.4)
_LINE, _NARROW = 0.22, 18
"""Inches that a line of a legend takes; characters of names that stand two on a line."""


@dataclass(frozen=True)
class Chart:
    """A picture as an address that holds it, and what it shows in words."""

    uri: str
    words: str


def responses(found: Inspection) -> Chart | None:
    """How hard each loss pushes, over similarity."""
    shown = {name: one for name, one in found.responses.items() if len(one.push)}
    if not shown:
        return None

    columns = 2 if max(map(len, shown)) <= _NARROW else 1
    size = (_WIDE[0], _WIDE[1] + _LINE * -(-len(shown) // columns))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, style, (name, one) in zip(cycle(PALETTE), cycle(_STYLES), shown.items(), strict=False):
            push = np.where(one.push.numpy() > 0, one.push.numpy(), np.nan)
            width = 2.6 if name == found.loss_name else 1.5
            axes.plot(one.similarity.numpy(), push, style, color=colour, linewidth=width, label=_plain(name))
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
        axes.set(xlabel="cosine similarity of the pair", ylabel="push, times the average pair", yscale="log")
        grid(axes, "y")
        # At the left below: on a phone, the right of the picture is out of view.
        figure.legend(loc="outside lower left", frameon=False, ncols=columns)

    words = f"Lines of {', '.join(shown)}: push on a pair over its similarity; the table below has the numbers."
    return _chart(draw, size, "Who is pushed: by similarity", words)


def spectrum(found: Inspection) -> Chart:
    """Spread along the principal axes."""
    values, rank = found.space.spectrum.double().numpy(), found.space.effective_rank

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(np.arange(1, len(values) + 1), np.where(values > 0, values, np.nan), "o-", color=BLUE, markersize=2.5)
        _mark(axes, rank, f"effective rank {rank:.1f}")
        # Rows that all coincide leave nothing for a logarithm.
        scale = "log" if (values > 0).any() else "linear"
        axes.set(xlabel="principal axis, by size", ylabel="standard deviation", yscale=scale)
        grid(axes, "y")

    flat = int((values <= 0).sum())
    words = (
        f"The standard deviation falls from {values[0]:.3g} along the first of {len(values)} principal axes to "
        f"{values[-1]:.3g} along the last; {flat} are flat. Effective rank {rank:.1f}."
    )
    return _chart(draw, _HALF, "Spectrum", words)


def mass(found: Inspection) -> Chart:
    """How unevenly rows push."""
    values = found.survey.mass

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _histogram(axes, values)
        axes.set(xlabel="mass of a row, times the average row", ylabel="rows", yscale="log")
        if len(found.hubs):
            _mark(axes, hub_bound(values), "hubs from here")

    return _chart(draw, _HALF, "Who pushes: mass of rows", f"Mass of rows: {_spread(values)}.")


def negatives(found: Inspection) -> Chart:
    """How many negatives have a say."""
    values, others = found.survey.effective_negatives, found.survey.batch_size - 1

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _histogram(axes, values)
        _mark(axes, values.mean().item(), f"mean {values.mean().item():.0f}")
        axes.set(xlabel=f"effective negatives of a row, of {others:.0f} in its batch", ylabel="rows")
        axes.set_xlim(0, max(others, 1) * 1.02)

    return _chart(draw, _HALF, "How many negatives count", f"Effective negatives of rows: {_spread(values)}.")


_PANELS = (
    Panel("loss", "Loss", "loss value"),
    Panel("alignment", "Alignment (lower: positives closer)", "squared distance"),
    Panel("uniformity", "Uniformity (lower: more spread out)", "log mean exp(-2 d²), nats"),
    Panel("effective_rank", "Effective rank", "dimensions"),
    Panel("plan_entropy", "Entropy of the plan", "nats"),
)


def history(found: Inspection) -> Chart | None:
    """The course of the training; None where nothing of it is known."""
    records = [_plain_record(record) for record in found.subject.history if "step" in record]
    panels = [panel for panel in _PANELS if series_of(panel.key, records)]
    if not panels:
        return None
    rows = (len(panels) + 1) // 2

    def draw(figure: Figure) -> None:
        places = figure.subplots(rows, 2, squeeze=False).ravel()
        for axes, panel in zip(places, panels, strict=False):
            draw_panel(axes, panel, records)
        for axes in places[len(panels) :]:
            axes.set_visible(False)

    return _chart(draw, (9.0, 0.6 + 2.6 * rows), "Training", "; ".join(_courses(panels, records)) + ".")


def _courses(panels: list[Panel], records: list[Record]) -> Iterator[str]:
    for panel in panels:
        for name, points in series_of(panel.key, records).items():
            named = panel.title if name == panel.key else f"{panel.title}, {name}"
            (first, start), (last, end) = points[0], points[-1]
            yield f"{named}: from {start:.3g} at step {first:g} to {end:.3g} at step {last:g}"


def _plain_record(record: Record) -> Record:
    parts = record.get("plan_entropy")
    if not isinstance(parts, dict):
        return record
    return {**record, "plan_entropy": {_plain(name): value for name, value in parts.items()}}


def _chart(draw: Callable[[Figure], None], size: tuple[float, float], title: str, words: str) -> Chart:
    return Chart(data_uri(drawn_svg(draw, size, title), "image/svg+xml"), f"{title}. {words}")


def _histogram(axes: Axes, values: Tensor) -> None:
    axes.hist(values.double().numpy(), bins=_BINS, color=BLUE, histtype="stepfilled")
    grid(axes, "y")


def _mark(axes: Axes, place: float, words: str) -> None:
    """A line across the axes that says what it stands for."""
    axes.axvline(place, color=VERMILION, linewidth=1.2)
    left, right = axes.get_xlim()
    side, away = ("right", -4) if place > (left + right) / 2 else ("left", 4)
    where = axes.get_xaxis_transform()
    offset = {"xytext": (away, 0), "textcoords": "offset points", "ha": side, "va": "top"}
    axes.annotate(words, (place, 0.98), xycoords=where, fontsize=9, color=VERMILION, **offset)  # type: ignore[arg-type]


def _spread(values: Tensor) -> str:
    low, middle, high = np.quantile(values.double().numpy(), (0.0, 0.5, 1.0))
    return f"least {low:.3g}, median {middle:.3g}, largest {high:.3g}"


def _plain(name: str) -> str:
    """A name as a legend has room for it."""
    return label(clipped(name, 40))
