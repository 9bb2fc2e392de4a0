"""The loop of half-steps and its exact gradient, on any storage.

Only the potentials of each half-step are kept, (n + m) numbers a sweep. With fbar, gbar the cotangents of the last
potentials, walk back: a row half-step has df = -V dh / slope, V its row-normalised derivative weights and
slope = c + sum_j V_ij, so it adds -(fbar / slope) o V to dL/dh and sends the same vector through V into gbar; a column
half-step likewise. Nothing is unrolled and nothing is approximated: the result is the derivative of the T sweeps
themselves, for any T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..basics import checks, looks
from ..basics.errors import warn
from ..basics.precision import full_precision
from ..basics.sizes import is_small
from ..basics.transforms import Opaque
from ..pieces.masks import Mask
from ..pieces.rules import Entropic, Rule
from . import feasibility
from .adjoint import Update, adjoint_of
from .backing import Backing, backing_of
from .logits import Logits
from .sides import COLS, ROWS, Side, spread
from .sums import Extent, KernelSums, LogSums, Sums

_CHECK_EVERY = 10
"""Sweeps between looks at the marginal error, which cost half a sweep and one device synchronisation."""
_MOVES = 1e-2
"""How far a row's potential still rises in the last sweep, where its mass is short by about that share."""


@dataclass(frozen=True, eq=False)
class Problem:
    """All that the solver needs besides the logits."""

    rule: Rule
    sides: tuple[Side, Side]
    sweeps: int
    row_step: bool
    tol: float | None
    start: Tensor
    started: bool = False
    """Whether the columns' potential starts from more than zeros."""
    soft: tuple[bool, bool] = (False, False)
    """Whether a side's mass may leave its weights: its softness is not zero."""
    mask: Mask | None = None
    """Of a balanced plan, which not every mask admits."""

    def spread(self) -> float:
        """How far apart the exponents of the first half-steps are, the logits aside; synchronises."""
        if not self.started and all(side.given is None for side in self.sides):
            return 0.0
        exponents = (self.start, *(side.log_weights for side in self.sides))
        lows = [torch.where(e > -torch.inf, e, torch.inf).amin() for e in exponents]
        return float(torch.stack([e.amax() - low for e, low in zip(exponents, lows, strict=True)]).sum())


