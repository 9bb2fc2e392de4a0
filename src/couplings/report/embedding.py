"""The embedding seen from its two widest directions."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from couplings.report.style import BLUE, PALETTE, canvas, label

_MARKERS = "os^DvP*X<>"


def embedding_map(
    features: Any,
    labels: Any | None,
    path: str | os.PathLike[str],
    title: str = "Embedding, first two principal components",
) -> None:
    """Draw a principal-component map of the features into a PNG.

    The rows are normalised first, since cosine similarity is what the losses see.

    Args:
        features: (n, d) with n >= 3 and d >= 2, tensor or array.
        labels: (n,) integers for the colours, or None for one colour.
        path: the PNG to write.
        title: printed above the map.

    Raises:
        ValueError: if the features are no (n >= 3, d >= 2) matrix, or n labels do not come with n features.

    Example:
        >>> import torch
        >>> embedding_map(torch.randn(50, 8), torch.arange(50) % 3, "map.png")  # doctest: +SKIP
    """
    points, share = _principal(_matrix(features))
    classes = None if labels is None else np.asarray(labels)
    if classes is not None and classes.shape != points.shape[:1]:
        raise ValueError(f"labels: shape {classes.shape} came for {len(points)} features; give one label a row")
    with canvas(path, (7.0, 6.0), title) as figure:
        axes = figure.subplots()
        _scatter(axes, points, classes)
        axes.set_xlabel(f"first component ({share[0]:.0%} of the variance)")
        axes.set_ylabel(f"second component ({share[1]:.0%} of the variance)")
        axes.set_aspect("equal", adjustable="datalim")


def _matrix(features: Any) -> np.ndarray:
    matrix = np.asarray(features, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] < 3 or matrix.shape[1] < 2:
        raise ValueError(f"features: shape {matrix.shape} came; give (n, d) with n >= 3 and d >= 2")
    return matrix


def _principal(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n, 2) and the share of the variance of each of the two components."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit = matrix / np.maximum(norms, np.finfo(float).tiny)
    centred = unit - unit.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    share = values**2 / max(float((values**2).sum()), np.finfo(float).tiny)
    return left[:, :2] * values[:2], share[:2]


def _scatter(axes: Axes, points: np.ndarray, classes: np.ndarray | None) -> None:
    if classes is None:
        axes.scatter(points[:, 0], points[:, 1], s=9, color=BLUE, alpha=0.6, linewidth=0)
        return
    names = np.unique(classes)
    for rank, name in enumerate(names):
        own = points[classes == name]
        colour, marker = PALETTE[rank % len(PALETTE)], _MARKERS[rank // len(PALETTE) % len(_MARKERS)]
        x, y = own.T
        axes.scatter(x, y, s=10, alpha=0.65, linewidth=0, label=label(name), color=colour, marker=marker)
    if len(names) <= 20:
        axes.legend(title="class", loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2, frameon=False)
