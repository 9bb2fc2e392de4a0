"""Losses that match a coupling to a target plan: KL(T, P)."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ..coupling import Coupling
from ..marginals import Fixed, Free
from ..solve import couple
from ..targets import Pairs
from .base import Couplings, Loss
from .batch import Batch


class InfoNCE(Loss):
    """InfoNCE, NT-Xent: each positive against all negatives.

        loss = mean over anchors i and positives p of  -log exp(s_ip / tau) / (exp(s_ip / tau) + sum_j exp(s_ij / tau))

    with j over the negatives. As a coupling: rows Fixed, columns Free, entropic, one plan for each positive (its
    other positives masked), matched to the target that puts each row's mass on that positive.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        normalize: see `Loss`.

    Relations:
        Two views: equals lightly's NTXentLoss and `GCAINCE(sweeps=0)`. More views: equals
        pytorch-metric-learning's NTXentLoss with sample ids as labels.

    Cost:
        views - 1 matrices of N x M.

    Source:
        van den Oord et al. 2018; Chen et al. 2020 (SimCLR).

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> z = torch.eye(4)
        >>> round(InfoNCE(temperature=0.5)(z, z).item(), 4)
        0.5944
    """

    def __init__(self, temperature: float | Tensor = 0.2, *, normalize: bool = True) -> None:
        super().__init__(normalize=normalize)
        checks.finite_positive("temperature", temperature)
        self.temperature = temperature

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """One row-normalised plan a positive: "plan" for two views, "positive 1", ... for more."""
        single = len(batch.partners) == 1
        return {
            "plan" if single else f"positive {k + 1}": couple(
                batch.scores(self.temperature, batch.all_but(partner)),
                Fixed(),
                Free(),
                sweeps=0,
                row_step=True,
            )
            for k, partner in enumerate(batch.partners)
        }

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean over positives of KL(T, P)."""
        pairs = zip(batch.positives.T, couplings.values(), strict=True)
        return torch.stack([Pairs(column[:, None]).divergence(plan) for column, plan in pairs]).mean()


class GCAINCE(Loss):
    """GCA-INCE: InfoNCE with a balanced plan, Sinkhorn's sweeps before the row step.

        P = T sweeps of (rows, columns), one more row step;  loss = KL(T, P)
          = mean_i mean_p  -log P(p | i) - log(views - 1)

    As a coupling: rows Fixed, columns Fixed.

    Args:
        temperature: entropic regularisation > 0.
        sweeps: T >= 0; the gradient is the exact one of T sweeps.
        normalize: see `Loss`.

    Raises:
        InvalidInput: with `keys` or `negatives`, whose columns hold no target mass while a balanced plan must
            put mass there.

    Relations:
        sweeps = 0, two views: InfoNCE. At sweeps = 0 and at convergence dL/ds = (P - T) / temperature; in between the
        gradient is another one, that of the sweeps.

    Cost:
        2 T passes over an N x N matrix; 2 N T numbers kept for the gradient.

    Source:
        Chen et al. 2024 (generalised contrastive alignment).

    Example:
        >>> import torch
        >>> from couplings import GCAINCE
        >>> z = torch.eye(4)
        >>> round(GCAINCE(temperature=0.5, sweeps=5)(z, z).item(), 4)
        0.5944
    """

    def __init__(self, temperature: float | Tensor = 0.2, sweeps: int = 5, *, normalize: bool = True) -> None:
        super().__init__(normalize=normalize)
        checks.finite_positive("temperature", temperature)
        checks.count("sweeps", sweeps)
        self.temperature, self.sweeps = temperature, sweeps

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced "plan" over positives and negatives."""
        mask = batch.same
        for partner in batch.partners:
            mask = mask - partner
        scores = batch.scores(self.temperature, mask)
        return {"plan": couple(scores, Fixed(), Fixed(), sweeps=self.sweeps, row_step=True)}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """KL(T, P)."""
        target = Pairs(batch.positives)
        if batch.gram.shape[0] != batch.gram.shape[1]:
            target.require_column_mass(couplings["plan"].b)
        return target.divergence(couplings["plan"])
