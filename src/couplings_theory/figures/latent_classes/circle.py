"""Class vectors on the unit circle."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Circle

from couplings.report.style import INK, PALETTE, QUIET

Points = Sequence[tuple[float, float]]


def draw_circle(axes: Axes, title: str) -> None:
    """An empty unit circle."""
    axes.add_patch(Circle((0, 0), 1, fill=False, color="#d5d5d5"))
    axes.plot(0, 0, ".", color=QUIET, markersize=3)
    axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal")
    axes.set_axis_off()
    axes.set_title(title, loc="center", color=INK)


def draw_vectors(axes: Axes, points: Points, names: Sequence[str]) -> None:
    """An arrow a class, its name at the tip; classes whose tips coincide share a label."""
    for tip, members in _by_tip(points).items():
        for rank, member in enumerate(members):
            color = PALETTE[member % len(PALETTE)]
            dashes = "-" if rank == 0 else (0, (3, 3))
            axes.plot([0, tip[0]], [0, tip[1]], color=color, linewidth=2.4 - 0.9 * rank, linestyle=dashes)
            axes.plot(*tip, "o", color=color, markersize=8 - 4 * rank)
        axes.annotate(
            ", ".join(names[member] for member in members),
            (1.2 * tip[0], 1.2 * tip[1]),
            ha="center",
            va="center",
            color=INK,
        )


def _by_tip(points: Points) -> dict[tuple[float, float], list[int]]:
    """Classes by where they point, up to what can be seen."""
    tips: dict[tuple[float, float], list[int]] = {}
    for member, (x, y) in enumerate(points):
        near = [tip for tip in tips if abs(tip[0] - x) + abs(tip[1] - y) < 0.02]
        tips.setdefault(near[0] if near else (x, y), []).append(member)
    return tips
