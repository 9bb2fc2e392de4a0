"""Losses whose coupling samples negatives: it reweighs them inside the log-ratio."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import softplus, solved_below
from ..pieces.costs import Cost, ExpSquaredEuclidean, SquaredEuclidean, resolve
from ..pieces.marginals import KL, Fixed, Free, Marginal
from ..pieces.rules import Entropic, Rule, resolve_rule
from ..plans.coupling import Coupling
from ..plans.solve import couple
from .base import Couplings
from .batch import Batch
from .temperature import Tempered, TemperedOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _SampledNegatives(Tempered):
    """log-ratio of the positive and N' times the mean negative kernel under the plan, debiased by tau_plus."""

    def __init__(
        self, temperature: float | Tensor, tau_plus: float, detach_weights: bool, **options: Unpack[TemperedOptions]
    ) -> None:
        super().__init__(temperature, **options)
        checks.fraction("tau_plus", tau_plus)
        checks.flag("detach_weights", detach_weights)
        self.tau_plus, self.detach_weights = tau_plus, detach_weights

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """mean -log(pos / (pos + Ng)) in logs: nothing of the size exp(1 / tau) is ever formed."""
        kernel = batch.scores(self.temperature, batch.same)
        log_negative = couplings["negatives"].log_expect(kernel)[:, None]  # (N, 1)
        log_positive = kernel.along(batch.positives)  # (N, views - 1)
        debiased = log_debiased(log_negative, log_positive, self.tau_plus, -1 / self.temperature)
        log_count = torch.log(batch.negative_count().to(log_positive))
        return softplus(debiased + log_count - log_positive).mean()


def log_debiased(log_negative: Tensor, log_positive: Tensor, tau_plus: float, log_floor: float | Tensor) -> Tensor:
    """log max((E - tau_plus pos) / (1 - tau_plus), floor): the mean kernel without the positives hidden in it."""
    if tau_plus == 0:
        return log_negative
    # Beyond share = 1 the floor holds; the clamp keeps exp, and with it the gradient, finite.
    ratio = (log_positive - log_negative).clamp_max(1 - math.log(tau_plus))
    share = tau_plus * torch.exp(ratio)
    debiased = log_negative + torch.log1p(-torch.where(share < 1, share, 0.0)) - math.log1p(-tau_plus)
    floor = torch.zeros_like(debiased) + log_floor
    return torch.where(share < 1, torch.maximum(debiased, floor), floor)


class DebiasedInfoNCE(_SampledNegatives):
    """Debiased InfoNCE: negatives corrected for the positives among them.

        Ng_i = N' max( (mean_j exp(s_ij / tau) - tau_plus exp(s_ip / tau)) / (1 - tau_plus), exp(-1 / tau) )
        loss = mean_i mean_p -log( pos / (pos + Ng_i) ),   N' negatives an anchor

    As a coupling: rows Fixed, columns Free, entropic at infinite temperature: uniform over the negatives. Not where ids
    or labels are known, which mask false negatives exactly: with the true prior it gained nothing over InfoNCE.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        tau_plus: prior probability that a negative is a positive, in [0, 1), whatever the batch size: a class's
            share of the data, some 1e-4 where each sample is its own class. At low temperatures many anchors sit on
            the floor exp(-1 / tau), where the negatives pass no gradient on.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        `HCL(beta=0)`. tau_plus = 0, two views: InfoNCE.

    Source:
        Chuang et al. 2020 (DCL).

    Example:
        >>> import torch
        >>> from couplings import DebiasedInfoNCE
        >>> z = torch.eye(4)
        >>> round(DebiasedInfoNCE(temperature=0.5, tau_plus=0.1)(z, z).item(), 4)
        0.2115
    """

    def __init__(
        self, temperature: float | Tensor = 0.2, tau_plus: float = 0.01, **options: Unpack[TemperedOptions]
    ) -> None:
        super().__init__(temperature, tau_plus, True, **options)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """Uniform "negatives"."""
        return {"negatives": couple(batch.detach().scores(math.inf, batch.same))}


