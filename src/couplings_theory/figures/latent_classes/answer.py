"""Pictures of the answer to a user's own question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from couplings.report.style import BLUE, INK, grid
from couplings_theory.figures.latent_classes.skewed import Labelled, colour_bar, draw_gram


@dataclass(frozen=True)
class Measure:
    """A number over k, and what it cannot get below."""

    label: str
    values: Sequence[float]
    bound: Sequence[float] = ()


def draw_grams(figure: Figure, *, grams: Sequence[Labelled], abreast: int) -> None:
    """One table of colours for each number of negatives, so many in a row, and what the colours mean."""
    rows = -(-len(grams) // abreast)
    panels = list(figure.subplots(rows, min(len(grams), abreast), squeeze=False).flat)
    for axes, (label, gram) in zip(panels, grams, strict=False):
        draw_gram(axes, label, gram)
    for axes in panels[len(grams) :]:
        axes.set_axis_off()
    colour_bar(figure, panels)


def draw_answer(figure: Figure, *, ks: Sequence[int], measures: Sequence[Measure]) -> None:
    """A panel a measure."""
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        axes.plot(ks, measure.values, "o-", color=BLUE, markersize=5)
        if measure.bound:
            axes.plot(ks, measure.bound, "_--", color=INK, label="collisions alone")
            axes.legend(frameon=False)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_ylim(0, 1.1 * max(*measure.values, 1e-3))
        axes.set(xlabel="number of negatives $k$", title=measure.label)
        grid(axes, "both")
