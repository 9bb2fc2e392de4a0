"""Contrastive attraction and contrastive repulsion: one plan over positives, one over negatives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks
from ..pieces.costs import RBF, Cost, SquaredEuclidean, resolve
from ..pieces.marginals import Fixed
from ..plans.coupling import Coupling
from ..plans.scores import Scores
from ..plans.solve import couple
from .base import Couplings, Loss
from .batch import Batch, Block
from .sample import log_debiased

if TYPE_CHECKING:
    from ..batches.distributed import Gather


class CACR(Loss):
    """Contrastive attraction and contrastive repulsion.

        attraction = alpha mean_i sum_p w+_ip |z_i - z_p|^2,   w+ = softmax_p(+t_positive |z_i - z_p|^2)
        repulsion  = beta  mean_i [ sum_j w-_ij g_ij - tau_plus g_ip ] / (1 - tau_plus),   g = -|z_i - z_j|^2,
                     w- = softmax_j(-t_negative |z_i - z_j|^2)

    Far positives and near negatives weigh most. Not with one negative an anchor, where embeddings collapsed to few
    directions: nothing saturates. Positives are the sample's other views; negatives of a view are
    the other samples of one other view, averaged over both orders of every view pair. As couplings: rows Fixed,
    columns Free, entropic; sign -1 for attraction, +1 for repulsion.

    Args:
        t_positive: hardness of positives >= 0, 0 weighs them alike; no effect with two views, where a sample has one.
        t_negative: hardness of negatives >= 0, 0 weighs them alike.
        alpha: weight of attraction >= 0, 0 switches it off.
        beta: weight of repulsion >= 0, 0 switches it off.
        cost: of the repulsion: "sqeuclidean", "rbf", or any `Cost`, whose score it then averages. `RBF(t)` is
            the logarithmic form beta mean_i log sum_j w-_ij exp(-t |z_i - z_j|^2).
        pooled: with "rbf" take the logarithm once a pair of views, as released,
            beta log mean_i sum_j w-_ij exp(-t |z_i - z_j|^2): anchors with near negatives then count more.
        tau_plus: prior probability that a negative is a positive, in [0, 1): the mean over true negatives is
            (all - tau_plus positives) / (1 - tau_plus), so positives attract a little more. With "rbf" the mean
            kernel is corrected so, not below exp(-4 t), where it passes no gradient on: often so for large t.
        ordered: only views a before b with anchors in a, as released; a biased half of the pairs.
        detach_weights: stop the gradient in w+ and w-.
        normalize: see `Loss`.
        gather: see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        t_positive = t_negative = 0 with "rbf": alignment and uniformity, the logarithm taken anchor by anchor; with
        `pooled` once, as Wang and Isola have it, across views.
        beta = 0, two views: alignment. The released debiased term has the opposite sign and no beta.

    Source:
        Zheng et al. 2021 (CCT, CACR).

    Example:
        >>> import torch
        >>> from couplings import CACR
        >>> z = torch.eye(4)
        >>> round(CACR()(z, z).item(), 4)
        -2.0
    """

    weighs_positives = True

    def __init__(
        self,
        t_positive: float = 1.0,
        t_negative: float = 2.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        cost: str | Cost = "sqeuclidean",
        *,
        pooled: bool = False,
        tau_plus: float = 0.0,
        ordered: bool = False,
        detach_weights: bool = False,
        normalize: bool = True,
        gather: Gather = True,
    ) -> None:
        super().__init__(normalize=normalize, gather=gather)
        for name, value in (
            ("t_positive", t_positive),
            ("t_negative", t_negative),
            ("alpha", alpha),
            ("beta", beta),
        ):
            checks.finite_nonnegative(name, value)
        checks.fraction("tau_plus", tau_plus)
        checks.flag("ordered", ordered)
        checks.flag("detach_weights", detach_weights)
        self.t_positive, self.t_negative, self.alpha, self.beta = t_positive, t_negative, alpha, beta
        self.cost = resolve(cost, {"sqeuclidean": SquaredEuclidean(), "rbf": RBF()})
        checks.flag("pooled", pooled)
        rbf = isinstance(self.cost, RBF)
        checks.require(rbf or not pooled, f"pooled=True belongs to cost='rbf' or RBF(t), got cost={cost!r}")
        self.pooled, self.tau_plus, self.ordered, self.detach_weights = pooled, tau_plus, ordered, detach_weights

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The "attraction" over positives and one repulsion for each pair of views."""
        plans = {"attraction": couple(-batch.positive_scores(_inverse(self.t_positive), SquaredEuclidean()))}
        for block in batch.view_pairs(self.ordered):
            cost = SquaredEuclidean() if isinstance(self.cost, RBF) else self.cost
            near = batch.block_scores(block, _inverse(self.t_negative), batch.same, cost)
            plans[block.name] = self._repelled(near)
        return {name: plan.detach() for name, plan in plans.items()} if self.detach_weights else plans

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """alpha attraction + beta repulsion."""
        attraction = -couplings["attraction"].expect(batch.positive_scores(1.0, SquaredEuclidean())).mean()
        repulsion = torch.stack([self._repulsion(couplings[b.name], batch, b) for b in batch.view_pairs(self.ordered)])
        return self.alpha * attraction + self.beta * repulsion.mean()

    def _repelled(self, near: Scores) -> Coupling:
        return couple(near)

    def _repulsion(self, plan: Coupling, batch: Batch, block: Block) -> Tensor:
        if isinstance(self.cost, RBF):
            score = batch.block_scores(block, 1 / self.cost.t, batch.same, SquaredEuclidean())
            positive, log_mean = score.along(block.positives), plan.log_expect(score)[:, None]
            kernel = log_debiased(log_mean, positive, self.tau_plus, -4 * self.cost.t)
            return torch.logsumexp(kernel, 0)[0] - math.log(len(kernel)) if self.pooled else kernel.mean()
        score = batch.block_scores(block, 1.0, batch.same, self.cost)
        if not self.tau_plus:
            return plan.expect(score).mean()
        return (plan.expect(score).mean() - self.tau_plus * score.along(block.positives).mean()) / (1 - self.tau_plus)