def solve(problem: Problem, logits: Logits, softness: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The potentials (f, g), with the exact gradient of the half-steps that were run."""
    if _short(problem, logits):
        f, g = _unrolled(problem, logits.matrix(), softness)
        if checks.checks_enabled():
            finite = (f.detach() * 0).sum() + (g.detach() * 0).sum()  # NaN unless all are
            looks.expect_finite(finite, lambda: _looked_at(problem, logits, softness))
        return f, g
    backing = backing_of(logits)
    return cast(tuple[Tensor, Tensor], _Solve.apply(problem, backing, *softness, *backing.leaves))


@torch.no_grad()
def _looked_at(problem: Problem, logits: Logits, softness: tuple[Tensor, Tensor]) -> None:
    """The half-steps once more with a look at each, which raises where one has no solution."""
    _run(problem, backing_of(logits), softness)


_FEW = 32
"""Sweeps up to which autograd may keep a small matrix for each half-step."""


def _short(problem: Problem, logits: Logits) -> bool:
    """Whether half-steps cost less as plain operations than their bookkeeping: few of them, on one small matrix."""
    plain = problem.tol is None and isinstance(problem.rule, Entropic) and problem.sweeps <= _FEW
    uniform = all(side.given is None for side in problem.sides)
    if problem.mask is not None and not problem.mask.by_ids and checks.checks_enabled():
        return False  # it may admit no plan at all, which only the careful way notices
    steps = problem.row_step or (problem.sweeps > 0 and any(side.constrained for side in problem.sides))
    return plain and uniform and steps and logits.whole and is_small(*logits.shape, logits.device)


def _unrolled(problem: Problem, h: Tensor, softness: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The half-steps as they are written down, left to autograd."""
    potentials = [h.new_zeros(h.shape[0]), problem.start]
    read = [False, bool(problem.started)]
    """Whether a potential is more than zeros."""

    def half_step(side: int) -> None:
        if problem.sides[side].constrained:
            x = h + spread(potentials[1 - side], 1 - side) if read[1 - side] else h
            root = math.log(h.shape[1 - side]) - torch.logsumexp(x, 1 - side)
            potentials[side] = root / (1 + softness[side]) if problem.soft[side] else root
            read[side] = True

    for _ in range(problem.sweeps):
        half_step(ROWS)
        half_step(COLS)
    if problem.row_step:
        half_step(ROWS)
    return potentials[ROWS], potentials[COLS]


class _Solve(Opaque):
    """Potentials from what the logits are made of and softness; the exact adjoint of the half-steps that were run."""

    @staticmethod
    def forward(
        ctx: Any, problem: Problem, backing: Backing, c_rows: Tensor, c_cols: Tensor, *leaves: Tensor
    ) -> tuple[Tensor, Tensor]:
        run = _run(problem, backing.with_leaves(*leaves), (c_rows, c_cols))
        ctx.problem, ctx.backing, ctx.order = problem, backing.hollow, [side for side, _ in run.history]
        ctx.in_logs = isinstance(run.sums, LogSums)
        ctx.save_for_backward(c_rows, c_cols, *leaves, *(potential for _, potential in run.history))
        return run.potentials[ROWS].clone(), run.potentials[COLS].clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        Opaque.refuse_second("the sweeps of couple have")
        with full_precision(cotangents[0].device):
            return _Solve._pulled(ctx, *cotangents)

    @staticmethod
    def _pulled(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        saved, order, problem = ctx.saved_tensors, ctx.order, cast(Problem, ctx.problem)
        split = len(saved) - len(order)
        backing = cast(Backing, ctx.backing).with_leaves(*saved[2:split])
        gradient = backing.gradient(ctx.needs_input_grad[4:])
        if not order:
            return None, None, None, None, *gradient.result(torch.ones_like(saved[0]))
        sums = backing.logs() if ctx.in_logs else cast(KernelSums, backing.kernels(problem.spread))
        weights = problem.sides[ROWS].weights, problem.sides[COLS].weights
        updates = _updates(problem, order, saved[split:])
        adjoint = adjoint_of(problem.rule, sums, weights, (saved[0], saved[1]), updates, (cotangents[0], cotangents[1]))
        adjoint.walk(gradient)
        soft = (bar * adjoint.scale for bar in adjoint.soft_bars)
        return None, None, *soft, *gradient.result(adjoint.scale)


def _run(problem: Problem, backing: Backing, softness: tuple[Tensor, Tensor]) -> _Run:
    """The sweeps in the kernel domain if it does, else in the log domain."""
    kernels = backing.kernels(problem.spread) if isinstance(problem.rule, Entropic) else None
    if kernels is not None:
        run = _Run(problem, kernels, softness)
        run.solve()
        if kernels.holds([_extent(update, softness) for update in run.updates]):
            return run
    run = _Run(problem, backing.logs(), softness)
    run.solve()
    return run


def _updates(problem: Problem, order: list[int], potentials: tuple[Tensor, ...]) -> list[Update]:
    """What each half-step read and wrote, in the order they were run."""
    n = problem.sides[ROWS].weights.shape[0]
    current = [problem.start.new_zeros(n), problem.start]
    updates = []
    for side, own in zip(order, potentials, strict=True):
        updates.append(Update(side, own, current[1 - side]))
        current[side] = own
    return updates


def _extent(update: Update, softness: tuple[Tensor, Tensor]) -> Extent:
    own, other = (1 + softness[update.side]) * update.own, update.other
    return Extent(own.amin(), own.amax(), other.amin(), other.amax())


class _Run:
    """The loop: potentials now, and the history that the adjoint needs."""

    def __init__(self, problem: Problem, sums: Sums, softness: tuple[Tensor, Tensor]) -> None:
        self.problem, self.sums, self.softness = problem, sums, softness
        self.potentials = [problem.start.new_zeros(problem.sides[ROWS].weights.shape[0]), problem.start]
        self.log_weights = [side.log_weights for side in problem.sides]
        self.history: list[tuple[int, Tensor]] = []

    @property
    def updates(self) -> list[Update]:
        """The history, with what each half-step read."""
        return _updates(self.problem, [side for side, _ in self.history], tuple(own for _, own in self.history))

    def solve(self) -> None:
        if self.problem.tol is not None:
            looks.look_now()
        for sweep in range(1, self.problem.sweeps + 1):
            self.sweep()
            if self.problem.tol is not None and self.reached(sweep):
                break
        if self.problem.row_step:
            self.half_step(ROWS)
        if self.problem.tol is None:
            self.look_for_shortage()
        if not self.history and checks.checks_enabled():
            feasibility.no_nan("row", self.sums.row_tops())

    def sweep(self) -> None:
        """Rows, then columns; in one visit of the logits where both are log-sums."""
        if isinstance(self.problem.rule, Entropic) and all(side.constrained for side in self.problem.sides):
            rows, cols = self.sums.sweep(self.potentials[COLS] + self.log_weights[COLS], self.answer)
            self.settle(ROWS, self.root(ROWS, rows))
            self.settle(COLS, self.root(COLS, cols))
        else:
            for side in (ROWS, COLS):
                self.half_step(side)

    def half_step(self, side: int) -> None:
        if not self.problem.sides[side].constrained:
            return
        rule, other, log_weights = self.problem.rule, self.potentials[1 - side], self.log_weights[1 - side]
        if isinstance(rule, Entropic):
            self.settle(side, self.root(side, self.sums.log_sums(side, other + log_weights)))
        else:
            start = self.potentials[side] if any(done == side for done, _ in self.history) else None
            sums = cast(LogSums, self.sums)
            self.settle(side, sums.half_step(rule, side, other, log_weights, self.softness[side], start))

    def root(self, side: int, log_sums: Tensor) -> Tensor:
        return cast(Entropic, self.problem.rule).root(log_sums, self.softness[side])

    def answer(self, log_sums: Tensor, part: slice) -> Tensor:
        """The exponents of a range of rows whose log-sums are known."""
        return _finite(self.root(ROWS, log_sums)) + self.log_weights[ROWS][part]

    def settle(self, side: int, own: Tensor) -> None:
        """Take the potential, after a look at it."""
        if checks.checks_enabled() and len(self.history) < 2:
            feasibility.solvable("row" if side == ROWS else "column", own, self.problem.sides[side])
        self.potentials[side] = _finite(own)
        self.history.append((side, self.potentials[side]))

    def reached(self, sweep: int) -> bool:
        """Whether the row marginal is within tol; warns on the last sweep when it is not."""
        if not self.problem.sides[ROWS].constrained:
            return True  # the column half-step is exact
        last = sweep == self.problem.sweeps
        if sweep % _CHECK_EVERY and not last:
            return False
        error = self.row_error()
        near = self.sums.source.team.agreed(error <= cast(float, self.problem.tol))
        if last and not near:
            warn(
                f"couple stopped after {sweep} sweeps with a row-marginal error of {float(error):.2g}, above tol = "
                f"{self.problem.tol:.2g}: {self.shortage() or self.remedy()}"
            )
        return near

    def remedy(self) -> str:
        """What helps where a plan exists."""
        reach = max(float(potential.abs().amax()) for potential in self.potentials)
        dtype = self.problem.start.dtype
        if torch.finfo(dtype).eps * reach > cast(float, self.problem.tol):
            return (
                f"scores over the temperature reach {reach:.2g}, where {dtype} cannot tell masses apart so finely: "
                "raise the temperature, scale the scores down, or take a larger tol"
            )
        return "allow more sweeps, raise the plan's temperature (HCLOT's reg), or use KL marginals"

    def shortage(self) -> str | None:
        """Why no plan exists, if the way of the potentials shows it."""
        if self.problem.mask is None:
            return None
        rows = [own for side, own in self.history if side == ROWS]
        orders = [rows[-1] - rows[-2], rows[-1]] if len(rows) > 1 else rows
        a, b = (side.weights for side in self.problem.sides)
        return feasibility.shortage(self.problem.mask, a, b, orders)

    def look_for_shortage(self) -> None:
        """Say that a mask of the caller's admits no balanced plan; only where potentials still move."""
        rows = [own for side, own in self.history if side == ROWS]
        mask = self.problem.mask
        if mask is None or mask.by_ids or not checks.checks_enabled() or len(rows) < 2:
            return
        still = (_MOVES - (rows[-1] - rows[-2]).amax().clamp_min(0)).log()
        looks.expect_finite(still, self.tell_shortage)

    def tell_shortage(self) -> None:
        if (told := self.shortage()) is not None:
            warn(f"couple solves for a plan that does not exist: {told}")

    def row_error(self) -> Tensor:
        f, a = self.potentials[ROWS], self.problem.sides[ROWS].weights
        mass = self.row_mass()
        if self.problem.row_step:  # which repairs a factor that all rows share: the slow mode of KL columns
            mass = mass * (a.sum() / (a @ mass))
        return (a * (mass - torch.exp(-self.softness[ROWS] * f)).abs()).sum()

    def row_mass(self) -> Tensor:
        """sum_j b_j phi(f_i + g_j + h_ij)."""
        f, g = self.potentials
        if isinstance(self.sums, LogSums):
            return self.sums.row_mass(self.problem.rule, f, g, self.problem.sides[COLS].weights)
        return torch.exp(f + self.sums.log_sums(ROWS, g + self.log_weights[COLS]))


def _finite(own: Tensor) -> Tensor:
    """Nothing admissible: no mass at any potential."""
    return torch.where(own.isinf(), 0.0, own)
