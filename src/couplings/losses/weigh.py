"""Losses whose coupling weighs pairs: expected distances under the plan."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import checks
from .._storage.grams import Gram
from ..costs import RBF, Cost, DistancePower, SquaredEuclidean, resolve
from ..coupling import Coupling
from ..scores import Scores
from ..solve import couple
from .base import Couplings, Loss
from .batch import Batch


class AlphaCLDirect(Loss):
    """alpha-CL with direct weights: the energy under a row-normalised coupling of distances.

        alpha_ij = exp(-d_ij^p / tau) / sum_k exp(-d_ik^p / tau)   over the negatives, detached
        loss = mean_i sum_j alpha_ij (d_ip^2 - d_ij^2),   d^2 = |z_i - z_j|^2 / 2   (1 - cosine for unit rows)

    As a coupling: rows Fixed, columns Free, entropic with score -d^p. The loss is minus the energy that the max
    player ascends, so it is negative in a good space and its value is no measure of progress by itself.

    Args:
        temperature: tau > 0 of the weights, a constant: constant weights pass no gradient on.
        p: power of the distance > 0; 4 did best in the paper, 2 gives the weights of InfoNCE.
        normalize: see `Loss`.

    Relations:
        p = 2: tau times the gradient of decoupled InfoNCE. With `negatives=`: half the gradient of CACR with detached
        weights and t_negative = 1 / (2 tau); in a batch CACR draws its negatives from one other view at a time.

    Cost:
        Two N x M matrices; the weights keep nothing for the gradient.

    Source:
        Tian 2022 (alpha-CL-direct).

    Example:
        >>> import torch
        >>> from couplings import AlphaCLDirect
        >>> z = torch.eye(4)
        >>> AlphaCLDirect(temperature=0.5, p=4.0)(z, z).item()
        -1.0
    """

    def __init__(self, temperature: float | Tensor = 0.5, p: float = 4.0, *, normalize: bool = True) -> None:
        super().__init__(normalize=normalize)
        learnt = isinstance(temperature, Tensor) and temperature.requires_grad
        checks.require(not learnt, "temperature cannot be learnt here: its weights are constants; pass a float")
        checks.finite_positive("temperature", temperature)
        checks.finite_positive("p", p)
        self.temperature, self.p = temperature, p

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The weights of the "negatives", a constant."""
        scores = batch.detach().scores(self.temperature, batch.same, DistancePower(self.p))
        return {"negatives": couple(scores).detach()}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Half the squared distances: positives minus weighed negatives."""
        scores = batch.scores(1.0, batch.same, SquaredEuclidean())
        positives = scores.at(batch.rows, batch.positives).mean()
        return (couplings["negatives"].expect(scores).mean() - positives) / 2


class CACR(Loss):
    """Contrastive attraction and contrastive repulsion.

        attraction = alpha mean_i sum_p w+_ip |z_i - z_p|^2,   w+ = softmax_p(+t_positive |z_i - z_p|^2)
        repulsion  = beta  mean_i sum_j w-_ij (-|z_i - z_j|^2), w- = softmax_j(-t_negative |z_i - z_j|^2)

    Far positives and near negatives weigh most. Positives are the sample's other views; negatives of a view are
    the other samples of one other view, averaged over both orders of every view pair. As couplings: rows Fixed,
    columns Free, entropic; sign -1 for attraction, +1 for repulsion.

    Args:
        t_positive: hardness of positives >= 0; no effect with two views, where a sample has one positive.
        t_negative: hardness of negatives >= 0.
        alpha: weight of attraction >= 0.
        beta: weight of repulsion >= 0.
        cost: of the repulsion: "sqeuclidean", "rbf", or any `Cost`, whose score it then averages. `RBF(t)` is
            the logarithmic form beta log sum_j w-_ij exp(-t |z_i - z_j|^2).
        ordered: only views a before b with anchors in a, as released; a biased half of the pairs.
        detach_weights: stop the gradient in w+ and w-.
        normalize: see `Loss`.

    Relations:
        t_positive = t_negative = 0 with "rbf": alignment and uniformity, the logarithm taken anchor by anchor.
        beta = 0, two views: alignment.

    Cost:
        One n x n matrix for each ordered pair of views.

    Source:
        Zheng et al. 2021 (CCT, CACR).

    Example:
        >>> import torch
        >>> from couplings import CACR
        >>> z = torch.eye(4)
        >>> round(CACR()(z, z).item(), 4)
        -2.0
    """

    def __init__(
        self,
        t_positive: float = 1.0,
        t_negative: float = 2.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        cost: str | Cost = "sqeuclidean",
        *,
        ordered: bool = False,
        detach_weights: bool = False,
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize=normalize)
        for name, value in (
            ("t_positive", t_positive),
            ("t_negative", t_negative),
            ("alpha", alpha),
            ("beta", beta),
        ):
            checks.finite_nonnegative(name, value)
        checks.flag("ordered", ordered)
        checks.flag("detach_weights", detach_weights)
        self.t_positive, self.t_negative, self.alpha, self.beta = t_positive, t_negative, alpha, beta
        self.cost = resolve(cost, {"sqeuclidean": SquaredEuclidean(), "rbf": RBF()})
        self.ordered, self.detach_weights = ordered, detach_weights

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The "attraction" over positives and one repulsion for each pair of views."""
        positives = batch.gram.gather(batch.positives)
        far = -Scores.from_gram(positives, temperature=_inverse(self.t_positive), cost=SquaredEuclidean())
        plans = {"attraction": couple(far)}
        for name, rows, cols in batch.view_pairs(self.ordered):
            near = Scores.from_gram(
                batch.gram.block(rows, cols),
                temperature=_inverse(self.t_negative),
                cost=self._weight_cost(),
                mask=batch.same.block(rows, cols),
            )
            plans[name] = couple(near)
        return {name: plan.detach() for name, plan in plans.items()} if self.detach_weights else plans

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """alpha attraction + beta repulsion."""
        distance = Scores.from_gram(batch.gram.gather(batch.positives), cost=SquaredEuclidean())
        attraction = -couplings["attraction"].expect(distance).mean()
        repulsions = [
            self._repulsion(couplings[name], batch.gram.block(rows, cols))
            for name, rows, cols in batch.view_pairs(self.ordered)
        ]
        return self.alpha * attraction + self.beta * torch.stack(repulsions).mean()

    def _repulsion(self, plan: Coupling, gram: Gram) -> Tensor:
        if isinstance(self.cost, RBF):
            return plan.log_expect(Scores.from_gram(gram, temperature=1 / self.cost.t, cost=SquaredEuclidean())).mean()
        return plan.expect(Scores.from_gram(gram, cost=self.cost)).mean()

    def _weight_cost(self) -> Cost:
        return SquaredEuclidean() if isinstance(self.cost, RBF) else self.cost


def _inverse(hardness: float) -> float:
    return 1 / hardness if hardness else math.inf
