"""What panels of rows give, one below the other or summed; for the gradient each is made again, one at a time.

Alone, a panel is a checkpoint. A team's processes visit their own rows and exchange what they got; in the backward pass
each finds its share of the gradients of whatever the panels are made of, and the shares are added. For that they must
be known: embeddings, scales and potentials of the parts. What else carries gradient is found by a look at one row, and
everybody then visits all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..basics.precision import full_precision
from ..basics.sizes import slices
from ..basics.transforms import Opaque
from .team import Team

OfPanel = Callable[..., Tensor]
"""fn(range of rows, *parts)."""


@runtime_checkable
class Made(Protocol):
    """Something that is made of tensors, and can be made of others."""

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The tensors."""
        ...

    def with_leaves(self, *leaves: Tensor) -> Made:
        """The same, of other tensors."""
        ...


@dataclass(frozen=True)
class Rows:
    """How many rows, how many a panel, and who visits them."""

    count: int
    step: int
    team: Team


def by_panels(fn: OfPanel, parts: Sequence[object], rows: Rows, *, summed: bool = False) -> Tensor:
    """fn of each panel of rows, concatenated, or summed up; the parts are what it differentiates."""
    visit = _Visit(fn, parts, rows, summed)
    if rows.team.size == 1 or visit.hides_gradient():
        return _alone(visit)
    return cast(Tensor, _Split.apply(visit, *visit.leaves))


def _alone(visit: _Visit) -> Tensor:
    """Each panel a checkpoint; torch looks whether the leaves, which it is given, were written to since."""
    again = partial(checkpoint, visit.of, use_reentrant=False, preserve_rng_state=False)
    make = again if torch.is_grad_enabled() else visit.of
    found = [cast(Tensor, make(part, *visit.leaves)) for part in slices(visit.rows.count, visit.rows.step)]
    return torch.stack(found).sum(0) if visit.summed else torch.cat(found)


class _Visit:
    """The panels of a process, over any tensors in place of those that the parts are made of."""

    def __init__(self, fn: OfPanel, parts: Sequence[object], rows: Rows, summed: bool) -> None:
        self.fn, self.parts, self.rows, self.summed = fn, parts, rows, summed
        several = {id(leaf): leaf for part in parts for leaf in _leaves(part)}
        self.leaves = tuple(several.values())
        number = {key: place for place, key in enumerate(several)}
        self.places = [[number[id(leaf)] for leaf in _leaves(part)] for part in parts]

    def hides_gradient(self) -> bool:
        """Whether the function differentiates what none of the parts is made of; the same on all processes."""
        if not torch.is_grad_enabled():
            return False
        return self.of(slice(0, 1), *(leaf.detach() for leaf in self.leaves)).requires_grad

    def panels(self) -> Sequence[slice]:
        return list(self.rows.team.panels(self.rows.count, self.rows.step))

    def of(self, part: slice, *leaves: Tensor) -> Tensor:
        """fn of a panel."""
        return self.fn(part, *(self._over(k, leaves) for k in range(len(self.parts))))

    def _over(self, k: int, leaves: Sequence[Tensor]) -> object:
        part, own = self.parts[k], [leaves[place] for place in self.places[k]]
        return own[0] if isinstance(part, Tensor) else part.with_leaves(*own) if isinstance(part, Made) else part

    def whole(self, found: Sequence[Tensor]) -> Tensor:
        """What all processes found."""
        if not self.summed:
            return self.rows.team.joined(torch.cat(list(found)), self.rows.count)
        total = torch.stack(list(found)).sum(0)
        self.rows.team.total_(total)
        return total


def _leaves(part: object) -> tuple[Tensor, ...]:
    return (part,) if isinstance(part, Tensor) else part.leaves if isinstance(part, Made) else ()


class _Split(Opaque):
    @staticmethod
    def forward(ctx: Any, visit: _Visit, *leaves: Tensor) -> Tensor:
        ctx.visit = visit
        ctx.save_for_backward(*leaves)
        constants = [leaf.detach() for leaf in leaves]
        return visit.whole([visit.of(part, *constants) for part in visit.panels()])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        Opaque.refuse_second("panels of a team have")
        visit, needed = cast(_Visit, ctx.visit), ctx.needs_input_grad[1:]
        leaves = [leaf.detach().requires_grad_(need) for leaf, need in zip(ctx.saved_tensors, needed, strict=True)]
        moving = [leaf for leaf in leaves if leaf.requires_grad]
        totals = [torch.zeros_like(leaf) for leaf in moving]
        for part in visit.panels():
            with torch.enable_grad(), full_precision(cotangent.device):
                found = visit.of(part, *leaves)
            weights = cotangent if visit.summed else cotangent[part]
            for total, grad in zip(totals, torch.autograd.grad(found, moving, weights, allow_unused=True), strict=True):
                if grad is not None:
                    total += grad
        visit.rows.team.total_(*totals)
        given = iter(totals)
        return None, *(next(given) if need else None for need in needed)
