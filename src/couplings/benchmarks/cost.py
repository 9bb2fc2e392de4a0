"""A model of what a loss costs, for machines that are not at hand. A model: measure before you buy.

N rows of d numbers over p processes, each with N / p anchors against all N candidates; forward and backward.

    softmax     by tiles: scores, the same again on the way back, and two products for the gradient. One process visits
                the upper triangle, 4 N^2 d flops in all; of p no block is symmetric, so together they do twice that
    T sweeps    by panels, without symmetry: a row step and T sweeps visit the scores T + 1 times on each way, 2 N^2 d
                flops a visit, or once on each way if the kernel is stored; two products for the gradient, 4 N^2 d;
                4 T + 1 matrix-vector products and 2 T + 1 columns that weigh the gradient, 2 N^2 each
    pointwise   about `PASSES` readings and writings of each score that is made; what stays in the cache costs none
    memory      inputs, gradients, 2 T + 1 potentials and their cotangents, a tile or two panels; a stored kernel adds
                N^2 / p numbers
    traffic     rows gathered, gradients of the candidates summed and scattered, a vector a half-step

    seconds  =  max(flops / rate, bytes / bandwidth)  +  traffic / link
"""

from __future__ import annotations

from dataclasses import dataclass

from .work import Size

__all__ = ["Cost", "Hardware", "cost", "seconds"]

FLOAT = 4
PASSES = 4
"""Times a score is read or written when it is made and summed by plain PyTorch: product, scale, exp, sum."""


@dataclass(frozen=True)
class Hardware:
    """What one process has: float32 flops a second, bytes a second to memory and to other processes."""

    flops: float
    bandwidth: float
    link: float = float("inf")
    cached: bool = False
    """Whether tiles and panels stay in a cache that is much faster than memory."""


@dataclass(frozen=True)
class Cost:
    """What one process does in a forward and a backward."""

    flops: float
    bytes: float
    memory: float
    traffic: float


def cost(
    size: Size,
    *,
    processes: int = 1,
    stored: bool = False,
    tile: int = 1024,
    panel: int = 1 << 21,
    cached: bool = False,
) -> Cost:
    """The cost of one process.

    Args:
        size: N rows, dimension, T sweeps (0: a softmax's rows alone).
        processes: p.
        stored: the kernel of the sweeps is kept (N^2 / p numbers), made once on each way; a softmax needs none.
        tile: side of a softmax's tile; 1024 on a CPU, 4096 on an accelerator.
        panel: entries of the sweeps' panels; 2^21 on a CPU, 2^26 on an accelerator.
        cached: tiles and panels stay in the cache, so that only embeddings and a stored kernel are moved.

    Example:
        >>> cost(Size(4096, 128)).flops == 4 * 4096**2 * 128
        True
        >>> cost(Size(4096, 128, 10)).flops == (48 * 128 + 124) * 4096**2
        True
    """
    if size.sweeps:
        flops, moved, held = _swept(size, processes, stored, panel, cached)
    else:
        flops, moved, held = _softmax(size, processes, tile, cached)
    own, updates = size.rows / processes, 2 * size.sweeps + 1
    others = size.rows - own
    traffic = FLOAT * others * (2 * size.dim + updates)
    return Cost(flops, moved, FLOAT * (2 * size.rows * size.dim + held), traffic)


def _softmax(size: Size, processes: int, tile: int, cached: bool) -> tuple[float, float, float]:
    """Flops, bytes moved and numbers held: tiles visited twice, a triangle of them in one process."""
    pairs = size.rows**2 / (2 if processes == 1 else processes)
    embeddings = 3 * 2 * pairs / tile * size.dim  # both sides of a tile: scores twice, gradient
    scores = 0.0 if cached else PASSES * 2 * pairs
    held = size.rows / processes + size.rows + tile**2
    return 8.0 * pairs * size.dim, FLOAT * (embeddings + scores), held


def _swept(size: Size, processes: int, stored: bool, panel: int, cached: bool) -> tuple[float, float, float]:
    """Flops, bytes moved and numbers held: panels of some rows against all columns."""
    pairs, visits, updates = size.rows**2 / processes, 2 * (size.sweeps + 1), 2 * size.sweeps + 1
    made = 2 if stored else visits
    flops = pairs * (2 * size.dim * (made + 2) + 2 * (4 * size.sweeps + 1) + 2 * updates)
    embeddings = (made + 2) * pairs / panel * size.rows * size.dim  # a product reads all columns' for each panel
    scores = 0.0 if cached else PASSES * pairs * (made + 1)  # and the panel that weighs the gradient
    kernel = pairs * visits if stored else 0.0
    vectors = 1.5 * updates * (size.rows / processes + size.rows)  # the backward's factors, and the potentials
    held = vectors + 2 * min(panel, pairs) + (pairs if stored else 0)
    return flops, FLOAT * (embeddings + scores + kernel), held


def seconds(
    size: Size,
    hardware: Hardware,
    *,
    processes: int = 1,
    stored: bool = False,
    tile: int = 1024,
    panel: int = 1 << 21,
) -> float:
    """Seconds of a forward and a backward by the model.

    Example:
        >>> round(seconds(Size(65_536, 128), Hardware(flops=50e12, bandwidth=4e12), tile=4096), 3)
        0.044
    """
    one = cost(size, processes=processes, stored=stored, tile=tile, panel=panel, cached=hardware.cached)
    return max(one.flops / hardware.flops, one.bytes / hardware.bandwidth) + one.traffic / hardware.link
