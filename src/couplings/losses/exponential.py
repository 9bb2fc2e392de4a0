"""Members of the (phi, psi) family with psi = exp: sums of exponentials, kept as their logarithms."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ..basics import checks
from ..basics.precision import softplus
from ..pieces.costs import SquaredEuclidean
from ..plans.coupling import Coupling
from ..plans.solve import couple
from .base import Couplings, Options
from .batch import Batch
from .pairs import PairLoss
from .temperature import Tempered, TemperedOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Exponential(Tempered, PairLoss):
    """psi(x) = exp(x / temperature + margin): xi is a partition function, kept as its logarithm.

    As a coupling: rows Fixed, columns Free, entropic with score -d^2, over the negatives; alpha is its row times
    xi phi'(xi) / temperature.
    """

    def __init__(
        self, temperature: float | Tensor = 1.0, margin: float = 0.0, **options: Unpack[TemperedOptions]
    ) -> None:
        super().__init__(temperature, **options)
        checks.finite("margin", margin)
        self.margin = margin

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
        return {"negatives": couple(batch.scores(2 * self.temperature, batch.same, SquaredEuclidean()))}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean of phi(xi), xi in logarithms."""
        plan = couplings["negatives"]
        positive = -plan.scores.along(batch.positives)  # d_ip^2 / temperature
        return self.phi_of_exp(plan.log_partition()[:, None] + positive + self.margin).mean()


class ScaledInfoNCE(_Exponential):
    """InfoNCE as a member of the family, so tau times InfoNCE: phi(x) = tau log(e0 + x), psi(x) = exp(x / tau).

        loss = mean_i mean_p tau log( e0 + sum_j exp((d_ip^2 - d_ij^2) / tau) )

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        e0: 1 keeps the positive in the denominator; 0 is the decoupled form. >= 0.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Unit rows: tau times `InfoNCE` (e0 = 1) or `DecoupledInfoNCE` (e0 = 0).
        alpha_ij = xi / (e0 + xi) softmax_j(-d_ij^2 / tau).

    Source:
        Tian 2022.

    Example:
        >>> import torch
        >>> from couplings import ScaledInfoNCE
        >>> z = torch.eye(4)
        >>> round(ScaledInfoNCE(temperature=0.5)(z, z).item(), 4)
        0.2972
    """

    def __init__(self, temperature: float | Tensor = 0.5, e0: float = 1.0, **options: Unpack[TemperedOptions]) -> None:
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
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Unit rows: `DecoupledInfoNCE(temperature=1)`.

    Source:
        Belghazi et al. 2018; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import MINE
        >>> z = torch.eye(4)
        >>> round(MINE()(z, z).item(), 4)
        0.7918
    """

    tempered = False

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
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        margin = 0: `ScaledInfoNCE`. tau -> 0, margin m / tau: the hardest negative's [d_ip^2 - d_ij^2 + m]_+.

    Source:
        Tian et al. 2020; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import SoftTriplet
        >>> z = torch.eye(4)
        >>> round(SoftTriplet(temperature=0.5, margin=0.0)(z, z).item(), 4)
        0.2972
    """

    def __init__(
        self, temperature: float | Tensor = 0.5, margin: float = 0.5, **options: Unpack[TemperedOptions]
    ) -> None:
        super().__init__(temperature, margin, **options)

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """tau log(1 + exp)."""
        return self.temperature * softplus(log_xi)


class NPlusOneTuplet(_Exponential):
    """N+1 tuplet loss, multi-class N-pair: phi(x) = log(1 + x), psi(x) = exp(x).

        loss = mean_i mean_p log( 1 + sum_j exp(d_ip^2 - d_ij^2) )

    Args:
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Unit rows: `InfoNCE(temperature=1)`.

    Source:
        Sohn 2016; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import NPlusOneTuplet
        >>> z = torch.eye(4)
        >>> round(NPlusOneTuplet()(z, z).item(), 4)
        1.1654
    """

    tempered = False

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(**options)

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """log(1 + exp)."""
        return softplus(log_xi)


class LiftedStructured(_Exponential):
    """Lifted structured loss: phi(x) = [log x]_+^2, psi(x) = exp(x + margin).

        loss = mean_i mean_p [ d_ip^2 + margin + log sum_j exp(-d_ij^2) ]_+^2

    Args:
        margin: in units of d^2 = 1 - cosine.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        The square of `MINE` above -margin.

    Source:
        Oh Song et al. 2016; Tian 2022 for the family.

    Example:
        >>> import torch
        >>> from couplings import LiftedStructured
        >>> z = torch.eye(4)
        >>> round(LiftedStructured(margin=1.0)(z, z).item(), 4)
        3.2104
    """

    tempered = False

    def __init__(self, margin: float = 1.0, **options: Unpack[Options]) -> None:
        super().__init__(margin=margin, **options)

    def phi_of_exp(self, log_xi: Tensor) -> Tensor:
        """[log_xi]_+^2."""
        return functional.relu(log_xi) ** 2


def _log_plus(log_x: Tensor, e0: float) -> Tensor:
    """log(e0 + exp(log_x))."""
    return torch.logaddexp(log_x, torch.log(log_x.new_tensor(e0)))
