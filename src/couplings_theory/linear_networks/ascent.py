"""Projected gradient ascent of the energy over layers of norm one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.basics.errors import NotConverged

from .network import LinearNetwork, readable


@dataclass(frozen=True, eq=False)
class Ascent:
    """What an ascent went through.

    Attributes:
        covariance: X.
        path: the network at the start and after each step.
        step: the length of a step, rate / |X|.
    """

    covariance: Tensor
    path: tuple[LinearNetwork, ...]
    step: float

    @property
    def network(self) -> LinearNetwork:
        """Where it ended."""
        return self.path[-1]

    @cached_property
    def energies(self) -> Tensor:
        """E at the start and after each step, (steps + 1,)."""
        return torch.stack([network.energy(self.covariance) for network in self.path])


def ascend(
    covariance: Tensor, start: LinearNetwork, *, rate: float = 0.5, steps: int = 20_000, tolerance: float = 1e-12
) -> Ascent:
    """Ascend E = tr(W X W^T) / 2: W_l <- W_l + (rate / |X|) dE/dW_l, scaled back to norm one, all layers at once.

    Args:
        covariance: X (input, input), float64, symmetric and not zero; |X| is its largest eigenvalue in size.
        start: a network of that input width, layers of norm one.
        rate: in (0, 1), where the energy does not fall. As rate falls, the path becomes the gradient flow.
        steps: at most so many, >= 1.
        tolerance: stops where the gradient on the spheres is below this times |X|; zero or more.

    Returns:
        The path with all its networks: steps times the number of weights, 8 bytes each.

    Raises:
        NotConverged: the gradient is still larger after `steps`.
        InvalidInput: X is not symmetric or not float64, sizes do not fit, layers are not of norm one, or a number is
            out of its range.

    Source:
        Tian 2022 (arXiv 2201.12680).

    Example:
        >>> import torch
        >>> from couplings_theory.linear_networks import random_network
        >>> spectrum = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
        >>> found = ascend(spectrum, random_network((3, 4, 2), seed=0))
        >>> round(2 * found.energies[-1].item(), 6)
        3.0
    """
    size = _checked(covariance, start, rate, steps, tolerance)
    path, pulls = [start], start.gradients(covariance)
    while (slope := path[-1].slope(pulls)) > tolerance * size:
        if len(path) > steps:
            raise NotConverged(
                f"the gradient is {slope:.3g} after {steps} steps, tolerance is {tolerance * size:.3g}: allow more "
                "steps, raise the rate (below 1), or look at the gap between the two largest eigenvalues"
            )
        path.append(path[-1].moved(pulls, rate / size))
        pulls = path[-1].gradients(covariance)
    return Ascent(covariance, tuple(path), rate / size)


def _checked(covariance: Tensor, start: LinearNetwork, rate: float, steps: int, tolerance: float) -> float:
    readable("start", start, covariance)
    norms = [float(layer.norm()) for layer in start.layers]
    unit = all(abs(norm - 1) < 1e-6 for norm in norms)
    checks.require(unit, f"layers of start must have norm 1, got {norms}: pass start.normalised()")
    checks.finite_positive("rate", rate)
    checks.require(rate < 1, f"rate must be below 1, got {rate:g}: longer steps can lower the energy")
    checks.count("steps", steps)
    checks.require(steps >= 1, f"steps must be >= 1, got {steps}")
    checks.finite_nonnegative("tolerance", tolerance)
    size = float(torch.linalg.matrix_norm(covariance, 2))
    checks.require(size > 0, "covariance is zero: every network has energy zero; pass data that varies")
    return size
