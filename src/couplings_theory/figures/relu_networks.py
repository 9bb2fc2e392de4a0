"""Pictures of first layers: heat maps of W1, energies, spectra, and curves over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from couplings.report.style import BLUE, INK, PALETTE, QUIET, VERMILION, grid

_COLOURS = {"linear": BLUE, "ReLU": VERMILION}
_RANKS = {1: PALETTE[7], 2: PALETTE[0], 3: PALETTE[5], 4: PALETTE[4], 5: PALETTE[1], 6: PALETTE[3]}

Labelled = tuple[str, Tensor]
Point = tuple[float, int]


def draw_neurons(figure: Figure, panels: Sequence[Labelled]) -> None:
    """Matrices side by side, a row for each neuron; the first is narrow in height where it has fewer rows."""
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (label, matrix) in zip(axes, panels, strict=True):
        image = _heat(ax, matrix)
        ax.set_title(label, fontsize=10, fontweight="normal")
        ax.set_xlabel("coordinate m")
    axes[1].set_ylabel("hidden neuron k")
    _bar(figure, image, list(axes))


def draw_energies(
    figure: Figure, energies: Sequence[float], ranks: Sequence[int], linear: float, ends: Sequence[Tensor]
) -> None:
    """Energies of starts, coloured by rank, under the linear network's; the first layers of some."""
    axes = figure.subplots(1, 1 + len(ends), width_ratios=[2.0] + [1.0] * len(ends))
    _dots(axes[0], range(len(energies)), list(zip(energies, ranks, strict=True)))
    axes[0].axhline(linear, color=INK, linewidth=1)
    axes[0].set_xlim(-0.6, len(energies) - 0.1)
    axes[0].annotate("linear network: rank 1", (0, linear), (0, -4), textcoords="offset points", va="top", color=INK)
    _energy_axes(axes[0], linear)
    for start, (ax, w1) in enumerate(zip(axes[1:], ends, strict=True)):
        image = _neurons(ax, w1, f"W1, start {start}")
    axes[1].set_ylabel("hidden neuron k")
    _bar(figure, image, list(axes[1:]))


def draw_climb(
    figure: Figure,
    before: Sequence[Point],
    after: Sequence[Point],
    shared: Point,
    neurons: Mapping[str, Tensor],
) -> None:
    """From fixed points to the local maxima above them, the maximum of one coordinate, and some first layers."""
    axes = figure.subplots(1, 1 + len(neurons), width_ratios=[2.6] + [1.0] * len(neurons))
    count = len(after)
    # Side by side: where nothing was switched off both have the same energy.
    low, high = [start - 0.14 for start in range(count)], [start + 0.14 for start in range(count)]
    for left, right, (bottom, _), (top, _) in zip(low, high, before, after, strict=True):
        axes[0].plot([left, right], [bottom, top], color=QUIET, linewidth=1, zorder=1)
    _dots(axes[0], low, before, shift=(0, -13))
    _dots(axes[0], [*high, count], [*after, shared], marker="D", shift=(0, 13))
    axes[0].set_xlim(-0.8, count + 0.8)
    axes[0].set_title("● fixed point, ◆ local maximum; number: rank", fontsize=10, fontweight="normal")
    _energy_axes(axes[0], max(top for top, _ in (*after, shared)))
    axes[0].set_xticks(range(count + 1), [*map(str, range(count)), "shared"])
    for ax, (label, w1) in zip(axes[1:], neurons.items(), strict=True):
        image = _neurons(ax, w1, label)
    axes[1].set_ylabel("hidden neuron k")
    _bar(figure, image, list(axes[1:]))


def draw_spectra(figure: Figure, spectra: Mapping[str, Sequence[Tensor]], tolerance: float) -> None:
    """Singular values over the largest, on a logarithmic scale, a line for each seed."""
    ax = figure.subplots()
    for name, seeds in spectra.items():
        for values in seeds:
            share = (values / values[0]).clamp_min(1e-4).numpy()
            ax.semilogy(range(1, len(values) + 1), share, "o-", color=_COLOURS[name], markersize=5, alpha=0.8)
        ax.plot([], [], "o-", color=_COLOURS[name], label=name)
    ax.axhline(tolerance, color=INK, linestyle="--", linewidth=1)
    ax.annotate(f"counts as rank above {tolerance:g}", (1, tolerance), (0, 4), textcoords="offset points", color=INK)
    ax.set(xlabel="singular value of W1, by size", ylabel="share of the largest", ylim=(8e-5, 1.6))
    ax.set_xticks(range(1, len(values) + 1))
    grid(ax, "y")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_curves(figure: Figure, steps: Tensor, curves: Mapping[str, Tensor]) -> None:
    """Two measures over steps: means over seeds and the range, labelled at their ends. Curves are (seeds, 2, steps)."""
    axes = figure.subplots(1, 2, sharey=True)
    for column, (ax, name) in enumerate(zip(axes, ("concentration", "coverage"), strict=True)):
        for activation, values in curves.items():
            _band(ax, steps, values[:, column], activation)
        ax.set_title(name, fontweight="normal")
        ax.set(xlabel="step of SGD", xlim=(0, float(steps[-1]) * 1.14), ylim=(0.5, 1.0))
        grid(ax, "y")
    axes[0].set_ylabel("mean of the largest shares, in [0, 1]")


