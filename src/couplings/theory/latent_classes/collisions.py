"""Negatives of the anchor's own class (collisions), and how many classes the negatives cover."""

from __future__ import annotations

import torch
from torch import Tensor

from .prior import draws, prior_vector


def no_collision(prior: object, *, k: int) -> Tensor:
    """P(none of k negatives is of the anchor's class c) = (1 - rho_c)^k, shape (C,).

    Args:
        prior: rho, C numbers above zero with sum one.
        k: how many negatives, drawn independently of each other; >= 1.

    Raises:
        InvalidInput: a prior that is none, a k that is no integer >= 1.

    Example:
        >>> from couplings.theory.latent_classes import no_collision
        >>> no_collision([0.75, 0.25], k=2).tolist()
        [0.0625, 0.5625]
    """
    rho = prior_vector(prior)
    return (1 - rho).pow(draws(k))


def expected_collisions(prior: object, *, k: int) -> float:
    """E[number of negatives of the anchor's class] = k sum_c rho_c^2, in [k / C, k].

    Raises:
        InvalidInput: as `no_collision`.

    Example:
        >>> from couplings.theory.latent_classes import expected_collisions
        >>> expected_collisions([0.5, 0.5], k=4)
        2.0
    """
    rho = prior_vector(prior)
    return draws(k) * float(rho @ rho)


def coverage(prior: object, *, k: int) -> float:
    """E[number of different classes among k negatives] = sum_c 1 - (1 - rho_c)^k, in [1, min(k, C)].

    Raises:
        InvalidInput: as `no_collision`.

    Example:
        >>> from couplings.theory.latent_classes import coverage
        >>> coverage([0.5, 0.5], k=2)
        1.5
    """
    return float((1 - no_collision(prior, k=k)).sum())


def collision_loss(prior: object, *, k: int) -> float:
    """E log(1 + number of collisions): what no representation gets below, at any scale; in nats.

        sum_c rho_c sum_m Binom(k, rho_c)(m) log(1 + m)

    Terms of other classes only add to the loss, and vanish as s grows wherever class vectors differ; so the optimum of
    `population_loss` falls to this number as s -> infinity.

    Args:
        prior: rho, C numbers above zero with sum one.
        k: how many negatives, drawn independently of each other; >= 1.

    Raises:
        InvalidInput: as `no_collision`.

    Cost:
        A sum of k + 1 terms a class, from logarithms: exact to rounding for any k, O(k) memory.

    Example:
        >>> from couplings.theory.latent_classes import collision_loss
        >>> round(collision_loss([0.5, 0.5], k=1), 6)  # log(2) / 2
        0.346574
    """
    rho = prior_vector(prior)
    met = torch.arange(draws(k) + 1, dtype=rho.dtype)
    return float(sum(share * (_binomial(k, share, met) @ met.log1p()) for share in rho))


def _binomial(k: int, share: Tensor, met: Tensor) -> Tensor:
    """P(m of k), m = 0..k; xlogy, so that a class of mass one is no special case."""
    top = torch.tensor(k + 1.0, dtype=met.dtype)
    ways = torch.lgamma(top) - torch.lgamma(met + 1) - torch.lgamma(top - met)
    return torch.exp(ways + torch.xlogy(met, share) + torch.xlogy(k - met, 1 - share))
