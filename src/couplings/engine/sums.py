r"""What the solver asks of the logits h: log-sum-exps, half-steps, the kernel. Two ways to the same numbers.

Log domain: log sum_j exp(h_ij + e_j) by a running maximum, panel by panel; right for any logits and any rule.

Kernel domain: with |h - centre| <= bound the kernel K = exp(h - centre) is made once (or once a sweep) and a
log-sum-exp is a matrix-vector product,

    log sum_j exp(h_ij + e_j) = log (K v)_i + top - lift + centre,   v_j = exp(e_j - top + lift),  top = max e,

four to nine times faster. `lift` puts v as high as the dtype allows, so that what underflows is of no account unless a
mask drives potentials far apart: `holds` tells afterwards, and the log domain then does it again.

A sweep visits each panel once: the rows' sums of a panel give its row exponents, and these at once its share of the
columns' sums.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..basics.precision import SAFE
from ..pieces.rules import Rule
from .exponentials import log_sum_exp
from .kernels import Absorbed, Exact, Kernel
from .panels import Panel, Source
from .sides import COLS, ROWS

Answer = Callable[[Tensor, slice], Tensor]
"""The exponents of a range of rows, from their log-sums."""

_LARGEST = {torch.float32: 85.0, torch.float64: 690.0}
"""Exponents that a dtype's exponential holds, either sign."""
_KEPT_BACK = 20.0
"""Of the largest exponent, what the gradient's products must leave."""


class Extent(NamedTuple):
    """How far the exponents of one half-step reach: lowest and highest of its own side's and of the other's."""

    own_low: Tensor
    own_high: Tensor
    other_low: Tensor
    other_high: Tensor


class Sums(ABC):
    """The logits as the solver sees them."""

    source: Source

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.source.shape

    @abstractmethod
    def log_sums(self, side: int, exponents: Tensor) -> Tensor:
        """log sum exp(h + exponents) over the other side, whose exponents they are; minus infinity for no pair."""

    @abstractmethod
    def sweep(self, exponents: Tensor, answer: Answer) -> tuple[Tensor, Tensor]:
        """The rows' log-sums under the columns' exponents, then the columns' under the rows' answer, in one visit."""

    @abstractmethod
    def kernel(self, f: Tensor, g: Tensor) -> Kernel:
        """exp(f_i + g_j + h_ij) or a kernel that differs by constants; called last, may use up what is kept."""

    def holds(self, extents: list[Extent]) -> bool:
        """Whether sums and gradients with exponents so far apart are exact to rounding."""
        return True

    def row_tops(self) -> Tensor:
        """The highest entry of each row of whatever is stored: NaN where a score is."""
        return self.source.joined(ROWS, [panel.amax(1) for _, panel in self.source.panels(ROWS)])


class LogSums(Sums):
    """In the log domain."""

    def __init__(self, source: Source, *, owned: bool) -> None:
        self.source, self.owned = source, owned
        self._held: Tensor | None = None

    def panels(self, side: int) -> Iterator[Panel]:
        """The logits seen from a side."""
        return self.source.panels(side)

    def half_step(
        self, rule: Rule, side: int, potential: Tensor, log_weights: Tensor, c: Tensor, start: Tensor | None
    ) -> Tensor:
        """The rule's own, panel by panel."""
        steps = [
            rule.half_step(panel, potential, log_weights, c, None if start is None else start[part])
            for part, panel in self.panels(side)
        ]
        return self.source.joined(side, steps)

    def row_mass(self, rule: Rule, f: Tensor, g: Tensor, weights: Tensor) -> Tensor:
        """sum_j w_j phi(f_i + g_j + h_ij), the exponents rounded as those of the plan are."""
        masses = [rule.density(h + (f[part, None] + g)) @ weights for part, h in self.panels(ROWS)]
        return self.source.joined(ROWS, masses)

    def log_sums(self, side: int, exponents: Tensor) -> Tensor:
        """By each panel's maximum."""
        logs = [log_sum_exp(panel, exponents, 1, self._scratch(panel)) for _, panel in self.panels(side)]
        return self.source.joined(side, logs)

    def sweep(self, exponents: Tensor, answer: Answer) -> tuple[Tensor, Tensor]:
        """The columns' sums of the panels are joined by logaddexp."""
        rows, cols = [], exponents.new_full((self.shape[COLS],), -torch.inf)
        for part, panel in self.panels(ROWS):
            scratch = self._scratch(panel)
            rows.append(log_sum_exp(panel, exponents, 1, scratch))
            cols = torch.logaddexp(cols, log_sum_exp(panel, answer(rows[-1], part)[:, None], 0, scratch))
        return self.source.joined(ROWS, rows), self.source.team.log_sum(cols)

    def _scratch(self, panel: Tensor) -> Tensor:
        """Memory in the shape of a panel, the same for all."""
        if self._held is None or self._held.numel() < panel.numel():
            self._held = torch.empty_like(panel, memory_format=torch.contiguous_format).view(-1)
        return self._held[: panel.numel()].view(panel.shape)

    def kernel(self, f: Tensor, g: Tensor) -> Kernel:
        """At these very potentials."""
        return Absorbed(self.source, f, g, in_place=self.owned)


