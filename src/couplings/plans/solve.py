r"""The one solver: alternate half-steps on two potentials, with the exact gradient of what was computed.

    P_ij = a_i b_j phi(f_i + g_j + s_ij / temperature)
    row half-step     c_r f_i + log sum_j b_j phi(f_i + g_j + h_ij) = 0,   h = s / temperature
    column half-step  c_c g_j + log sum_i a_i phi(f_i + g_j + h_ij) = 0
    c = 0 for Fixed, temperature / rho for KL(rho); a Free side keeps its potential at zero.

`sweeps=T` is row then column, T times; `row_step=True` ends on one more row half-step. InfoNCE's softmax is
`sweeps=0` with the row step; Sinkhorn is many sweeps between two `Fixed` sides.

The loop and its gradient are in `sweeps`; how the logits are stored (one matrix, a kernel kept beside the embeddings,
panels made again) is chosen by size, device and memory budget, and changes nothing but time and memory.
"""

from __future__ import annotations

from torch import Tensor

from ..basics import checks
from ..basics.errors import InvalidInput
from ..basics.precision import full_precision
from ..engine import feasibility
from ..engine.sides import Side
from ..engine.sweeps import Problem, solve
from ..pieces.marginals import Fixed, Free, Marginal
from ..pieces.rules import Entropic, Power, Rule
from .coupling import Coupling
from .potentials import Solved
from .scores import Scores
from .softmax import row_softmax, row_softmax_both_ways


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
        init: column potential to start from, shape (m,), copied as a constant; zero when None.
        rule: `Entropic()` (default), `Quadratic()` or `Power(q)`.
        skip_empty: give rows and columns without an admissible pair zero mass and rescale the rest, instead of
            raising.

    Returns:
        A `Coupling`; its gradient in scores, temperature and rho is exact for the sweeps that were run.

    A mask given as a matrix is checked for empty rows and columns only. Where it admits no balanced plan at all (some
    rows hold more mass than all columns that are left to them), a `CouplingWarning` and `Coupling.check()` name them,
    as far as the sweeps that were run show it.

    Raises:
        InvalidInput: an undefined combination (`Power` between two `Free` sides), weights of different mass,
            column marginals over columns that rows do not share.
        Infeasible: a row or column with nothing admissible, or a class too large for a balanced plan.

    Cost:
        Small scores are one matrix, and so are given ones: two passes over it a sweep, one more for the gradient's
        2T-column contraction. Larger ones are never a matrix in the graph: O((n + m) (d + T)) numbers are kept for the
        gradient, and one visit of all pairs a sweep, forward and backward, works on panels of bounded size. Where n m
        numbers fit the memory budget (`set_memory_budget`) a sweep reads a kernel, or logits, made once in each pass;
        else it makes them again, one n m d product a visit. Rows of unit norm (`Cosine`, normalising losses) at
        temperatures above 0.03 or so in single precision iterate on kernels, the rest in the log domain. `Quadratic`
        and `Power` visit the pairs once for each half-step.

    Source:
        Sinkhorn and Knopp (1967); Cuturi (2013); Chizat et al. (2018) for KL marginals.

    Example:
        >>> import torch
        >>> from couplings import Fixed, Scores, couple
        >>> plan = couple(Scores(torch.eye(3), temperature=0.5), Fixed(), Fixed(), sweeps=20).plan()
        >>> plan.sum(1)
        tensor([0.3333, 0.3333, 0.3333])
    """
    plain = all(given is None for given in (rows, cols, rule, init, tol)) and not skip_empty
    if plain and (sweeps or row_step):
        checks.count("sweeps", sweeps)
        checks.require(isinstance(scores, Scores), f"scores must be a Scores, got {type(scores).__name__}")
        return row_softmax(scores)
    rows, cols, rule = rows or Fixed(), cols or Free(), rule or Entropic()
    _validate(scores, rows, cols, rule, sweeps, row_step, tol, init)
    with full_precision(scores.device):
        plain = (sweeps > 0 or row_step) and init is None and not skip_empty
        if plain and _is_softmax(rows, cols, rule):
            return row_softmax(scores, rows)
        scores, a, b = _weighted(scores, rows, cols, skip_empty)
        like = scores.like
        problem = Problem(
            rule=rule,
            sides=(a, b),
            sweeps=sweeps if rows.constrained and cols.constrained else min(sweeps, 1),
            row_step=row_step,
            tol=tol,
            start=_start(init, like, scores.shape[1]),
            started=init is not None,
            soft=(rows.soft, cols.soft),
            mask=scores.mask if isinstance(rows, Fixed) and isinstance(cols, Fixed) else None,
        )
        softness = rows.softness(scores.temperature, like), cols.softness(scores.temperature, like)
        f, g = solve(problem, scores, softness)
    return Coupling(scores, Solved(f, g), rule, problem.sides, softness)


def couple_both_ways(there: Scores, back: Scores) -> tuple[Coupling, Coupling]:
    """Row-normalised plans of scores and of those of the opposite direction: one pass where they are transposes."""
    if not there.whole and back.is_transpose_of(there):
        return row_softmax_both_ways(there, back)
    return couple(there), couple(back)


def _is_softmax(rows: Marginal, cols: Marginal, rule: Rule) -> bool:
    """Whether the plan is one row half-step over equal columns."""
    if not (rows.constrained and isinstance(cols, Free) and cols.weights is None and isinstance(rule, Entropic)):
        return False
    return not (isinstance(rows.weights, Tensor) and bool((rows.weights == 0).any()))  # such rows carry no pair


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
        # The message is made when it is needed: weights are long.
        if not isinstance(side, Marginal):
            raise InvalidInput(f"{name} must be Fixed(), KL(rho) or Free(), got {side!r}")
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


def _weighted(scores: Scores, rows: Marginal, cols: Marginal, skip_empty: bool) -> tuple[Scores, Side, Side]:
    """Both sides with their weights, and the scores without the rows and columns that have none."""
    given = rows.weights is not None or cols.weights is not None
    (n, m), like = scores.shape, scores.like
    sides = Side(n, like, rows.constrained), Side(m, like, cols.constrained)
    if given or skip_empty:
        a, b = rows.resolve("rows", n, like), cols.resolve("cols", m, like)
        scores = _without_weightless(scores, a, b) if given else scores
        if skip_empty:
            a, b = feasibility.without_empty(scores, a, b, rows.constrained, cols.constrained)
        sides = Side(n, like, rows.constrained, a), Side(m, like, cols.constrained, b)
    if checks.checks_enabled() and isinstance(rows, Fixed) and isinstance(cols, Fixed):
        if given:
            feasibility.same_mass(sides[0].weights, sides[1].weights)
        if scores.mask is not None:
            feasibility.balanced(scores.mask, *sides)
    return scores, *sides


def _without_weightless(scores: Scores, a: Tensor, b: Tensor) -> Scores:
    mask = feasibility.Weightless(a == 0, b == 0)
    # An accelerator is not asked whether there is one.
    return scores.masked(mask) if scores.device.type != "cpu" or mask.any else scores


def _start(init: Tensor | None, like: Tensor, m: int) -> Tensor:
    if init is None:
        return like.new_zeros(m)
    checks.tensor("init", init)
    checks.require(tuple(init.shape) == (m,), f"init must have shape ({m},), got {tuple(init.shape)}")
    sound = not checks.checks_enabled() or bool(init.isfinite().all())
    checks.require(sound, "init holds NaN or inf: pass finite potentials, or None to start from zero")
    return init.detach().to(like, copy=True)
