"""A trained encoder beside the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from couplings.report.style import PALETTE, QUIET, grid

_MARKS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Landing:
    """Runs of one setting.

    Attributes:
        label: prior and k.
        optimum: the loss predicted, in nats.
        losses: of the first run, smoothed, over steps.
        predicted: inner products of all pairs of classes, run by run.
        trained: those of the class means of the runs.
    """

    label: str
    optimum: float
    losses: Sequence[float]
    predicted: Sequence[float]
    trained: Sequence[float]


def draw_encoder(figure: Figure, *, landings: Sequence[Landing]) -> None:
    """Losses over steps; trained inner products against predicted ones."""
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    right.plot([-1, 1], [-1, 1], color=QUIET, linewidth=1)
    for rank, each in enumerate(landings):
        color = PALETTE[rank]
        left.plot([loss - each.optimum for loss in each.losses], color=color, linewidth=1.2, label=each.label)
        right.plot(
            each.predicted, each.trained, _MARKS[rank], color=color, mfc="none", markersize=8, markeredgewidth=1.6
        )
    left.axhline(0, color=QUIET, linewidth=1.2, linestyle="--")
    left.set(xlabel="step", ylabel="training loss above the predicted optimum (nats)")
    left.legend(frameon=False)
    right.set(xlabel=r"predicted $\langle v_c, v_{c'}\rangle$", ylabel="inner product of trained class means")
    right.set_aspect("equal")
    left.xaxis.set_major_locator(MaxNLocator(5))
    right.set_xticks((-1, 0, 1))
    right.set_yticks((-1, 0, 1))
    for axes in (left, right):
        grid(axes, "both")
