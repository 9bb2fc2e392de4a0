"""Half-steps of Sinkhorn as Bregman projections, and the Pythagorean identity that they obey."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.pieces.marginals import Fixed, Free
from couplings.plans.scores import Scores
from couplings.plans.solve import couple


def _plan(name: str, plan: Tensor) -> None:
    checks.matrix(name, plan)
    checks.require(bool(plan.isfinite().all()), f"{name} holds NaN or inf: a plan is made of finite numbers")
    lowest = float(plan.detach().min())
    checks.require(lowest >= 0, f"{name} must be >= 0, got {lowest:g}: mass cannot be negative")


def divergence(p: Tensor, k: Tensor) -> Tensor:
    """KL(P || K) = sum_ij P_ij log(P_ij / K_ij) - P_ij + K_ij, between non-negative matrices of any mass.

    Args:
        p: (n, m), >= 0.
        k: (n, m), >= 0.

    Returns:
        0-dim, in nats, >= 0; infinite where P has mass and K has none.

    Raises:
        InvalidInput: negative, NaN or infinite entries, different shapes.

    Cost:
        O(n m).

    Source:
        Csiszar 1975; Chen et al. (GCA), arXiv 2502.20141, for its use here.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import divergence
        >>> divergence(torch.eye(2), torch.eye(2)).item()
        0.0
    """
    _plan("p", p)
    _plan("k", k)
    checks.require(p.shape == k.shape, f"p has shape {tuple(p.shape)} but k has {tuple(k.shape)}: they must agree")
    mass = p > 0  # elsewhere p log(p / k) is zero, whose gradient at k = 0 would be NaN
    ratio = torch.where(mass, p, 1.0) / torch.where(mass, k, 1.0)
    return (p * torch.log(ratio) - p + k).sum()


def row_projection(kernel: Tensor, rows: Tensor) -> Tensor:
    """diag(rows / K 1) K: among all plans with these row sums the one nearest to K, argmin KL(P || K).

    Args:
        kernel: K, (n, m), >= 0, each row with some mass.
        rows: wanted row sums, (n,), >= 0.

    Raises:
        InvalidInput: a row without mass, wrong shapes, negative numbers.

    Cost:
        O(n m).

    Source:
        Benamou et al. 2015; this one projection of exp(s / eps) is InfoNCE's softmax.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import row_projection
        >>> row_projection(torch.ones(2, 2), torch.tensor([1.0, 3.0])).tolist()
        [[0.5, 0.5], [1.5, 1.5]]
    """
    _plan("kernel", kernel)
    checks.require(rows.shape == kernel.shape[:1], f"rows must be ({len(kernel)},), got {tuple(rows.shape)}")
    checks.require(bool((rows >= 0).all()), f"rows must be >= 0, got {float(rows.min()):g}: mass cannot be negative")
    sums = kernel.sum(1)
    empty = (sums <= 0).nonzero()
    checks.require(not len(empty), "kernel has a row without mass, which nothing can scale: leave that row out")
    return kernel * (rows / sums)[:, None]


def column_projection(kernel: Tensor, columns: Tensor) -> Tensor:
    """K diag(columns / K^T 1): among all plans with these column sums the one nearest to K.

    `row_projection` of the transpose, transposed; `columns` is (m,).

    Raises:
        InvalidInput: as `row_projection`, which speaks of the rows of the transpose.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import column_projection
        >>> column_projection(torch.ones(2, 2), torch.tensor([1.0, 3.0])).tolist()
        [[0.5, 1.5], [0.5, 1.5]]
    """
    return row_projection(kernel.T, columns).T


@dataclass(frozen=True)
class Triangle:
    """A kernel K, its projection P and a target Q, by their divergences in nats.

    Attributes:
        whole: KL(Q || K).
        target_leg: KL(Q || P).
        kernel_leg: KL(P || K).
    """

    whole: float
    target_leg: float
    kernel_leg: float

    @property
    def gap(self) -> float:
        """whole - target_leg - kernel_leg: zero for a projection onto a linear set that holds Q."""
        return self.whole - self.target_leg - self.kernel_leg

    @property
    def angle(self) -> float:
        """Degrees at P in the triangle whose sides are the roots of the divergences: 90 where the gap is zero.

        180 where no triangle has such sides.
        """
        cosine = -self.gap / (2 * math.sqrt(self.target_leg * self.kernel_leg))
        return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def pythagoras(target: Tensor, kernel: Tensor, projection: Tensor) -> Triangle:
    """KL(Q || K) = KL(Q || P) + KL(P || K) where P is the projection of K onto plans with Q's row (column) sums.

    Args:
        target: Q, (n, m).
        kernel: K, (n, m).
        projection: P, (n, m).

    Raises:
        InvalidInput: as `divergence`.

    Source:
        Csiszar 1975, equality because the set is linear; Chen et al. (GCA), arXiv 2502.20141.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import pythagoras, row_projection
        >>> kernel = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
        >>> q = torch.eye(2, dtype=torch.float64)
        >>> abs(pythagoras(q, kernel, row_projection(kernel, q.sum(1))).gap) < 1e-12
        True
    """
    pairs = (target, kernel), (target, projection), (projection, kernel)
    return Triangle(*(float(divergence(p, k)) for p, k in pairs))


def half_steps(
    scores: Tensor, temperature: float, count: int, rows: Tensor | None = None, columns: Tensor | None = None
) -> list[Tensor]:
    """The kernel a_i b_j exp(s_ij / eps) and the plans after 1, 2, ..., `count` half-steps: rows, columns, rows, ...

    Made by `couplings.couple`, each from the start.

    Args:
        scores: s, (n, m); minus infinity forbids a pair.
        temperature: eps > 0, in units of a score.
        count: >= 0.
        rows: a, (n,); uniform of mass one when None.
        columns: b, (m,), of the same mass.

    Returns:
        `count` + 1 plans (n, m).

    Raises:
        InvalidInput: what `couple` refuses, negative counts.

    Cost:
        O(count^2 n m).

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import half_steps
        >>> [round(p.sum().item(), 3) for p in half_steps(torch.eye(2), 1.0, 2)]
        [1.859, 1.0, 1.0]
    """
    checks.count("count", count)
    given = Scores.given(scores, temperature=temperature)
    kernel = couple(given, Free(rows), Free(columns), sweeps=0).plan()
    steps = (divmod(k, 2) for k in range(1, count + 1))
    solved = (couple(given, Fixed(rows), Fixed(columns), sweeps=t, row_step=half == 1) for t, half in steps)
    return [kernel, *(plan.plan() for plan in solved)]


def balanced(
    scores: Tensor,
    temperature: float,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    sweeps: int = 5000,
) -> Tensor:
    """Where the half-steps lead: the balanced plan, its marginals within 1e-9 (L1) of a and b.

    Args:
        scores: s, (n, m).
        temperature: eps > 0.
        rows: a, (n,); uniform of mass one when None.
        columns: b, (m,).
        sweeps: the most there are.

    Raises:
        NotConverged: when they are not enough.

    Cost:
        O(sweeps n m) at most; stops early.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import balanced
        >>> balanced(torch.eye(2, dtype=torch.float64), 1.0).sum(0)
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    given = Scores.given(scores, temperature=temperature)
    return couple(given, Fixed(rows), Fixed(columns), sweeps=sweeps, tol=1e-13).check(1e-9).plan()


def domain_plan(domains: Tensor, within: float, across: float) -> Tensor:
    """The domain target as it was published, not scaled: two views of n samples, in block order, (2n, 2n).

    1 on positives, `within` on other samples of the anchor's domain, `across` on those of other domains, 0 on itself.
    Its rows do not sum to one and, with domains of unequal size, not to the same number: `couplings.Domains` scales it.

    Args:
        domains: domain of each sample, integers (n,).
        within: >= 0.
        across: >= 0.

    Source:
        Chen et al. (GCA), arXiv 2502.20141, domain generalisation.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import domain_plan
        >>> domain_plan(torch.tensor([0, 1]), 0.3, 0.1).sum(1)
        tensor([1.2000, 1.2000, 1.2000, 1.2000], dtype=torch.float64)
    """
    checks.tensor("domains", domains)
    checks.ids("domains", domains, len(domains))
    checks.finite_nonnegative("within", within)
    checks.finite_nonnegative("across", across)
    both, sample = domains.repeat(2), torch.arange(len(domains)).repeat(2)
    near, far = torch.tensor([within, across], dtype=torch.float64)
    plan = torch.where(both[:, None] == both, near, far)
    return plan.masked_fill(sample[:, None] == sample, 1.0).fill_diagonal_(0.0)
