"""Finite populations: any loss of the library, averaged over everything that can be drawn."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from couplings.basics.checks import matrix, require
from couplings.basics.errors import CouplingWarning
from couplings.losses import Loss
from couplings.losses.build import id_vector

from .prior import gram_of, negatives

LARGEST_ENUMERATION = 200_000
"""Tuples of one class that `expected_loss` visits at once."""


def expected_loss(loss: Loss, z: Tensor, labels: Tensor, *, k: int) -> Tensor:
    """E loss(x, x+, negatives=x-) over the tuples that a population of N samples allows, without sampling.

    Anchor x: any sample; x+: any of its class, x itself included (x and x+ are drawn alike); x-: k of all N samples,
    independently. With `InfoNCE(temperature=1 / scale)` this is L_k of the latent-class model whose classes are as
    likely as the labels are frequent; with equal embeddings within each class it is `population_loss`.

    Args:
        loss: takes `negatives=`, and is a mean over anchors.
        z: embeddings (N, d).
        labels: class of each, (N,), integers.
        k: negatives of an anchor, >= 1.

    Returns:
        The expectation, a scalar of z's dtype, differentiable in z.

    Raises:
        InvalidInput: shapes that do not fit, k that is no integer >= 1, more than 200 000 tuples in a class.

    Cost:
        N^k m^2 tuples for a class of m samples.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> from couplings_theory.latent_classes import expected_loss, population_loss
        >>> z = torch.eye(2, dtype=torch.float64)[[0, 1, 1]]  # collapsed: one vector a class
        >>> round(float(expected_loss(InfoNCE(temperature=1.0), z, torch.tensor([0, 1, 1]), k=2)), 6)
        0.871856
        >>> round(float(population_loss(torch.eye(2), [1 / 3, 2 / 3], k=2)), 6)
        0.871856
    """
    matrix("z", z)
    labels = id_vector("labels", labels, len(z))
    k = negatives(k)
    classes = [torch.nonzero(labels == name).flatten() for name in torch.unique(labels)]
    tuples = len(z) ** k * max(map(len, classes)) ** 2
    few = tuples <= LARGEST_ENUMERATION
    require(few, f"{len(z)} samples and k = {k} make {tuples} tuples a class, too many to visit: take fewer of either")
    others = torch.cartesian_prod(*[torch.arange(len(z))] * k).reshape(-1, k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CouplingWarning)  # samples repeat in an enumeration; nothing has collapsed
        parts = [len(mine) * _class_loss(loss, z, mine, others) for mine in classes]
    return torch.stack(parts).sum() / len(z)


def _class_loss(loss: Loss, z: Tensor, mine: Tensor, others: Tensor) -> Tensor:
    """Every pair of samples of a class with every k negatives."""
    pairs = torch.cartesian_prod(mine, mine)
    anchors, positives = (z[side].repeat_interleave(len(others), dim=0) for side in pairs.unbind(1))
    value: Tensor = loss(anchors, positives, negatives=z[others].repeat(len(pairs), 1, 1))
    return value


def class_vectors(gram: Tensor) -> Tensor:
    """Vectors with these inner products, (C, C): row c is v_c, along the eigenvectors from the largest eigenvalue down.

    Raises:
        InvalidInput: no gram.

    Example:
        >>> import torch
        >>> from couplings_theory.latent_classes import class_vectors, simplex_gram
        >>> v = class_vectors(simplex_gram(3))
        >>> torch.allclose(v @ v.T, simplex_gram(3))
        True
    """
    values, directions = torch.linalg.eigh(gram_of(gram).detach())
    vectors: Tensor = (directions * values.clamp(min=0).sqrt()).flip(1)
    return vectors
