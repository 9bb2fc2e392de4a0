"""Rows laid out in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

__all__ = ["Plane", "Projection", "project"]


class Plane(Enum):
    """How rows are laid out."""

    PCA = "pca"
    """The two directions of largest variance; at once."""
    UMAP = "umap"
    """Neighbourhoods kept; needs umap-learn and minutes for many rows."""


@dataclass(frozen=True)
class Projection:
    """Places (n, 2) of all rows, by which method, and the share of the variance that the two directions hold (PCA)."""

    places: Tensor
    plane: Plane
    variance: float | None


@torch.no_grad()
def project(z: Tensor, plane: Plane, seed: int) -> Projection:
    """Lay out the directions of all rows.

    Raises:
        ModuleNotFoundError: UMAP without umap-learn.
    """
    unit = torch.nn.functional.normalize(z, dim=1)
    return _pca(unit) if plane is Plane.PCA else _umap(unit, seed)


def _pca(unit: Tensor) -> Projection:
    centred = unit - unit.mean(0)
    values, vectors = torch.linalg.eigh((centred.T @ centred / len(unit)).double())
    axes = vectors[:, -2:].flip(1).to(unit.dtype)
    # The sign of an axis is arbitrary: the heavier side is to the right and up.
    axes = axes * torch.where((centred @ axes).pow(3).sum(0) < 0, -1.0, 1.0)
    places = centred @ axes
    if places.shape[1] < 2:
        places = torch.cat([places, torch.zeros(len(places), 1)], 1)
    share = (values[-2:].sum() / values.sum().clamp_min(1e-300)).item()
    return Projection(places, Plane.PCA, share)


def _umap(unit: Tensor, seed: int) -> Projection:
    from umap import UMAP

    places = UMAP(metric="cosine", random_state=seed, n_jobs=1).fit_transform(unit.numpy())
    return Projection(torch.from_numpy(places).float(), Plane.UMAP, None)
