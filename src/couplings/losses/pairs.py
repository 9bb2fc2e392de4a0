"""The (phi, psi) family: phi of a sum of psi over distance differences; alpha_ij = phi'(xi_i) psi'(d_i^2 - d_ij^2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ..basics import checks
from ..pieces.costs import SquaredEuclidean
from .base import Couplings, Loss, Options
from .batch import Batch

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PairLoss(Loss):
    """A loss of the (phi, psi) family, for any two increasing functions.

        xi_ip = sum_j psi(d_ip^2 - d_ij^2),  j over the negatives,  d^2 = |z_i - z_j|^2 / 2  (1 - cosine for unit rows)
        loss  = mean_i mean_p phi(xi_ip)

    Its gradient is that of the energy sum_ij alpha_ij (d_ip^2 - d_ij^2) / N with constant weights
    alpha_ij = phi'(xi_i) psi'(d_ip^2 - d_ij^2): `pair_weights` returns alpha_ij / N for negatives.

    Args:
        phi: outer function, elementwise, differentiable, increasing.
        psi: pair function, elementwise, differentiable, increasing. Where it is exp, prefer a named member: those
            are computed in logarithms and do not overflow.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Members: `ScaledInfoNCE`, `MINE`, `Triplet`, `SoftTriplet`, `NPlusOneTuplet`, `LiftedStructured`,
        `ModifiedTriplet`, `TripletContrastive`; each has its functions as `loss.phi` and `loss.psi`.

    Source:
        Tian 2022 (alpha-CL).

    Example:
        >>> import torch
        >>> from couplings import PairLoss
        >>> z = torch.eye(4)
        >>> round(PairLoss(torch.log1p, torch.exp)(z, z).item(), 4)
        1.1654
    """

    def __init__(
        self, phi: Callable[[Tensor], Tensor], psi: Callable[[Tensor], Tensor], **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        for name, function in (("phi", phi), ("psi", psi)):
            checks.require(callable(function), f"{name} must be a function of a tensor, got {function!r}")
        self._phi, self._psi = phi, psi

    def phi(self, x: Tensor) -> Tensor:
        """The outer function."""
        return self._phi(x)

    def psi(self, x: Tensor) -> Tensor:
        """The pair function."""
        return self._psi(x)

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean of phi(xi)."""
        near = batch.scores(2.0, batch.same, SquaredEuclidean())  # -d_ij^2
        positive = -near.along(batch.positives)  # d_ip^2, (N, views - 1)
        xi = torch.stack([near.row_sum(self.psi, d) for d in positive.T])
        return _elementwise(self.phi(xi), xi).mean()


def _elementwise(result: Tensor, x: Tensor) -> Tensor:
    checks.tensor("what phi returns", result)
    same = result.shape == x.shape
    checks.require(same, f"phi must act on each entry alone: {tuple(x.shape)} became {tuple(result.shape)}")
    return result


class _Linear(PairLoss):
    """phi(x) = x."""

    def __init__(self, **options: Unpack[Options]) -> None:
        Loss.__init__(self, **options)

    def phi(self, x: Tensor) -> Tensor:
        """The identity."""
        return x


class Triplet(_Linear):
    """Triplet loss over all negatives: phi(x) = x, psi(x) = [x + margin]_+.

        loss = mean_i mean_p sum_j [d_ip^2 - d_ij^2 + margin]_+

    Args:
        margin: >= 0, in units of d^2 = 1 - cosine.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        alpha_ij = 1 where the triplet violates the margin, else 0. Equals pytorch-metric-learning's TripletMarginLoss
        with a sum over triplets, squared distances and twice the margin, halved and divided by the anchors.

    Source:
        Schroff et al. 2015; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import Triplet
        >>> z = torch.eye(4)
        >>> Triplet(margin=1.5)(z, z).item()
        3.0
    """

    def __init__(self, margin: float = 0.5, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        checks.finite_nonnegative("margin", margin)
        self.margin = margin

    def psi(self, x: Tensor) -> Tensor:
        """[x + margin]_+."""
        return functional.relu(x + self.margin)


class ModifiedTriplet(_Linear):
    """Modified triplet loss: phi(x) = x, psi(x) = sigmoid(slope x).

        loss = mean_i mean_p sum_j sigmoid(slope (d_ip^2 - d_ij^2))

    Args:
        slope: > 0, per unit of d^2 = 1 - cosine.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        slope -> infinity: the number of negatives nearer than the positive.

    Source:
        Coria et al. 2020; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import ModifiedTriplet
        >>> z = torch.eye(4)
        >>> round(ModifiedTriplet(slope=5.0)(z, z).item(), 4)
        0.0402
    """

    def __init__(self, slope: float = 5.0, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        checks.finite_positive("slope", slope)
        self.slope = slope

    def psi(self, x: Tensor) -> Tensor:
        """sigmoid(slope x)."""
        return torch.sigmoid(self.slope * x)


class TripletContrastive(_Linear):
    """Triplet contrastive, the quadratic loss: phi(x) = x, psi(x) = x, so every pair weighs the same.

        loss = mean_i mean_p sum_j (d_ip^2 - d_ij^2)

    Args:
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        alpha = 1. Its maximum energy is a principal component of the contrastive covariance; without the other members'
        focus on near negatives it collapses to few dimensions.

    Source:
        Ji et al. 2021; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import TripletContrastive
        >>> z = torch.eye(4)
        >>> TripletContrastive()(z, z).item()
        -6.0
    """

    def psi(self, x: Tensor) -> Tensor:
        """The identity."""
        return x