class SinkhornCACR(CACR):
    """CACR with a balanced repulsion: within a pair of views every sample repels with the same mass. Ours.

        attraction: that of CACR
        repulsion = beta mean_i [ sum_j P(j | i) g_ij - tau_plus g_ip ] / (1 - tau_plus),
                    P = T sweeps between Fixed rows and Fixed columns of exp(-t_negative |z_i - z_j|^2)

    In CACR a hub that is near to everyone takes most of the repulsion; here its columns are full and the mass goes on
    to others. As couplings: attraction rows Fixed, columns Free, sign -1; repulsion rows Fixed, columns Fixed.

    Args:
        t_positive: see `CACR`.
        t_negative: see `CACR`.
        alpha: see `CACR`.
        beta: see `CACR`.
        cost: see `CACR`.
        pooled: see `CACR`.
        sweeps: T >= 0, of rows then columns; the weights are the plan's conditionals.
        tau_plus: see `CACR`.
        ordered: see `CACR`.
        detach_weights: see `CACR`.
        normalize: see `CACR`.
        gather: see `CACR`.

    Raises:
        InvalidInput: with `negatives`, where no two anchors share a column.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        Columns Free: CACR. t_negative = 0: CACR with t_negative = 0, whatever T.

    Source:
        This library.

    Example:
        >>> import torch
        >>> from couplings import SinkhornCACR
        >>> z = torch.eye(4)
        >>> round(SinkhornCACR()(z, z).item(), 4)
        -2.0
    """

    shares_columns = True

    def __init__(
        self,
        t_positive: float = 1.0,
        t_negative: float = 2.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        cost: str | Cost = "sqeuclidean",
        *,
        sweeps: int = 10,
        pooled: bool = False,
        tau_plus: float = 0.0,
        ordered: bool = False,
        detach_weights: bool = False,
        normalize: bool = True,
        gather: Gather = True,
    ) -> None:
        super().__init__(
            t_positive,
            t_negative,
            alpha,
            beta,
            cost,
            pooled=pooled,
            tau_plus=tau_plus,
            ordered=ordered,
            detach_weights=detach_weights,
            normalize=normalize,
            gather=gather,
        )
        checks.count("sweeps", sweeps)
        self.sweeps = sweeps

    def _repelled(self, near: Scores) -> Coupling:
        return couple(near, Fixed(), Fixed(), sweeps=self.sweeps)


def _inverse(hardness: float) -> float:
    return 1 / hardness if hardness else math.inf
