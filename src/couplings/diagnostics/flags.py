"""Which samples stand out in a survey."""

from __future__ import annotations

from torch import Tensor

from .. import checks

__all__ = ["failing_positives", "hubs"]


def failing_positives(positive_rank: Tensor, level: float = 0.05) -> Tensor:
    """Rows whose positive could as well be anyone: more than `level` of the others are nearer; worst first.

    Of a positive that was drawn at random the rank is uniform on [0, 1], so a share 1 - `level` of swapped positives
    is found, but for those that were swapped for a sample much like the right one.

    Args:
        positive_rank: (n,), of :func:`survey`; NaN is no positive.
        level: in (0, 1).

    Returns:
        int64 (m,).

    Example:
        >>> import torch
        >>> from couplings.diagnostics import failing_positives
        >>> failing_positives(torch.tensor([0.0, 0.4, 0.01, 0.7])).tolist()
        [3, 1]
    """
    checks.require(0 < level < 1, f"level must be in (0, 1), got {level!r}")
    return _above(positive_rank, level)


def hubs(mass: Tensor, times: float = 3.0) -> Tensor:
    """Rows that push the others more than `times` as hard as the average row does; heaviest first.

    Args:
        mass: (n,), of :func:`survey`.
        times: > 1.

    Returns:
        int64 (m,).

    Example:
        >>> import torch
        >>> from couplings.diagnostics import hubs
        >>> hubs(torch.tensor([0.5, 4.0, 1.0, 3.5])).tolist()
        [1, 3]
    """
    checks.finite("times", times)
    checks.require(times > 1, f"times must be above 1, the average row, got {times:g}")
    return _above(mass, times)


def _above(values: Tensor, bound: float) -> Tensor:
    found = (values > bound).nonzero()[:, 0]
    return found[values[found].argsort(descending=True, stable=True)]
