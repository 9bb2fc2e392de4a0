"""The contrastive loss over a population of latent classes, without sampling.

Anchor and positive are of class c ~ rho and have the vector v_c; k negatives draw their classes from rho, independently
of each other and of c (so some may collide with c). With G = <v_c, v_c'> and scale s (one over the temperature)

    L(G) = sum_c rho_c E_{n ~ Mult(k, rho)} log(1 + sum_c' n_c' e^{s (G_cc' - G_cc)}).

Collapsed classes lose nothing: by Jensen's inequality in the positive, the negatives and the anchor an optimum maps
each class to one vector.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from couplings.basics.checks import finite_nonnegative, require

from .prior import gram_of, negatives, probabilities
from .quadrature import collision_rows, excess_rows

LARGEST_EXPONENT = 1e4
"""Of s (G_cc' - G_cc); the number of nodes of the integral grows with it."""
LARGEST_ENUMERATION = 200_000
"""Count vectors that `enumerated_loss` visits."""


def population_loss(gram: Tensor, prior: Sequence[float] | Tensor, *, k: int, scale: float = 1.0) -> Tensor:
    """The loss L(G) above, exact for any number of classes and negatives.

    There are C(k + C - 1, C - 1) count vectors n, too many to visit. Negatives are independent, so the expectation is
    one smooth integral instead (`quadrature`), accurate to about 1e-14. `enumerated_loss` is the definition.

    Args:
        gram: (C, C) inner products of class vectors: symmetric, positive semidefinite, any diagonal.
        prior: rho (C,), above zero, sums to one.
        k: negatives of an anchor, >= 1.
        scale: s >= 0, one over the temperature.

    Returns:
        A float64 scalar in nats, differentiable in `gram`. Its gradient has row c's part in row c and is not symmetric.

    Raises:
        InvalidInput: an argument outside of these ranges, or an exponent above 1e4.

    Cost: C^2 exponentials at about 4 (50 + log k + the largest exponent) nodes; C = 100, k = 4096 takes 0.1 s.

    Source: the latent-class model of contrastive learning (Arora et al. 2019, arXiv 1902.09229); restated.

    Example:
        >>> import torch
        >>> population_loss(torch.eye(2), [0.5, 0.5], k=1)  # (log 2 + log(1 + 1/e)) / 2
        tensor(0.5032, dtype=torch.float64)
    """
    rho, k = probabilities(prior), negatives(k)
    exponents = exponents_of(gram_of(gram, len(rho)), scale)
    largest = float(exponents.detach().max())
    small = largest <= LARGEST_EXPONENT
    require(
        small, f"scale * (gram[c, c'] - gram[c, c]) must be <= {LARGEST_EXPONENT:g}, got {largest:g}: lower the scale"
    )
    return rho @ collision_rows(rho, k) + rho @ excess_rows(exponents, rho, k)


def enumerated_loss(gram: Tensor, prior: Sequence[float] | Tensor, *, k: int, scale: float = 1.0) -> Tensor:
    """The same loss by its definition: every count vector n with its multinomial probability.

    Args:
        gram: (C, C) as in `population_loss`.
        prior: rho (C,).
        k: negatives, >= 1.
        scale: s >= 0.

    Returns:
        A float64 scalar, differentiable in `gram`.

    Raises:
        InvalidInput: as `population_loss`, or more than 200 000 count vectors.

    Example:
        >>> import torch
        >>> enumerated_loss(torch.eye(2), [0.5, 0.5], k=1)
        tensor(0.5032, dtype=torch.float64)
    """
    rho, k = probabilities(prior), negatives(k)
    exponents = exponents_of(gram_of(gram, len(rho)), scale)
    counts = count_vectors(len(rho), k)
    chances = multinomial(counts, rho)
    terms = torch.stack([_log_one_plus(counts.log() + row) for row in exponents])
    return rho @ (terms @ chances)


def collision_loss(prior: Sequence[float] | Tensor, *, k: int) -> Tensor:
    """What collisions alone cost: sum_c rho_c E log(1 + n_c), n_c ~ Binomial(k, rho_c).

    No gram has a smaller loss, and loss(G) tends to it for large scales when the classes are apart.

    Args:
        prior: rho (C,).
        k: negatives, >= 1.

    Returns:
        A float64 scalar in nats.

    Raises:
        InvalidInput: a bad prior or k.

    Example:
        >>> collision_loss([0.5, 0.5], k=1)  # log(2) / 2
        tensor(0.3466, dtype=torch.float64)
    """
    rho = probabilities(prior)
    return rho @ collision_rows(rho, negatives(k))


def count_vectors(classes: int, k: int) -> Tensor:
    """All (n_1, ..., n_C) of whole numbers >= 0 that sum to k, as float64 (N, C)."""
    total = math.comb(k + classes - 1, classes - 1)
    small = total <= LARGEST_ENUMERATION
    require(small, f"{classes} classes and k = {k} have {total} count vectors: use population_loss, which needs none")
    bars = torch.tensor(list(itertools.combinations(range(k + classes - 1), classes - 1)), dtype=torch.float64)
    ends = torch.full((total, 1), k + classes - 1.0, dtype=torch.float64)
    edges = torch.cat([-torch.ones_like(ends), bars.reshape(total, classes - 1), ends], dim=1)
    return edges.diff(dim=1) - 1


def multinomial(counts: Tensor, prior: Tensor) -> Tensor:
    """The probability of each row of counts (N, C) among k draws from the prior (C,): (N,)."""
    logs = (counts * prior.log()).sum(1) - torch.lgamma(counts + 1).sum(1)
    return torch.softmax(logs, dim=0)  # k! and the rounding of large logarithms go with the normalisation


def exponents_of(gram: Tensor, scale: float) -> Tensor:
    """s (G_cc' - G_cc), (C, C)."""
    finite_nonnegative("scale", scale)
    return float(scale) * (gram - gram.diagonal()[:, None])


def _log_one_plus(logs: Tensor) -> Tensor:
    """log(1 + sum_j e^logs_j) for each row."""
    return torch.logsumexp(torch.cat([torch.zeros_like(logs[:, :1]), logs], dim=1), dim=1)
