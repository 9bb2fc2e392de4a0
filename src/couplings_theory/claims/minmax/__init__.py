"""The min-max game of hard negatives is degenerate, and a price for leaving independence mends it."""

from __future__ import annotations

from collections.abc import Callable

from couplings_theory.claim import Claim, Finding, Paper, Standing

from .regularised import regularised, regularised_descent
from .worst import constant_wins, descent, lower_bound, more_negatives

__all__ = ["CLAIMS"]


def _claim(name: str, standing: Standing, examine: Callable[..., Finding], title: str, statement: str) -> Claim:
    return Claim(f"minmax/{name}", title, statement, Paper.HCL_OT, standing, examine)


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "lower-bound",
        Standing.RESTATED,
        lower_bound,
        "The worst case is never below psi(0)",
        "If x, x+ and x- share their marginal, f has unit rows and psi is non-decreasing, then the largest "
        "E psi(f(x).(f(x-) - f(x+))) over all couplings is E psi(1 - f(x).f(x+)) >= psi(0), attained by x- = x; "
        "if psi is convex, it is at least psi(E[1 - f(x).f(x+)]).",
    ),
    _claim(
        "constant-wins",
        Standing.RESTATED,
        constant_wins,
        "Constant and aligned maps attain psi(0)",
        "A constant map has E psi = psi(0) under every coupling, and any map with f(x) = f(x+) has it under the worst "
        "one: log 2 for psi(v) = log(1 + e^(2v)) on 8 points, 4 instances with 2 views.",
    ),
    _claim(
        "descent",
        Standing.RESTATED,
        descent,
        "Training against the worst case aligns or collapses",
        "If psi is strictly increasing every optimum has f(x) = f(x+); if positives connect all points, only constant "
        "maps are optimal; if not, aligned maps that keep instances apart tie with them. Descent finds such optima.",
    ),
    _claim(
        "more-negatives",
        Standing.DERIVED,
        more_negatives,
        "More negatives do not help",
        "With m negatives, each with the marginal and free to depend on each other, the worst case is "
        "E psi(v, ..., v) at v = 1 - f(x).f(x+): that of one negative where psi(v, ..., v) = psi(v).",
    ),
    _claim(
        "regularised",
        Standing.DERIVED,
        regularised,
        "Regularised couplings tell good from collapsed",
        "For P = argmax E_P psi - reg R(P), C instances on a simplex have E_P psi below psi(0), the constant map's: at "
        "every reg > 0 for R = KL, above reg = (psi(0) - psi(-C/(C-1))) / C for half chi-squared. The gap grows with "
        "reg.",
    ),
    _claim(
        "regularised-descent",
        Standing.MEASURED,
        regularised_descent,
        "Training against a regularised coupling keeps instances apart",
        "Descent from random maps of 3 instances with 2 views in the plane ends at an equilateral triangle, that of "
        "a ring of 8 does not collapse (reg = 0.5, entropic and quadratic).",
    ),
)
