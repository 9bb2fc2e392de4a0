"""The (phi, psi) family: phi of a sum of psi over distance differences; alpha_ij = phi'(xi_i) psi'(d_i^2 - d_ij^2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from .. import checks
from ..costs import DistancePower
from ..coupling import Coupling
from ..solve import couple
from .base import Couplings, Loss, Options
from .batch import Batch

if TYPE_CHECKING:
    from typing_extensions import Unpack

_HALF = DistancePower(2.0)
"""-d^2 with d^2 = |z_i - z_j|^2 / 2: the family's distance."""


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
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        Members: `ScaledInfoNCE`, `MINE`, `Triplet`, `SoftTriplet`, `NPlusOneTuplet`, `LiftedStructured`,
        `ModifiedTriplet`, `TripletContrastive`; each has its functions as `loss.phi` and `loss.psi`.

    Cost:
        One N x M matrix and what psi saves, for each positive.

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
        near = batch.scores(1.0, batch.same, _HALF)
        positive = -near.at(batch.rows, batch.positives)  # d_ip^2, (N, views - 1)
        return torch.stack([self.phi(near.row_sum(self.psi, d)) for d in positive.T]).mean()


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
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        alpha_ij = 1 where the triplet violates the margin, else 0. Equals pytorch-metric-learning's TripletMarginLoss
        with a sum over triplets, squared distances and twice the margin, halved and divided by the anchors.

    Cost:
        One N x M matrix, kept for the gradient, for each positive.

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
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        slope -> infinity: the number of negatives nearer than the positive.

    Cost:
        One N x M matrix, kept for the gradient, for each positive.

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
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        alpha = 1. Its maximum energy is a principal component of the contrastive covariance; without the other members'
        focus on near negatives it collapses to few dimensions.

    Cost:
        One N x M matrix, kept for the gradient.

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


class _Exponential(PairLoss):
    """psi(x) = exp(x / temperature + margin): xi is a partition function, kept as its logarithm.

    As a coupling: rows Fixed, columns Free, entropic with score -d^2, over the negatives; alpha is its row times
    xi phi'(xi) / temperature.
    """

    def __init__(self, temperature: float | Tensor = 1.0, margin: float = 0.0, **options: Unpack[Options]) -> None:
        Loss.__init__(self, **options)
        checks.finite_positive("temperature", temperature)
        checks.finite("margin", margin)
        self.temperature, self.margin = temperature, margin

    def psi(self, x: Tensor) -> Tensor:
        """exp(x / temperature + margin)."""
        return torch.exp(x / self.temperature + self.margin)

    def phi(self, x: Tensor) -> Tensor:
        """The outer function of xi."""
        return self.phi_of_exp(torch.log(x))

    @abstractmethod
    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """phi(exp(log_xi)), without forming the exponential."""

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The softmax over the "negatives"."""
        return {"negatives": couple(batch.scores(self.temperature, batch.same, _HALF))}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean of phi(xi), xi in logarithms."""
        plan = couplings["negatives"]
        positive = -plan.scores.at(batch.rows, batch.positives)  # d_ip^2 / temperature
        return self.phi_of_exp(plan.log_partition()[:, None] + positive + self.margin).mean()


class ScaledInfoNCE(_Exponential):
    """InfoNCE as a member of the family, so tau times InfoNCE: phi(x) = tau log(e0 + x), psi(x) = exp(x / tau).

        loss = mean_i mean_p tau log( e0 + sum_j exp((d_ip^2 - d_ij^2) / tau) )

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        e0: 1 keeps the positive in the denominator; 0 is the decoupled form. >= 0.
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        tau times `InfoNCE` (e0 = 1) or `DecoupledInfoNCE` (e0 = 0). alpha_ij = xi / (e0 + xi) softmax_j(-d_ij^2 / tau).

    Cost:
        One N x M matrix, kept for the gradient.

    Source:
        Tian 2022.

    Example:
        >>> import torch
        >>> from couplings import ScaledInfoNCE
        >>> z = torch.eye(4)
        >>> round(ScaledInfoNCE(temperature=0.5)(z, z).item(), 4)
        0.2972
    """

    def __init__(self, temperature: float | Tensor = 0.5, e0: float = 1.0, **options: Unpack[Options]) -> None:
        super().__init__(temperature, **options)
        checks.finite_nonnegative("e0", e0)
        self.e0 = e0

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """tau log(e0 + exp)."""
        return self.temperature * (_log_plus(log_xi, self.e0) if self.e0 else log_xi)


