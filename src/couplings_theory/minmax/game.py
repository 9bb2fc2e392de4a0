"""What is played for: psi, the law of positive pairs, and the gain of each pair with each choice of negatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.pieces.costs import Cosine, Cost
from couplings.plans.scores import Scores

F64 = torch.float64
_LARGEST_PROGRAM = 300_000
"""Variables of a linear program that HiGHS solves in a minute or so."""


class Psi(Protocol):
    """What m negatives cost: v (..., m) to (...), non-decreasing in each argument."""

    def __call__(self, v: Tensor) -> Tensor:
        """psi(v_1, ..., v_m) of the last dimension."""
        ...


@dataclass(frozen=True)
class Logistic:
    """psi(v) = log(1 + (weight / m) sum_k exp(v_k / temperature)): InfoNCE with m negatives that count as `weight`."""

    temperature: float = 0.5
    weight: float = 1.0

    def __post_init__(self) -> None:
        checks.finite_positive("temperature", self.temperature)
        checks.finite_positive("weight", self.weight)

    def __call__(self, v: Tensor) -> Tensor:
        """psi of the last dimension."""
        mean = torch.logsumexp(v / self.temperature, -1) - torch.log(v.new_tensor(v.shape[-1]))
        return torch.nn.functional.softplus(mean + torch.log(v.new_tensor(self.weight)))


@dataclass(frozen=True)
class Hinge:
    """psi(v) = max_k [v_k + margin]_+: the triplet loss on the hardest of m negatives."""

    margin: float = 0.5

    def __post_init__(self) -> None:
        checks.finite_positive("margin", self.margin)

    def __call__(self, v: Tensor) -> Tensor:
        """psi of the last dimension."""
        return (v.amax(-1) + self.margin).clamp_min(0)


@dataclass(frozen=True, eq=False)
class Positives:
    """The law of positive pairs (x, x+) on N points.

    Args:
        joint: probabilities (N, N), symmetric, sum one; each point has mass.

    Raises:
        InvalidInput: anything else.

    Example:
        >>> import torch
        >>> from couplings_theory.minmax import Positives
        >>> Positives.of_groups(torch.tensor([0, 0, 1, 1])).pairs.tolist()
        [[0, 1], [1, 0], [2, 3], [3, 2]]
    """

    joint: Tensor

    def __post_init__(self) -> None:
        checks.matrix("joint", self.joint)
        shape = tuple(self.joint.shape)
        checks.require(shape[0] == shape[1], f"joint must be square, a row and a column a point, got {shape}")
        joint = self.joint.detach().to(F64)
        lowest, total, skew = float(joint.min()), float(joint.sum()), float((joint - joint.T).abs().max())
        checks.require(lowest >= 0, f"joint holds {lowest:g}: probabilities are zero or more (and no NaN)")
        checks.require(abs(total - 1) < 1e-9, f"joint sums to {total:.6g}, not to one: divide it by its sum")
        checks.require(skew < 1e-12, f"joint is not symmetric (by {skew:.3g}): average it with its transpose")
        checks.require(bool((joint.sum(1) > 0).all()), "joint has a point without mass: drop that row and column")
        object.__setattr__(self, "joint", joint)

    @classmethod
    def of_groups(cls, groups: Tensor) -> Positives:
        """x uniform, x+ uniform among the others of its group: views of instances. `groups` (N,), integers."""
        checks.tensor("groups", groups)
        checks.ids("groups", groups, groups.numel())
        others = (groups[:, None] == groups).to(F64) - torch.eye(len(groups), dtype=F64)
        alone = (others.sum(1) == 0).nonzero().flatten().tolist()
        checks.require(not alone, f"groups leaves point {alone[:1]} alone: each needs another of its group as positive")
        return cls(others / others.sum(1, keepdim=True) / len(groups))

    @classmethod
    def ring(cls, n: int) -> Positives:
        """x uniform on n points in a circle, x+ one of its two neighbours: positives that connect all points."""
        checks.count("n", n)
        checks.require(n >= 3, f"n must be at least 3 for a ring, got {n}")
        ahead = torch.eye(n, dtype=F64).roll(1, 1)
        return cls((ahead + ahead.T) / (2 * n))

    @property
    def mass(self) -> Tensor:
        """The marginal p of x, x+ and each x-, (N,)."""
        return self.joint.sum(1)

    @cached_property
    def pairs(self) -> Tensor:
        """The positive pairs (x, x+) that occur, (K, 2)."""
        return self.joint.nonzero()

    @property
    def weights(self) -> Tensor:
        """Their probabilities, (K,)."""
        return self.joint[self.pairs[:, 0], self.pairs[:, 1]]

    @property
    def components(self) -> Tensor:
        """Which points positives connect: a label from zero for each point, (N,)."""
        from scipy.sparse.csgraph import connected_components

        return torch.as_tensor(connected_components(self.joint.numpy())[1]).long()

    def anchored(self, plan: Tensor) -> Tensor:
        """The law of (x, x-), (N, N), of a plan (K, N) of positive pairs and negatives."""
        return plan.new_zeros(len(self.mass), plan.shape[1]).index_add(0, self.pairs[:, 0], plan)


def gains(
    embeddings: Tensor, positives: Positives, psi: Psi | None = None, *, negatives: int = 1, cost: Cost | None = None
) -> Tensor:
    """psi(v) of each positive pair with each choice of m negatives, (K, N, ..., N), differentiable in the embeddings.

    Args:
        embeddings: f, shape (N, d); the cosine does not look at norms.
        positives: the law of (x, x+), K pairs of N points.
        psi: `Logistic()` by default.
        negatives: m >= 1.
        cost: what f(x).f(y) is; the cosine by default.

    Raises:
        InvalidInput: wrong shapes, m = 0, K N^m above 300,000, a psi that does not reduce its last dimension.
    """
    n = len(positives.mass)
    checks.matrix("embeddings", embeddings)
    checks.require(len(embeddings) == n, f"embeddings has {len(embeddings)} rows, but positives has {n} points")
    checks.count("negatives", negatives)
    checks.require(negatives >= 1, "negatives must be 1 or more, got 0")
    size = len(positives.pairs) * n**negatives
    checks.require(
        size <= _LARGEST_PROGRAM,
        f"{len(positives.pairs)} pairs and negatives={negatives} of {n} points make a linear program of {size:,} "
        f"variables, above {_LARGEST_PROGRAM:,}: take fewer points or negatives",
    )
    scores = Scores(embeddings.to(F64), cost=Cosine() if cost is None else cost).matrix()
    x, positive = positives.pairs.unbind(1)
    v = scores[x] - scores[x, positive][:, None]
    shape = (len(v), *(n,) * negatives)
    axes = [v.reshape(len(v), *(n if k == axis else 1 for k in range(negatives))) for axis in range(negatives)]
    values = (psi or Logistic())(torch.stack([axis.expand(shape) for axis in axes], -1))
    got = tuple(values.shape)
    checks.require(got == shape, f"psi must take (..., {negatives}) to (...): {shape} was expected, it gave {got}")
    checks.require(bool(values.isfinite().all()), "psi gave NaN or inf: lower its slope or raise its temperature")
    return values
