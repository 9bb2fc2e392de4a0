"""Walking the half-steps back: who pulls which cotangent, and the sum of all contributions to the logits.

Entropic rule: each half-step's weights are one kernel R scaled by a row and a column vector, so the sum over 2T
half-steps is R o (A B^T) with 2T columns: one visit of all panels, whatever T. A column half-step and the row half-step
before it pull through the same panels in one visit, and the first pair of the sweeps shares its visit with the
contraction: T + 1 visits in all, O((n + m) T) numbers beside a panel.

Other rules have a support or a power of their own in every half-step, so each adds its own map, made again at the end;
so does a half-step whose potentials moved too far for one kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..basics import checks
from ..pieces.rules import Entropic, Rule
from .exponentials import exp_
from .gradient import Gradient
from .kernels import serves
from .sides import COLS, ROWS
from .sums import LogSums, Sums
from .team import Team

Vectors = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Update:
    """One half-step: the side it solved for, the potential it wrote and the other side's that it read."""

    side: int
    own: Tensor
    other: Tensor


class Adjoint(ABC):
    """Pulls the cotangents of the last potentials through all half-steps, from the last to the first.

    Attributes:
        scale: a power of two by which the cotangents are divided on the walk: the dtype's range is then of no account.
        bars: cotangents of both potentials over the scale, as far as the walk has come.
        soft_bars: those of both sides' c.
    """

    def __init__(self, weights: Vectors, softness: Vectors, updates: list[Update], bars: Vectors) -> None:
        self.weights, self.softness, self.updates = weights, softness, updates
        largest = torch.maximum(*(bar.abs().amax() for bar in bars))
        self.scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent)
        self.bars = [bar / self.scale for bar in bars]
        self.soft_bars = [torch.zeros_like(c) for c in softness]

    @abstractmethod
    def walk(self, gradient: Gradient) -> None:
        """All the way; the logits' share goes to the gradient."""

    def scaled(self, update: Update, slope: Tensor) -> Tensor:
        """-cotangent / slope; its share of c's gradient is taken."""
        vector = -self.bars[update.side] / slope
        self.soft_bars[update.side] = self.soft_bars[update.side] + (vector * update.own).sum()
        return vector

    def pass_on(self, update: Update, received: Tensor) -> None:
        """The cotangent has moved over to the potential of the other side that the half-step read."""
        self.bars[update.side] = torch.zeros_like(self.bars[update.side])
        self.bars[1 - update.side] = self.bars[1 - update.side] + received


def adjoint_of(
    rule: Rule, sums: Sums, weights: Vectors, softness: Vectors, updates: list[Update], bars: Vectors
) -> Adjoint:
    """The cheapest exact adjoint for the rule."""
    if isinstance(rule, Entropic) and (
        not isinstance(sums, LogSums) or _stayed_near(updates, softness, sums.source.team)
    ):
        return _RankTwoT(sums, weights, softness, updates, bars)
    assert isinstance(sums, LogSums)
    return _Pointwise(rule, sums, weights, softness, updates, bars)


def _stayed_near(updates: list[Update], softness: Vectors, team: Team) -> bool:
    """Whether one kernel, at the last potentials, serves all half-steps."""
    if len(updates) == 1 or not checks.checks_enabled():
        return True
    last = _last_potentials(updates)
    near = [serves(last, u.side, _log_sums(u, softness), u.other) for u in updates]
    return team.agreed(torch.stack(near).all())


def _log_sums(update: Update, softness: Vectors) -> Tensor:
    """(1 + c) own, minus the log-sum-exp: the potential that makes the half-step's weights sum to one."""
    return (1 + softness[update.side]) * update.own


