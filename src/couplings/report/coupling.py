"""Who carries mass with whom, and who attracts or repels whom, in one batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, LogNorm
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from couplings.report.style import INK, canvas, label

_FLOOR, _CEILING = 1 / 50, 50
_PAIRS = 6
_NAMED, _SPELT = 20, 12
_LETTERS = 14


@dataclass(frozen=True)
class _Matrix:
    """Values whose rows and columns are sorted by class, so that a class is one diagonal block."""

    values: np.ndarray
    rows: np.ndarray | None
    columns: np.ndarray | None
    classes: Sequence[str] = ()


@dataclass(frozen=True)
class _Batch:
    """The embeddings of the pair weights, sorted by class."""

    weights: np.ndarray
    labels: np.ndarray | None
    images: np.ndarray | None
    ids: np.ndarray
    classes: Sequence[str]

    def mean_repulsion(self) -> float:
        """The unit of the weights: the mean over repelled pairs, or of all magnitudes where none is."""
        repelled = self.weights[self.weights > 0]
        return float(repelled.mean()) if repelled.size else float(np.abs(self.weights).mean()) or 1.0


def coupling_picture(
    plan: Any,
    weights: Any,
    path: str | os.PathLike[str],
    labels: Any | None = None,
    images: Any | None = None,
    ids: Any | None = None,
    classes: Sequence[str] = (),
    title: str = "Coupling of one batch",
) -> None:
    """Draw the plan, the pair weights and the most repelled pairs of a batch into a PNG.

    Rows and columns of the weights are the N embeddings in block order (view 1's samples, then view 2's); in
    the picture they are sorted by class. A plan of fewer rows or columns has those of the first samples, as a
    plan from one view to another. The plan is shown relative to its mean mass, the weights relative
    to the mean repulsion of a pair.

    Args:
        plan: (R, M) masses >= 0 with R, M <= N, tensor or array.
        weights: (N, N) pair weights dL/ds_ij (negative: attracts; positive: repels).
        path: the PNG to write.
        labels: (N,) integers that sort the batch and mark the diagonal blocks.
        images: (N, C, H, W) or (N, H, W) pixels for thumbnails of the most repelled pairs.
        ids: (N,) the sample each row is a view of; a pair of samples gets one thumbnail, whatever its views.
        classes: names of the labels from 0, for captions and, if few, axes; the labels themselves if there are none.
        title: printed above the panels.

    Raises:
        ValueError: if the weights are not (N, N), the plan is larger, or labels, images or ids are not N.

    Example:
        >>> import torch
        >>> plan = torch.rand(20, 20); weights = torch.randn(20, 20)
        >>> coupling_picture(plan, weights, "c.png", labels=torch.arange(20) // 5)  # doctest: +SKIP
    """
    plan, weights, labels, images, ids = (_array(value) for value in (plan, weights, labels, images, ids))
    _check(plan, weights, labels=labels, images=images, ids=ids)
    order = np.arange(len(weights)) if labels is None else np.argsort(labels, kind="stable")
    names = [label(name) for name in classes]
    batch = _Batch(
        weights[np.ix_(order, order)],
        labels=_take(labels, order),
        images=_take(images, order),
        ids=order if ids is None else ids[order],
        classes=names,
    )
    _draw(path, title, replace(_plan_matrix(plan, order, labels), classes=names), batch)


def _draw(path: str | os.PathLike[str], title: str, plan: _Matrix, batch: _Batch) -> None:
    ratios = (1.0, 1.0) if batch.images is None else (1.0, 1.0, 0.66)
    with canvas(path, (5.0 * sum(ratios), 5.4), title) as figure:
        panels: Any = figure.subfigures(1, len(ratios), width_ratios=ratios)
        _draw_plan(panels[0], plan)
        _draw_weights(panels[1], batch)
        if batch.images is not None:
            _draw_pairs(panels[2], batch, batch.images)


def _array(value: Any | None) -> Any:
    return None if value is None else np.asarray(value)


def _take(values: Any, order: np.ndarray) -> Any:
    return None if values is None else values[order]


def _check(plan: Any, weights: Any, **sides: Any) -> None:
    n = weights.shape[0] if weights.ndim else 0
    if weights.shape != (n, n) or plan.ndim != 2 or max(plan.shape) > n:
        raise ValueError(f"plan {plan.shape}, weights {weights.shape}: give (R, M) and (N, N) with R, M <= N")
    for name, value in sides.items():
        if value is not None and len(value) != n:
            raise ValueError(f"{name}: {len(value)} came for {n} rows of the weights; give one a row")


def _plan_matrix(plan: np.ndarray, order: np.ndarray, labels: np.ndarray | None) -> _Matrix:
    rows, columns = (order[order < size] for size in plan.shape)
    return _Matrix(plan[np.ix_(rows, columns)], _take(labels, rows), _take(labels, columns))


def _draw_plan(figure: SubFigure, plan: _Matrix) -> None:
    mean = plan.values.sum() / max(int((plan.values > 0).sum()), 1)
    shown = np.ma.masked_less_equal(plan.values / max(mean, np.finfo(float).tiny), 0)
    _heat(
        figure,
        replace(plan, values=shown),
        title="Plan: where the mass goes",
        bar="mass of a pair / mean mass (white: no mass)",
        norm=LogNorm(_FLOOR, _CEILING, clip=True),
        cmap="viridis",
    )


def _draw_weights(figure: SubFigure, batch: _Batch) -> None:
    _heat(
        figure,
        _Matrix(batch.weights / batch.mean_repulsion(), batch.labels, batch.labels, batch.classes),
        title="Pair weights: who moves whom",
        bar="attracts  <  weight / mean repulsion  <  repels",
        norm=AsinhNorm(linear_width=1.0, vmin=-_CEILING, vmax=_CEILING),
        cmap="PuOr_r",
    )


def _heat(figure: SubFigure, matrix: _Matrix, title: str, bar: str, **style: Any) -> None:
    axes = figure.subplots()
    image = axes.imshow(matrix.values, interpolation="nearest", **style)
    axes.set_title(title)
    axes.tick_params(length=0)
    if matrix.rows is None or matrix.columns is None:
        axes.set(xlabel="key", ylabel="query")
    else:
        _mark_classes(axes, matrix.rows, matrix.columns, matrix.classes)
    for spine in axes.spines.values():
        spine.set_visible(True)
    figure.colorbar(image, ax=axes, label=bar, orientation="horizontal", shrink=0.9, pad=0.02)


def _mark_classes(axes: Axes, rows: np.ndarray, columns: np.ndarray, classes: Sequence[str]) -> None:
    """Frame each class on the diagonal and name it on both axes."""
    down, across = _spans(rows), _spans(columns)
    for name in down.keys() & across.keys():
        (top, height), (left, width) = down[name], across[name]
        for colour, line in (("white", 2.4), (INK, 1.0)):
            frame = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=line)
            axes.add_patch(frame)
    axes.set(xlabel="key, sorted by class", ylabel="query, sorted by class")
    for axis, spans in ((axes.xaxis, across), (axes.yaxis, down)):
        shown = list(spans) if len(spans) <= _NAMED else []
        names = _tick_names(shown, classes)
        axis.set_ticks([spans[number][0] + spans[number][1] / 2 - 0.5 for number in shown], names)
        if axis is axes.xaxis and any(len(name) > 3 for name in names):
            axes.tick_params(axis="x", labelrotation=45)
            for text in axes.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")


def _tick_names(labels: Sequence[int], classes: Sequence[str]) -> list[str]:
    """The names of few classes, the numbers of more."""
    if labels and len(labels) <= _SPELT and min(labels) >= 0 and max(labels) < len(classes):
        return [classes[number][:_LETTERS] for number in labels]
    return [str(number) for number in labels]


def _spans(labels: np.ndarray) -> dict[int, tuple[int, int]]:
    """First place and size of every class in sorted labels."""
    names, starts, sizes = np.unique(labels, return_index=True, return_counts=True)
    return {int(name): (int(start), int(size)) for name, start, size in zip(names, starts, sizes, strict=True)}


def _draw_pairs(figure: SubFigure, batch: _Batch, images: np.ndarray) -> None:
    """Thumbnails of the pairs with the largest repulsion, heaviest first."""
    pairs = _heaviest(batch)
    figure.suptitle("Most repelled pairs", fontsize=11, fontweight="bold", color=INK)
    grid = figure.subplots(_PAIRS, 3, squeeze=False, width_ratios=(1, 1, 1.1))
    for axes in grid.ravel():
        axes.axis("off")
    for (left, right, text), (i, j) in zip(grid, pairs, strict=False):
        left.imshow(_pixels(images[i]), cmap="gray", interpolation="nearest")
        right.imshow(_pixels(images[j]), cmap="gray", interpolation="nearest")
        text.text(0.0, 0.5, _caption(batch, i, j), transform=text.transAxes, va="center", fontsize=8.5)


def _heaviest(batch: _Batch) -> list[tuple[int, int]]:
    """The most repelled pairs of rows, heaviest first, each unordered pair of samples once."""
    both = np.maximum(batch.weights, batch.weights.T)
    rows, columns = np.triu_indices_from(both, k=1)
    seen: dict[frozenset[int], tuple[int, int]] = {}
    for k in np.argsort(-both[rows, columns], kind="stable"):
        i, j = int(rows[k]), int(columns[k])
        if both[i, j] <= 0 or len(seen) == _PAIRS:
            break
        seen.setdefault(frozenset((int(batch.ids[i]), int(batch.ids[j]))), (i, j))
    return list(seen.values())


def _caption(batch: _Batch, i: int, j: int) -> str:
    ratio = max(batch.weights[i, j], batch.weights[j, i]) / batch.mean_repulsion()
    lines = [f"{ratio:.0f} x mean"]
    if batch.labels is not None:
        names = [
            batch.classes[k] if 0 <= k < len(batch.classes) else str(k) for k in (batch.labels[i], batch.labels[j])
        ]
        names = [name[:_LETTERS] for name in names]
        lines += [f"both {names[0]}"] if names[0] == names[1] else [names[0], f"and {names[1]}"]
    return "\n".join(lines)


def _pixels(image: np.ndarray) -> np.ndarray:
    """(C, H, W) or (H, W) to what imshow takes, stretched to the image's own range."""
    picture = image.astype(np.float64)
    picture = (picture - picture.min()) / max(float(np.ptp(picture)), np.finfo(float).tiny)
    if picture.ndim == 2:
        return picture
    return picture[0] if picture.shape[0] != 3 else np.moveaxis(picture, 0, -1)
