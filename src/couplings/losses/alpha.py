"""alpha-CL: constant pair weights from a coupling of distances, and the energy under them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import at_least_single, solved_below
from ..basics.transforms import uncompiled
from ..pieces.costs import Cost, DistancePower, SquaredEuclidean, is_cost
from ..pieces.marginals import Fixed
from ..pieces.rules import Rule, resolve_rule
from ..plans.coupling import Coupling
from ..plans.softmax import row_softmax
from ..plans.solve import couple
from .base import Couplings, Loss, Options
from .batch import Batch
from .build import Sides

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Energy(Loss):
    """sum_ij P_ij (d_ip^2 - d_ij^2) under a plan of the negatives, a constant by default, rows of total mass one."""

    def __init__(self, temperature: float | Tensor, *, detach_weights: bool = True, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        checks.flag("detach_weights", detach_weights)
        learnt = isinstance(temperature, Tensor) and temperature.requires_grad
        checks.require(not learnt, "temperature cannot be learnt here: its weights are constants; pass a float")
        checks.temperature(temperature)
        self.temperature, self.detach_weights = temperature, detach_weights

    def _seen(self, batch: Batch) -> Batch:
        """The batch that weights are made of."""
        return batch.detach() if self.detach_weights else batch

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Half the squared distances: positives minus weighed negatives."""
        plan = couplings["negatives"]
        scores = batch.scores(1.0, batch.same, SquaredEuclidean())
        positives = scores.along(batch.positives).mean(1)
        return ((plan.expect(scores) - positives) * plan.a).sum() / 2


class AlphaCL(_Energy):
    """alpha-CL with the exact min player: pair weights that minimise the regularised energy.

        alpha = argmin over rows of sum 1, alpha >= 0, of  sum_ij alpha_ij d_ij^2 + tau R(alpha),   detached
        loss  = mean_i mean_p sum_j alpha_ij (d_ip^2 - d_ij^2),   d^2 = |z_i - z_j|^2 / 2   (1 - cosine for unit rows)

    j over the negatives. By rule: "entropic" (R = sum alpha log alpha): alpha = softmax_j(-d_ij^2 / tau); "quadratic"
    (R = |alpha|^2 / 2): alpha = [mu_i - d_ij^2]_+ / tau, the projection on the simplex, most entries exactly zero;
    `Power(q)`: alpha = ((q - 1)(d_ij^2 + mu_i) / tau)^(-1 / (q - 1)). As a coupling: rows Fixed, columns Free. The loss
    is minus the energy that the max player ascends, so its value is no measure of progress by itself.

    Args:
        temperature: tau > 0 of the weights, a constant: constant weights pass no gradient on.
        rule: "entropic", "quadratic", "power" (q = 2) or a `Rule`.
        cost: the score that the weights are made of, in place of -d^2; `LogDistance(shift, power)` gives the released
            "inverse" weights (d^2 + shift)^-power at temperature 1.
        detach_weights: the weights are constants, as in the paper; False lets the gradient through them, the paper's
            ablation, in which the same parameters minimise and maximise.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Entropic, unit rows: tau times the gradient of `DecoupledInfoNCE`. The released quadratic weights use a
        threshold one element too late, so that their rows do not sum to one; these do.

    Source:
        Tian 2022.

    Example:
        >>> import torch
        >>> from couplings import AlphaCL
        >>> z = torch.eye(4)
        >>> round(AlphaCL(temperature=0.5, rule="quadratic")(z, z).item(), 4)
        -1.0
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        rule: str | Rule = "entropic",
        cost: Cost | None = None,
        *,
        detach_weights: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(temperature, detach_weights=detach_weights, **options)
        self.rule, self.cost = resolve_rule(rule), DistancePower(2.0) if cost is None else cost
        checks.require(is_cost(self.cost), f"cost must be an object with a score method, got {cost!r}")

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The weights of the "negatives"."""
        temperature = self.rule.per_column(self.temperature, batch.gram.shape[1])
        return {"negatives": couple(self._seen(batch).scores(temperature, batch.same, self.cost), rule=self.rule)}