class HCL(_SampledNegatives):
    """Hard negatives by exponential tilting, debiased.

        w_ij = softmax_j(beta s_ij / tau)   over the negatives, differentiable
        Ng_i = N' max( (E_w[exp(s_ij / tau)] - tau_plus exp(s_ip / tau)) / (1 - tau_plus), exp(-1 / tau) )
        loss = mean_i mean_p -log( pos / (pos + Ng_i) ),   N' negatives an anchor

    As a coupling: rows Fixed, columns Free, entropic at temperature tau / beta, positives masked. Not with one to four
    negatives an anchor, where it lost to InfoNCE, nor with beta at temperatures of 0.1 and below.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        beta: hardness >= 0; 0 weighs all negatives alike (debiased InfoNCE).
        tau_plus: prior probability that a negative is a positive, in [0, 1), whatever the batch size: a class's
            share of the data, some 1e-4 where each sample is its own class. At low temperatures many anchors sit on
            the floor exp(-1 / tau), where the negatives pass no gradient on.
        detach_weights: stop the gradient in w, so that only the sampling changes.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        beta = 0 and tau_plus = 0, two views: InfoNCE. beta = 0: `DebiasedInfoNCE`. The weights equal a row plan with
        squared Euclidean cost at reg = 2 tau / beta.

    Source:
        Robinson et al. 2021; the tilting is the one-sided case of Jiang et al. 2021.

    Example:
        >>> import torch
        >>> from couplings import HCL
        >>> z = torch.eye(4)
        >>> round(HCL(temperature=0.5, beta=0.0, tau_plus=0.0)(z, z).item(), 4)
        0.5944
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.3,
        beta: float = 1.0,
        tau_plus: float = 0.0,
        *,
        detach_weights: bool = False,
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, tau_plus, detach_weights, **options)
        checks.finite_nonnegative("beta", beta)
        self.beta = beta

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The tilted "negatives"."""
        tilt = self.temperature / self.beta if self.beta else math.inf
        plan = couple(batch.scores(tilt, batch.same), Fixed(), Free())
        return {"negatives": plan.detach() if self.detach_weights else plan}


class _TransportedNegatives(_SampledNegatives):
    """A plan with a column marginal at a regularisation of its own, solved to a tolerance."""

    shares_columns = True

    def __init__(
        self,
        temperature: float | Tensor,
        reg: float,
        tau_plus: float,
        cost: Cost,
        sweeps: int | None,
        detach_weights: bool,
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, tau_plus, detach_weights, **options)
        checks.finite_positive("reg", reg)
        if sweeps is not None:
            checks.count("sweeps", sweeps)
        self.reg, self.cost, self.sweeps = reg, cost, sweeps

    def _plan(self, batch: Batch, cols: Marginal, rule: Rule) -> dict[str, Coupling]:
        batch = batch.detach() if self.detach_weights else batch
        scores = batch.scores(rule.per_column(self.reg, batch.gram.shape[1]), batch.same, self.cost)
        sweeps, tol = (1000, solved_below(scores.dtype)) if self.sweeps is None else (self.sweeps, None)
        relaxed = isinstance(cols, KL)  # whose rows are exact after a row step only
        return {"negatives": couple(scores, Fixed(), cols, sweeps=sweeps, tol=tol, row_step=relaxed, rule=rule)}


