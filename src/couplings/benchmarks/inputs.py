"""The embeddings that every contender gets: seeded, two noisy views of samples in ten clusters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .work import Size

__all__ = ["CLASSES", "labels", "rows_in_two", "views"]

CLASSES = 10
_WITHIN, _NOISE = 0.7, 0.5
"""Spread of a cluster and of a view; a cluster's centre has spread 1."""


def labels(size: Size, device: torch.device) -> Tensor:
    """The cluster of each sample, (rows / 2,)."""
    return torch.arange(size.rows // 2, device=device) % CLASSES


def views(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two views (rows / 2, dim), float32, that ask for gradients."""
    generator = torch.Generator().manual_seed(0)
    n = size.rows // 2

    def normal(count: int) -> Tensor:
        return torch.randn(count, size.dim, generator=generator)

    samples = normal(CLASSES)[torch.arange(n) % CLASSES] + _WITHIN * normal(n)
    first, second = (samples + _NOISE * normal(n) for _ in range(2))
    return first.to(device).requires_grad_(), second.to(device).requires_grad_()


def rows_in_two(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Queries and keys (rows, dim) of unit length, without gradients."""
    first, second = views(Size(2 * size.rows, size.dim), device)
    return normalize(first.detach(), dim=1), normalize(second.detach(), dim=1)
