"""The functions of dot products that couplings sum: exponentials, their moments, and any other by autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .pair_sums import PairFunctions, Scratch, Weigh


def _double(x: Tensor, wide: bool, scratch: Scratch) -> Tensor:
    """The tile in double precision where single cannot hold the exponentials."""
    return scratch.copy("wide", x, torch.float64) if wide and x.dtype != torch.float64 else x


@dataclass(frozen=True, eq=False)
class Exponentials(PairFunctions):
    """phi_c(x) = exp(m_c (x - shift)); `wide` computes in double, for temperatures where single precision ends."""

    multiples: tuple[float, ...]
    shift: float = 0.0
    wide: bool = False

    @property
    def count(self) -> int:  # type: ignore[override]
        """One a multiple."""
        return len(self.multiples)

    def dtype(self, x: torch.dtype) -> torch.dtype:
        """Double if wide."""
        return torch.float64 if self.wide else x

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """The last one in place."""
        return list(self._each(x, scratch))

    def _each(self, x: Tensor, scratch: Scratch) -> list[Tensor]:
        x = _double(x, self.wide, scratch)
        if self.shift:
            x = x.sub_(self.shift)
        first = [
            torch.mul(x, m, out=scratch.tile(f"exp {c}", (x.shape[0], x.shape[1]), x.dtype)).exp_()
            for c, m in enumerate(self.multiples[:-1])
        ]
        last = self.multiples[-1]
        return [*first, (x if last == 1 else x.mul_(last)).exp_()]

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """sum_c m_c weight_c phi_c."""
        total: Tensor | None = None
        for c, (m, values) in enumerate(zip(self.multiples, self._each(x, scratch), strict=True)):
            part = weigh(c, values)
            if total is None:
                total = part if m == 1 else part.mul_(m)
            else:
                total = total.add_(part, alpha=m)
        assert total is not None
        return total, ()


@dataclass(frozen=True, eq=False)
class Moment(PairFunctions):
    """phi_0 = exp(x - shift), phi_1 = (slope x + level) exp(x - shift): a softmax's sum and what it expects."""

    slope: float
    level: float
    shift: float = 0.0
    wide: bool = False
    count = 2

    def dtype(self, x: torch.dtype) -> torch.dtype:
        """Double if wide."""
        return torch.float64 if self.wide else x

    def _both(self, x: Tensor, scratch: Scratch) -> tuple[Tensor, Tensor]:
        x = _double(x, self.wide, scratch)
        kernel = scratch.tile("kernel", (x.shape[0], x.shape[1]), x.dtype)
        torch.exp(torch.sub(x, self.shift, out=kernel) if self.shift else x, out=kernel)
        return kernel, x.mul_(self.slope).add_(self.level)

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """Kernel and moment."""
        kernel, value = self._both(x, scratch)
        return kernel, value.mul_(kernel)

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """kernel (w_0 + w_1 (value + slope))."""
        kernel, value = self._both(x, scratch)
        moved = weigh(1, value.add_(self.slope))
        ones = scratch.tile("ones", (x.shape[0], x.shape[1]), x.dtype).fill_(1.0)
        return moved.add_(weigh(0, ones)).mul_(kernel), ()


Function = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True, eq=False)
class Elementwise(PairFunctions):
    """Any elementwise functions fn(x, *leaves) -> tiles; their derivatives by autograd, tile by tile."""

    fn: Function
    count: int
    leaves: tuple[Tensor, ...] = ()

    def with_leaves(self, *leaves: Tensor) -> PairFunctions:
        """The same functions over other leaves."""
        return replace(self, leaves=leaves)

    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """As the function gives them."""
        return self.fn(x, *self.leaves)

    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Autograd on the tile."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            leaves = tuple(leaf.detach().requires_grad_() for leaf in self.leaves)
            values = self.fn(x, *leaves)
        weights = [weigh(c, torch.ones_like(v, requires_grad=False)) for c, v in enumerate(values)]
        moving = [(v, w) for v, w in zip(values, weights, strict=True) if v.requires_grad]
        if not moving:
            return torch.zeros_like(x), tuple(torch.zeros_like(leaf) for leaf in leaves)
        outputs, cotangents = zip(*moving, strict=True)
        grads = torch.autograd.grad(outputs, (x, *leaves), cotangents, materialize_grads=True)
        return grads[0], grads[1:]
