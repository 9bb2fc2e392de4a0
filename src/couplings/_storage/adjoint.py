"""Walking the half-steps back: who pulls which cotangent, and the sum of all contributions to the logits.

Entropic rule: each half-step's weights are the last kernel R_ij = exp(f_i + g_j + h_ij) scaled by a row and a
column vector, so the sum over 2T half-steps is R o (A B^T) with 2T columns: one pass, whatever T. The vectors
are referred to the *final* potentials, so they stay near one; against the raw kernel exp(h) they would
overflow in float32 at temperature 0.01.

Other rules have a support or a power of their own in every half-step, so each adds its own map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..rules import Entropic, Rule
from .dense import COLS, ROWS, Dense, spread


@dataclass(frozen=True, eq=False)
class Update:
    """One half-step: the side it solved for, the potential it wrote and the other side's that it read."""

    side: int
    own: Tensor
    other: Tensor


class Adjoint(ABC):
    """Accumulates dL/dlogits over the half-steps, from the last to the first."""

    @abstractmethod
    def pull(self, update: Update, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        """(-cotangent / slope, what the other side's earlier potential receives)."""

    @abstractmethod
    def finish(self) -> tuple[Tensor, ...]:
        """Gradients of the storage's leaves."""


def adjoint_of(
    rule: Rule,
    storage: Dense,
    weights: tuple[Tensor, ...],
    softness: tuple[Tensor, ...],
    updates: list[Update],
) -> Adjoint:
    """The cheapest exact adjoint for the rule."""
    if isinstance(rule, Entropic):
        return _RankTwoT(storage, weights, softness, updates)
    return _Pointwise(rule, storage, weights, softness)


class _RankTwoT(Adjoint):
    def __init__(
        self, storage: Dense, weights: tuple[Tensor, ...], softness: tuple[Tensor, ...], updates: list[Update]
    ) -> None:
        self.weights, self.softness = weights, softness
        self.final = _final_potentials(storage, updates)
        self.kernel = storage.kernel(*self.final)
        self.factors: tuple[list[Tensor], list[Tensor]] = ([], [])

    def pull(self, update: Update, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        side, other = update.side, 1 - update.side
        c = self.softness[side]
        scaled = -cotangent / (1 + c)
        # (1 + c) own is minus the log-sum-exp, the potential that makes the half-step's weights sum to one.
        mine = scaled * torch.exp((1 + c) * update.own - self.final[side])
        theirs = self.weights[other] * torch.exp(update.other - self.final[other])
        self.factors[side].append(mine)
        self.factors[other].append(theirs)
        return scaled, theirs * (mine @ self.kernel if side == ROWS else self.kernel @ mine)

    def finish(self) -> tuple[Tensor, ...]:
        if not self.factors[ROWS]:
            return (torch.zeros_like(self.kernel),)
        rows, cols = (torch.stack(f, dim=1) for f in self.factors)
        if rows.shape[1] == 1:
            return (self.kernel.mul_(rows).mul_(cols.T),)
        return (self.kernel.mul_(rows @ cols.T),)


def _final_potentials(storage: Dense, updates: list[Update]) -> tuple[Tensor, Tensor]:
    n, m = storage.logits.shape
    final = [storage.logits.new_zeros(n), storage.logits.new_zeros(m)]
    for update in updates:
        final[update.side], final[1 - update.side] = update.own, update.other
    return final[ROWS], final[COLS]


class _Pointwise(Adjoint):
    def __init__(self, rule: Rule, storage: Dense, weights: tuple[Tensor, ...], softness: tuple[Tensor, ...]) -> None:
        self.rule, self.storage, self.weights, self.softness = rule, storage, weights, softness
        self.total = torch.zeros_like(storage.logits)

    def pull(self, update: Update, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        side, c = update.side, self.softness[update.side]
        x = self.storage.logits + spread(update.own, side) + spread(update.other, 1 - side)
        # sum_j w_j phi = exp(-c own) holds at the root.
        derivative = self.rule.slope(x) * spread(self.weights[1 - side], 1 - side)
        derivative = derivative * spread(torch.exp(c * update.own), side)
        slope = c + derivative.sum(1 - side)
        scaled = -cotangent / torch.where(slope > 0, slope, 1.0)
        contribution = derivative * spread(scaled, side)
        self.total += contribution
        return scaled, contribution.sum(side)

    def finish(self) -> tuple[Tensor, ...]:
        return (self.total,)
