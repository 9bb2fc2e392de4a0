"""Losses whose coupling samples negatives: it reweighs them inside the log-ratio."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import checks
from ..costs import Cost, ExpSquaredEuclidean, SquaredEuclidean, resolve
from ..coupling import Coupling
from ..marginals import Fixed, Free
from ..solve import couple
from .base import Couplings, Loss
from .batch import Batch


class _SampledNegatives(Loss):
    """log-ratio of the positive and N' times the mean negative kernel under the plan, debiased by tau_plus."""

    def __init__(self, temperature: float | Tensor, tau_plus: float, normalize: bool) -> None:
        super().__init__(normalize=normalize)
        checks.finite_positive("temperature", temperature)
        checks.fraction("tau_plus", tau_plus)
        self.temperature, self.tau_plus = temperature, tau_plus

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """mean -log(pos / (pos + Ng)) in logs: nothing of the size exp(1 / tau) is ever formed."""
        kernel = batch.scores(self.temperature, batch.same)
        log_negative = couplings["negatives"].log_expect(kernel)[:, None]  # (N, 1)
        log_positive = kernel.at(batch.rows, batch.positives)  # (N, views - 1)
        debiased = self._debiased(log_negative, log_positive)
        log_count = torch.log(batch.negative_count().to(log_positive))
        return torch.nn.functional.softplus(debiased + log_count - log_positive).mean()

    def _debiased(self, log_negative: Tensor, log_positive: Tensor) -> Tensor:
        """log max((E - tau_plus pos) / (1 - tau_plus), exp(-1 / tau))."""
        if self.tau_plus == 0:
            return log_negative
        # Beyond share = 1 the floor holds; the clamp keeps exp, and with it the gradient, finite.
        ratio = (log_positive - log_negative).clamp_max(1 - math.log(self.tau_plus))
        share = self.tau_plus * torch.exp(ratio)
        left = torch.where(share < 1, share, 0.0)
        debiased = log_negative + torch.log1p(-left) - math.log1p(-self.tau_plus)
        floor = torch.as_tensor(-1 / self.temperature, dtype=debiased.dtype, device=debiased.device)
        return torch.where(share < 1, torch.maximum(debiased, floor), floor)


class HCL(_SampledNegatives):
    """Hard negatives by exponential tilting, debiased.

        w_ij = softmax_j(beta s_ij / tau)   over the negatives, differentiable
        Ng_i = N' max( (E_w[exp(s_ij / tau)] - tau_plus exp(s_ip / tau)) / (1 - tau_plus), exp(-1 / tau) )
        loss = mean_i -log( pos / (pos + Ng_i) ),   N' negatives an anchor

    As a coupling: rows Fixed, columns Free, entropic at temperature tau / beta, positives masked.

    Args:
        temperature: tau > 0.
        beta: hardness >= 0; 0 weighs all negatives alike (debiased InfoNCE).
        tau_plus: prior probability that a negative is a positive, in [0, 1). At low temperatures many anchors sit on
            the floor exp(-1 / tau), where the negatives pass no gradient on.
        detach_weights: stop the gradient in w, so that only the sampling changes.
        normalize: see `Loss`.

    Relations:
        beta = 0 and tau_plus = 0, two views: InfoNCE. beta = 0: debiased contrastive loss. The weights equal a
        row plan with squared Euclidean cost at reg = 2 tau / beta.

    Cost:
        Two N x M matrices.

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
        temperature: float | Tensor = 0.5,
        beta: float = 1.0,
        tau_plus: float = 0.1,
        *,
        detach_weights: bool = False,
        normalize: bool = True,
    ) -> None:
        super().__init__(temperature, tau_plus, normalize)
        checks.finite_nonnegative("beta", beta)
        checks.flag("detach_weights", detach_weights)
        self.beta, self.detach_weights = beta, detach_weights

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The tilted "negatives"."""
        tilt = self.temperature / self.beta if self.beta else math.inf
        plan = couple(batch.scores(tilt, batch.same), Fixed(), Free())
        return {"negatives": plan.detach() if self.detach_weights else plan}


class HCLOT(_SampledNegatives):
    """Hard negatives by regularised optimal transport.

        P    = argmin <P, C> + reg KL(P, a x b),  rows and columns Fixed, positives masked, detached
        Ng_i = N' max( (E_{P(.|i)}[exp(s_ij / tau)] - tau_plus pos) / (1 - tau_plus), exp(-1 / tau) )
        loss = mean_i -log( pos / (pos + Ng_i) )

    Unlike HCL no candidate can be everyone's hard negative: each column carries the same mass.

    Args:
        temperature: tau > 0 of the loss.
        reg: entropic regularisation > 0 of the plan, in units of the cost; smaller is harder.
        tau_plus: prior probability that a negative is a positive, in [0, 1).
        cost: "sqeuclidean", "exp", or any `Cost`.
        kappa: shift of the "exp" cost, exp(|q - k|^2 - kappa); 1 when None. An error with any other cost.
        sweeps: exactly so many sweeps; by default until the marginal error is below 1e-10 (float64) or 1e-5
            (float32), with a `CouplingWarning` if 1,000 sweeps do not get there.
        normalize: see `Loss`.

    Relations:
        reg -> infinity: uniform negatives, debiased InfoNCE. Columns Free instead of Fixed: HCL with
        beta = 2 tau / reg.

    Cost:
        Two passes over an N x N matrix a sweep, nothing kept.

    Source:
        Jiang, Ishwar, Aeron 2021.

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
        sweeps: int | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__(temperature, tau_plus, normalize)
        checks.finite_positive("reg", reg)
        if sweeps is not None:
            checks.count("sweeps", sweeps)
        self.reg, self.cost, self.sweeps = reg, _cost(cost, kappa), sweeps

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced "negatives", a constant."""
        scores = batch.detach().scores(self.reg, batch.same, self.cost)
        if self.sweeps is not None:
            return {"negatives": couple(scores, Fixed(), Fixed(), sweeps=self.sweeps)}
        tol = 1e-10 if scores.storage.logits.dtype == torch.float64 else 1e-5
        return {"negatives": couple(scores, Fixed(), Fixed(), sweeps=1000, tol=tol)}


def _cost(cost: str | Cost, kappa: float | None) -> Cost:
    shifted = isinstance(cost, str) and cost == "exp"
    checks.require(
        shifted or kappa is None, f"kappa belongs to cost='exp' only, got kappa={kappa!r} with cost={cost!r}"
    )
    exp = ExpSquaredEuclidean() if kappa is None else ExpSquaredEuclidean(kappa)
    return resolve(cost, {"sqeuclidean": SquaredEuclidean(), "exp": exp})
