"""The two ends of RINCE's power and of the price of unbalanced marginals."""

from __future__ import annotations

import math
from enum import Enum

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.pieces.marginals import KL
from couplings.plans.scores import Scores
from couplings.plans.solve import couple


def rince(positive: Tensor, total: Tensor, q: float, lam: float) -> Tensor:
    """((lam S)^q - p^q) / q for kernels p of the positive and row sums S; q = 0 is its limit log(lam S / p).

    q -> 0: InfoNCE + log lam, with the error q ((log lam S)^2 - (log p)^2) / 2 + O(q^2). q = 1: lam S - p.

    Args:
        positive: p = exp(s / eps) of the positive, any shape, > 0.
        total: S, the sum of p and of the negatives' kernels, same shape.
        q: in [0, 1].
        lam: > 0.

    Raises:
        InvalidInput: numbers out of range.

    Source:
        Chuang et al. 2022; Chen et al. (GCA), arXiv 2502.20141.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import rince
        >>> round(rince(torch.tensor([2.0]), torch.tensor([10.0]), q=1.0, lam=0.5).item(), 4)
        3.0
    """
    checks.finite_positive("lam", lam)
    checks.finite_nonnegative("q", q)
    checks.require(q <= 1, f"q must be in [0, 1], got {q:g}")
    low = float(torch.minimum(positive, total).min())
    checks.require(low > 0, f"positive and total must be > 0, got {low:g}: they are exponentials")
    wide, narrow = torch.log(lam * total), torch.log(positive)
    if q == 0:
        return wide - narrow
    return (torch.expm1(q * wide) - torch.expm1(q * narrow)) / q


def released_rince(positive: Tensor, total: Tensor, q: float, lam: float, n: int) -> Tensor:
    """The half-step form of released code, which leaves the positive divided by n: n^-q RINCE with lam n.

    Arguments as `rince`; n is the number of columns. At n = 1024 a lam of 0.01 acts as one of 10.24.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import released_rince
        >>> round(released_rince(torch.tensor([2.0]), torch.tensor([10.0]), q=1.0, lam=0.5, n=4).item(), 4)
        4.5
    """
    checks.count("n", n)
    checks.require(n >= 1, f"n must be >= 1, got {n}")
    return rince(positive / n, total, q, lam)


class Reference(Enum):
    """What the regulariser of an unbalanced plan compares it with."""

    PRODUCT = "a x b"
    """KL(P || a b^T): the library's."""
    COUNTING = "counting"
    """The entropy: KL(P || 1 1^T), which pulls every entry toward one. Scores of temperature log(n m) more."""


def unbalanced(
    scores: Tensor,
    temperature: float,
    rho: tuple[float, float],
    reference: Reference = Reference.PRODUCT,
    sweeps: int = 20000,
) -> Tensor:
    """argmax_P <P, s> - eps KL(P || R) - rho1 KL(P 1 || a) - rho2 KL(P^T 1 || b), a and b uniform of mass one.

    rho -> 0 is the kernel R exp(s / eps) itself, rho -> infinity (R = a b^T) the balanced plan. Equal scores s
    everywhere: mass exp(s / (eps + rho1 + rho2)).

    Args:
        scores: s, (n, m).
        temperature: eps > 0.
        rho: prices of row and of column mass, > 0, in units of a score.
        reference: R.
        sweeps: the most there are.

    Returns:
        The plan, (n, m), its marginals within 2e-9 (L1) of what optimality asks.

    Raises:
        InvalidInput: what `couple` refuses.
        NotConverged: when the sweeps are not enough.

    Cost:
        O(sweeps n m) at most. For large prices the mass settles slowly, by (1 + eps / rho)^-2 a sweep.

    Source:
        Chizat et al. 2018; Chen et al. (GCA-UOT), arXiv 2502.20141.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import unbalanced
        >>> round(unbalanced(torch.ones(2, 2, dtype=torch.float64), 0.5, (0.25, 0.25)).sum().item(), 6)  # e
        2.718282
    """
    n, m = scores.shape
    shift = temperature * math.log(n * m) if reference is Reference.COUNTING else 0.0
    given = Scores.given(scores + shift, temperature=temperature)
    return couple(given, KL(rho[0]), KL(rho[1]), sweeps=sweeps, tol=1e-9).check(2e-9).plan()
