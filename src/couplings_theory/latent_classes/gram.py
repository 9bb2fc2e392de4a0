"""The optimal gram of class vectors for any prior, number of negatives and scale, with a proof of how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from couplings.basics.checks import finite_positive, require
from couplings.basics.errors import NotConverged

from .barrier import Arrival, Objective, central_path
from .certificate import Certificate, certify
from .population import exponents_of, population_loss
from .prior import negatives, not_too_large, probabilities
from .quadrature import excess_rows, row_derivatives

SMALLEST_SCALE = 1e-4
"""Below, the loss sees the balance of the class vectors only, and differences that place them drown in rounding."""
SETTLED = 3e-3
"""How far an entry may have moved at the end of the path; what is left to go is a third of that, or less."""
MERGED = 1e-3
"""Classes whose inner product is within this of one count as one."""


@dataclass(frozen=True, eq=False)
class OptimalGram:
    """A gram of class vectors and how close it is proved to be to the best one.

    Attributes:
        gram: G (C, C), ones on the diagonal.
        prior: rho (C,).
        k: negatives.
        scale: s.
        loss: L(G) in nats.
        certificate: the dual point that proves the gap.
    """

    gram: Tensor
    prior: Tensor
    k: int
    scale: float
    loss: float
    certificate: Certificate

    @property
    def gap(self) -> float:
        """The loss is at most this many nats above the smallest possible one."""
        return self.certificate.gap

    @property
    def rank(self) -> int:
        """Eigenvalues of the gram above 1e-3: the dimensions that the class vectors need."""
        return int((torch.linalg.eigvalsh(self.gram) > MERGED).sum())

    @property
    def merged(self) -> tuple[tuple[int, ...], ...]:
        """Groups of two or more classes that share one vector (inner products within 1e-3 of one)."""
        near = self.gram >= 1 - MERGED
        groups = dict.fromkeys(tuple(row.nonzero().flatten().tolist()) for row in near)
        return tuple(group for group in groups if len(group) > 1)


def optimal_gram(
    prior: Sequence[float] | Tensor, *, k: int, scale: float = 1.0, tolerance: float = 1e-10
) -> OptimalGram:
    """The gram that minimises the population loss over all vectors of norm at most one in any dimension.

    A convex program: L is a mean of log-sum-exps of linear functions of G, over positive semidefinite G, G_cc <= 1. At
    the optimum G_cc = 1: a coordinate of its own lengthens a class vector and lowers the loss. Given that, L is
    strictly convex in the other entries (all negatives are of one other class with positive probability), so the
    optimum is unique. Solved by a barrier method (`barrier`), judged by a certificate that knows nothing of it.

    Args:
        prior: rho (C,), above zero, sums to one.
        k: negatives of an anchor, >= 1.
        scale: s in [1e-4, 300], one over the temperature.
        tolerance: the certified gap above which `NotConverged` is raised, in units of what the gram can change: loss(G)
            minus the loss of collisions alone, of the order e^-20 at scale 20. The solver goes on until rounding stops
            it, whatever the tolerance.

    Returns:
        The gram with its loss and certificate. Entries are within about 1e-3 of the optimal ones (most
        within 1e-6), judged by how they move at the end; where rounding leaves them less certain, `NotConverged` is
        raised. That happens for classes of probability 1e-5 and less beside many others, or at small scales.

    Raises:
        InvalidInput: an argument outside of these ranges.
        NotConverged: the certified gap is above the tolerance, or an entry had not settled.

    Cost: 40 to 80 Newton steps (250 at scale 300) of C^6 / 24 multiplications: C = 10
    takes 0.1 s, C = 30 half a second, C = 60 half a minute.

    Source: Awasthi, Dikkala, Kamath, arXiv 2205.01789 (the convex program; restated).

    Example:
        >>> best = optimal_gram([0.85, 0.1, 0.05], k=1)
        >>> best.merged  # with one negative, the rare classes share a vector
        ((1, 2),)
        >>> optimal_gram([0.85, 0.1, 0.05], k=16).merged
        ()
    """
    rho, k = probabilities(prior), negatives(k)
    finite_positive("scale", scale)
    finite_positive("tolerance", tolerance)
    _in_range(scale)
    objective = Objective(partial(_excess, rho, k, scale), partial(_derivatives, rho, k, scale))
    arrival = central_path(objective, len(rho))
    gram = arrival.gram
    certificate = certify(gram, rho, k=k, scale=scale)
    _settled(arrival, certificate, rho, scale)
    _proved(certificate.gap, objective.value(gram), tolerance)
    loss = float(population_loss(gram, rho, k=k, scale=scale))
    return OptimalGram(gram, rho, k, float(scale), loss, certificate)


def _in_range(scale: float) -> None:
    not_too_large(scale)
    large = scale >= SMALLEST_SCALE
    require(large, f"scale must be >= {SMALLEST_SCALE:g}, got {scale:g}: below, rounding hides where vectors belong")


def _settled(arrival: Arrival, certificate: Certificate, prior: Tensor, scale: float) -> None:
    """The gap alone does not place a class of little weight, nor any at a small scale: they hardly change the loss."""
    weakest = min(1.0, scale) * float(certificate.dual.min())  # the price of turning a class vector, up to a factor
    if arrival.drift > SETTLED or certificate.gap > SETTLED * weakest:
        raise NotConverged(
            f"the gram has not settled (an entry last moved by {arrival.drift:.1g}): at scale {scale:g} rounding hides "
            f"where a class of probability {float(prior.min()):.1g} belongs: raise the scale, or leave such classes out"
        )


def _proved(gap: float, excess: float, tolerance: float) -> None:
    if gap > tolerance * excess:
        raise NotConverged(
            f"the gram's certified gap is {gap:.2g} nats, {gap / excess:.2g} of its excess; "
            f"tolerance={tolerance:g} was asked for: raise it, or lower the scale"
        )


def _excess(prior: Tensor, k: int, scale: float, gram: Tensor) -> float:
    return float(prior @ excess_rows(exponents_of(gram, scale), prior, k))


def _derivatives(prior: Tensor, k: int, scale: float, gram: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian in the entries above the diagonal, each of which is in two rows."""
    gradient, hessian = row_derivatives(exponents_of(gram, scale), prior, k)
    classes = len(prior)
    i, j = torch.triu_indices(classes, classes, 1)
    first = scale * prior[:, None] * gradient
    second = torch.zeros(len(i), len(i), dtype=torch.float64)
    number = torch.zeros(classes, classes, dtype=torch.long)
    number[i, j] = number[j, i] = torch.arange(len(i))
    for c in range(classes):
        others = torch.arange(classes) != c
        mine = number[c, others]
        second[mine[:, None], mine] += scale**2 * prior[c] * hessian[c][others][:, others]
    return first[i, j] + first[j, i], second