class AlphaCLDirect(_Energy):
    """alpha-CL with direct weights: the energy under a row-normalised coupling of distances.

        alpha_ij = exp(-d_ij^p / tau) / sum_k exp(-d_ik^p / tau)   over the negatives, detached
        loss = mean_i mean_p sum_j alpha_ij (d_ip^2 - d_ij^2),   d^2 = |z_i - z_j|^2 / 2   (1 - cosine for unit rows)

    As a coupling: rows Fixed, columns Free, entropic with score -d^p. The loss is minus the energy that the max
    player ascends, so it is negative in a good space and its value is no measure of progress by itself.

    Args:
        temperature: tau > 0 of the weights, a constant: constant weights pass no gradient on.
        p: power of the distance > 0; 4 did best in the paper, 2 gives the weights of InfoNCE.
        detach_weights: the weights are constants, as in the paper; False lets the gradient through them, the paper's
            ablation, in which the same parameters minimise and maximise.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        p = 2: `AlphaCL`. With `negatives=`: half the gradient of CACR with detached weights and
        t_negative = 1 / (2 tau); in a batch CACR draws its negatives from one other view at a time.

    Source:
        Tian 2022 (alpha-CL-direct).

    Example:
        >>> import torch
        >>> from couplings import AlphaCLDirect
        >>> z = torch.eye(4)
        >>> round(AlphaCLDirect(temperature=0.5, p=4.0)(z, z).item(), 4)
        -1.0
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        p: float = 4.0,
        *,
        detach_weights: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(temperature, detach_weights=detach_weights, **options)
        checks.finite_positive("p", p)
        self.p = p

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The weights of the "negatives"."""
        return {"negatives": couple(self._seen(batch).scores(self.temperature, batch.same, DistancePower(self.p)))}


class AlphaCLPerSample(_Energy):
    """alpha-CL with one weight an anchor: anchors among near negatives count, their negatives alike.

        r_i  = sum_j exp(-d_ij^2 / tau) / sum_kj exp(-d_kj^2 / tau)   over the negatives, detached
        loss = sum_i r_i mean_p mean_j (d_ip^2 - d_ij^2)

    Weights of rank one. As a coupling: rows Fixed at r, columns Free, uniform over the negatives.

    Args:
        temperature: tau > 0 of the weights, a constant.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        tau -> infinity: `AlphaCL` at infinite temperature, the quadratic loss divided by the number of negatives.

    Source:
        Tian 2022, released code.

    Example:
        >>> import torch
        >>> from couplings import AlphaCLPerSample
        >>> z = torch.eye(4)
        >>> round(AlphaCLPerSample()(z, z).item(), 4)
        -1.0
    """

    def __init__(self, temperature: float | Tensor = 0.5, **options: Unpack[Options]) -> None:
        super().__init__(temperature, **options)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """Uniform "negatives" under anchors that weigh as their kernel."""
        batch = batch.detach()
        near = couple(batch.scores(self.temperature, batch.same, DistancePower(2.0)))
        mass = torch.softmax(near.log_partition(), 0)
        return {"negatives": row_softmax(batch.scores(math.inf, batch.same), Fixed(mass))}


