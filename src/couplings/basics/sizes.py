"""How scores are stored: one matrix, a kernel kept for many sweeps, or tiles made again; by size, device and memory.

Small batches are one matrix: nothing else is worth its loop. From `tiled` entries on sums of simple functions go tile
by tile, which is faster; above `dense` nothing makes a matrix, and a kernel that many sweeps read is kept only where
it fits the memory budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import checks

Index = Tensor | slice
"""Rows or columns by index, or a range of them."""

_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Sizes at which the storage changes.

    Attributes:
        tiled: entries (rows times columns) above which sums that tiles can do are done by tiles.
        dense: entries up to which everything else is done on one matrix; above, panel by panel.
        tile: rows and columns of a tile: it and its exponentials fit the L2 cache of a core, or keep a GPU busy.
        shared: entries from which the tiles are shared out to threads, and each operation on one is not.
        panel: entries of a panel, some rows against all columns; more than 32 MiB in single precision, because smaller
            blocks are kept by the C library's allocator and fragment it.
        buffer: the most entries of a panel whose memory is used again, which should not leave the cache.
        budget: bytes that a kernel may take.
    """

    tiled: int
    dense: int
    tile: int
    shared: int
    panel: int
    buffer: int
    budget: int


_CPU = Limits(1 << 16, 1 << 20, tile=512, shared=1 << 23, panel=9 << 20, buffer=1 << 21, budget=256 * _MIB)
_ACCELERATOR = Limits(1 << 22, 1 << 22, tile=4096, shared=0, panel=1 << 26, buffer=1 << 26, budget=2048 * _MIB)


@dataclass
class _Changed:
    """What was set; for all threads, because gradients on an accelerator are computed in threads of their own."""

    budget: int | None = None
    limits: Limits | None = None


_changed = _Changed()


def limits(device: torch.device) -> Limits:
    """The limits on a device, with the memory budget that was set."""
    if _changed.limits is not None:
        return _changed.limits
    usual = _CPU if device.type == "cpu" else _ACCELERATOR
    return usual if _changed.budget is None else replace(usual, budget=_changed.budget)


def set_memory_budget(size: int | None) -> None:
    """Bytes that a coupling of many sweeps may take to keep its kernel, n m numbers; above, each sweep makes it again.

    By default (None) 256 MiB on a CPU and 2 GiB on an accelerator. Losses without sweeps never need it. Only time
    depends on it, not the result.

    Raises:
        InvalidInput: a negative or fractional number.

    Example:
        >>> import couplings
        >>> couplings.set_memory_budget(64 * 2**20)
        >>> couplings.set_memory_budget(None)
    """
    if size is not None:
        checks.count("size", size)
    _changed.budget = size


@contextmanager
def limited(**changes: int) -> Iterator[None]:
    """Other limits for a while, on every device: how tests reach all storages at small sizes."""
    before = _changed.limits
    _changed.limits = replace(before or _CPU, **changes)
    try:
        yield
    finally:
        _changed.limits = before


def is_small(n: int, m: int, device: torch.device) -> bool:
    """Whether operations on n x m numbers cost less than the bookkeeping around them."""
    return n * m <= min(limits(device).tiled, _CPU.tiled)


def is_large(n: int, m: int, device: torch.device) -> bool:
    """Whether n x m numbers are too many for a matrix that is kept."""
    return n * m > limits(device).dense


def row_parts(n: int, m: int, device: torch.device) -> Iterator[slice]:
    """Consecutive ranges of n rows, so that each against m columns fits a moderate memory."""
    return slices(n, max(1, limits(device).panel // m))


def slices(size: int, step: int) -> Iterator[slice]:
    """Consecutive ranges of at most `step`."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
