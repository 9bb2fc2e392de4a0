"""Pictures of the game against the worst coupling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from couplings.report.style import BLUE, GREEN, INK, PALETTE, QUIET, VERMILION, grid

Array = Any
_COLORS = {"random": VERMILION, "aligned": BLUE, "constant": INK}
_FAINT = "#c4c4c4"


@dataclass(frozen=True)
class Point:
    """A map: its law of positives, E[1 - f(x).f(x+)], and E psi under three couplings."""

    law: str
    misalignment: float
    worst: float
    identity: float
    independent: float


@dataclass(frozen=True)
class Cloud:
    """Maps under one psi, and psi(0)."""

    psi: Callable[[Tensor], Tensor]
    floor: float
    points: Sequence[Point]


def draw_bound(clouds: Mapping[str, Cloud], figure: Figure) -> None:
    """E psi over misalignment: worst case and independent negatives, with psi(0) and psi(misalignment)."""
    axes = figure.subplots(1, len(clouds), squeeze=False)[0]
    for ax, (name, cloud) in zip(axes, clouds.items(), strict=True):
        _bound(ax, cloud)
        ax.set_title(name)
        ax.set_xlabel("misalignment  E[1 - f(x)·f(x⁺)]")
    axes[0].set_ylabel("E psi")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


def _bound(ax: Axes, cloud: Cloud) -> None:
    grid(ax, "y")
    laws = list(dict.fromkeys(point.law for point in cloud.points))
    for law, marker, color in zip(laws, "o^", (BLUE, VERMILION), strict=True):
        points = [point for point in cloud.points if point.law == law]
        x = [point.misalignment for point in points]
        mark = partial(ax.scatter, x, s=20, marker=marker)
        mark([p.worst for p in points], color=color, label=f"worst case, {law}", zorder=3)
        mark([p.independent for p in points], color=_FAINT, label=f"independent, {law}")
    most = max(point.misalignment for point in cloud.points)
    line = torch.linspace(0, most, 60, dtype=torch.float64)
    ax.plot(line, cloud.psi(line[:, None]), color=GREEN, linewidth=1.8, label="psi of the misalignment", zorder=2)
    ax.axhline(cloud.floor, color=INK, linewidth=1, linestyle="--", label="psi(0)")


@dataclass(frozen=True)
class Worst:
    """Gains and the law of anchor and negative, (points, points), and the value."""

    gains: Array
    plan: Array
    value: float


def draw_worst(couplings: Mapping[str, Worst], figure: Figure) -> None:
    """psi of each anchor and negative as colour, the worst coupling as dots."""
    axes = figure.subplots(1, len(couplings))
    most = max(found.gains.max() for found in couplings.values())
    for ax, (name, found) in zip(axes, couplings.items(), strict=True):
        image = ax.imshow(found.gains, cmap="Blues", vmin=0, vmax=most)
        rows, columns = np.nonzero(found.plan > 1e-9)
        size = 900 * found.plan[rows, columns]
        ax.scatter(columns, rows, s=size, color=VERMILION, edgecolor="white", linewidth=0.8)
        ax.set_title(f"{name} map: worst E psi = {found.value:.4f}")
        ax.set_xlabel("negative")
        _instances(ax, len(found.plan))
    axes[0].set_ylabel("anchor")
    axes[-1].set_xlabel("negative (every coupling is worst)")
    figure.colorbar(image, ax=axes, label="psi(v), nats", shrink=0.8)


def _instances(ax: Axes, points: int) -> None:
    """Two views an instance: names and separating lines."""
    names = [f"{letter}{view}" for letter in "abcdefgh"[: points // 2] for view in "12"]
    ax.set_xticks(range(points), names)
    ax.set_yticks(range(points), names)
    ax.tick_params(length=0)
    for edge in range(2, points, 2):
        ax.axhline(edge - 0.5, color="white", linewidth=0.8)
        ax.axvline(edge - 0.5, color="white", linewidth=0.8)


def draw_descent(
    tracks: Mapping[str, Sequence[Array]], cosines: Mapping[str, Array], floor: float, figure: Figure
) -> None:
    """Worst case above psi(0) over the steps, and the cosines of the map at the end for each law."""
    axes = figure.subplots(1, 1 + len(cosines), width_ratios=(1.4, *(1 for _ in cosines)))
    grid(axes[0], "y")
    for (name, runs), color in zip(tracks.items(), (BLUE, VERMILION), strict=True):
        for index, values in enumerate(runs):
            axes[0].plot(
                np.maximum(values - floor, 1e-10), color=color, linewidth=1.5, label=name if index == 0 else None
            )
    axes[0].set(xlabel="step", ylabel="worst-case E psi - psi(0)", yscale="log", ylim=(1e-9, 10))
    axes[0].legend(frameon=False)
    for ax, (name, values) in zip(axes[1:], cosines.items(), strict=True):
        image = ax.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set_title(name)
        ax.set(xlabel="point", ylabel="point", xticks=range(len(values)), yticks=range(len(values)))
    figure.colorbar(image, ax=axes[1:], label="cosine at the end", shrink=0.75)


Values = Mapping[tuple[str, str, int], float]


def draw_more(worst: Values, independent: Values, figure: Figure) -> None:
    """Worst case and independent negatives over their number, a panel for each psi."""
    psis = list(dict.fromkeys(psi for psi, _, _ in worst))
    axes = figure.subplots(1, len(psis), squeeze=False)[0]
    for ax, psi in zip(axes, psis, strict=True):
        grid(ax, "y")
        for name, color in _COLORS.items():
            dash = (0, (5, 3)) if name == "constant" else "-"
            style = {"color": color, "marker": "o"}
            ax.plot(*_over_m(worst, psi, name), label=f"{name} map, worst case", linestyle=dash, **style)
            if name != "constant":
                label = f"{name} map, independent"
                ax.plot(*_over_m(independent, psi, name), label=label, alpha=0.4, linestyle=":", **style)
        ax.set(title=f"{psi} psi", xlabel="negatives m", ylim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("E psi")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


def _over_m(values: Values, psi: str, name: str) -> tuple[list[int], list[float]]:
    line = {m: value for (which, kind, m), value in values.items() if (which, kind) == (psi, name)}
    return list(line), list(line.values())


def draw_regularised(
    regs: Sequence[float],
    lines: Mapping[tuple[str, str], Sequence[float]],
    limits: Mapping[str, float],
    thresholds: Mapping[str, float],
    figure: Figure,
) -> None:
    """E psi over reg for each map, a panel for each rule; the linear program at the left edge."""
    rules = list(dict.fromkeys(rule for rule, _ in lines))
    axes = figure.subplots(1, len(rules), sharey=True, squeeze=False)[0]
    for ax, rule in zip(axes, rules, strict=True):
        grid(ax, "y")
        for (name, limit), color in zip(limits.items(), _COLORS.values(), strict=True):
            ax.plot(regs, lines[rule, name], linewidth=2, label=name, color=color)
            ax.plot([regs[0] / 1.6], [limit], marker="D", markersize=5, color=color, linestyle="none")
        _, good, constant = limits
        ax.fill_between(regs, lines[rule, good], lines[rule, constant], color=BLUE, alpha=0.12, label="gap")
        ax.plot([], [], marker="D", markersize=5, color=QUIET, linestyle="none", label="reg → 0: linear program")
        ax.set(xscale="log", xlabel="reg (units of psi)", title=f"{rule} regulariser", ylim=(0, None))
        _threshold(ax, thresholds.get(rule))
    axes[0].set_ylabel("E psi under the regularised coupling")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)


def _threshold(ax: Axes, reg: float | None) -> None:
    if reg is not None:
        ax.axvline(reg, color=QUIET, linewidth=1, linestyle=":")
        ax.text(1.1 * reg, 0.03, f"tie up to reg = {reg:.3f}", color=QUIET, transform=ax.get_xaxis_transform())


@dataclass(frozen=True)
class End:
    """Unit rows (points, 2) and E psi."""

    embeddings: Array
    value: float


def draw_circles(
    ends: Mapping[tuple[str, str], End], pairs: Mapping[str, Sequence[Sequence[int]]], figure: Figure
) -> None:
    """Where the points of each law end on the circle, a column for each adversary."""
    players = list(dict.fromkeys(player for _, player in ends))
    axes = figure.subplots(len(pairs), len(players), squeeze=False)
    for row, law in zip(axes, pairs, strict=True):
        for ax, player in zip(row, players, strict=True):
            _circle(ax, ends[law, player].embeddings, pairs[law])
            ax.set_xlabel(f"E psi = {ends[law, player].value:.4f}")
        row[0].set_ylabel(law)
    for ax, player in zip(axes[0], players, strict=True):
        ax.set_title(player)


def _circle(ax: Axes, z: Array, pairs: Sequence[Sequence[int]]) -> None:
    """Each point on a circle of its own, just outside of the last, so that those which meet stay visible."""
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), color="#d0d0d0", linewidth=1)
    placed = z * (1 + 0.07 * _depth(z))[:, None]
    for pair in pairs:
        ax.plot(*placed[list(pair)].T, color=_FAINT, linewidth=1, zorder=1)
    for index, point in enumerate(placed):
        color = PALETTE[index // 2 if len(z) < 8 else index]
        ax.plot(*point, marker="o", markersize=9, color=color, markeredgecolor="white")
    ax.set(aspect="equal", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), xticks=[], yticks=[])
    ax.spines[["left", "bottom"]].set_visible(False)


def _depth(z: Array) -> Array:
    """How many earlier points lie at each point."""
    near = np.linalg.norm(z[:, None] - z, axis=2) < 0.15
    return np.tril(near, -1).sum(1)
