"""A call of a loss on several processes, each with its share of the samples, as one call on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ..basics import checks
from ..basics.errors import InvalidInput
from ..basics.precision import at_least_single
from ..batches.distributed import Header, Shares, checksum, compared, gathered, with_gradient
from ..pieces.masks import GivenMask
from ..plans.coupling import Coupling
from ..plans.targets import Given, Pairs
from .build import Sides, id_vector

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_INTEGERS = ("labels", "ids", "domains")
"""One a sample: gathered."""
_EQUAL = ("keys", "key_ids", "mask", "target")
"""The same on all processes."""
_BY_PAIR = ("mask", "target")
"""Has a row for each anchor of all processes."""


@dataclass(frozen=True)
class Call:
    """The views and sides of all processes, and whose rows are whose; None on a process of its own."""

    views: Sequence[Tensor]
    sides: Sides
    shares: Shares | None = None


def joined(
    views: Sequence[Tensor],
    sides: Sides,
    facts: Mapping[str, str] | None = None,
    gather: bool | ProcessGroup = True,
) -> Call:
    """The call on the samples of all processes, in rank order; a collective call.

    Args:
        views: this process's share.
        sides: its share too, of what is one a sample.
        facts: what else must be the same everywhere, by name: who calls, in words.
        gather: all processes, or those of a group.

    Raises:
        InvalidInput: on all processes, for what is wrong on any.
        RuntimeError: not all processes make this call.
    """
    made: list[_Own] = []

    def describe() -> Header:
        made.append(_Own.of(views, sides))
        return made[0].header(sides, facts or {})

    shares, moves = compared(describe, gather)
    own = made[0]
    _require_whole(sides, len(views) * shares.total, len(shares.counts))
    rows = gathered(with_gradient(own.rows, moves), shares, gather=gather)
    merged = dict(sides)
    if own.negatives is not None:
        merged["negatives"] = gathered(with_gradient(own.negatives, moves), shares, gather=gather)
    if own.integers:
        columns = gathered(torch.stack(list(own.integers.values()), dim=1), shares, gather=gather)
        merged.update(zip(own.integers, columns.unbind(1), strict=True))
    return Call(rows.chunk(len(views), dim=1), cast(Sides, merged), shares)


@dataclass(frozen=True)
class _Own:
    """What this process hands in, in the form in which it travels."""

    count: int
    rows: Tensor
    negatives: Tensor | None
    integers: dict[str, Tensor]

    @staticmethod
    def of(views: Sequence[Tensor], sides: Sides) -> _Own:
        """All that can fail on this process alone."""
        checks.require(len(views) > 0, "there are no views: pass at least two, of the same samples")
        names = [f"view {i + 1}" for i in range(len(views))]
        for name, view in zip(names, views, strict=True):
            checks.matrix(name, view, empty=True)
        checks.same_shape(names, views)
        n, device = len(views[0]), views[0].device
        negatives = sides.get("negatives")
        if negatives is not None:
            checks.matrix("negatives", negatives, dims=3, empty=True)
            fits = len(negatives) == n
            checks.require(fits, f"negatives are those of {len(negatives)} samples but the views have {n}")
        given = {name: cast(Tensor, sides.get(name)) for name in _INTEGERS if sides.get(name) is not None}
        integers = {name: id_vector(name, ids, n).to(device) for name, ids in given.items()}
        rows = at_least_single(torch.cat(list(views), dim=1))  # in which it is computed; not all backends know bfloat16
        return _Own(len(views), rows, None if negatives is None else at_least_single(negatives), integers)

    def header(self, sides: Sides, also: Mapping[str, str]) -> Header:
        """What all processes must agree on."""
        facts = {
            **also,
            "the number of views": str(self.count),
            "the dimension of the views": str(self.rows.shape[1] // self.count),
            "the dtype of the views": str(self.rows.dtype),
            "whether gradients are recorded": str(torch.is_grad_enabled()),
            "set_checks": str(checks.checks_enabled()),
            **{f"{name}=": "passed" for name, value in sides.items() if value is not None},
            **{f"{name}=": _what(sides.get(name)) for name in _EQUAL if sides.get(name) is not None},
        }
        moves = self.rows.requires_grad
        if self.negatives is not None:
            facts["negatives="] = f"{self.negatives.dtype} (n, {', '.join(map(str, self.negatives.shape[1:]))})"
            moves = moves or self.negatives.requires_grad
        return Header(len(self.rows), moves, facts)


def in_words(kind: type, settings: Mapping[str, object]) -> str:
    """What something was made with, in the same words on all processes: no address, device or number of a tensor.

    A tensor's numbers may be learnt, and then differ in their last digits.
    """
    return f"{kind.__name__}({', '.join(f'{name}={_setting(value)}' for name, value in settings.items())})"


def _setting(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str | Enum):
        return repr(value)
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if is_dataclass(value) and not isinstance(value, type):
        return in_words(type(value), {part.name: getattr(value, part.name) for part in fields(value)})
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_setting, value))}]"
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _what(value: object) -> str:
    """An argument in words, its numbers included."""
    inner = value.matrix if isinstance(value, GivenMask | Given) else value
    inner = inner.columns if isinstance(inner, Pairs) else inner
    if not isinstance(inner, Tensor):
        return f"{type(inner).__name__} {_shape(inner)}"
    numbers = f" with checksum {checksum(inner)}" if checks.checks_enabled() and inner.dim() else ""
    return f"{inner.dtype} {tuple(inner.shape)}{numbers}"


def _shape(value: object) -> tuple[int, ...] | None:
    shape = getattr(value.scores if isinstance(value, Coupling) else value, "shape", None)
    return None if shape is None else tuple(shape)


def _require_whole(sides: Sides, rows: int, processes: int) -> None:
    for name in _BY_PAIR:
        value = sides.get(name)
        shape = (len(value.columns),) if isinstance(value, Pairs) else _shape(value)
        if shape and shape[0] != rows:
            raise InvalidInput(
                f"{name} has {shape[0]} rows but the anchors of all {processes} processes are {rows}: over processes "
                "it is that of the whole batch, views below each other and the processes in rank order within a view; "
                "gather=False keeps a loss to the anchors of its own process"
            )
