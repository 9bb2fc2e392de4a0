r"""The game of an encoder against the worst coupling of its negatives, on a finite space.

N points; a law of positive pairs (x, x+), symmetric, with marginal p; negatives x-_1, ..., x-_m, each with marginal p;
a map f to the unit sphere; and

    v_k = f(x) . (f(x-_k) - f(x+)),   psi(v_1, ..., v_m) non-decreasing in each argument,
    value(f) = max over couplings of (x, x+) with x-_1, ..., x-_m of E psi(v).

The coupling x- = x is legal, because x and x- share their marginal. So value(f) >= E psi(1 - f(x).f(x+)) >= psi(0), and
every map with f(x) = f(x+), a constant one among them, has v <= 0 and therefore value psi(0): the game is degenerate.

`worst_coupling` is that maximum, a linear program with a certificate; `regularised_coupling` the one at a price for
leaving independence, where maps that keep the instances apart win again.

Source: Jiang, Ishwar, Aeron, arXiv 2111.03169, restated for finite spaces.
"""

from __future__ import annotations

from .descent import Adversary, Descent, descend
from .game import Hinge, Logistic, Positives, Psi, gains
from .regularised import RegularisedCoupling, regularised_coupling, regularised_plan
from .worst import WorstCoupling, worst_coupling, worst_plan

__all__ = [
    "Adversary",
    "Descent",
    "Hinge",
    "Logistic",
    "Positives",
    "Psi",
    "RegularisedCoupling",
    "WorstCoupling",
    "descend",
    "gains",
    "regularised_coupling",
    "regularised_plan",
    "worst_coupling",
    "worst_plan",
]
