"""Pairs that tests exclude, and the matrix they mean."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

IMAGES = 48
"""Of ``tiny_data``."""


def some_pairs(count: int = 250, images: int = IMAGES, seed: int = 0) -> Tensor:
    """Different images, some pairs twice or in both orders."""
    pairs = torch.randint(images, (count, 2), generator=torch.Generator().manual_seed(seed))
    return pairs[pairs[:, 0] != pairs[:, 1]]


def dense(pairs: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Boolean (n, m): whether the image of a row is excluded with that of a column."""
    listed = {frozenset(pair) for pair in pairs.tolist()}
    return torch.tensor([[{a, b} in listed for b in cols.tolist()] for a in rows.tolist()]).bool()


def csv_of(path: Path, pairs: Tensor, header: str = "a,b") -> Path:
    more = "" if header == "a,b" else ",0.5"
    path.write_text("\n".join([header, *(f"{a},{b}{more}" for a, b in pairs.tolist())]) + "\n")
    return path
