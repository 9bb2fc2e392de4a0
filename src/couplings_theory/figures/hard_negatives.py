"""Pictures of tilted and transported negatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from couplings.report.style import BLUE, GREEN, INK, PALETTE, QUIET, VERMILION, grid

Array = Any
_COLORS = {"uniform": QUIET, "HCL": VERMILION, "HCL-OT": BLUE}


def draw_hubs(
    tilted: Mapping[float, Sequence[float]], transported: Sequence[float], gaps: Mapping[float, float], figure: Figure
) -> None:
    """Ranked shares of the candidates over reg, and the gap between the rows of both plans."""
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    grid(left, "y")
    shades = colormaps["Oranges"](np.linspace(0.95, 0.4, len(tilted)))
    for (reg, values), shade in zip(tilted.items(), shades, strict=True):
        left.step(range(1, 1 + len(values)), values, where="mid", color=shade, label=f"HCL, reg = {reg:g}")
    ranks = range(1, 1 + len(transported))
    left.step(ranks, transported, where="mid", color=BLUE, linewidth=2, label="HCL-OT, every reg")
    left.set(xlabel="rank of the candidate", ylabel="share of the mass (1 = fair)", ylim=(0, None))
    left.legend(frameon=False)
    grid(right, "y")
    right.plot(list(gaps), list(gaps.values()), color=INK, marker="o")
    right.set(xscale="log", xlabel="reg (units of squared distance)", ylim=(0, None))
    right.set_ylabel("mean L1 gap of rows, HCL to HCL-OT")


def draw_hardness(
    regs: Sequence[float],
    transported: Sequence[float],
    tilted: Sequence[float],
    limits: tuple[float, float, float],
    figure: Figure,
) -> None:
    """Expected cosine over reg with the limits: best assignment, nearest negatives, uniform negatives."""
    ax = figure.subplots()
    grid(ax, "y")
    ax.plot(regs, tilted, color=VERMILION, linewidth=2, marker="o", markersize=4, label="HCL (rows)")
    ax.plot(regs, transported, color=BLUE, linewidth=2, marker="o", markersize=4, label="HCL-OT (rows and columns)")
    names = ("best one-to-one choice: bounds HCL-OT", "each anchor's nearest: bounds HCL", "uniform negatives")
    for value, name, color, style in zip(limits, names, (BLUE, VERMILION, INK), ("--", "--", ":"), strict=True):
        ax.axhline(value, color=color, linewidth=1.2, linestyle=style, label=name)
    ax.set(xscale="log", xlabel="reg (units of squared distance)", ylabel="expected cosine of the negative")
    figure.legend(frameon=False, loc="outside right center")


def draw_kappa(regs: Sequence[float], curves: Mapping[float, Sequence[float]], figure: Figure) -> None:
    """Expected cosine over reg, and over reg e^kappa."""
    axes = figure.subplots(1, 2, sharey=True)
    for ax, rescaled in zip(axes, (False, True), strict=True):
        grid(ax, "y")
        for (kappa, values), color, marker in zip(sorted(curves.items()), PALETTE, "osD^", strict=False):
            x = [reg * math.exp(kappa) if rescaled else reg for reg in regs]
            ax.plot(x, values, color=color, marker=marker, markersize=5, linewidth=1.4, label=f"kappa = {kappa:g}")
        ax.set(xscale="log", xlabel="reg e^kappa" if rescaled else "reg (units of the cost)")
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("expected cosine of the negative")
    axes[0].legend(frameon=False)


def draw_symmetry(
    sweeps: Sequence[int], tracks: Mapping[str, Sequence[float]], transported: Array, tilted: Array, figure: Figure
) -> None:
    """Asymmetry over the sweeps, and both plans."""
    axes = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    grid(axes[0], "y")
    for (name, values), color in zip(tracks.items(), (BLUE, VERMILION, GREEN), strict=True):
        axes[0].plot(sweeps, np.maximum(values, 1e-18), color=color, marker="o", markersize=4, label=name)
    axes[0].set(xlabel="sweeps", ylabel="max |T - T'|", yscale="log")
    axes[0].legend(frameon=False)
    most = max(transported.max(), tilted.max())
    for ax, plan, name in zip(axes[1:], (transported, tilted), ("HCL-OT", "HCL"), strict=True):
        image = ax.imshow(plan, cmap="Blues", vmin=0, vmax=most)
        ax.set(title=f"{name}, max |T - T'| = {abs(plan - plan.T).max():.1g}", xlabel="negative", ylabel="anchor")
    figure.colorbar(image, ax=axes[1:], label="mass", shrink=0.75)


def draw_similarities(laws: Mapping[str, tuple[Array, Array]], figure: Figure) -> None:
    """Histograms of the cosine under each plan, and the mass above each threshold."""
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-1, 1, 33)
    for name, (values, mass) in laws.items():
        _histogram(left, edges, values, mass, name)
        above = 1 - np.cumsum(mass)
        right.step(values, above, where="post", color=_COLORS[name], linewidth=1.8, label=name)
    for ax in (left, right):
        grid(ax, "y")
        ax.set_xlabel("cosine of anchor and negative")
    left.set_ylabel("density of the mass")
    right.set_ylabel("mass above the cosine")
    left.legend(frameon=False)


def _histogram(ax: Axes, edges: Array, values: Array, mass: Array, name: str) -> None:
    color = _COLORS[name]
    label = f"{name}: mean {values @ mass:.2f}"
    ax.hist(values, edges, weights=mass, density=True, histtype="step", color=color, linewidth=1.8, label=label)
    ax.axvline(values @ mass, color=color, linewidth=1, linestyle=":")
