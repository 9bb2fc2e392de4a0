"""Functions that tiles sum, each beside what autograd knows it as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from couplings.engine.functions import ConstantMoment, Elementwise, Exponentials, Moment, Pointwise
from couplings.engine.pair_sums import PairFunctions
from helpers import F64

Plain = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True)
class Known:
    """Functions of the engine, and the same ones written out; what is constant in them is detached there."""

    functions: PairFunctions
    plain: Plain
    held: bool = False
    """Whether a part is held still, so that the gradient is not the derivative of the value."""

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.functions.leaves


def _exponentials(
    multiples: Sequence[float], slopes: Sequence[float], shifts: Sequence[float], wide: bool = False
) -> Known:
    def plain(x: Tensor) -> list[Tensor]:
        still = x.detach()
        parts = zip(multiples, slopes, shifts, strict=True)
        return [torch.exp(slope * x + (m - slope) * still - shift) for m, slope, shift in parts]

    functions = Exponentials(tuple(multiples), tuple(slopes), tuple(shifts), wide)
    return Known(functions, plain, held=tuple(multiples) != tuple(slopes))


def _moment(slope: float, level: float, shift: float, wide: bool = False) -> Known:
    def plain(x: Tensor) -> list[Tensor]:
        kernel = torch.exp(x - shift)
        return [kernel, kernel * (slope * x + level)]

    return Known(Moment(slope, level, shift, wide), plain)


def _constant_moment() -> Known:
    def plain(x: Tensor) -> list[Tensor]:
        kernel = torch.exp(-x.detach().square())
        return [kernel, kernel * (1.5 * x - 0.3)]

    return Known(ConstantMoment(lambda x: x.square_().neg_().exp_(), 1.5, -0.3), plain, held=True)


def _pointwise(fn: Callable[[Tensor], Tensor], derivative: Callable[[Tensor], Tensor], learnt: bool) -> Known:
    offset = torch.tensor(0.4, dtype=F64)
    return Known(Pointwise(fn, derivative, (offset,), learnt), lambda x, by: [fn(x + by)], held=not learnt)


def _elementwise(wide: bool = False) -> Known:
    def fn(x: Tensor, by: Tensor, sharp: Tensor) -> list[Tensor]:
        return [torch.relu(x + by), torch.exp(sharp * x.detach()) * x, torch.sin(x).detach()]

    leaves = torch.tensor(0.1, dtype=F64), torch.tensor(0.7, dtype=F64)
    return Known(Elementwise(fn, 3, leaves, wide), fn, held=True)


def _smooth() -> Known:
    def fn(x: Tensor, sharp: Tensor) -> list[Tensor]:
        return [torch.sigmoid(sharp * x)]

    return Known(Elementwise(fn, 1, (torch.tensor(1.3, dtype=F64),)), fn)


KNOWN: dict[str, Known] = {
    "exponential": _exponentials([1.0], [1.0], [0.0]),
    "attraction and repulsion": _exponentials([-1.0, 0.5], [-1.0, 0.5], [0.5, 0.0]),
    "three exponentials": _exponentials([0.3, 2.0, 1.0], [0.3, 2.0, 1.0], [0.0, 0.7, -0.2]),
    "infinite temperature": _exponentials([1.0, 0.0], [1.0, 0.0], [0.0, 0.0]),
    "a constant beside": _exponentials([1.0, 0.6], [0.0, 0.6], [0.3, 0.0]),
    "partly constant": _exponentials([1.0, 2.0], [0.25, -1.0], [0.0, 0.4]),
    "all constant": _exponentials([1.0, 2.0], [0.0, 0.0], [0.0, 0.4]),
    "moment": _moment(2.0, -2.0, 0.0),
    "shifted moment": _moment(-0.5, 0.25, 1.5),
    "moment of a constant": _constant_moment(),
    "softplus": _pointwise(softplus, torch.sigmoid_, learnt=True),
    "square": _pointwise(torch.square, lambda x: x.mul_(2), learnt=True),
    "exp": _pointwise(torch.exp, torch.exp_, learnt=True),
    "given offset": _pointwise(torch.exp, torch.exp_, learnt=False),
    "by autograd": _elementwise(),
    "sigmoid": _smooth(),
}
WIDE: dict[str, Known] = {
    "exponentials": _exponentials([1.0, 0.5], [1.0, 0.5], [100.0, 50.0], wide=True),
    "moment": _moment(0.02, -2.0, 100.0, wide=True),
    "by autograd": _elementwise(wide=True),
}