class MINE(_Exponential):
    """The Donsker-Varadhan bound on mutual information, negated: phi(x) = log x, psi(x) = exp(x).

        loss = mean_i mean_p [ d_ip^2 + log sum_j exp(-d_ij^2) ]

    Args:
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        `DecoupledInfoNCE(temperature=1)`.

    Cost:
        One N x M matrix, kept for the gradient.

    Source:
        Belghazi et al. 2018; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import MINE
        >>> z = torch.eye(4)
        >>> round(MINE()(z, z).item(), 4)
        0.7918
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(**options)

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """The logarithm itself."""
        return log_xi


class SoftTriplet(_Exponential):
    """Soft triplet loss: phi(x) = tau log(1 + x), psi(x) = exp(x / tau + margin).

        loss = mean_i mean_p tau log( 1 + sum_j exp((d_ip^2 - d_ij^2) / tau + margin) )

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        margin: in logits.
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        margin = 0: `ScaledInfoNCE`. tau -> 0, margin m / tau: the hardest negative's [d_ip^2 - d_ij^2 + m]_+.

    Cost:
        One N x M matrix, kept for the gradient.

    Source:
        Tian et al. 2020; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import SoftTriplet
        >>> z = torch.eye(4)
        >>> round(SoftTriplet(temperature=0.5, margin=0.0)(z, z).item(), 4)
        0.2972
    """

    def __init__(self, temperature: float | Tensor = 0.5, margin: float = 0.5, **options: Unpack[Options]) -> None:
        super().__init__(temperature, margin, **options)

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """tau log(1 + exp)."""
        return self.temperature * functional.softplus(log_xi)


class NPlusOneTuplet(_Exponential):
    """N+1 tuplet loss, multi-class N-pair: phi(x) = log(1 + x), psi(x) = exp(x).

        loss = mean_i mean_p log( 1 + sum_j exp(d_ip^2 - d_ij^2) )

    Args:
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        `InfoNCE(temperature=1)`.

    Cost:
        One N x M matrix, kept for the gradient.

    Source:
        Sohn 2016; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import NPlusOneTuplet
        >>> z = torch.eye(4)
        >>> round(NPlusOneTuplet()(z, z).item(), 4)
        1.1654
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(**options)

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """log(1 + exp)."""
        return functional.softplus(log_xi)


class LiftedStructured(_Exponential):
    """Lifted structured loss: phi(x) = [log x]_+^2, psi(x) = exp(x + margin).

        loss = mean_i mean_p [ d_ip^2 + margin + log sum_j exp(-d_ij^2) ]_+^2

    Args:
        margin: in units of d^2 = 1 - cosine.
        options: `normalize`, `across_views`; see `Loss`.

    Relations:
        The square of `MINE` above -margin.

    Cost:
        One N x M matrix, kept for the gradient.

    Source:
        Oh Song et al. 2016; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import LiftedStructured
        >>> z = torch.eye(4)
        >>> round(LiftedStructured(margin=1.0)(z, z).item(), 4)
        3.2104
    """

    def __init__(self, margin: float = 1.0, **options: Unpack[Options]) -> None:
        super().__init__(margin=margin, **options)

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """[log_xi]_+^2."""
        return functional.relu(log_xi) ** 2


def _log_plus(log_x: Tensor, e0: float) -> Tensor:
    """log(e0 + exp(log_x))."""
    return torch.logaddexp(log_x, torch.log(log_x.new_tensor(e0)))
