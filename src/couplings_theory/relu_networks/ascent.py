"""Fixed points of the energy with constant equal weights, by projected gradient ascent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from couplings.basics import checks
from couplings.basics.checks import SMALLEST_NORM
from couplings.basics.errors import NotConverged

from .inputs import at_least
from .mixture import Views
from .network import TwoLayer, energy, unit_matrix, unit_rows

Projection = Callable[[Tensor], Tensor]

SETTLED = 1e-10
"""A residual below which ascent stops early."""

ON_KINK = 1e-3
"""Entries of unit rows nearer to zero have been switched off on the way."""


@dataclass(frozen=True)
class Ascent:
    """Where projected ascent of the energy ended.

    Attributes:
        network: the weights at the end.
        energies: (steps + 1,), E before each step and at the end, in squared units of the data.
        residual: largest sine of the angle between a row of W1, or W2 as a whole, and its gradient before the last
            step, in [0, 1]: the projected gradient over the gradient. Zero at a fixed point; a row without gradient
            counts as zero.
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
    start: TwoLayer,
    *,
    steps: int = 3000,
    rate: float = 0.3,
    tolerance: float = 1e-6,
    project_rows: Projection = unit_rows,
) -> Ascent:
    """A fixed point of the energy on |w_k| = 1, |W2|_F = 1, by projected gradient ascent.

        w_k <- unit(w_k + rate unit(dE/dw_k)) for each row of W1,   W2 <- unit(W2 + rate unit(dE/dW2))

    Every row moves by the direction of its gradient, so that neurons of little weight settle as fast as others.

    Args:
        views: two (n, d), float64, of the same samples.
        start: the first weights; they are scaled to the constraint.
        steps: at most so many, >= 1; fewer where the residual falls below 1e-10.
        rate: length of a step before it is projected, > 0; the weights have length one.
        tolerance: the largest residual that counts as a fixed point, >= 0; `math.inf` accepts any.
        project_rows: what is done to W1 after each step.

    Raises:
        InvalidInput: an argument outside of its range, unequal views.
        NotConverged: a residual above `tolerance` after all steps. ReLU on data of both signs can end on a kink, where
            neither side is stationary, and never settle.

    Cost:
        A step is O(n h (d + h)).

    Source:
        Constraint and constant weights as in Tian 2022 (arXiv 2201.12680); the program is ours.

    Example:
        >>> from couplings_theory.relu_networks import Activation, OneHotMixture, numerical_rank, one_hot_data
        >>> views = one_hot_data(64, OneHotMixture(6), seed=0)
        >>> end = ascend(views, TwoLayer.random(6, 8, 4, Activation.LINEAR, seed=0))
        >>> numerical_rank(end.network.w1), numerical_rank(end.network.w2)
        (1, 1)
    """
    at_least("steps", steps, 1)
    checks.finite_positive("rate", rate)
    checks.positive("tolerance", tolerance, zero=True)
    network = replace(start, w1=project_rows(start.w1), w2=unit_matrix(start.w2))
    energies: list[float] = []
    residual = math.inf
    while len(energies) < steps and residual > SETTLED:
        network, value, residual = _step(network, views, rate, project_rows)
        energies.append(value)
    if not residual <= tolerance:
        remedy = "raise steps, or change rate"
        raise NotConverged(f"residual {residual:.2g} > tolerance {tolerance:g} after {len(energies)} steps: {remedy}")
    return Ascent(network, torch.tensor([*energies, float(energy(network, views))], dtype=torch.float64), residual)


def local_maximum(views: Views, start: TwoLayer, *, lift: float = 1e-2, rounds: int = 50, **options: Any) -> Ascent:
    """A local maximum: `ascend`, lift the entries of W1 that ended on a kink, ascend again, until the energy stays.

    A ReLU neuron that is off for a coordinate has no gradient in that entry, which shrinks to zero from below even
    where a positive entry would raise the energy. Such an end is a fixed point and no maximum.

    Args:
        views: as for `ascend`.
        start: as for `ascend`.
        lift: what entries within 1e-3 of zero are set to, > 0.
        rounds: at most so many, >= 1.
        options: the keyword arguments of `ascend`.

    Raises:
        InvalidInput: as `ascend`.
        NotConverged: as `ascend`; or an energy that still rises after all rounds.

    Example:
        >>> from couplings_theory.relu_networks import Activation, OneHotMixture, alive, numerical_rank, one_hot_data
        >>> views = one_hot_data(64, OneHotMixture(6, noise=0.2), seed=0)
        >>> end = local_maximum(views, TwoLayer.random(6, 8, 4, Activation.RELU, seed=0)).network
        >>> numerical_rank(end.w1[alive(end)])
        2
    """
    checks.finite_positive("lift", lift)
    at_least("rounds", rounds, 1)
    best = ascend(views, start, **options)
    for _ in range(rounds):
        lifted = replace(best.network, w1=torch.where(best.network.w1.abs() < ON_KINK, lift, best.network.w1))
        again = ascend(views, lifted, **options)
        if again.energy <= best.energy * (1 + 1e-9):
            return best
        best = again
    raise NotConverged(f"the energy still rises after {rounds} rounds, now {best.energy:.6g}: raise rounds")


def largest_gain(network: TwoLayer, views: Views, *, size: float = 1e-4, tries: int = 200, seed: int = 0) -> float:
    """The largest relative rise of the energy over random moves of `size` on |w_k| = 1, |W2|_F = 1.

    Not above zero at a local maximum, up to rounding.

    Args:
        network: with unit rows w_k and |W2|_F = 1.
        views: two (n, d) of the same samples.
        size: length of the move of each row, and of W2, before it is projected, > 0.
        tries: number of moves, >= 1.
        seed: of the moves.

    Example:
        >>> from couplings_theory.relu_networks import one_hot_data
        >>> from couplings_theory.relu_networks import Activation
        >>> views = one_hot_data(64, seed=0)
        >>> largest_gain(TwoLayer.random(10, 8, 4, Activation.RELU, seed=0), views) > 0
        True
    """
    checks.finite_positive("size", size)
    at_least("tries", tries, 1)
    (hidden, inputs), outputs = network.w1.shape, len(network.w2)
    here = float(energy(network, views))
    best = -math.inf
    for attempt in range(tries):
        move = TwoLayer.random(inputs, hidden, outputs, network.activation, seed=seed + attempt)
        w1, w2 = unit_rows(network.w1 + size * move.w1), unit_matrix(network.w2 + size * move.w2)
        best = max(best, float(energy(replace(network, w1=w1, w2=w2), views)))
    return (best - here) / here


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
