"""Balanced Sinkhorn between the same rows, each solver with the fewest iterations that reach one accuracy.

Accuracy is one function for all: the L1 error of both marginals of exp(f + g + s / eps) / n^2, in double precision.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.pieces.marginals import Fixed
from couplings.plans.scores import Scores
from couplings.plans.solve import couple

from .inputs import rows_in_two
from .work import Call, Make, NotComparable, Size

__all__ = ["ACCURACY", "geomloss_solver", "marginal_error", "our_solver", "pot_solver"]

ACCURACY = 1e-3
_MOST, _BLOCK = 64, 1024
"""Iterations after which a solver is taken not to reach the accuracy; rows of a plan that are looked at at a time."""

Solve = Callable[[Tensor, Tensor, float, int], tuple[Tensor, Tensor]]
"""Potentials over eps, referred to the product of uniform weights, from rows, columns, eps and iterations."""


def marginal_error(x: Tensor, y: Tensor, eps: float, f: Tensor, g: Tensor) -> float:
    """L1 distance of both marginals from uniform."""
    total = 0.0
    columns = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for rows, own in zip(torch.split(x, _BLOCK), torch.split(f, _BLOCK), strict=True):
        plan = torch.exp((rows @ y.T).double() / eps + own.double()[:, None] + g.double()) / (len(x) * len(y))
        total += float((plan.sum(1) - 1 / len(x)).abs().sum())
        columns += plan.sum(0)
    return total + float((columns - 1 / len(y)).abs().sum())


def _by_ours(x: Tensor, y: Tensor, eps: float, iterations: int) -> tuple[Tensor, Tensor]:
    plan = couple(Scores(x, y, temperature=eps), Fixed(), Fixed(), sweeps=iterations)
    return plan.f, plan.g


def _by_pot(x: Tensor, y: Tensor, eps: float, iterations: int) -> tuple[Tensor, Tensor]:
    from ot.bregman import sinkhorn_log

    weights = [z.new_full((len(z),), 1 / len(z)) for z in (x, y)]
    _, log = sinkhorn_log(*weights, 1 - x @ y.T, eps, numItermax=iterations, stopThr=0, log=True, warn=False)
    return log["log_u"] + math.log(len(x)) - 1 / eps, log["log_v"] + math.log(len(y))


def _by_geomloss(x: Tensor, y: Tensor, eps: float, iterations: int) -> tuple[Tensor, Tensor]:
    from geomloss import ot

    solved = ot.solve(1 - x @ y.T, reg=eps, max_iter=iterations)
    return solved.potential_a / eps - 1 / eps, solved.potential_b / eps


def fewest(error: Callable[[int], float], accuracy: float) -> int:
    """The fewest iterations with an error of at most `accuracy`: doubled until it is reached, then halved between,
    to one in sixteen.

    Raises:
        NotComparable: the most that are tried do not reach it.
    """
    enough = 1
    while (left := error(enough)) > accuracy:
        if enough >= _MOST:
            raise NotComparable(f"{enough} iterations leave a marginal error of {left:.1e}, above {accuracy:g}")
        enough *= 2
    short = enough // 2
    while enough - short > max(1, enough // 16):
        middle = (short + enough) // 2
        short, enough = (short, middle) if error(middle) <= accuracy else (middle, enough)
    return enough


@dataclass(frozen=True)
class Solver:
    """A solver at one temperature, its iterations found before it is timed."""

    solve: Solve
    eps: float

    def __call__(self, size: Size, device: torch.device) -> Call:
        """The potentials of two sets of `rows` unit vectors, (rows,) each."""
        x, y = rows_in_two(size, device)

        def error(iterations: int) -> float:
            return marginal_error(x, y, self.eps, *self.solve(x, y, self.eps, iterations))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            iterations = size.sweeps or fewest(error, ACCURACY)
        return lambda: self.solve(x, y, self.eps, iterations)


def our_solver(eps: float) -> Make:
    """Our sweeps."""
    return Solver(_by_ours, eps)


def pot_solver(eps: float) -> Make:
    """POT's solver in the log domain, on torch tensors."""
    return Solver(_by_pot, eps)


def geomloss_solver(eps: float) -> Make:
    """geomloss on a matrix of costs, with its annealing and averaged updates."""
    return Solver(_by_geomloss, eps)
