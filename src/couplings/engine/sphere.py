"""Row sums by tiles, where rows have unit norm: every score is then a function of one cosine.

    log sum_j exp(h_ij)  and  sum_j exp(h_ij) s_ij    for logits h(x) = sum of scale cost(x),  x = <q_i, k_j> in [-1, 1]

Cosines are bounded, so are the logits: no running maximum is needed, kernels are summed as they are, in double
precision where the temperature is too low for single. What does not fit (rows of any norm, embeddings that differ
between summands) is None: the caller then goes by panels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..basics.precision import SAFE, softplus
from ..basics.sizes import limits
from ..basics.transforms import with_numbers
from ..pieces.costs import affine_on_sphere, of_cosines_
from .forbidden import forbidden
from .functions import ConstantMoment, Elementwise, Exponentials, Moment, Pointwise
from .grams import Gram, SharedKeys
from .pair_sums import Layout, PairFunctions, pair_sums
from .terms import Term, Terms
from .tiling import Tiling

_SINGLE, _DOUBLE = SAFE[torch.float32], SAFE[torch.float64]
_GRID = 65
"""Cosines at which a cost that is not affine is looked at for its range."""


class Line(NamedTuple):
    """h(x) = slope x + level; `moving` is the part of the slope whose cosines carry gradient."""

    slope: float | Tensor
    moving: float | Tensor
    level: float | Tensor

    @property
    def learnt(self) -> bool:
        """Whether a temperature carries gradient."""
        return any(isinstance(part, Tensor) and part.requires_grad for part in self)

    def numbers(self) -> tuple[float, float, float]:
        """As numbers."""
        slope, moving, level = (_number(part) for part in self)
        return slope, moving, level


def _number(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else value


@dataclass(frozen=True, eq=False)
class Profile:
    """Logits as a function of the cosine: the summands, and which of them carry gradient to the embeddings."""

    terms: tuple[Term, ...]
    moving: tuple[bool, ...]

    def line(self) -> Line | None:
        """The logits if every cost is affine on the sphere."""
        slope: float | Tensor = 0.0
        moving: float | Tensor = 0.0
        level: float | Tensor = 0.0
        for term, moves in zip(self.terms, self.moving, strict=True):
            line = affine_on_sphere(term.cost)
            if line is None:
                return None
            slope, level = slope + term.scale * line[0], level + term.scale * line[1]
            moving = moving + term.scale * line[0] if moves else moving
        return Line(slope, moving, level)

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest logit."""
        with with_numbers():
            grid = torch.linspace(-1, 1, _GRID, dtype=torch.float64)[None]
            one, logits = grid.new_ones((1, 1)), torch.zeros_like(grid)
            for term in self.terms:
                logits += _number(term.scale) * term.cost.score(grid, one, one)
            low, high = logits.aminmax()
            return float(low), float(high)

    @property
    def scales(self) -> tuple[Tensor, ...]:
        """Scales that carry gradient."""
        return tuple(t.scale for t in self.terms if isinstance(t.scale, Tensor) and t.scale.requires_grad)

    def __call__(self, x: Tensor, *scales: Tensor) -> Tensor:
        """h(x) on a tile, the learnt scales given anew."""
        given, one, total = iter(scales), x.new_ones((1, 1)), x.new_zeros(())
        for term, moves in zip(self.terms, self.moving, strict=True):
            learnt = isinstance(term.scale, Tensor) and term.scale.requires_grad
            scale = next(given) if learnt else term.scale
            total = total + scale * term.cost.score(x if moves else x.detach(), one, one)
        return total


