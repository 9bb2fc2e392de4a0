"""Losses of moments of the scores: spectral contrastive, alignment and uniformity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks
from ..pieces.costs import DistancePower, SquaredEuclidean
from ..plans.coupling import Coupling
from ..plans.solve import couple
from .base import Couplings, Loss, Options
from .batch import Batch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..batches.distributed import Gather


class SpectralContrastive(Loss):
    """Spectral contrastive loss: a low-rank factorisation of the positive-pair graph.

        loss = mean_i [ -2 mean_p s_ip + mean_j s_ij^2 ],   s = scale <z_i, z_j>,   j over the negatives

    No softmax: the pair weights are 2 s_ij / (number of negatives), negative scores attract. There is no coupling to
    solve.

    Args:
        scale: mu > 0, the squared radius of the sphere the embeddings are put on.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        A quadratic loss in the scores, as `TripletContrastive` is a linear one.

    Source:
        HaoChen et al. 2021.

    Example:
        >>> import torch
        >>> from couplings import SpectralContrastive
        >>> z = torch.eye(4)
        >>> SpectralContrastive()(z, z).item()
        -2.0
    """

    def __init__(self, scale: float = 1.0, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        checks.finite_positive("scale", scale)
        self.scale = scale

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Second moment of the negatives, first of the positives."""
        scores = batch.scores(1 / self.scale, batch.same)
        negatives = scores.row_sum(torch.square) / batch.negative_count()[:, 0]
        return negatives.mean() - 2 * scores.along(batch.positives).mean()


class AlignmentUniformity(Loss):
    """Alignment and uniformity on the sphere.

        loss = mean_i mean_p |z_i - z_p|^power + weight mean_v log mean_{i, j in view v} exp(-t |z_i - z_j|^2)

    with i, j over the pairs of a view (and the keys of a queue) that may repel. As couplings: rows Fixed, columns Free,
    entropic at hardness t within each view; the logarithm is their joint partition function.

    Args:
        power: of the distance between positives > 0.
        t: hardness > 0 of the uniformity.
        weight: of the uniformity >= 0.
        normalize: see `Loss`.
        gather: see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Two views: align_loss + weight (uniform_loss(view 1) + uniform_loss(view 2)) / 2 of Wang and Isola. CACR with
        t = 0 and "rbf" takes the logarithm anchor by anchor and across views. `couplings.diagnostics` has both terms as
        measures.

    Source:
        Wang and Isola 2020.

    Example:
        >>> import torch
        >>> from couplings import AlignmentUniformity
        >>> z = torch.eye(4)
        >>> round(AlignmentUniformity()(z, z).item(), 4)
        -4.0
    """

    def __init__(
        self, power: float = 2.0, t: float = 2.0, weight: float = 1.0, *, normalize: bool = True, gather: Gather = True
    ) -> None:
        super().__init__(normalize=normalize, gather=gather)
        checks.finite_positive("power", power)
        checks.finite_positive("t", t)
        checks.finite_nonnegative("weight", weight)
        self.power, self.t, self.weight = power, t, weight

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The softmax of near pairs within each view: "view 1", ..."""
        return {
            block.name: couple(batch.block_scores(block, 1 / self.t, batch.same, SquaredEuclidean()))
            for block in batch.within_views()
        }

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Alignment + weight uniformity."""
        distance = batch.scores(1.0, batch.same, DistancePower(self.power))
        alignment = -distance.along(batch.positives).mean() * 2 ** (self.power / 2)
        uniformity = [
            torch.logsumexp(plan.log_partition(), 0) - torch.log(plan.support_size()) for plan in couplings.values()
        ]
        return alignment + self.weight * torch.stack(uniformity).mean()
