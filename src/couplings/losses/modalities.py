"""Losses between two views or modalities, each view's samples against the other's: CLIP and SigLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..basics import checks
from ..basics.precision import softplus
from ..plans.coupling import Coupling
from ..plans.scores import Scores
from ..plans.solve import couple, couple_both_ways
from .base import Couplings
from .batch import Batch, Block
from .temperature import Tempered

if TYPE_CHECKING:
    from ..batches.distributed import Gather


class CLIP(Tempered):
    """Symmetric InfoNCE between views: each sample of one view finds its own among the other view's.

        loss = mean over ordered pairs (a, b) of views of  mean_i -log exp(s_ii / tau) / sum_j exp(s_ij / tau)

    with s_ij between sample i in view a and sample j in view b (and the keys of a queue). As couplings: rows Fixed,
    columns Free, entropic, one plan for each direction; their kernels are each other's transpose, the plans are not.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        learnable: learn it as `log_scale` = log(1 / tau), tau not below 0.01.
        normalize: see `Loss`.
        gather: see `Loss`.

    Shape:
        Views or modalities (n, d), two or more; returns a 0-dim tensor.

    Relations:
        Equals open_clip's ClipLoss with logit_scale = 1 / tau. Two half-steps of Sinkhorn from the same kernel, one on
        the rows and one on the columns; `GCAINCE` iterates them.

    Source:
        Radford et al. 2021.

    Example:
        >>> import torch
        >>> from couplings import CLIP
        >>> images = texts = torch.eye(4)
        >>> round(CLIP(temperature=0.5)(images, texts).item(), 4)
        0.3408
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.07,
        *,
        learnable: bool = False,
        normalize: bool = True,
        gather: Gather = True,
    ) -> None:
        super().__init__(temperature, learnable=learnable, normalize=normalize, gather=gather)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """For each direction the softmax over the negatives."""
        temperature, plans = self.temperature, {}
        for there, back in batch.opposite_blocks():
            scores = (batch.block_scores(block, temperature, batch.same) for block in (there, back))
            plans[there.name], plans[back.name] = couple_both_ways(*scores)
        return plans

    def shown(self, batch: Batch) -> dict[str, Coupling]:
        """For each direction the plan over positive and negatives: "view 1 to view 2", ..."""
        mask = batch.same
        for partner in batch.partners:  # within a block that is one positive an anchor
            mask = mask - partner
        return {b.name: couple(batch.block_scores(b, self.temperature, mask)) for b in batch.view_pairs()}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean over directions of KL(T, P)."""
        plans = [(couplings[block.name], block) for block in batch.view_pairs()]
        positives = [plan.scores.along(block.positives)[:, 0] for plan, block in plans]
        negatives = [plan.log_partition() for plan, _ in plans]
        return softplus(torch.stack(negatives) - torch.stack(positives)).mean()


class SigLIP(Tempered):
    """Sigmoid loss between views: every pair is classified on its own, without a softmax.

        loss = mean over ordered pairs (a, b) of views of  (1 / n) sum_i [ softplus(-(s_ii / tau + bias))
               + sum_j softplus(s_ij / tau + bias) ],   j over the negatives of i in view b

    No pair depends on another, so there is no coupling to solve: the pair weights are sigmoids.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        bias: added to each logit; far below zero, because most pairs are negatives.
        learnable: learn `log_scale` = log(1 / tau), tau not below 0.01, and `bias`.
        normalize: see `Loss`.
        gather: see `Loss`.

    Shape:
        Views or modalities (n, d), two or more; returns a 0-dim tensor.

    Relations:
        Equals open_clip's SigLipLoss with logit_scale = 1 / tau and logit_bias = bias.

    Source:
        Zhai et al. 2023.

    Example:
        >>> import torch
        >>> from couplings import SigLIP
        >>> images = texts = torch.eye(4)
        >>> round(SigLIP(temperature=0.1, bias=-10.0)(images, texts).item(), 4)
        0.6933
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        bias: float | Tensor = -10.0,
        *,
        learnable: bool = False,
        normalize: bool = True,
        gather: Gather = True,
    ) -> None:
        super().__init__(temperature, learnable=learnable, normalize=normalize, gather=gather)
        checks.finite("bias", bias, learnable=True)
        self.bias = nn.Parameter(torch.as_tensor(float(bias))) if learnable else bias

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Softplus of positives and negatives."""
        return torch.stack([self._both(batch, *blocks) for blocks in batch.opposite_blocks()]).mean()

    def _both(self, batch: Batch, there: Block, back: Block) -> Tensor:
        """The mean of both directions; the sum over a block is that over its transpose."""
        temperature = self.temperature
        scores = [batch.block_scores(block, temperature, batch.same) for block in (there, back)]
        if scores[1].is_transpose_of(scores[0]):
            return self._block(scores[0], there)
        return (self._block(scores[0], there) + self._block(scores[1], back)) / 2

    def _block(self, logits: Scores, block: Block) -> Tensor:
        positives = logits.along(block.positives) + self.bias
        negatives = logits.row_sum(softplus, self.bias)
        return softplus(-positives).mean() + negatives.mean()
