"""What class vectors are worth afterwards: the classifier whose weights are the class means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.losses.build import id_vector

from .prior import gram_of, probabilities

_TIE = 1e-6
"""Logits (at scale 1) that are this near count as equal."""


@dataclass(frozen=True)
class Downstream:
    """What the mean classifier makes of class vectors.

    Attributes:
        cross_entropy: E -log p(c | x) in nats, >= 0.
        accuracy: share of samples classified right, in [0, 1]; ties are broken by a fair draw.
        margin: smallest over classes of G_cc - max_{c' != c} G_cc', in [-2, 2]; infinite with one class.
    """

    cross_entropy: float
    accuracy: float
    margin: float


def downstream(gram: Tensor, prior: Sequence[float] | Tensor, *, scale: float = 1.0) -> Downstream:
    """The mean classifier on collapsed representations: W_c = E[f(x) | c] = v_c, logits s G_cc'.

        cross entropy = sum_c rho_c ( log sum_c' exp(s G_cc') - s G_cc )

    Args:
        gram: G = (<v_c, v_c'>), shape (C, C).
        prior: rho, C numbers above zero with sum one; how often each class is met.
        scale: s > 0 of the logits; the one of the contrastive loss, 1 / temperature, unless another is of interest.

    Raises:
        InvalidInput: a gram or prior that is none, unequal sizes, a scale that is not a finite number above zero.

    Cost:
        O(C^2).

    Source:
        Arora et al. 2019 (mean classifier); Awasthi, Dikkala, Kamath 2022, arXiv 2205.01789.

    Example:
        >>> import torch
        >>> from couplings_theory.latent_classes import downstream
        >>> found = downstream(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), [0.5, 0.5])
        >>> round(found.cross_entropy, 4), found.accuracy, found.margin
        (0.1269, 1.0, 2.0)
    """
    rho = probabilities(prior)
    g = gram_of(gram, len(rho)).detach()
    checks.finite_positive("scale", scale)
    losses = torch.logsumexp(scale * g, dim=1) - scale * g.diagonal()
    return Downstream(float(rho @ losses), float(rho @ _chance_of_right(g)), float(margins(g).min()))


def margins(gram: Tensor) -> Tensor:
    """G_cc - max_{c' != c} G_cc' of each class, shape (C,).

    Zero where a class has merged with another, negative where it is taken for another, infinite where it is alone.

    Raises:
        InvalidInput: no gram.

    Example:
        >>> import torch
        >>> from couplings_theory.latent_classes import margins
        >>> margins(torch.eye(3)).tolist()
        [1.0, 1.0, 1.0]
    """
    gram = gram_of(gram).detach()
    others = gram.masked_fill(torch.eye(len(gram), dtype=torch.bool), -math.inf)
    return gram.diagonal() - others.max(dim=1).values


def _chance_of_right(gram: Tensor) -> Tensor:
    """Probability that a fair draw among the largest logits of class c is c, (C,)."""
    top = (gram >= gram.max(dim=1, keepdim=True).values - _TIE).double()
    return top.diagonal() / top.sum(dim=1)


@dataclass(frozen=True)
class Scatter:
    """How embeddings spread around and between the means of their classes.

    Attributes:
        within: mean squared distance from the mean of the class; 0: collapsed.
        between: mean squared distance of those means (weighted by how often the class came) from the mean of all.
    """

    within: float
    between: float

    @property
    def collapse(self) -> float:
        """within / (within + between), in [0, 1]: 0 where classes are points, 1 where their means coincide."""
        total = self.within + self.between
        return self.within / total if total > 0 else math.nan


def class_means(z: Tensor, labels: Tensor) -> Tensor:
    """Mean embedding of each class, (C, d), C = the largest label + 1.

    Args:
        z: embeddings (n, d), taken as they are.
        labels: class ids (n,), 0 to C - 1; every class must come at least once.

    Raises:
        InvalidInput: shapes that do not fit, ids that are no integers or leave a class without samples.

    Example:
        >>> import torch
        >>> from couplings_theory.latent_classes import class_means
        >>> class_means(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 1, 1])).tolist()
        [[1.0, 0.0], [0.0, 2.0]]
    """
    checks.matrix("z", z)
    labels = id_vector("labels", labels, len(z))
    checks.require(int(labels.min()) >= 0, f"labels must be 0 to C - 1, got {int(labels.min())}: number classes from 0")
    counts = labels.bincount()
    missing = (counts == 0).nonzero().flatten().tolist()
    checks.require(not missing, f"classes {missing} have no samples: number the classes that came from 0 on")
    sums = torch.zeros(len(counts), z.shape[1], dtype=z.dtype, device=z.device).index_add(0, labels, z)
    return sums / counts[:, None].to(z)


def scatter(z: Tensor, labels: Tensor) -> Scatter:
    """Spread of embeddings within and between classes; together the mean squared distance from the mean of all.

    Args:
        z: embeddings (n, d), taken as they are.
        labels: class ids (n,), 0 to C - 1.

    Raises:
        InvalidInput: as `class_means`.

    Example:
        >>> import torch
        >>> from couplings_theory.latent_classes import scatter
        >>> found = scatter(torch.tensor([[1.0], [3.0], [-2.0], [-2.0]]), torch.tensor([0, 0, 1, 1]))
        >>> found.within, found.between, round(found.collapse, 4)
        (0.5, 4.0, 0.1111)
    """
    mine = class_means(z, labels)[labels.long()]
    within = (z - mine).square().sum(dim=1).mean()
    between = (mine - z.mean(dim=0)).square().sum(dim=1).mean()
    return Scatter(float(within), float(between))
