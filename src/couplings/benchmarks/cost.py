"""A model of what a loss costs, for machines that are not at hand. A model: measure before you buy.

With N rows of d numbers over p processes, each holding N / p anchors and all N candidates, and r reductions over the
scores: 1 for a softmax's rows; 4 T + 1 for T sweeps and a row step, 2 T of them on the way back.

    products    one process:  N^2 d flops for each pass over the scores (their upper triangle), 2 N^2 d for the
                gradient;  p processes: twice as much in all, since no block is symmetric. r + 1 passes; one, if the
                kernel is stored. T sweeps weigh the gradient by 2 T columns: 4 T N^2 flops
    pointwise   about `PASSES` readings and writings of each score a pass; tiles that stay in the cache cost none
    memory      inputs, gradients, 2 T + 1 potentials, one tile a process; a stored kernel adds N^2 / p numbers
    traffic     rows gathered, gradients of the candidates summed and scattered

    seconds  =  max(flops / rate, bytes / bandwidth)  +  traffic / link
"""

from __future__ import annotations

from dataclasses import dataclass

from .work import Size

__all__ = ["Cost", "Hardware", "cost", "seconds"]

FLOAT = 4
PASSES = 4
"""Times a tile's scores are read or written in one pass by plain PyTorch: product, scale, exp, sum."""


@dataclass(frozen=True)
class Hardware:
    """What one process has: float32 flops a second, bytes a second to memory and to other processes."""

    flops: float
    bandwidth: float
    link: float = float("inf")
    cached: bool = False
    """Whether tiles stay in a cache that is much faster than memory."""


@dataclass(frozen=True)
class Cost:
    """What one process does in a forward and a backward."""

    flops: float
    bytes: float
    memory: float
    traffic: float


def cost(size: Size, *, processes: int = 1, stored: bool = False, tile: int = 1024, cached: bool = False) -> Cost:
    """The cost of one process.

    Args:
        size: N rows, dimension, T sweeps (0: a softmax's rows alone).
        processes: p.
        stored: the kernel is kept (N^2 / p numbers) and read once a reduction, instead of made again.
        tile: side of a tile.
        cached: tiles stay in the cache, so that only embeddings and a stored kernel are moved.

    Example:
        >>> cost(Size(4096, 128)).flops == 4 * 4096**2 * 128
        True
    """
    pairs, reductions, updates = size.rows**2 / processes, 4 * size.sweeps + 1, 2 * size.sweeps + 1
    whole = 1.0 if processes == 1 else 2.0
    made = 1 if stored else reductions + 1
    products = pairs * (whole * size.dim * (made + 2) + 4 * size.sweeps)
    embeddings = 2 * FLOAT * pairs / tile * size.dim * made
    scores = 0.0 if cached else PASSES * FLOAT * pairs * (reductions + 1)
    kernel = FLOAT * pairs * (reductions + 1) if stored else 0.0
    own = size.rows / processes
    numbers = 2 * size.rows * size.dim + updates * (own + size.rows) + tile**2 + (pairs if stored else 0)
    moved = 2 * FLOAT * size.dim * (size.rows - own) + FLOAT * updates * (size.rows - own)
    return Cost(products, embeddings + scores + kernel, FLOAT * numbers, moved if processes > 1 else 0.0)


def seconds(size: Size, hardware: Hardware, *, processes: int = 1, stored: bool = False, tile: int = 1024) -> float:
    """Seconds of a forward and a backward by the model.

    Example:
        >>> round(seconds(Size(65_536, 128), Hardware(flops=50e12, bandwidth=4e12)), 3)
        0.044
    """
    one = cost(size, processes=processes, stored=stored, tile=tile, cached=hardware.cached)
    return max(one.flops / hardware.flops, one.bytes / hardware.bandwidth) + one.traffic / hardware.link
