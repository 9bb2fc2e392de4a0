"""The functions of cosines that couplings sum: exponentials, their moments, pointwise ones, any other by autograd.

Each is computed in place and knows its own derivative. Where a part of the exponent is a constant (a detached plan),
the derivative leaves it out: that is what `slopes` beside `multiples` are for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from .pair_sums import PairFunctions, Scratch, Weigh


def _shape(x: Tensor) -> tuple[int, int]:
    return x.shape[0], x.shape[1]


def _widened(x: Tensor, wide: bool, scratch: Scratch) -> Tensor:
    """The tile in double precision where single cannot hold the exponentials."""
    return scratch.copy("wide", x, torch.float64) if wide and x.dtype != torch.float64 else x


@dataclass(frozen=True, eq=False)
class Exponentials(PairFunctions):
    """phi_c(x) = exp(m_c x - shift_c), differentiated as if m_c were slope_c in the exponent's derivative.

    Attributes:
        multiples: m_c; `slopes`: what of each carries gradient; `shifts`: keep exponentials in range.
        wide: compute in double precision, for temperatures where single ends.
    """

    multiples: tuple[float, ...]
    slopes: tuple[float, ...]
    shifts: tuple[float, ...]
    wide: bool = False

    @property
    def count(self) -> int:  # type: ignore[override]
        """One a multiple."""
        return len(self.multiples)

    def dtype(self, x: torch.dtype) -> torch.dtype:
        """Double if wide."""
        return torch.float64 if self.wide else x

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """The last one over x, the others in tiles of their own."""
        x = _widened(x, self.wide, scratch)
        last = len(self.multiples) - 1
        return [
            self._one(c, x, x if c == last else scratch.tile(f"exp {c}", _shape(x), x.dtype)) for c in range(last + 1)
        ]

    def _one(self, c: int, x: Tensor, out: Tensor) -> Tensor:
        m, shift = self.multiples[c], self.shifts[c]
        exponent = x if m == 1 else torch.mul(x, m, out=out)
        exponent = torch.sub(exponent, shift, out=out) if shift else exponent
        return torch.exp(exponent, out=out)

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """sum_c slope_c weight_c phi_c."""
        total: Tensor | None = None
        for c, (slope, values) in enumerate(zip(self.slopes, self.values(x, scratch), strict=True)):
            if slope:
                part = weigh(c, values)
                part = part if slope == 1 else part.mul_(slope)
                total = part if total is None else total.add_(part)
        return torch.zeros_like(x) if total is None else total, ()


@dataclass(frozen=True, eq=False)
class Moment(PairFunctions):
    """phi_0 = exp(x - shift) and phi_1 = (slope x + level) phi_0: a softmax's sum and what it expects."""

    slope: float
    level: float
    shift: float = 0.0
    wide: bool = False
    count = 2

    def dtype(self, x: torch.dtype) -> torch.dtype:
        """Double if wide."""
        return torch.float64 if self.wide else x

    def _both(self, x: Tensor, scratch: Scratch) -> tuple[Tensor, Tensor]:
        x = _widened(x, self.wide, scratch)
        kernel = scratch.tile("kernel", _shape(x), x.dtype)
        torch.exp(torch.sub(x, self.shift, out=kernel) if self.shift else x, out=kernel)
        return kernel, x.mul_(self.slope).add_(self.level)

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """Kernel and moment."""
        kernel, value = self._both(x, scratch)
        return kernel, value.mul_(kernel)

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """w_0 kernel + w_1 kernel (value + slope)."""
        kernel, value = self._both(x, scratch)
        moved = weigh(1, value.add_(self.slope).mul_(kernel))
        return moved.add_(weigh(0, kernel)), ()


@dataclass(frozen=True, eq=False)
class ConstantMoment(PairFunctions):
    """phi_0 = kernel(x), a constant, and phi_1 = (slope x + level) phi_0, whose derivative is slope phi_0.

    `kernel` may write over what it is given.
    """

    kernel: Callable[[Tensor], Tensor]
    slope: float
    level: float
    count = 2

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """Kernel and moment."""
        kernel = self.kernel(scratch.copy("kernel", x, x.dtype))
        return kernel, x.mul_(self.slope).add_(self.level).mul_(kernel)

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """slope w_1 kernel."""
        return weigh(1, self.kernel(x)).mul_(self.slope), ()


@dataclass(frozen=True, eq=False)
class Pointwise(PairFunctions):
    """phi(x + offset), phi and its derivative elementwise; the offset (0-dim) carries gradient."""

    fn: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    leaves: tuple[Tensor, ...]
    learnt: bool = False
    count = 1

    def with_leaves(self, *leaves: Tensor) -> PairFunctions:
        """With another offset."""
        return replace(self, leaves=leaves)

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """One tile."""
        return (self.fn(x.add_(self.leaves[0])),)

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The derivative, weighed; its sum is the offset's."""
        pulled = weigh(0, self.derivative(x.add_(self.leaves[0])))
        return pulled, (pulled.sum(),) if self.learnt else (torch.zeros_like(self.leaves[0]),)


@dataclass(frozen=True, eq=False)
class Elementwise(PairFunctions):
    """Any elementwise functions fn(x, *leaves) -> tiles; their derivatives by autograd, tile by tile."""

    fn: Callable[..., Sequence[Tensor]]
    count: int
    leaves: tuple[Tensor, ...] = ()
    wide: bool = False

    def dtype(self, x: torch.dtype) -> torch.dtype:
        """Double if wide."""
        return torch.float64 if self.wide else x

    def with_leaves(self, *leaves: Tensor) -> PairFunctions:
        """The same functions over other leaves."""
        return replace(self, leaves=leaves)

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """As the function gives them, in memory that can be written over."""
        return [values.contiguous() for values in self.fn(_widened(x, self.wide, scratch), *self.leaves)]

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Autograd on the tile."""
        x = _widened(x, self.wide, scratch)
        weights = [weigh(c, torch.ones_like(x)) for c in range(self.count)]
        nothing = torch.zeros_like(x), tuple(torch.zeros_like(leaf) for leaf in self.leaves)
        if (harmless := _harmless(x, weights)) is None:
            return nothing
        with torch.enable_grad():
            inputs = tuple(t.detach().requires_grad_() for t in (harmless, *self.leaves))
            values = self.fn(*inputs)
        moving = [
            (value, weight.to(value)) for value, weight in zip(values, weights, strict=True) if value.requires_grad
        ]
        if not moving:
            return nothing
        outputs, cotangents = zip(*moving, strict=True)
        grads = torch.autograd.grad(outputs, inputs, cotangents, materialize_grads=True)
        return grads[0], grads[1:]


def _harmless(x: Tensor, weights: Sequence[Tensor]) -> Tensor | None:
    """x, where pairs without weight are replaced by one that has some: 0 times an infinite slope is no number."""
    alive = reduce(or_, (weight != 0 for weight in weights))
    if not alive.any():
        return None
    return torch.where(alive, x, x.flatten()[alive.flatten().int().argmax()])
