"""How alike two embeddings are, as a pointwise function of their dot product and squared norms.

A score is large where two embeddings are alike; a cost enters as its negative. Because each score is a
pointwise function h(<q, k>, |q|^2, |k|^2), one matrix product serves all of them and gradients reach the
norms too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..basics.checks import finite, finite_positive, require
from ..basics.errors import did_you_mean


class Cost(Protocol):
    """Anything with this method can be passed as `cost=`."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """Scores from dot products (..., n, m), squared norms (n, 1) and (1, m) or (n, m)."""
        ...


def _squared_distance(dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
    return q_sq + k_sq - 2 * dot


@dataclass(frozen=True)
class InnerProduct:
    """s = <q, k>: the cosine when rows have unit norm, as they do inside a normalising loss."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """The dot products as they are."""
        return dot


@dataclass(frozen=True)
class Cosine:
    """s = <q, k> / (|q| |k|), in [-1, 1], whatever the norms."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """Cosines of the angles."""
        return dot * (q_sq * k_sq).rsqrt()


@dataclass(frozen=True)
class SquaredEuclidean:
    """s = -|q - k|^2; on the unit sphere 2 <q, k> - 2."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """Minus the squared distances."""
        return -_squared_distance(dot, q_sq, k_sq)


@dataclass(frozen=True)
class ExpSquaredEuclidean:
    """s = -exp(|q - k|^2 - kappa), the "new cost" of HCL-OT.

    kappa is a scale of reg in disguise: (kappa, reg) and (0, reg e^kappa) give the same plan.
    """

    kappa: float = 1.0

    def __post_init__(self) -> None:
        finite("kappa", self.kappa)

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """Minus the exponential costs."""
        return -torch.exp(_squared_distance(dot, q_sq, k_sq) - self.kappa)


@dataclass(frozen=True)
class RBF:
    """s = exp(-t |q - k|^2), in (0, 1]: a similarity already, so it enters with its own sign."""

    t: float = 2.0

    def __post_init__(self) -> None:
        finite_positive("t", self.t)

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """Gaussian similarities."""
        return torch.exp(-self.t * _squared_distance(dot, q_sq, k_sq))


@dataclass(frozen=True)
class DistancePower:
    """s = -d^p with d^2 = |q - k|^2 / 2, which is 1 - cosine on the unit sphere (alpha-CL's distance)."""

    p: float = 2.0

    def __post_init__(self) -> None:
        finite_positive("p", self.p)

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """Minus the powered distances; rounding below zero is cut off."""
        return -(_squared_distance(dot, q_sq, k_sq) / 2).clamp_min(0).pow(self.p / 2)

    def of_cosines_(self, x: Tensor) -> Tensor:
        """Scores between unit rows, written over their cosines."""
        return x.neg_().add_(1).clamp_min_(0).pow_(self.p / 2).neg_()


@dataclass(frozen=True)
class LogDistance:
    """s = -power log(d^2 + shift) with d^2 = |q - k|^2 / 2: its entropic weights are (d^2 + shift)^-power.

    Example:
        >>> import torch
        >>> from couplings import LogDistance, Scores, couple
        >>> couple(Scores(torch.eye(2), cost=LogDistance(shift=1.0, power=2.0))).conditional()
        tensor([[0.8000, 0.2000],
                [0.2000, 0.8000]])
    """

    shift: float = 0.5
    power: float = 1.0

    def __post_init__(self) -> None:
        finite_positive("shift", self.shift)
        finite_positive("power", self.power)

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """Minus the logarithms; rounding below zero is cut off."""
        return -self.power * torch.log((_squared_distance(dot, q_sq, k_sq) / 2).clamp_min(0) + self.shift)


def of_cosines_(cost: Cost, x: Tensor) -> Tensor:
    """Scores between unit rows without gradient; may write over the cosines."""
    if isinstance(cost, DistancePower):
        return cost.of_cosines_(x)
    one = x.new_ones((1, 1))
    return cost.score(x, one, one)


def affine_on_sphere(cost: Cost) -> tuple[float, float] | None:
    """(slope, level) of a cost whose score is slope cosine + level between rows of unit norm, else None."""
    if isinstance(cost, DistancePower):
        return (1.0, -1.0) if cost.p == 2 else None
    return _AFFINE.get(type(cost))


_AFFINE: dict[type, tuple[float, float]] = {InnerProduct: (1.0, 0.0), Cosine: (1.0, 0.0), SquaredEuclidean: (2.0, -2.0)}


def resolve(cost: str | Cost, known: Mapping[str, Cost]) -> Cost:
    """The cost of that name, or the object itself when it has a `score` method."""
    if isinstance(cost, str):
        require(cost in known, f"unknown cost {cost!r}: {did_you_mean(cost, known)}")
        return known[cost]
    require(is_cost(cost), f"cost must be one of {sorted(known)} or an object with a score method, got {cost!r}")
    return cost


def is_built_in(cost: Cost) -> bool:
    """Whether it is one of ours: monotone in the cosine, without learnt parts."""
    return type(cost).__module__ == __name__


def is_cost(value: object) -> bool:
    """Whether it is an object (not a class) with a `score` method."""
    return not isinstance(value, type) and callable(getattr(value, "score", None))
