r"""The one solver: alternate half-steps on two potentials, with the exact gradient of what was computed.

    P_ij = a_i b_j phi(f_i + g_j + s_ij / temperature)
    row half-step     c_r f_i + log sum_j b_j phi(f_i + g_j + h_ij) = 0,   h = s / temperature
    column half-step  c_c g_j + log sum_i a_i phi(f_i + g_j + h_ij) = 0
    c = 0 for Fixed, temperature / rho for KL(rho); a Free side keeps its potential at zero.

`sweeps=T` is row then column, T times; `row_step=True` ends on one more row half-step. InfoNCE's softmax is
`sweeps=0` with the row step; Sinkhorn is many sweeps between two `Fixed` sides.

Gradient. Only the potentials of each half-step are kept, (n + m) numbers a sweep. With fbar, gbar the
cotangents of the last potentials, walk back: a row half-step has df = -V dh / slope, V its row-normalised
derivative weights and slope = c + sum_j V_ij, so it adds -(fbar / slope) o V to dL/dh and sends the same
vector through V into gbar; a column half-step likewise. Nothing is unrolled and nothing is approximated: the
result is the derivative of the T sweeps themselves, for any T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from . import checks, feasibility
from ._storage.adjoint import Update, adjoint_of
from ._storage.dense import COLS, ROWS, Dense
from .coupling import Coupling, Side, Solved
from .errors import InvalidInput, warn
from .marginals import Fixed, Free, Marginal
from .masks import GivenMask
from .precision import full_precision
from .rules import Entropic, Power, Rule
from .scores import Scores
from .softmax import row_softmax

_CHECK_EVERY = 10
"""Sweeps between looks at the marginal error, which cost half a sweep and one device synchronisation."""


def couple(
    scores: Scores,
    rows: Marginal | None = None,
    cols: Marginal | None = None,
    *,
    sweeps: int = 5,
    row_step: bool = False,
    tol: float | None = None,
    init: Tensor | None = None,
    rule: Rule | None = None,
    skip_empty: bool = False,
) -> Coupling:
    """Solve for a coupling of the scores: potentials f (n,) and g (m,), never an n x m matrix.

    Args:
        scores: what is coupled; its temperature is the regularisation.
        rows: `Fixed()` (default), `KL(rho)` or `Free()`.
        cols: the same; `Free()` by default.
        sweeps: row-then-column updates; the most of them when `tol` is given.
        row_step: end on one more row half-step, so that rows are exact.
        tol: stop once the L1 error of the row marginal is at most this (looked at every ten sweeps). A
            `CouplingWarning` says so when `sweeps` did not reach it.
        init: column potential to start from, shape (m,), a constant; zero when None.
        rule: `Entropic()` (default), `Quadratic()` or `Power(q)`.
        skip_empty: give rows and columns without an admissible pair zero mass and rescale the rest, instead of
            raising.

    Returns:
        A `Coupling`; its gradient in scores, temperature and rho is exact for the sweeps that were run.

    A mask given as a matrix is checked for empty rows and columns only: whether a balanced plan exists under it is
    seen by `Coupling.check()`.

    Raises:
        InvalidInput: an undefined combination (`Power` between two `Free` sides), weights of different mass,
            column marginals over columns that rows do not share.
        Infeasible: a row or column with nothing admissible, or a class too large for a balanced plan.

    Cost:
        Two passes over the scores a sweep; one more for the gradient's 2T-column contraction; O((n + m) T) kept.

    Source:
        Sinkhorn and Knopp (1967); Cuturi (2013); Chizat et al. (2018) for KL marginals.

    Example:
        >>> import torch
        >>> from couplings import Fixed, Scores, couple
        >>> plan = couple(Scores(torch.eye(3), temperature=0.5), Fixed(), Fixed(), sweeps=20).plan()
        >>> plan.sum(1)
        tensor([0.3333, 0.3333, 0.3333])
    """
    rows, cols, rule = rows or Fixed(), cols or Free(), rule or Entropic()
    _validate(scores, rows, cols, rule, sweeps, row_step, tol, init)
    with full_precision(scores.device):
        if _row_step_alone(scores, rows, cols, rule, sweeps, row_step, init, skip_empty):
            return row_softmax(scores, rows)
        scores, a, b = _weighted(scores, rows, cols, skip_empty)
        like = scores.storage.logits.detach()
        problem = Problem(
            rule=rule,
            sides=(Side(a, rows.constrained), Side(b, cols.constrained)),
            sweeps=sweeps if rows.constrained and cols.constrained else min(sweeps, 1),
            row_step=row_step,
            tol=tol,
            start=_start(init, like, scores.shape[1]),
        )
        softness = rows.softness(scores.temperature, like), cols.softness(scores.temperature, like)
        f, g = _Solve.apply(problem, *softness, *scores.storage.leaves)
    return Coupling(scores, Solved(f, g), rule, problem.sides, softness)


def _row_step_alone(
    scores: Scores,
    rows: Marginal,
    cols: Marginal,
    rule: Rule,
    sweeps: int,
    row_step: bool,
    init: Tensor | None,
    skip_empty: bool,
) -> bool:
    """Whether the plan is one row half-step from zero over equal columns, of scores too many for a matrix."""
    plain = isinstance(cols, Free) and cols.weights is None and isinstance(rule, Entropic)
    once = rows.constrained and (sweeps > 0 or row_step)
    return scores.blocked and plain and once and init is None and not skip_empty


@dataclass(frozen=True, eq=False)
class Problem:
    """All that the solver needs besides the logits."""

    rule: Rule
    sides: tuple[Side, Side]
    sweeps: int
    row_step: bool
    tol: float | None
    start: Tensor


def _validate(
    scores: Scores,
    rows: Marginal,
    cols: Marginal,
    rule: Rule,
    sweeps: int,
    row_step: bool,
    tol: float | None,
    init: Tensor | None,
) -> None:
    checks.require(isinstance(scores, Scores), f"scores must be a Scores, got {type(scores).__name__}")
    for name, side in (("rows", rows), ("cols", cols)):
        known = isinstance(side, Marginal)
        checks.require(known, f"{name} must be Fixed(), KL(rho) or Free(), got {side!r}")
    checks.count("sweeps", sweeps)
    checks.require(isinstance(rule, Rule), f"rule must be Entropic(), Quadratic() or Power(q), got {rule!r}")
    if tol is not None:
        checks.finite_positive("tol", tol)
    if row_step and not rows.constrained:
        raise InvalidInput("row_step=True needs rows with a potential: use rows=Fixed() or KL(rho)")
    if isinstance(rule, Power) and not _has_half_step(rows, cols, sweeps, row_step):
        raise InvalidInput(
            "Power between Free rows and Free columns, or without any half-step, is undefined: phi_q has a pole at "
            "1/(q - 1) and no potential keeps the scores below it; constrain one side, or use Entropic() or Quadratic()"
        )
    if scores.own_columns and cols.constrained:
        raise InvalidInput(
            "cols must be Free() when each row has keys of its own (3-D k, or negatives= of a loss): no two rows share "
            "a column, so none has a mass to constrain; pass shared keys (2-D k, or keys= of a loss)"
        )
    if init is not None and not cols.constrained:
        raise InvalidInput("init is the column potential to start from, which Free() columns do not have: drop it")


def _has_half_step(rows: Marginal, cols: Marginal, sweeps: int, row_step: bool) -> bool:
    return row_step or (sweeps > 0 and (rows.constrained or cols.constrained))


def _weighted(scores: Scores, rows: Marginal, cols: Marginal, skip_empty: bool) -> tuple[Scores, Tensor, Tensor]:
    """The weights of both sides, and the scores without the rows and columns that have none."""
    given = rows.weights is not None or cols.weights is not None
    like = scores.storage.logits.detach()
    a, b = rows.resolve("rows", scores.shape[0], like), cols.resolve("cols", scores.shape[1], like)
    if given:
        scores = _without_weightless(scores, a, b)
    if skip_empty:
        logits = scores.storage.logits.detach()
        a, b = feasibility.without_empty(logits, a, b, rows.constrained, cols.constrained)
    if checks.checks_enabled() and isinstance(rows, Fixed) and isinstance(cols, Fixed):
        if given:
            feasibility.same_mass(a, b)
        if scores.mask is not None:
            feasibility.balanced(scores.mask, a, b)
    return scores, a, b


def _without_weightless(scores: Scores, a: Tensor, b: Tensor) -> Scores:
    weightless = (a == 0)[:, None] | (b == 0)
    return scores.masked(GivenMask(weightless)) if weightless.any() else scores


def _start(init: Tensor | None, like: Tensor, m: int) -> Tensor:
    if init is None:
        return like.new_zeros(m)
    checks.tensor("init", init)
    checks.require(tuple(init.shape) == (m,), f"init must have shape ({m},), got {tuple(init.shape)}")
    sound = not checks.checks_enabled() or bool(init.isfinite().all())
    checks.require(sound, "init holds NaN or inf: pass finite potentials, or None to start from zero")
    return init.detach().to(like)


class _Solve(torch.autograd.Function):
    """Potentials from logits and softness; the exact adjoint of the half-steps that were run."""

    @staticmethod
    def forward(ctx: Any, problem: Problem, c_rows: Tensor, c_cols: Tensor, *leaves: Tensor) -> tuple[Tensor, Tensor]:
        run = _Run(problem, Dense.from_leaves(*leaves), (c_rows, c_cols))
        run.solve()
        ctx.problem, ctx.order = problem, [side for side, _ in run.history]
        ctx.save_for_backward(c_rows, c_cols, *leaves, *(potential for _, potential in run.history))
        return run.potentials[ROWS].clone(), run.potentials[COLS].clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # potentials are kept as constants: a second derivative would be silently wrong
            raise NotImplementedError("couple has no second derivative: call backward without create_graph=True")
        saved, order, problem = ctx.saved_tensors, ctx.order, cast(Problem, ctx.problem)
        split = len(saved) - len(order)
        softness, storage = saved[:2], Dense.from_leaves(*saved[2:split])
        updates = _updates(problem, order, saved[split:])
        adjoint = adjoint_of(problem.rule, storage, tuple(s.weights for s in problem.sides), softness, updates)
        bar, soft_bar = list(cotangents), [torch.zeros_like(c) for c in softness]
        for update in reversed(updates):
            side, sent = update.side, bar[update.side]
            scaled, passed = adjoint.pull(update, sent)
            soft_bar[side] = soft_bar[side] + (scaled * update.own).sum()
            bar[side], bar[1 - side] = torch.zeros_like(sent), bar[1 - side] + passed
        return None, soft_bar[ROWS], soft_bar[COLS], *adjoint.finish()


def _updates(problem: Problem, order: list[int], potentials: tuple[Tensor, ...]) -> list[Update]:
    """What each half-step read and wrote, in the order they were run."""
    n = problem.sides[ROWS].weights.shape[0]
    current = [problem.start.new_zeros(n), problem.start]
    updates = []
    for side, own in zip(order, potentials, strict=True):
        updates.append(Update(side, own, current[1 - side]))
        current[side] = own
    return updates


class _Run:
    """The loop: potentials now, and the history that the adjoint needs."""

    def __init__(self, problem: Problem, storage: Dense, softness: tuple[Tensor, Tensor]) -> None:
        self.problem, self.storage, self.softness = problem, storage, softness
        self.potentials = [problem.start.new_zeros(problem.sides[ROWS].weights.shape[0]), problem.start]
        self.history: list[tuple[int, Tensor]] = []

    def solve(self) -> None:
        for sweep in range(1, self.problem.sweeps + 1):
            for side in (ROWS, COLS):
                self.half_step(side)
            if self.problem.tol is not None and self.reached(sweep):
                break
        if self.problem.row_step:
            self.half_step(ROWS)
        if not self.history and checks.checks_enabled():
            feasibility.no_nan("row", self.storage.logits.amax(1))

    def half_step(self, side: int) -> None:
        if not self.problem.sides[side].constrained:
            return
        other = self.problem.sides[1 - side].weights
        logits = self.storage.seen_from(side)
        start = self.potentials[side] if any(done == side for done, _ in self.history) else None
        own = self.problem.rule.half_step(logits, self.potentials[1 - side], other.log(), self.softness[side], start)
        if checks.checks_enabled() and len(self.history) < 2:
            feasibility.solvable("row" if side == ROWS else "column", own, self.problem.sides[side].weights)
        own = torch.where(own.isinf(), 0.0, own)  # nothing admissible: no mass at any potential
        self.potentials[side] = own
        self.history.append((side, own))

    def reached(self, sweep: int) -> bool:
        """Whether the row marginal is within tol; warns on the last sweep when it is not."""
        if not self.problem.sides[ROWS].constrained:
            return True  # the column half-step is exact
        last = sweep == self.problem.sweeps
        if sweep % _CHECK_EVERY and not last:
            return False
        error = float(self.row_error())
        if last and error > cast(float, self.problem.tol):
            warn(
                f"couple stopped after {sweep} sweeps with a row-marginal error of {error:.2g}, above tol = "
                f"{self.problem.tol:.2g}: allow more sweeps, raise the plan's temperature (HCLOT's reg), or use KL "
                "marginals"
            )
        return error <= cast(float, self.problem.tol)

    def row_error(self) -> Tensor:
        f, g = self.potentials
        a, b = (side.weights for side in self.problem.sides)
        mass = self.problem.rule.density(self.storage.seen_from(ROWS) + g + f[:, None]) @ b
        if self.problem.row_step:  # which repairs a factor that all rows share: the slow mode of KL columns
            mass = mass * (a.sum() / (a @ mass))
        return (a * (mass - torch.exp(-self.softness[ROWS] * f)).abs()).sum()
