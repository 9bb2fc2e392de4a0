"""What mass each side of a plan must carry: `Fixed`, `KL(rho)` or `Free`.

The reference measure is a x b, so `weights` are both the marginal asked for and the reference. One number
c says how firm the constraint is: the half-step solves c f + log sum_j b_j phi(f + h_j) = 0 with c = 0 for
`Fixed` and c = temperature / rho for `KL(rho)`; a `Free` side keeps its potential at zero.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..basics.checks import checks_enabled, positive, require, tensor
from ..basics.looks import expect_finite


class Marginal(ABC):
    """One side's mass.

    `weights`: mass (and reference weight) of each row or column, non-negative, shape (n,); uniform with
    sum 1 when None. Copied, as a constant.
    """

    weights: Tensor | None

    @property
    def constrained(self) -> bool:
        """Whether this side has a potential to solve for."""
        return True

    @property
    def soft(self) -> bool:
        """Whether its mass may leave its weights."""
        return False

    def softness(self, temperature: float | Tensor, like: Tensor) -> Tensor:
        """The number c of the half-step, as a 0-dim tensor."""
        return like.new_zeros(())

    def resolve(self, name: str, size: int, like: Tensor) -> Tensor:
        """The weights as a tensor of `size` entries."""
        if self.weights is None:
            return like.new_full((size,), 1.0 / size)
        tensor(f"the weights of {name}", self.weights)
        weights = self.weights.detach().to(like, copy=True)
        got = tuple(weights.shape)
        require(got == (size,), f"the weights of {name} must have shape ({size},), got {got}")
        if checks_enabled():
            expect_finite(_soundness(weights), partial(_check_weights, name, weights))
        return weights


def _soundness(weights: Tensor) -> Tensor:
    """Finite if weights are >= 0, finite and not all zero."""
    tiny = torch.finfo(weights.dtype).tiny
    return (weights.amin() + tiny).log() + weights.sum().log()


def _check_weights(name: str, weights: Tensor) -> None:
    require(bool(weights.isfinite().all()), f"the weights of {name} hold NaN or inf")
    lowest = float(weights.min())
    require(lowest >= 0, f"the weights of {name} must be >= 0, got {lowest:g}: mass cannot be negative")
    require(float(weights.sum()) > 0, f"the weights of {name} sum to zero: at least one must be positive")


@dataclass(frozen=True, eq=False)
class Fixed(Marginal):
    """The side carries exactly its weights."""

    weights: Tensor | None = None


@dataclass(frozen=True, eq=False)
class KL(Marginal):
    """The side's mass may leave its weights at the price rho KL(mass, weights).

    rho has the units of a score: rho -> inf is `Fixed`, rho -> 0 is `Free`.
    """

    rho: float | Tensor = 1.0
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        positive("rho", self.rho)

    @property
    def soft(self) -> bool:
        """Always."""
        return True

    def softness(self, temperature: float | Tensor, like: Tensor) -> Tensor:
        """temperature / rho."""
        return torch.as_tensor(temperature / self.rho, dtype=like.dtype, device=like.device)


@dataclass(frozen=True, eq=False)
class Free(Marginal):
    """The side carries whatever the scores give it."""

    weights: Tensor | None = None

    @property
    def constrained(self) -> bool:
        """Never."""
        return False