def draw_rotations(
    figure: Figure, rotations: Mapping[str, tuple[Tensor, Tensor]], own: Mapping[str, Sequence[float]]
) -> None:
    """Change of the loss against coverage, a dot for each rotation; stars are the networks as trained."""
    ax = figure.subplots()
    for name, (change, share) in rotations.items():
        ax.scatter(
            change.numpy(), share.numpy(), s=28, color=_COLOURS[name], alpha=0.6, linewidth=0, label=f"{name}, rotated"
        )
    for name, stars in own.items():
        label = f"{name}, as trained"
        ax.plot([0] * len(stars), stars, "*", markersize=15, color=_COLOURS[name], markeredgecolor=INK, label=label)
    ax.set(xlabel="change of InfoNCE, in nats", ylabel="coverage, in [0, 1]")
    grid(ax, "both")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_strip(figure: Figure, strips: Mapping[str, Sequence[tuple[int, Tensor]]]) -> None:
    """First layers at some moments: a strip for each activation, time from left to right."""
    count = max(len(strip) for strip in strips.values())
    axes = figure.subplots(len(strips), count, squeeze=False)
    for row, (name, strip) in zip(axes, strips.items(), strict=True):
        for ax, (step, w1) in zip(row, strip, strict=True):
            image = _heat(ax, w1.clamp_min(0), "Oranges", 0)
            ax.set_title(f"step {step}" if ax in axes[0] else "", fontsize=10, fontweight="normal")
        row[0].set_ylabel(f"{name}\nhidden neuron", color=_COLOURS[name], fontweight="bold")
    for ax in axes[-1]:
        ax.set_xlabel("coordinate")
    _bar(figure, image, axes.ravel().tolist(), "positive part of the weight", (0, 1))


def _heat(ax: Axes, matrix: Tensor, colours: str = "PuOr_r", lowest: float = -1) -> AxesImage:
    image = ax.imshow(matrix.numpy(), cmap=colours, vmin=lowest, vmax=1, aspect="equal", interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(True)
    return image


def _neurons(ax: Axes, w1: Tensor, label: str) -> AxesImage:
    image = _heat(ax, w1)
    ax.set_title(label, fontsize=10, fontweight="normal")
    ax.set_xlabel("coordinate m")
    return image


def _bar(
    figure: Figure, image: AxesImage, axes: list[Axes], label: str = "weight", ticks: Sequence[int] = (-1, 0, 1)
) -> None:
    figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label=label, ticks=list(ticks))


def _dots(
    ax: Axes, places: Sequence[float], points: Sequence[Point], marker: str = "o", shift: tuple[int, int] = (12, 0)
) -> None:
    for place, (height, rank) in zip(places, points, strict=True):
        ax.plot(place, height, marker, color=_RANKS.get(rank, QUIET), markersize=8)
        ax.annotate(
            str(rank),
            (place, height),
            shift,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            color=INK,
        )


def _energy_axes(ax: Axes, top: float) -> None:
    ax.set(xlabel="start (seed of the weights)", ylabel="energy E", ylim=(0, top * 1.12))
    grid(ax, "y")


def _band(ax: Axes, steps: Tensor, values: Tensor, name: str) -> None:
    """The mean over the first axis, its range, and the name at the end."""
    times, mean = steps.numpy(), values.mean(0).numpy()
    ax.fill_between(
        times, values.amin(0).numpy(), values.amax(0).numpy(), color=_COLOURS[name], alpha=0.18, linewidth=0
    )
    ax.plot(times, mean, color=_COLOURS[name], linewidth=2)
    place = (times[-1], mean[-1])
    ax.annotate(name, place, (4, 0), textcoords="offset points", va="center", color=_COLOURS[name])
