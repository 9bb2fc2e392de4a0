"""Equal classes: the optimum is the regular simplex for every number of negatives, and its loss has a closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from couplings.basics.checks import finite_nonnegative, require

from .population import count_vectors, multinomial
from .prior import classes_of, gram_of, negatives


def simplex_gram(classes: int) -> Tensor:
    """The gram of the regular simplex (C, C): one on the diagonal, -1 / (C - 1) elsewhere.

    Args:
        classes: C >= 1; one class is a single vector.

    Raises:
        InvalidInput: classes is no integer >= 1.

    Example:
        >>> simplex_gram(3)[0]
        tensor([ 1.0000, -0.5000, -0.5000], dtype=torch.float64)
    """
    count = classes_of(classes)
    eye = torch.eye(count, dtype=torch.float64)
    return eye - (1 - eye) / max(1, count - 1)


def simplex_loss(classes: int, *, k: int, scale: float = 1.0) -> Tensor:
    """The smallest population loss of C equally likely classes, in closed form.

    m ~ Binomial(k, (C - 1) / C) negatives are of other classes and lie at the same angle, the others collide:

        L* = E log(1 + (k - m) + m e^{-s C / (C - 1)}).

    Args:
        classes: C >= 1.
        k: negatives, >= 1.
        scale: s >= 0.

    Returns:
        A float64 scalar in nats.

    Raises:
        InvalidInput: an argument outside of these ranges.

    Cost: k + 1 terms.

    Example:
        >>> simplex_loss(3, k=1)
        tensor(0.3653, dtype=torch.float64)
    """
    count, k = classes_of(classes), negatives(k)
    finite_nonnegative("scale", scale)
    if count == 1:
        return torch.tensor(float(k), dtype=torch.float64).log1p()
    splits = count_vectors(2, k)
    chances = multinomial(splits, torch.tensor([1 / count, 1 - 1 / count], dtype=torch.float64))
    return chances @ torch.log1p(
        splits @ torch.tensor([1.0, math.exp(-scale * count / (count - 1))], dtype=torch.float64)
    )


def simplex_distance(gram: Tensor) -> Tensor:
    """How far a gram is from the simplex: ||G / ||G||_F - S / ||S||_F||_F, in [0, 2], zero at any multiple of S.

    Args:
        gram: (C, C), symmetric, positive semidefinite, not zero.

    Returns:
        A float64 scalar, differentiable in `gram`.

    Raises:
        InvalidInput: no such gram.

    Example:
        >>> float(simplex_distance(2 * simplex_gram(4)))
        0.0
    """
    g = gram_of(gram)
    norm = torch.linalg.matrix_norm(g)
    require(float(norm.detach()) > 0, "gram must not be zero: it has no direction to compare")
    simplex = simplex_gram(len(g))
    distance: Tensor = torch.linalg.matrix_norm(g / norm - simplex / torch.linalg.matrix_norm(simplex))
    return distance
