"""Negatives of the anchor's own class (collisions), and how many classes the negatives cover."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .prior import negatives, probabilities


def no_collision(prior: Sequence[float] | Tensor, *, k: int) -> Tensor:
    """P(none of k negatives is of the anchor's class c) = (1 - rho_c)^k, shape (C,).

    Args:
        prior: rho, C numbers above zero with sum one.
        k: how many negatives, drawn independently of each other; >= 1.

    Raises:
        InvalidInput: a prior that is none, a k that is no integer >= 1.

    Example:
        >>> from couplings_theory.latent_classes import no_collision
        >>> no_collision([0.75, 0.25], k=2).tolist()
        [0.0625, 0.5625]
    """
    rho = probabilities(prior)
    return (1 - rho).pow(negatives(k))


def expected_collisions(prior: Sequence[float] | Tensor, *, k: int) -> float:
    """E[number of negatives of the anchor's class] = k sum_c rho_c^2, in [k / C, k].

    Raises:
        InvalidInput: as `no_collision`.

    Example:
        >>> from couplings_theory.latent_classes import expected_collisions
        >>> expected_collisions([0.5, 0.5], k=4)
        2.0
    """
    rho = probabilities(prior)
    return negatives(k) * float(rho @ rho)


def coverage(prior: Sequence[float] | Tensor, *, k: int) -> float:
    """E[number of different classes among k negatives] = sum_c 1 - (1 - rho_c)^k, in [1, min(k, C)].

    Raises:
        InvalidInput: as `no_collision`.

    Example:
        >>> from couplings_theory.latent_classes import coverage
        >>> coverage([0.5, 0.5], k=2)
        1.5
    """
    return float((1 - no_collision(prior, k=k)).sum())
