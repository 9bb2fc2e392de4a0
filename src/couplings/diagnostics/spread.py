"""How a space is filled, without labels: alignment, uniformity, spectrum, rank, dead dimensions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..basics import checks
from ..engine.grams import SharedKeys
from ..pieces.costs import SquaredEuclidean
from ..pieces.masks import SameId
from ..plans.scores import Scores
from ..plans.solve import couple


def _unit(name: str, z: Tensor) -> Tensor:
    checks.matrix(name, z)
    checks.rows_usable(name, z, zero=False, raw=False)
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
    values = torch.linalg.svdvals(_whole(z))
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.exp(torch.special.entr(share).sum())


def spectrum(z: Tensor) -> Tensor:
    """Standard deviations along the principal axes, largest first, (min(n, d),); how many dimensions are in use.

    sigma_k = s_k / sqrt(n) with s the singular values of the centred rows.

    Args:
        z: embeddings (n, d), taken as they are.

    Cost:
        O(n d^2), O(d^2) memory: the eigenvalues of the covariance, in double precision.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import spectrum
        >>> spectrum(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).round(decimals=4).tolist()
        [1.0, 0.0]
    """
    whole = _whole(z)
    mean = whole.mean(0, dtype=torch.float64)
    covariance = whole.new_zeros(z.shape[1], z.shape[1], dtype=torch.float64)
    for part in torch.split(whole, _ROWS):
        centred = part.double() - mean
        covariance.addmm_(centred.T, centred)
    values = torch.linalg.eigvalsh(covariance / len(z)).flip(0)[: min(z.shape)]
    # Below the rounding of the covariance a direction is flat.
    floor = values[0] * torch.finfo(torch.float64).eps * len(values)
    return torch.where(values > floor, values, 0.0).sqrt().to(whole.dtype)


def collapsed_dimensions(z: Tensor, share: float = 0.01) -> Tensor:
    """Coordinates that hardly vary: standard deviation below `share` of the median coordinate's; ascending indices.

    Where more than half of the coordinates are constant, the median is taken over the others.

    Args:
        z: embeddings (n, d), taken as they are: normalise neither rows nor columns before.
        share: in [0, 1).

    Cost:
        O(n d).

    Example:
        >>> import torch
        >>> from couplings.diagnostics import collapsed_dimensions
        >>> z = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        >>> z[:, 2] = 0.3
        >>> collapsed_dimensions(z).tolist()
        [2]
    """
    checks.fraction("share", share)
    whole = _whole(z)
    mean = whole.mean(0, dtype=torch.float64)
    squares = sum(
        ((part.double() - mean).square().sum(0) for part in torch.split(whole, _ROWS)), torch.zeros_like(mean)
    )
    deviation = (squares / len(z)).sqrt()
    # What float32 leaves of a constant is no variation.
    alive = deviation > torch.finfo(whole.dtype).eps * mean.abs()
    if not alive.any():
        return torch.arange(z.shape[1], device=z.device)
    return (~alive | (deviation < share * deviation[alive].median())).nonzero()[:, 0]


_ROWS = 8192
"""Rows at a time in double precision."""


def _whole(z: Tensor) -> Tensor:
    checks.matrix("z", z)
    checks.rows_usable("z", z, zero=True)
    return z.float() if z.dtype.itemsize < 4 else z