class AlphaCLLowRank(AlphaCL):
    """alpha-CL with low-rank weights: the weight matrix cut to its leading singular values.

        alpha = U_k S_k V_k^T of the N x M matrix of `AlphaCL`'s weights, detached; pairs that may not repel dropped
        loss  = mean_i mean_p sum_j alpha_ij (d_ip^2 - d_ij^2)

    Truncated weights may be slightly negative and rows do not sum to one. The coupling shown is the full one.
    Computed in double precision throughout: where singular values nearly meet at the cut, rounding is amplified.

    Args:
        temperature: tau > 0 of the weights, a constant.
        rank: k >= 1.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        rank >= min(N, M): `AlphaCL`.

    Source:
        Tian 2022, released code.

    Example:
        >>> import torch
        >>> from couplings import AlphaCLLowRank
        >>> z = torch.eye(4)
        >>> round(AlphaCLLowRank(rank=8)(z, z).item(), 4)
        -1.0
    """

    def __init__(self, temperature: float | Tensor = 0.5, rank: int = 8, **options: Unpack[Options]) -> None:
        super().__init__(temperature, **options)
        checks.count("rank", rank)
        checks.require(rank >= 1, f"rank must be >= 1, got {rank}")
        self.rank = rank

    @uncompiled
    def forward(self, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
        """The loss of the views, in their precision (single at least)."""
        return _as_given(super().forward(*_doubled(views), **sides), views)

    def pair_weights(self, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
        """d loss / d s_ij, shape (N, M); see `Loss.pair_weights`."""
        return _as_given(super().pair_weights(*_doubled(views), **sides), views)

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The energy under the truncated weights."""
        plan = couplings["negatives"]
        scores = batch.scores(1.0, batch.same, SquaredEuclidean())
        full = plan.plan()
        weights = torch.where(full > 0, _truncated(full, self.rank), 0.0)
        positives = scores.along(batch.positives).mean(1)
        return ((weights * scores.unmasked()).sum() - (weights.sum(1) * positives).sum()) / 2


def _doubled(views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for v in views)


def _as_given(result: Tensor, views: tuple[Tensor, ...]) -> Tensor:
    return result.to(at_least_single(views[0]).dtype)


def _truncated(matrix: Tensor, rank: int) -> Tensor:
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    kept: Tensor = (u[:, :rank] * s[:rank]) @ v[:rank]
    return kept


class BalancedAlphaCL(_Energy):
    """alpha-CL with a balanced plan: no sample is everybody's negative. Ours.

        alpha = argmin sum_ij alpha_ij d_ij^p + tau sum alpha log alpha   with rows AND columns of equal mass, detached
        loss  = mean_i mean_p sum_j alpha_ij (d_ip^2 - d_ij^2)

    The min player must spread its attention over the batch: a hub cannot draw the weights of all anchors, an outlier
    still repels someone. As a coupling: rows Fixed, columns Fixed, entropic with score -d^p.

    Args:
        temperature: tau > 0 of the weights, a constant.
        p: power of the distance > 0.
        sweeps: of rows then columns, so that columns are exact. None sweeps on until the rows' marginal error is below
            1e-10 (float64) or 1e-5 (float32), with a `CouplingWarning` if 1,000 sweeps do not get there.
        detach_weights: the weights are constants, as in the paper; False lets the gradient through them, the paper's
            ablation, in which the same parameters minimise and maximise.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Columns Free instead: `AlphaCLDirect`.

    Source:
        This library.

    Example:
        >>> import torch
        >>> from couplings import BalancedAlphaCL
        >>> z = torch.eye(4)
        >>> round(BalancedAlphaCL(temperature=0.5)(z, z).item(), 4)
        -1.0
    """

    shares_columns = True

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        p: float = 2.0,
        *,
        sweeps: int | None = 20,
        detach_weights: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(temperature, detach_weights=detach_weights, **options)
        checks.finite_positive("p", p)
        if sweeps is not None:
            checks.count("sweeps", sweeps)
        self.p, self.sweeps = p, sweeps

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced weights of the "negatives"."""
        scores = self._seen(batch).scores(self.temperature, batch.same, DistancePower(self.p))
        if self.sweeps is not None:
            return {"negatives": couple(scores, Fixed(), Fixed(), sweeps=self.sweeps)}
        return {"negatives": couple(scores, Fixed(), Fixed(), sweeps=1000, tol=solved_below(scores.dtype))}
