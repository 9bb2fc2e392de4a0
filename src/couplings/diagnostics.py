"""How good a space is, without labels: alignment, uniformity, effective rank."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import checks
from ._storage.grams import SharedKeys
from .costs import SquaredEuclidean
from .masks import SameId
from .scores import Scores
from .solve import couple


def _unit(name: str, z: Tensor) -> Tensor:
    checks.matrix(name, z)
    checks.rows_usable(name, z, zero=False)
    return torch.nn.functional.normalize(z.float() if z.dtype.itemsize < 4 else z, dim=1)


def alignment(*views: Tensor) -> Tensor:
    """Mean squared distance of positives on the unit sphere, in [0, 4]; 0 when views coincide.

    Args:
        views: two or more (n, d) of the same samples.

    Source:
        Wang and Isola 2020.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import alignment
        >>> alignment(torch.eye(3), -torch.eye(3)).item()
        4.0
    """
    checks.require(len(views) >= 2, f"alignment needs at least two views, got {len(views)}")
    units = [_unit(f"view {i + 1}", v) for i, v in enumerate(views)]
    checks.same_shape([f"view {i + 1}" for i in range(len(units))], units)
    pairs = [(u - v).square().sum(1) for i, u in enumerate(units) for v in units[i + 1 :]]
    return torch.stack(pairs).mean()


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    """log E exp(-t |z_i - z_j|^2) over pairs i < j on the unit sphere; 0 for one point, lower is more spread.

    Args:
        z: embeddings (n, d), n >= 2.
        t: inverse width > 0.

    Cost:
        One product of all rows with all others, by tiles: O(n d) memory.

    Source:
        Wang and Isola 2020.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import uniformity
        >>> round(uniformity(torch.eye(3)).item(), 4)
        -4.0
    """
    checks.finite_positive("t", t)
    checks.require(len(z) >= 2, f"uniformity needs at least two rows, got {len(z)}")
    unit = _unit("z", z)
    rows = torch.arange(len(unit), device=unit.device)
    near = Scores.from_gram(
        SharedKeys(unit, unit, unit=True), temperature=1 / t, cost=SquaredEuclidean(), mask=SameId(rows, rows)
    )
    pairs = len(unit) * (len(unit) - 1)
    return torch.logsumexp(couple(near).log_partition(), 0) - math.log(pairs)


def effective_rank(z: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values (RankMe), in [1, min(n, d)]; low means collapse.

    Args:
        z: embeddings (n, d), taken as they are.

    Source:
        Garrido et al. 2023 (RankMe).

    Example:
        >>> import torch
        >>> from couplings.diagnostics import effective_rank
        >>> round(effective_rank(torch.eye(4)).item(), 4)
        4.0
    """
    checks.matrix("z", z)
    checks.rows_usable("z", z, zero=True)
    values = torch.linalg.svdvals(z.float() if z.dtype.itemsize < 4 else z)
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.exp(torch.special.entr(share).sum())
