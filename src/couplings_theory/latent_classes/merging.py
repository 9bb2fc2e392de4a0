"""When all classes but the most frequent one share one vector: a rule that needs no solver.

Let v_1 = u and v_c = -u for all other classes, and D be the symmetric gradient of the loss there. The others are
alike, so D_1c = rho_1 rho_c a and D_cc' = rho_c rho_c' b with two numbers a (how the first class holds them) and b
(how they push each other). By duality (`certificate`) these vectors are optimal when Z = diag(y) + D is positive
semidefinite for the y with Z G = 0. Its quadratic form is, with <v_1, v_c> x_c in place of x_c,

    a rho_1 sum_c rho_c (x_1 - x_c)^2 - b sum_{c < c'} rho_c rho_c' (x_c - x_c')^2.

It is smallest where x_1 is the mean of the others, whose variance both sums are then: it is never negative when

    rho_1 a >= (1 - rho_1) b.

a and b depend on rho_1, k and s alone. One negative: a = s e / (1 + e), b = s / 2 with e = e^(-2 s), which gives
s <= log((3 rho_1 - 1) / (1 - rho_1)) / 2. Small scales: a = b, so rho_1 >= 1/2, for every k.
"""

from __future__ import annotations

import math

import torch

from couplings.basics.checks import finite, finite_positive, require

from .certificate import gradient
from .prior import negatives, not_too_large


def merging_balance(share: float, *, k: int, scale: float = 1.0) -> float:
    """log(rho_1 a) - log((1 - rho_1) b): where it is >= 0, all other classes share one vector at the optimum.

    Args:
        share: rho_1, of the most frequent class, in (0, 1); the other classes are two or more, in any proportion.
        k: negatives of an anchor, >= 1.
        scale: s in (0, 300].

    Raises:
        InvalidInput: an argument outside of these ranges.

    Cost:
        One gradient of the loss of three classes.

    Source:
        Derived here.

    Example:
        >>> from couplings_theory.latent_classes import merging_balance
        >>> [merging_balance(0.85, k=k) >= 0 for k in (1, 2, 4)]
        [True, True, False]
    """
    _share(share)
    finite_positive("scale", scale)
    not_too_large(scale)
    other = (1 - share) / 2
    u = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    prior = torch.tensor([share, other, other], dtype=torch.float64)
    slope = gradient(torch.outer(u, u), prior, negatives(k), float(scale))
    a, b = float(slope[0, 1]) / (share * other), float(slope[1, 2]) / other**2
    return math.log(share * a) - math.log((1 - share) * b)


def critical_scale(share: float, *, k: int) -> float:
    """The scale below which all classes but the most frequent one share one vector; zero where they never do.

    Args:
        share: rho_1, in (0, 1).
        k: negatives of an anchor, >= 1.

    Raises:
        InvalidInput: an argument outside of these ranges.

    Cost:
        Some twenty calls of `merging_balance`.

    Source:
        Derived here.

    Example:
        >>> from couplings_theory.latent_classes import critical_scale
        >>> round(critical_scale(0.85, k=1), 4), round(critical_scale(0.85, k=64), 4), critical_scale(0.4, k=1)
        (1.1677, 0.7091, 0.0)
    """
    from scipy.optimize import brentq

    _share(share)
    if share <= 0.5:
        return 0.0

    def balance(scale: float) -> float:
        return merging_balance(share, k=k, scale=scale)

    high = 1.0
    while balance(high) > 0:
        high *= 2
    low = high / 2
    while balance(low) < 0:
        low /= 2
    return float(brentq(balance, low, high, xtol=1e-13))


def _share(share: float) -> None:
    finite("share", share)
    require(0 < share < 1, f"share must lie between 0 and 1, got {share:g}: the probability of the most frequent class")