@dataclass(frozen=True, eq=False)
class Joint:
    """Scores over the same cosines: their profiles, the embeddings that carry the gradient, and the tiles."""

    q: Tensor
    k: Tensor
    profiles: tuple[Profile, ...]
    layout: Layout
    log_weights: Tensor | None = None

    @cached_property
    def reach(self) -> float:
        """How far the length of the sums, and the weights in them, move their logarithms."""
        length = math.log(max(self.layout.tiling.n, self.layout.tiling.m))
        if self.log_weights is None:
            return length
        low, high = self.log_weights.detach().aminmax()
        return length + float(high - low)

    @property
    def weights(self) -> Tensor | None:
        """Of the columns, the heaviest about one."""
        if self.log_weights is None:
            return None
        return torch.exp(self.log_weights.double() - self.log_weights.detach().amax())

    def wide(self, spread: float) -> bool:
        """Whether exponents that range so far need double precision."""
        return self.q.dtype == torch.float32 and spread + self.reach >= _SINGLE

    def holds(self, spread: float) -> bool:
        """Whether any precision holds them."""
        return spread + self.reach < _DOUBLE

    def sums(
        self, functions: PairFunctions, lead: float | Tensor = 1.0, offsets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Row and column sums of functions of lead x + offset; the triangle's columns are its rows."""
        rows, cols = pair_sums(functions, self.layout, self.q, self.k, lead, offsets, self.weights)
        return rows, rows if self.layout.tiling.triangle else cols


def joint(
    *several: Terms, columns: bool = False, triangle: bool = True, log_weights: Tensor | None = None
) -> Joint | None:
    """The scores as functions of one cosine, under the mask of the first; None where they are not.

    `triangle`: sums of a pair and of its transpose may be made together.
    """
    grams = [term.gram for scores in several for term in scores.terms]
    live = next((gram for gram in grams if _moves(gram)), grams[0])
    if not (isinstance(live, SharedKeys) and live.unit and all(_agree(live, gram) for gram in grams)):
        return None
    profiles = tuple(Profile(s.terms, tuple(_moves(t.gram) for t in s.terms)) for s in several)
    return Joint(live.q, live.k, profiles, _layout(several[0], live, columns, triangle), log_weights)


def _moves(gram: Gram) -> bool:
    return isinstance(gram, SharedKeys) and (gram.q.requires_grad or gram.k.requires_grad)


def _agree(live: SharedKeys, gram: Gram) -> bool:
    """Whether the gram has the same dot products, as a constant or through the same tensors."""
    if not isinstance(gram, SharedKeys) or not live.shares_dots(gram):
        return False
    return not _moves(gram) or gram.from_same(live)


def _layout(scores: Terms, gram: SharedKeys, columns: bool, triangle: bool) -> Layout:
    n, m = scores.shape
    triangle = triangle and gram.q is gram.k and (scores.mask is None or scores.mask.symmetric)
    tiling = Tiling(n, m, scores.team.side(limits(scores.device).tile, max(n, m)), triangle)
    return Layout(tiling, forbidden(scores.mask, tiling), columns and not triangle, scores.team)


def log_sums(*several: Terms, columns: bool = False, log_weights: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
    """log sum_j exp(h_ij) of each of the scores, (count, n), over the pairs that the first admits; None: not by tiles.

    With `columns` also log sum_i exp(h_ij), (count, m), from the same pass. `log_weights` (m,) weigh the columns; the
    logarithms then lack a constant that all sums share.
    """
    shared = joint(*several, columns=columns, log_weights=log_weights)
    if shared is None:
        return None
    lines = [line for line in (profile.line() for profile in shared.profiles) if line is not None]
    affine = len(lines) == len(several)
    if affine and not any(line.learnt for line in lines):
        return _log_of_numbers(shared, [line.numbers() for line in lines])
    if affine and len(lines) == 1 and all(shared.profiles[0].moving):
        return _log_of_learnt(shared, lines[0])
    return _log_of_any(shared)


_Logs = tuple[Tensor, Tensor] | None


def _shift(slope: float) -> float:
    """None while the highest exponential is a harmless number."""
    return 0.0 if abs(slope) <= _SINGLE / 2 else abs(slope)


def _log_of_numbers(shared: Joint, lines: list[tuple[float, float, float]]) -> _Logs:
    """Affine logits at given temperatures: the steepest leads the product."""
    lead = max((slope for slope, _, _ in lines), key=abs)
    if not shared.holds(2 * abs(lead)):
        return None
    shifts, unit = tuple(_shift(slope) for slope, _, _ in lines), lead or 1.0
    functions = Exponentials(
        multiples=tuple(slope / unit for slope, _, _ in lines),
        slopes=tuple(moving / unit for _, moving, _ in lines),
        shifts=shifts,
        wide=shared.wide(2 * abs(lead)),
    )
    constants = [[shift + level] for shift, (_, _, level) in zip(shifts, lines, strict=True)]
    return _logs(shared, functions, unit, torch.tensor(constants, dtype=torch.float64))


def _log_of_learnt(shared: Joint, line: Line) -> _Logs:
    """One affine sum whose temperature is learnt: its gradient comes with the embeddings'."""
    slope = line.numbers()[0]
    if not shared.holds(2 * abs(slope)):
        return None
    functions = Exponentials((1.0,), (1.0,), (_shift(slope),), shared.wide(2 * abs(slope)))
    return _logs(shared, functions, line.slope, line.level + _shift(slope))


def _log_of_any(shared: Joint) -> _Logs:
    """Any costs, several learnt temperatures: by autograd, tile by tile."""
    bounds = [profile.bounds() for profile in shared.profiles]
    spread = max(high - low for low, high in bounds)
    if not shared.holds(spread):
        return None
    counts = [len(profile.scales) for profile in shared.profiles]

    def fn(x: Tensor, *leaves: Tensor) -> list[Tensor]:
        given = iter(leaves)
        logits = [p(x, *(next(given) for _ in range(n))) for p, n in zip(shared.profiles, counts, strict=True)]
        return [torch.exp(h - high) for h, (_, high) in zip(logits, bounds, strict=True)]

    leaves = tuple(scale for profile in shared.profiles for scale in profile.scales)
    functions = Elementwise(fn, len(bounds), leaves, shared.wide(spread))
    return _logs(shared, functions, 1.0, torch.tensor([[high] for _, high in bounds], dtype=torch.float64))


def _logs(shared: Joint, functions: PairFunctions, lead: float | Tensor, constant: float | Tensor) -> _Logs:
    constant = constant.to(shared.q) if isinstance(constant, Tensor) else constant
    rows, cols = shared.sums(functions, lead)
    return _log(rows).to(shared.q.dtype) + constant, _log(cols).to(shared.q.dtype) + constant


def _log(sums: Tensor) -> Tensor:
    """Minus infinity, without gradient, where nothing was summed."""
    some = sums > 0
    return torch.where(some, torch.log(torch.where(some, sums, 1.0)), -torch.inf)


def moment(plan: Terms, other: Terms, log_weights: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
    """(sum_j exp(h_ij) up to a factor, sum_j exp(h_ij) s_ij up to the same), (n,) each; None: not by tiles.

    h are the logits of the plan, s those of the other scores; the plan's mask decides the pairs. `log_weights` (m,) are
    added to h.
    """
    shared = joint(plan, other, log_weights=log_weights)
    if shared is None:
        return None
    kernel, value = shared.profiles
    low, high = kernel.bounds()
    if not shared.holds(high - low):
        return None
    functions, lead = _moment_functions(shared, kernel, value, high, shared.wide(high - low))
    mass, total = shared.sums(functions, lead)[0].to(shared.q.dtype)
    return mass, total


def _moment_functions(
    shared: Joint, kernel: Profile, value: Profile, high: float, wide: bool
) -> tuple[PairFunctions, float]:
    h, s = kernel.line(), value.line()
    plain = s is not None and not s.learnt and all(value.moving)
    if plain and s is not None and not any(kernel.moving) and not kernel.scales and not wide:
        slope, _, level = s.numbers()
        return ConstantMoment(partial(_constant_kernel, kernel, high), slope, level), 1.0
    if plain and s is not None and h is not None and not h.learnt and all(kernel.moving) and float(h.slope):
        (slope, _, level), lead = s.numbers(), float(h.slope)
        return Moment(slope / lead, level, _shift(lead), wide), lead
    learnt = len(kernel.scales)

    def fn(x: Tensor, *leaves: Tensor) -> tuple[Tensor, Tensor]:
        weight = torch.exp(kernel(x, *leaves[:learnt]) - high)
        return weight, weight * value(x, *leaves[learnt:])

    return Elementwise(fn, 2, (*kernel.scales, *value.scales), wide), 1.0


def _constant_kernel(kernel: Profile, high: float, x: Tensor) -> Tensor:
    """exp(h(x) - high) over x itself, for one summand."""
    if len(kernel.terms) > 1:
        return torch.exp(kernel(x) - high)
    (term,) = kernel.terms
    logits = of_cosines_(term.cost, x).mul_(term.scale)
    return (logits.sub_(high) if abs(high) > _SINGLE / 2 else logits).exp_()


_DERIVATIVES: tuple[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]], ...] = (
    (softplus, torch.sigmoid_),
    (torch.nn.functional.softplus, torch.sigmoid_),
    (torch.square, lambda x: x.mul_(2)),
    (torch.exp, torch.exp_),
)
"""Pair functions whose derivative is known; it may write over its argument."""


def _derivative(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor] | None:
    return next((derivative for known, derivative in _DERIVATIVES if known is fn), None)


def pointwise(scores: Terms, fn: Callable[[Tensor], Tensor], offset: float | Tensor) -> Tensor | None:
    """sum_j fn(h_ij + offset_i), (n,), for an offset that is a number, 0-dim or a vector (n,); None: by panels."""
    vector = isinstance(offset, Tensor) and offset.dim() > 0
    shared = joint(scores, triangle=not vector)
    line = None if shared is None else shared.profiles[0].line()
    if shared is None or line is None or not all(shared.profiles[0].moving) or _captures(fn, shared.q):
        return None
    shift = torch.as_tensor(line.level + offset).to(shared.q)
    if vector:
        return shared.sums(_one(fn, shift.new_zeros(())), line.slope, shift)[0][0]
    return shared.sums(_one(fn, shift), line.slope)[0][0]


def _one(fn: Callable[[Tensor], Tensor], shift: Tensor) -> PairFunctions:
    """fn(x + shift), by its derivative where that is known."""
    derivative = _derivative(fn)
    if derivative is not None:
        return Pointwise(fn, derivative, (shift,), learnt=shift.requires_grad)
    return Elementwise(lambda x, by: (fn(x + by),), 1, (shift,))


def _captures(fn: Callable[[Tensor], Tensor], like: Tensor) -> bool:
    """Whether the function has learnt parts of its own, or does not act on each entry alone."""
    if _derivative(fn) is not None:
        return False
    with torch.enable_grad():
        probe = fn(like.new_zeros(2, 3))
    return not isinstance(probe, Tensor) or probe.shape != (2, 3) or probe.requires_grad
