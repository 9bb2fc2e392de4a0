"""Losses that match a row-normalised coupling, or an unconstrained one, to a target plan."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import softplus
from ..pieces.marginals import Fixed, Free
from ..pieces.masks import Mask
from ..plans.coupling import Coupling
from ..plans.solve import couple
from ..plans.targets import Target
from .base import Couplings
from .batch import Batch
from .temperature import Tempered, TemperedOptions
from .wanted import Positives, SameLabel, Targeted

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..batches.distributed import Gather


class InfoNCE(Tempered):
    """InfoNCE, NT-Xent: each positive against all negatives.

        loss = mean over anchors i and positives p of  -log exp(s_ip / tau) / (exp(s_ip / tau) + sum_j exp(s_ij / tau))

    with j over the negatives. As a coupling: rows Fixed, columns Free, entropic, one plan for each positive (its
    other positives masked), matched to the target that puts each row's mass on that positive: KL(T, P). Computed as
    softplus(log sum_j exp(s_ij / tau) - s_ip / tau), which stays exact in single precision when the batch is solved
    and P is nearly T.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Two views: equals lightly's NTXentLoss and `GCAINCE(sweeps=0)`. More views: equals
        pytorch-metric-learning's NTXentLoss with sample ids as labels.

    Source:
        van den Oord et al. 2018; Chen et al. 2020 (SimCLR).

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> z = torch.eye(4)
        >>> round(InfoNCE(temperature=0.5)(z, z).item(), 4)
        0.5944
    """

    def __init__(self, temperature: float | Tensor = 0.2, **options: Unpack[TemperedOptions]) -> None:
        super().__init__(temperature, **options)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The softmax over the "negatives", which all positives share."""
        return {"negatives": couple(batch.scores(self.temperature, batch.same))}

    def shown(self, batch: Batch) -> dict[str, Coupling]:
        """One row-normalised plan a positive: "plan" for two views, "positive 1", ... for more."""
        return one_against_negatives(batch, self.temperature)

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean over positives of KL(T, P)."""
        plan = couplings["negatives"]
        positives = plan.scores.along(batch.positives)
        return softplus(plan.log_partition()[:, None] - positives).mean()


def one_against_negatives(batch: Batch, temperature: float | Tensor) -> dict[str, Coupling]:
    """For each positive the row-normalised plan over it and the negatives."""
    single = len(batch.partners) == 1
    return {
        "plan" if single else f"positive {k + 1}": couple(batch.scores(temperature, batch.all_but(partner)))
        for k, partner in enumerate(batch.partners)
    }


class DecoupledInfoNCE(Tempered):
    """Decoupled InfoNCE: the positive leaves the denominator.

        loss = mean_i mean_p  -s_ip / tau + log sum_j exp(s_ij / tau),   j over the negatives

    As a coupling: rows Fixed, columns Free, entropic, over the negatives alone; the logarithm is its partition
    function. Pairs that are told apart already keep their gradient, so small batches learn faster.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Unit rows: `ScaledInfoNCE(temperature, e0=0)` divided by tau, with the gradient of `AlphaCL(temperature)`
        divided by tau. Two views: equals lightly's DCLLoss.

    Source:
        Yeh et al. 2022 (DCL).

    Example:
        >>> import torch
        >>> from couplings import DecoupledInfoNCE
        >>> z = torch.eye(4)
        >>> round(DecoupledInfoNCE(temperature=0.5)(z, z).item(), 4)
        -0.2082
    """

    def __init__(self, temperature: float | Tensor = 0.2, **options: Unpack[TemperedOptions]) -> None:
        super().__init__(temperature, **options)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The softmax over the "negatives"."""
        return {"negatives": couple(batch.scores(self.temperature, batch.same))}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Partition function against positives."""
        plan = couplings["negatives"]
        return plan.log_partition().mean() - plan.scores.along(batch.positives).mean()


class SupCon(Targeted):
    """Supervised contrastive loss: all samples of a class attract, pooled in one softmax.

        P(j | i) = exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau)
        outside:  loss = mean_i -(1 / |P(i)|) sum_{p in P(i)} log P(p | i)
        inside:   loss = mean_i -log (1 / |P(i)|) sum_{p in P(i)} P(p | i)

    P(i): samples with i's label, and its other views; without `labels` the other views alone. As a coupling: rows
    Fixed, columns Free, entropic, positives and negatives together. Positives of one anchor compete for its softmax, so
    more views hurt at low temperatures (at 0.05 far more with six than with three; `InfoNCE` takes each view on its
    own), and labels hurt where members of a class must be told apart.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        log_inside: the logarithm of the mean probability (L_in) in place of the mean logarithm (L_out). L_in is
            content with one near positive; L_out wants all of them near.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Takes `target=` (N, M): any plan in place of the labels'; the anchors then weigh as its rows do.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Outside: equals pytorch-metric-learning's SupConLoss. Two views, no labels: InfoNCE, both ways.

    Source:
        Khosla et al. 2020.

    Example:
        >>> import torch
        >>> from couplings import SupCon
        >>> z = torch.eye(4)
        >>> round(SupCon(temperature=0.5)(z, z, labels=torch.tensor([0, 0, 1, 1])).item(), 4)
        1.9278
    """

    labels_attract = True

    def __init__(
        self, temperature: float | Tensor = 0.1, *, log_inside: bool = False, **options: Unpack[TemperedOptions]
    ) -> None:
        super().__init__(temperature, **options)
        checks.flag("log_inside", log_inside)
        self.log_inside = log_inside

    def aim(self, batch: Batch) -> Target:
        """Samples of the class, or of the sample without labels."""
        return (Positives() if batch.labels is None else SameLabel()).of(batch)

    def candidates(self, batch: Batch) -> Mask:
        """All other samples, but those of equal id and another class."""
        return batch.all_but_kin(batch.kin)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The row-normalised "plan" over all other samples."""
        rows, scores = batch.wanted.row_marginal, batch.scores(self.temperature, self.candidates(batch))
        return {"plan": couple(scores, Fixed(rows), Free())}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Minus the mean logarithm, or the logarithm of the mean, of the positives' probabilities."""
        target, plan = batch.wanted, couplings["plan"]
        rows = target.row_marginal
        entropy = math.log(len(plan.a)) if rows is None else -torch.special.xlogy(rows, rows).sum()
        if not self.log_inside:
            return target.cross_entropy(plan) - entropy
        mean = target.each_row(plan, lambda plan, part: part.log_mean_exp(part.log_entries(plan)))
        return -(target.row_mass(mean) * mean).sum() - entropy


