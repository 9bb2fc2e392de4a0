"""How far a gram can be from the optimum, proved by weak duality alone: no word of the solver is believed.

The loss L is convex in G, so every feasible G' (positive semidefinite, diagonal at most one) has

    L(G') >= L(G) + <D, G' - G>,   D the symmetric gradient of L at G,

and the right-hand side is smallest at the solution of a semidefinite program whose dual is

    max -sum(y)   subject to   Z = diag(y) + D positive semidefinite,  y >= 0:

indeed <D, G'> = <Z, G'> - sum_c y_c G'_cc >= -sum(y). Any such y proves L(G) - L* <= <D, G> + sum(y), the *gap*. At the
optimum complementary slackness (Z G = 0, G_cc = 1) leaves y_c = -(D G)_cc. Elsewhere that choice is clamped at zero and
lifted by as much as Z's smallest eigenvalue is below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.basics.checks import finite_nonnegative, require

from .population import exponents_of
from .prior import GRAM_TOLERANCE, gram_of, negatives, probabilities
from .quadrature import excess_rows


@dataclass(frozen=True, eq=False)
class Certificate:
    """A dual point that bounds how much a gram's loss exceeds the smallest possible one.

    Attributes:
        dual: y (C,), >= 0, the price of each class vector's length.
        slack: Z = diag(y) + D (C, C), positive semidefinite up to rounding; Z G = 0 at the optimum.
        gap: <D, G> + sum(y) in nats; loss(G) - min loss lies in [0, gap].
    """

    dual: Tensor
    slack: Tensor
    gap: float

    @property
    def smallest_eigenvalue(self) -> float:
        """Of the slack: zero up to rounding wherever the lift was needed, never far below."""
        return float(torch.linalg.eigvalsh(self.slack)[0])


def certify(gram: Tensor, prior: Sequence[float] | Tensor, *, k: int, scale: float = 1.0) -> Certificate:
    """Bound how much the loss of a feasible gram exceeds the optimum, whoever found it.

    Args:
        gram: (C, C), symmetric, positive semidefinite, diagonal at most one.
        prior: rho (C,).
        k: negatives, >= 1.
        scale: s >= 0.

    Returns:
        The dual point and its gap.

    Raises:
        InvalidInput: a gram that is not feasible, or a bad prior, k or scale.

    Cost: one gradient of the loss and one eigendecomposition.

    Example:
        >>> import torch
        >>> antipodes = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> certify(antipodes, [0.5, 0.5], k=1).gap < 1e-12
        True
        >>> certify(torch.eye(2), [0.5, 0.5], k=1).gap > 0.1
        True
    """
    rho, k = probabilities(prior), negatives(k)
    finite_nonnegative("scale", scale)
    g = gram_of(gram, len(rho)).detach()
    longest = float(g.diagonal().max())
    short = longest <= 1 + GRAM_TOLERANCE
    require(short, f"gram must have a diagonal of at most one, got {longest:g}: divide it by its largest entry")
    slope = gradient(g, rho, k, scale)
    dual = (-(slope * g).sum(1)).clamp(min=0)
    lift = max(0.0, -float(torch.linalg.eigvalsh(dual.diag() + slope)[0]))
    dual = dual + lift
    return Certificate(dual, dual.diag() + slope, float((slope * g).sum() + dual.sum()))


def gradient(gram: Tensor, prior: Tensor, k: int, scale: float) -> Tensor:
    """D (C, C): the symmetric gradient of the loss, by autograd through the integral."""
    with torch.enable_grad():
        leaf = gram.clone().requires_grad_()
        excess = prior @ excess_rows(exponents_of(leaf, scale), prior, k)
        (slope,) = torch.autograd.grad(excess, leaf)
    return (slope + slope.T) / 2