class HCLOT(_TransportedNegatives):
    """Hard negatives by regularised optimal transport.

        P    = argmin <P, C> + reg KL(P, a x b),  rows and columns Fixed, positives masked, detached
        Ng_i = N' max( (E_{P(.|i)}[exp(s_ij / tau)] - tau_plus pos) / (1 - tau_plus), exp(-1 / tau) )
        loss = mean_i mean_p -log( pos / (pos + Ng_i) )

    Unlike HCL no candidate can be everyone's hard negative: each column carries the same mass.

    Args:
        temperature: tau > 0 of the loss; a tensor or `nn.Parameter` carries gradient.
        reg: regularisation > 0 of the plan, in units of the cost; smaller is harder.
        tau_plus: prior probability that a negative is a positive, in [0, 1).
        cost: "sqeuclidean", "exp", or any `Cost`.
        kappa: shift of the "exp" cost, exp(|q - k|^2 - kappa); 1 when None. An error with any other cost.
        rule: "entropic", "quadratic" (each anchor samples a few negatives, the others not at all) or a `Rule`. Rows
            are P(j | i) = phi(theta_i + gamma_j - C_ij / reg) whatever the batch size.
        sweeps: exactly so many sweeps; by default until the marginal error is below 1e-10 (float64) or 1e-5
            (float32), with a `CouplingWarning` if 1,000 sweeps do not get there. Either way rows sample by the
            plan's conditionals P(j | i).
        detach_weights: the plan is a constant, as in the paper; False backpropagates through its sweeps.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        reg -> infinity: uniform negatives, debiased InfoNCE. Columns Free instead of Fixed, unit rows: HCL with
        beta = 2 tau / reg; `RelaxedHCLOT` lies between.

    Source:
        Jiang, Ishwar, Aeron 2021. The quadratic rule is this library's.

    Example:
        >>> import torch
        >>> from couplings import HCLOT
        >>> z = torch.eye(4)
        >>> round(HCLOT(temperature=0.5, reg=0.7, tau_plus=0.0)(z, z).item(), 4)
        0.5944
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        reg: float = 0.7,
        tau_plus: float = 0.0,
        cost: str | Cost = "sqeuclidean",
        kappa: float | None = None,
        *,
        rule: str | Rule = "entropic",
        sweeps: int | None = None,
        detach_weights: bool = True,
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, reg, tau_plus, _cost(cost, kappa), sweeps, detach_weights, **options)
        self.rule = resolve_rule(rule)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced "negatives"."""
        return self._plan(batch, Fixed(), self.rule)


class RelaxedHCLOT(_TransportedNegatives):
    """KL-relaxed hard negatives: columns may leave their share of mass at a price. Ours.

        P    = argmin <P, C> + reg KL(P, a x b) + rho KL(P^T 1, b),  rows Fixed, positives masked, detached
        Ng_i, loss: those of HCLOT

    HCL lets a hub be everyone's hard negative, HCL-OT forces outliers to be someone's; rho chooses in between.

    Args:
        temperature: tau > 0 of the loss; a tensor or `nn.Parameter` carries gradient.
        reg: entropic regularisation > 0 of the plan, in units of the cost; smaller is harder.
        rho: price > 0 of column mass, in units of the cost.
        tau_plus: prior probability that a negative is a positive, in [0, 1).
        cost: "sqeuclidean", "exp", or any `Cost`.
        kappa: shift of the "exp" cost; 1 when None.
        sweeps: exactly so many sweeps; by default to the tolerances of `HCLOT`.
        detach_weights: the plan is a constant; False backpropagates through its sweeps.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Unit rows, rho -> 0: HCL with detached weights, beta = 2 tau / reg. rho -> infinity: HCLOT.

    Source:
        This library.

    Example:
        >>> import torch
        >>> from couplings import RelaxedHCLOT
        >>> z = torch.eye(4)
        >>> round(RelaxedHCLOT(temperature=0.5, rho=1.0)(z, z).item(), 4)
        0.5944
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        reg: float = 0.7,
        rho: float = 1.0,
        tau_plus: float = 0.0,
        cost: str | Cost = "sqeuclidean",
        kappa: float | None = None,
        *,
        sweeps: int | None = None,
        detach_weights: bool = True,
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, reg, tau_plus, _cost(cost, kappa), sweeps, detach_weights, **options)
        checks.constant("rho", rho)
        checks.positive("rho", rho)
        self.rho = rho

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The relaxed "negatives"."""
        return self._plan(batch, KL(self.rho), Entropic())


def _cost(cost: str | Cost, kappa: float | None) -> Cost:
    shifted = isinstance(cost, str) and cost == "exp"
    checks.require(
        shifted or kappa is None, f"kappa belongs to cost='exp' only, got kappa={kappa!r} with cost={cost!r}"
    )
    exp = ExpSquaredEuclidean() if kappa is None else ExpSquaredEuclidean(kappa)
    return resolve(cost, {"sqeuclidean": SquaredEuclidean(), "exp": exp})