class _RankTwoT(Adjoint):
    def __init__(self, sums: Sums, weights: Vectors, softness: Vectors, updates: list[Update], bars: Vectors) -> None:
        super().__init__(weights, softness, updates, bars)
        self.kernel = sums.kernel(*_last_potentials(updates))
        self.factors = tuple(bars[ROWS].new_empty((size, len(updates))) for size in sums.shape)

    def walk(self, gradient: Gradient) -> None:
        """The visit that has the first update contracts: nothing before it needs a cotangent."""
        index = len(self.updates) - 1
        while index >= 0:
            paired = index > 0 and self.updates[index].side == COLS and self.updates[index - 1].side == ROWS
            take = self._pair if paired else self._one
            take(index, gradient if index == int(paired) else None)
            index -= 2 if paired else 1

    def _one(self, index: int, gradient: Gradient | None) -> None:
        update = self.updates[index]
        own, theirs = self._vectors(index)
        mine = self.scaled(update, 1 + self.softness[update.side]) * own
        self.factors[update.side][:, index] = mine
        if gradient is None:
            self.pass_on(update, theirs * self._product(update.side, mine))
        else:
            for part, panel in self.kernel.panels():
                self._contract(part, panel, gradient)

    def _pair(self, index: int, gradient: Gradient | None) -> None:
        """A column half-step and the row half-step before it: what a panel of rows receives, it sends on at once."""
        col, row = self.updates[index], self.updates[index - 1]
        (own, theirs), (row_own, row_theirs) = self._vectors(index), self._vectors(index - 1)
        mine = self.factors[COLS][:, index] = self.scaled(col, 1 + self.softness[COLS]) * own
        slope, row_mine = 1 + self.softness[ROWS], torch.empty_like(row_own)
        received, sent = torch.zeros_like(theirs), torch.zeros_like(row_theirs)
        for part, panel in self.kernel.panels():
            received[part] = theirs[part] * (panel @ mine)
            row_mine[part] = -(self.bars[ROWS][part] + received[part]) / slope * row_own[part]
            self.factors[ROWS][part, index - 1] = row_mine[part]
            if gradient is None:
                sent.addmv_(panel.T, row_mine[part])
            else:
                self._contract(part, panel, gradient)
        self.kernel.source.team.total_(received, sent)
        self.pass_on(col, received)
        self.scaled(row, slope)
        self.pass_on(row, row_theirs * sent)

    def _vectors(self, index: int) -> Vectors:
        """exp((1 + c) own) and w exp(other), as the kernel takes them; the latter is the other side's factor."""
        update = self.updates[index]
        exponent = _log_sums(update, self.softness)
        here, there = self.kernel.reference(update.side, exponent, update.other)
        theirs = self.weights[1 - update.side] * torch.exp(update.other - there)
        self.factors[1 - update.side][:, index] = theirs
        return torch.exp(exponent - here), theirs

    def _product(self, side: int, vector: Tensor) -> Tensor:
        """What a side's vector sends through the kernel to the other side."""
        if side == COLS:
            return self.kernel.source.joined(ROWS, [panel @ vector for _, panel in self.kernel.panels()])
        total = torch.zeros_like(self.weights[COLS])
        for part, panel in self.kernel.panels():
            total.addmv_(panel.T, vector[part])
        self.kernel.source.team.total_(total)
        return total

    def _contract(self, part: slice, panel: Tensor, gradient: Gradient) -> None:
        rows, cols = self.factors[ROWS][part], self.factors[COLS]
        alone = rows.shape[1] == 1
        gradient.add(part, panel.mul_(rows).mul_(cols.T) if alone else panel.mul_(rows @ cols.T))


def _last_potentials(updates: list[Update]) -> Vectors:
    last = updates[-1]
    return (last.own, last.other) if last.side == ROWS else (last.other, last.own)


class _Pointwise(Adjoint):
    def __init__(
        self,
        rule: Rule,
        sums: LogSums,
        weights: Vectors,
        softness: Vectors,
        updates: list[Update],
        bars: Vectors,
    ) -> None:
        super().__init__(weights, softness, updates, bars)
        self.rule, self.sums = rule, sums

    def walk(self, gradient: Gradient) -> None:
        """Each half-step on its own side's panels, then all maps on panels of rows."""
        factors = [self._pull(update) for update in reversed(self.updates)]
        for part, logits in self.sums.panels(ROWS):
            total = torch.zeros_like(logits)
            for update, (mine, theirs) in zip(reversed(self.updates), factors, strict=True):
                f, g = (update.own, update.other) if update.side == ROWS else (update.other, update.own)
                rows, cols = (mine, theirs) if update.side == ROWS else (theirs, mine)
                total += self._slope(logits + g + f[part, None]).mul_(rows[part, None]).mul_(cols)
            gradient.add(part, total)

    def _pull(self, update: Update) -> Vectors:
        """The factors of its map, after its cotangent has moved on."""
        side, c, theirs = update.side, self.softness[update.side], self.weights[1 - update.side]
        own = torch.exp(c * update.own)  # sum_j w_j phi = exp(-c own) holds at the root
        slope, received = torch.zeros_like(own), torch.zeros_like(theirs)
        for part, panel in self.sums.panels(side):
            weights = self._slope(panel + update.other + update.own[part, None])
            level = c + own[part] * (weights @ theirs)
            slope[part] = torch.where(level > 0, level, 1.0)
            received.addmv_(weights.T, -self.bars[side][part] / slope[part] * own[part])
        self.sums.source.team.total_(slope, received)
        mine = self.scaled(update, slope) * own
        self.pass_on(update, theirs * received)
        return mine, theirs

    def _slope(self, x: Tensor) -> Tensor:
        return exp_(x) if isinstance(self.rule, Entropic) else self.rule.slope(x)