class Alignment(Tempered):
    """Alignment alone: positives attract, nothing repels; the form of BYOL and SimSiam.

        loss = mean_i mean_p (1 - s_ip) / tau       (tau = 0.5 and unit rows: 2 - 2 s, the squared distance)

    As a coupling: rows Free, columns Free, so the plan is the kernel exp((s - 1) / tau) itself and -log of its
    positive entries is the loss. Constant embeddings minimise it: what keeps a method from them is its asymmetry
    (predictor, stop-gradient, slow target network), not this loss. For BYOL, with predictions p and targets k:
    `loss(p1, k2.detach()) + loss(p2, k1.detach())`.

    Args:
        temperature: tau > 0, a scale; a tensor or `nn.Parameter` carries gradient.
        learnable: see `Loss`.
        normalize: see `Loss`.
        gather: see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Unit rows, tau = 0.5: the alignment of `AlignmentUniformity` with power 2, and the attraction of CACR for two
        views.

    Source:
        Grill et al. 2020 (BYOL); Chen et al. 2024 for the coupling.

    Example:
        >>> import torch
        >>> from couplings import Alignment
        >>> z = torch.eye(4)
        >>> Alignment()(z, z.roll(1, 0)).item()
        2.0
    """

    repels = False

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        *,
        learnable: bool = False,
        normalize: bool = True,
        gather: Gather = True,
    ) -> None:
        super().__init__(temperature, learnable=learnable, normalize=normalize, gather=gather)

    def shown(self, batch: Batch) -> dict[str, Coupling]:
        """The kernel as the unconstrained "plan"; the value does without its N x N entries."""
        return {"plan": couple(batch.scores(self.temperature, batch.itself), Free(), Free())}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Minus the log-kernel at the positives."""
        kernel = batch.scores(self.temperature, batch.itself)
        return 1 / self.temperature - kernel.along(batch.positives).mean()
