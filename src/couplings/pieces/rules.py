"""The regulariser of a plan: P_ij = a_i b_j phi_q(f_i + g_j + s_ij / temperature).

One family, the q-exponentials with phi_q' = phi_q^q:

    phi_1(x) = exp(x)                              Entropic: every admissible pair carries mass
    phi_0(x) = [1 + x]_+                           Quadratic: sparse plans
    phi_q(x) = (1 - (q - 1) x)^(-1/(q - 1)), q > 1 Power: heavy tails

and one half-step for all marginals: the potential f that solves c f + log sum_j w_j phi(f + x_j) = 0.
The root exists and is unique wherever c >= 0, because phi grows from 0 to infinity.

The reference measure is a x b. A quadratic plan against the counting measure, min <P, C> + (reg/2) |P|^2, has
reg = n m temperature for uniform weights; `Rule.per_column` converts a temperature that is meant for the rows'
conditionals P(j | i), such as sparsemax's, which does not change with the number of columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..basics.checks import finite, require
from ..basics.errors import did_you_mean, warn

_MAX_ITERATIONS = 200
_RESOLVED = 1e-2
"""Largest share of the density at the heaviest pair, or of the distance to a pole, that rounding may take."""


class Rule(ABC):
    """A q-exponential and its half-step."""

    q: float

    def per_column(self, temperature: float | Tensor, m: int) -> float | Tensor:
        """The temperature against a x b for rows P(j | i) = phi_q(theta_i + s_ij / temperature) over m columns."""
        factor: float = float(m) ** (self.q - 1)
        return temperature * factor

    @abstractmethod
    def integral(self, x: Tensor) -> Tensor:
        """The primitive of phi that vanishes with it, phi^(2 - q) / (2 - q), for q < 2: the dual's integrand."""

    def penalty(self, y: Tensor) -> Tensor:
        """What a density y costs, the convex conjugate of `integral`; zero at zero."""
        inside = y > 0
        safe = torch.where(inside, y, 1.0)
        return torch.where(inside, safe * self.log_q(safe) - safe ** (2 - self.q) / (2 - self.q), 0.0)

    def log_q(self, y: Tensor) -> Tensor:
        """The inverse of phi_q."""
        return (y ** (1 - self.q) - 1) / (1 - self.q)

    @abstractmethod
    def density(self, x: Tensor) -> Tensor:
        """phi(x); zero at minus infinity."""

    @abstractmethod
    def slope(self, x: Tensor) -> Tensor:
        """phi'(x)."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """log phi(x)."""

    @abstractmethod
    def half_step(
        self, logits: Tensor, potential: Tensor, log_weights: Tensor, c: Tensor, start: Tensor | None = None
    ) -> Tensor:
        """The root f of c f + log sum_j w_j phi(f + h_ij + g_j) = 0 for each row of the logits h (n, m).

        `potential` g and `log_weights` belong to the other side, shape (m,). `start` is where to look first: the root
        of the sweep before.
        """


@dataclass(frozen=True)
class Entropic(Rule):
    """phi = exp: Shannon regularisation, the softmax family."""

    q = 1.0

    def log_q(self, y: Tensor) -> Tensor:
        """The logarithm."""
        return torch.log(y)

    def integral(self, x: Tensor) -> Tensor:
        """exp(x)."""
        return torch.exp(x)

    def density(self, x: Tensor) -> Tensor:
        """exp(x)."""
        return torch.exp(x)

    def slope(self, x: Tensor) -> Tensor:
        """exp(x)."""
        return torch.exp(x)

    def log_density(self, x: Tensor) -> Tensor:
        """x itself."""
        return x

    def half_step(
        self, logits: Tensor, potential: Tensor, log_weights: Tensor, c: Tensor, start: Tensor | None = None
    ) -> Tensor:
        """In closed form."""
        return self.root(torch.logsumexp(logits + (potential + log_weights), dim=1), c)

    def root(self, log_sums: Tensor, c: Tensor) -> Tensor:
        """Minus log sum_j w_j exp(h_ij + g_j), damped by 1 / (1 + c)."""
        return -log_sums / (1 + c)


class _QExponential(Rule):
    """phi_q for q != 1; potentials by safeguarded Newton steps."""

    def density(self, x: Tensor) -> Tensor:
        """phi_q(x)."""
        return (1 + (1 - self.q) * x).clamp_min(0) ** (1 / (1 - self.q))

    def integral(self, x: Tensor) -> Tensor:
        """phi^(2 - q) / (2 - q), as one power so that its gradient is finite where phi is zero."""
        return (1 + (1 - self.q) * x).clamp_min(0) ** ((2 - self.q) / (1 - self.q)) / (2 - self.q)

    def log_density(self, x: Tensor) -> Tensor:
        """log phi_q(x), minus infinity off the support."""
        base = 1 + (1 - self.q) * x
        inside = base > 0
        return torch.where(inside, torch.log(torch.where(inside, base, 1.0)) / (1 - self.q), -torch.inf)

    @abstractmethod
    def bracket(self, top: Tensor, log_weight: Tensor, log_mass: Tensor) -> tuple[Tensor, Tensor]:
        """An interval that holds the root, from the row's highest entry, that entry's weight and the mass."""

    def half_step(
        self, logits: Tensor, potential: Tensor, log_weights: Tensor, c: Tensor, start: Tensor | None = None
    ) -> Tensor:
        """Newton steps on the increasing function, bisection where a step leaves the bracket."""
        x = torch.where(log_weights > -torch.inf, logits + potential, -torch.inf)
        top, where = x.max(dim=1)
        empty = top == -torch.inf
        low, high = self.bracket(top, log_weights[where], torch.logsumexp(log_weights, 0))
        weights = log_weights.exp()
        f = (low + high) / 2 if start is None else torch.maximum(low, torch.minimum(start, high))
        rounding = 4 * torch.finfo(x.dtype).eps * (1 + top.abs())
        moved = high - low
        for _ in range(_MAX_ITERATIONS):
            value, slope = self._excess(f, x, weights, c)
            low, high = torch.where(value < 0, f, low), torch.where(value < 0, high, f)
            newton = f - value / slope
            enough, move = rounding + 4 * torch.finfo(x.dtype).eps * f.abs(), (newton - f).abs()
            # A step that is not half the last one may go to and fro for ever: the bracket is halved instead.
            sound = (newton >= low) & (newton <= high) & ((move <= moved / 2) | (move <= enough))
            step = torch.where(sound, newton, torch.where(move <= enough, f, (low + high) / 2))
            moved, f = (step - f).abs(), step
            if bool((empty | (moved <= enough)).all()):
                break
        coarse = self.coarse(f, top, torch.finfo(x.dtype).eps * (f.abs() + top.abs()))
        if bool((coarse & ~empty).any()):
            warn(
                f"{f.dtype} cannot resolve the heaviest pairs of {self!r}, where scores over the temperature reach "
                f"{float(top[~empty].abs().amax()):.2g}: use float64, {self.remedy}, and look at check()"
            )
        return torch.where(empty, torch.inf, f)

    remedy: ClassVar[str] = "smaller scores or a higher temperature"

    @abstractmethod
    def coarse(self, f: Tensor, top: Tensor, rounding: Tensor) -> Tensor:
        """Where the rounding of the exponent f + top is too much for the density there."""

    def _excess(self, f: Tensor, x: Tensor, weights: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        shifted = x + f[:, None]
        mass = self.density(shifted) @ weights
        return c * f + mass.log(), c + (self.slope(shifted) @ weights) / mass


@dataclass(frozen=True)
class Quadratic(_QExponential):
    """phi = [1 + x]_+: squared-norm regularisation; most entries of the plan are exactly zero."""

    q = 0.0

    def density(self, x: Tensor) -> Tensor:
        """[1 + x]_+."""
        return (1 + x).clamp_min(0)

    def slope(self, x: Tensor) -> Tensor:
        """One on the support."""
        return (x > -1).to(x.dtype)

    def coarse(self, f: Tensor, top: Tensor, rounding: Tensor) -> Tensor:
        """Beside one, at which the density is a mass of its own."""
        return rounding > _RESOLVED

    def bracket(self, top: Tensor, log_weight: Tensor, log_mass: Tensor) -> tuple[Tensor, Tensor]:
        """At most mass 1 below, at least mass 1 from the highest entry alone above."""
        low = (self.log_q(torch.exp(-log_mass)) - top).clamp_max(0)
        return low, (self.log_q(torch.exp(-log_weight)) - top).clamp_min(0)


@dataclass(frozen=True)
class Power(_QExponential):
    """phi = (1 - (q - 1) x)^(-1/(q - 1)), q > 1: power-law weights; defined below x = 1/(q - 1) only.

    Next to that pole a potential's rounding is multiplied by phi^(q - 1): for q above 2 use float64 and temperatures
    near the scores' range. A `CouplingWarning` says when the dtype is too coarse.
    """

    q: float = 2.0

    def __post_init__(self) -> None:
        finite("q", self.q)
        require(self.q > 1, f"q must be > 1, got {self.q:g}: Entropic() is q = 1 and Quadratic() is q = 0")

    remedy = "a smaller q or a higher temperature"

    def coarse(self, f: Tensor, top: Tensor, rounding: Tensor) -> Tensor:
        """Beside the distance to the pole."""
        return rounding > _RESOLVED * (1 / (self.q - 1) - f - top).abs()

    def slope(self, x: Tensor) -> Tensor:
        """phi^q."""
        return self.density(x) ** self.q

    def bracket(self, top: Tensor, log_weight: Tensor, log_mass: Tensor) -> tuple[Tensor, Tensor]:
        """At most mass 1 below; the pole of the highest entry above."""
        low = (self.log_q(torch.exp(-log_mass)) - top).clamp_max(0)
        return low, 1 / (self.q - 1) - top


def resolve_rule(rule: str | Rule) -> Rule:
    """The rule of that name ("entropic", "quadratic", "power"), or the object itself."""
    known: dict[str, Rule] = {"entropic": Entropic(), "quadratic": Quadratic(), "power": Power()}
    if isinstance(rule, str):
        require(rule in known, f"unknown rule {rule!r}: {did_you_mean(rule, known)}")
        return known[rule]
    require(isinstance(rule, Rule), f"rule must be Entropic(), Quadratic() or Power(q), got {rule!r}")
    return rule
