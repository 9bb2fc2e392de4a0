"""Fixed points of the energy with constant equal weights, by projected gradient ascent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ... import checks
from ...checks import SMALLEST_NORM
from ...errors import NotConverged
from .inputs import at_least, generator_of
from .mixture import Views
from .network import Activation, TwoLayer, energy, unit_matrix, unit_rows


Projection = Callable[[Tensor], Tensor]

SETTLED = 1e-10
"""A residual below which ascent stops early."""


@dataclass(frozen=True)
class Ascent:
    """Where projected ascent of the energy ended.

    Attributes:
        network: the weights at the end.
        energies: (steps + 1,), E before each step and at the end, in squared units of the data.
        residual: largest sine of the angle between a row of W1, or W2 as a whole, and its gradient before the last step, in
            [0, 1]: the projected gradient over the gradient. Zero at a fixed point; a row without gradient counts as zero.
    """

    network: TwoLayer
    energies: Tensor
    residual: float

    @property
    def energy(self) -> float:
        """E at the end."""
        return float(self.energies[-1])


def ascend(
    views: Views,
    activation: Activation,
    *,
    hidden: int = 8,
    outputs: int = 4,
    steps: int = 3000,
    rate: float = 0.1,
    tolerance: float = 1e-6,
    project_rows: Projection = unit_rows,
    seed: int,
) -> Ascent:
    """A fixed point of the energy on |w_k| = 1, |W2|_F = 1, by projected gradient ascent from random weights.

        w_k <- unit(w_k + rate unit(dE/dw_k)) for each row of W1,   W2 <- unit(W2 + rate unit(dE/dW2))

    Every row moves by the direction of its gradient, so that neurons of little weight settle as fast as others.

    Args:
        views: two (n, d), float64, of the same samples.
        activation: after the first layer.
        hidden: number h of hidden neurons, >= 1.
        outputs: number o of outputs, >= 1.
        steps: at most so many, >= 1; fewer where the residual falls below 1e-10.
        rate: length of a step before it is projected, > 0; the weights have length one.
        tolerance: the largest residual that counts as a fixed point, >= 0; `math.inf` accepts any.
        project_rows: what is done to W1 after each step.
        seed: of the random weights.

    Raises:
        InvalidInput: an argument outside of its range, unequal views.
        NotConverged: a residual above `tolerance` after all steps.

    Cost:
        A step is O(n h (d + h)).

    Source:
        Constraint and constant weights as in Tian 2022 (arXiv 2201.12680); the program is ours.

    Example:
        >>> from couplings.theory.relu_networks import OneHotMixture, numerical_rank, one_hot_data
        >>> end = ascend(one_hot_data(64, OneHotMixture(6), seed=0), Activation.LINEAR, seed=0)
        >>> numerical_rank(end.network.w1), numerical_rank(end.network.w2)
        (1, 1)
    """
    for name, size in (("hidden", hidden), ("outputs", outputs), ("steps", steps)):
        at_least(name, size, 1)
    checks.finite_positive("rate", rate)
    checks.positive("tolerance", tolerance, zero=True)
    network = _random(views[0].shape[1], hidden, outputs, activation, project_rows, generator_of(seed))
    energies, residual = [], math.inf
    while len(energies) < steps and residual > SETTLED:
        network, value, residual = _step(network, views, rate, project_rows)
        energies.append(value)
    if not residual <= tolerance:
        remedy = "raise steps, or change rate"
        raise NotConverged(f"residual {residual:.2g} > tolerance {tolerance:g} after {len(energies)} steps: {remedy}")
    return Ascent(network, torch.tensor([*energies, float(energy(network, views))]), residual)


def _random(
    inputs: int, hidden: int, outputs: int, activation: Activation, project_rows: Projection, generator: torch.Generator
) -> TwoLayer:
    w1 = torch.randn(hidden, inputs, generator=generator, dtype=torch.float64)
    w2 = torch.randn(outputs, hidden, generator=generator, dtype=torch.float64)
    return TwoLayer(project_rows(w1), unit_matrix(w2), activation)


def _step(network: TwoLayer, views: Views, rate: float, project_rows: Projection) -> tuple[TwoLayer, float, float]:
    """The network after a step, the energy before it, and the residual before it."""
    w1, w2 = network.w1.clone().requires_grad_(), network.w2.clone().requires_grad_()
    value = energy(TwoLayer(w1, w2, network.activation), views)
    uphill = torch.autograd.grad(value, (w1, w2))
    rows, whole = functional.normalize(uphill[0], dim=1), uphill[1] / uphill[1].norm().clamp_min(SMALLEST_NORM)
    residual = max(_sine(network.w1, rows), _sine(network.w2.reshape(1, -1), whole.reshape(1, -1)))
    moved = TwoLayer(project_rows(network.w1 + rate * rows), unit_matrix(network.w2 + rate * whole), network.activation)
    return moved, float(value.detach()), residual


def _sine(weights: Tensor, directions: Tensor) -> float:
    """The largest sine between rows of `weights` and unit `directions`, zero for a direction that is zero."""
    along = (unit_rows(weights) * directions).sum(1, keepdim=True)
    return float((directions - along * unit_rows(weights)).norm(dim=1).amax())