class KernelSums(Sums):
    """In the kernel domain.

    Args:
        source: panels of exp(h - centre).
        centre: see above.
        bound: of |h - centre|.
    """

    def __init__(self, source: Source, centre: float, bound: float, dtype: torch.dtype) -> None:
        self.source, self.centre, self.bound = source, centre, bound
        self.largest = _LARGEST[dtype]
        self.lift = self.largest - bound - math.log(max(source.shape))

    @staticmethod
    def suits(bound: float, spread: float, length: int, dtype: torch.dtype) -> bool:
        """Whether kernels of bounded logits do, for exponents that start out spread so far."""
        return 2 * bound + spread + math.log(length) < SAFE[dtype]

    def log_sums(self, side: int, exponents: Tensor) -> Tensor:
        """One matrix-vector product."""
        top = exponents.amax()
        v = torch.exp(exponents - top + self.lift)
        if side == ROWS:
            return self._log(self.source.joined(ROWS, [panel @ v for _, panel in self.source.panels(ROWS)]), top)
        total = v.new_zeros(self.shape[COLS])
        for part, panel in self.source.panels(ROWS):
            total.addmv_(panel.T, v[part])
        self.source.team.total_(total)
        return self._log(total, top)

    def sweep(self, exponents: Tensor, answer: Answer) -> tuple[Tensor, Tensor]:
        """Two products a panel; the columns' sums follow the highest row exponent seen so far."""
        first = exponents.amax()
        v = torch.exp(exponents - first + self.lift)
        rows, total, top = [], torch.zeros_like(v), v.new_full((), torch.finfo(v.dtype).min / 4)
        for part, panel in self.source.panels(ROWS):
            rows.append(self._log(panel @ v, first))
            own = answer(rows[-1], part)
            higher = torch.maximum(top, own.amax())
            total.mul_(torch.exp(top - higher)).addmv_(panel.T, torch.exp(own - higher + self.lift))
            top = higher
        return self.source.joined(ROWS, rows), self.source.team.log_sum(self._log(total, top))

    def _log(self, sums: Tensor, top: Tensor) -> Tensor:
        return torch.log(sums) + (top - self.lift + self.centre)

    def kernel(self, f: Tensor, g: Tensor) -> Kernel:
        """The kernel itself; the potentials go into the vectors."""
        return Exact(self.source, self.centre)

    def holds(self, extents: list[Extent]) -> bool:
        """Nothing that counts has underflowed, and the gradient's products do not overflow."""
        if not extents:
            return True
        own_low, own_high, other_low, other_high = torch.stack([torch.stack(e) for e in extents]).double().unbind(1)
        apart = torch.maximum(own_high - own_low, other_high - other_low).amax()
        peak = (own_high + other_high + self.centre).amax()
        near = apart <= self.largest + self.lift - self.bound
        return self.source.team.agreed(near & (peak / 2 + self.bound <= self.largest - _KEPT_BACK))
