"""Who carries mass with whom, and who attracts or repels whom, in one batch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, LogNorm
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from couplings.report.style import INK, canvas

_FLOOR, _CEILING = 1e-2, 1e2
_PAIRS = 6


@dataclass(frozen=True)
class _Batch:
    """The matrices with rows and columns sorted by class, so that a class is one diagonal block."""

    plan: np.ndarray
    weights: np.ndarray
    labels: np.ndarray | None
    images: np.ndarray | None
    ids: np.ndarray


def coupling_picture(
    plan: Any,
    weights: Any,
    path: str | os.PathLike[str],
    labels: Any | None = None,
    images: Any | None = None,
    ids: Any | None = None,
    title: str = "Coupling of one batch",
) -> None:
    """Draw the plan, the pair weights and the most repelled pairs of a batch into a PNG.

    Rows and columns of both matrices are the N embeddings in block order (view 1's samples, then view 2's);
    in the picture they are sorted by class. The plan is shown relative to its mean mass, the weights relative
    to the mean repulsion of a pair.

    Args:
        plan: (N, N) masses >= 0, tensor or array.
        weights: (N, N) pair weights dL/ds_ij (negative: attracts; positive: repels).
        path: the PNG to write.
        labels: (N,) integers that sort the batch and mark the diagonal blocks.
        images: (N, C, H, W) or (N, H, W) pixels for thumbnails of the most repelled pairs.
        ids: (N,) the sample each row is a view of; a pair of samples gets one thumbnail, whatever its views.
        title: printed above the panels.

    Raises:
        ValueError: if plan and weights are not two (N, N) matrices, or labels, images or ids are not N.

    Example:
        >>> import torch
        >>> plan = torch.rand(20, 20); weights = torch.randn(20, 20)
        >>> coupling_picture(plan, weights, "c.png", labels=torch.arange(20) // 5)  # doctest: +SKIP
    """
    batch = _sorted(*(_array(value) for value in (plan, weights, labels, images, ids)))
    ratios = (1.0, 1.0) if batch.images is None else (1.0, 1.0, 0.62)
    with canvas(path, (5.0 * sum(ratios), 5.4), title) as figure:
        panels: Any = figure.subfigures(1, len(ratios), width_ratios=ratios)
        _draw_plan(panels[0], batch)
        _draw_weights(panels[1], batch)
        if batch.images is not None:
            _draw_pairs(panels[2], batch, batch.images)


def _array(value: Any | None) -> Any:
    return None if value is None else np.asarray(value)


def _sorted(plan: Any, weights: Any, labels: Any, images: Any, ids: Any) -> _Batch:
    n = plan.shape[0] if plan.ndim else 0
    if plan.shape != (n, n) or weights.shape != (n, n):
        raise ValueError(
            f"plan {plan.shape} and weights {weights.shape}: give two square matrices of one size"
        )
    for name, value in (("labels", labels), ("images", images), ("ids", ids)):
        if value is not None and len(value) != n:
            raise ValueError(f"{name}: {len(value)} came for {n} rows of the plan; give one a row")
    order = np.arange(n) if labels is None else np.argsort(labels, kind="stable")
    square = np.ix_(order, order)
    return _Batch(
        plan=plan[square],
        weights=weights[square],
        labels=None if labels is None else labels[order],
        images=None if images is None else images[order],
        ids=order if ids is None else ids[order],
    )


def _draw_plan(figure: SubFigure, batch: _Batch) -> None:
    mean = batch.plan.sum() / max(int((batch.plan > 0).sum()), 1)
    shown = np.ma.masked_less_equal(batch.plan / max(mean, np.finfo(float).tiny), 0)
    _heat(
        figure,
        batch,
        shown,
        title="Plan: where the mass goes",
        bar="mass of a pair / mean mass (white: no mass)",
        norm=LogNorm(_FLOOR, _CEILING, clip=True),
        cmap="viridis",
    )


def _draw_weights(figure: SubFigure, batch: _Batch) -> None:
    repelled = batch.weights[batch.weights > 0]
    unit = float(repelled.mean()) if repelled.size else float(np.abs(batch.weights).mean()) or 1.0
    _heat(
        figure,
        batch,
        batch.weights / unit,
        title="Pair weights: who moves whom",
        bar="attracts  <  weight / mean repulsion  <  repels",
        norm=AsinhNorm(linear_width=1.0, vmin=-_CEILING, vmax=_CEILING),
        cmap="PuOr_r",
    )


def _heat(figure: SubFigure, batch: _Batch, values: Any, title: str, bar: str, **style: Any) -> None:
    axes = figure.subplots()
    image = axes.imshow(values, interpolation="nearest", **style)
    axes.set_title(title)
    _mark_classes(axes, batch.labels)
    for spine in axes.spines.values():
        spine.set_visible(True)
    figure.colorbar(image, ax=axes, label=bar, orientation="horizontal", shrink=0.9, pad=0.02)


def _mark_classes(axes: Axes, labels: np.ndarray | None) -> None:
    """Frame each class on the diagonal and name it on both axes."""
    if labels is None:
        axes.set(xlabel="key", ylabel="query")
        return
    names, starts, sizes = np.unique(labels, return_index=True, return_counts=True)
    for start, size in zip(starts, sizes, strict=True):
        corner = (start - 0.5, start - 0.5)
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor="white", linewidth=2.4))
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=INK, linewidth=1.0))
    middles = starts + sizes / 2 - 0.5
    axes.set_xticks(middles, names)
    axes.set_yticks(middles, names)
    axes.tick_params(length=0)
    axes.set(xlabel="key, sorted by class", ylabel="query, sorted by class")


def _draw_pairs(figure: SubFigure, batch: _Batch, images: np.ndarray) -> None:
    """Thumbnails of the pairs with the largest repulsion, heaviest first."""
    pairs = _heaviest(batch)
    figure.suptitle("Most repelled pairs", fontsize=11, fontweight="bold", color=INK)
    grid = figure.subplots(_PAIRS, 2, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for row, (i, j) in zip(grid, pairs, strict=False):
        for axes, which in zip(row, (i, j), strict=True):
            axes.imshow(_pixels(images[which]), cmap="gray", interpolation="nearest")
        row[1].text(1.12, 0.5, _caption(batch, i, j), transform=row[1].transAxes, va="center", fontsize=8.5)


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
    repelled = batch.weights[batch.weights > 0]
    ratio = max(batch.weights[i, j], batch.weights[j, i]) / repelled.mean()
    if batch.labels is None:
        return f"{ratio:.0f} x mean"
    same = (
        "same class" if batch.labels[i] == batch.labels[j] else f"{batch.labels[i]} against {batch.labels[j]}"
    )
    return f"{ratio:.0f} x mean\n{same}"


def _pixels(image: np.ndarray) -> np.ndarray:
    """(C, H, W) or (H, W) to what imshow takes, stretched to the image's own range."""
    picture = image.astype(np.float64)
    picture = (picture - picture.min()) / max(float(np.ptp(picture)), np.finfo(float).tiny)
    if picture.ndim == 2:
        return picture
    return picture[0] if picture.shape[0] != 3 else np.moveaxis(picture, 0, -1)
