"""The loss that is checked, in double precision and by itself, and the calls that it takes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..losses.base import Loss, parameters_of
from .calls import Call, is_taken, possible_calls
from .processes import Processes

LOW_TEMPERATURE = 0.01

Standing = Callable[[Loss, Call], Loss]
"""The same loss with what is a constant to its gradient, though it depends on the batch, held still at a call."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What a check is given.

    Attributes:
        given: the loss as it was passed.
        given_cold: the same loss at a low temperature, or None for what can be made of `given`.
        standing: see `Standing`.
        symmetric: whether the order of the views means nothing.
        processes: how many share a batch, or the processes themselves.
    """

    given: Loss
    given_cold: Loss | None = None
    standing: Standing | None = None
    symmetric: bool = True
    processes: int | Processes = 2

    @cached_property
    def loss(self) -> Loss:
        """In double precision, without gathering and without warnings."""
        return _alone(self.given)

    @cached_property
    def cold(self) -> Loss | None:
        """At a low temperature; None for a loss that has none."""
        made = _at_low_temperature(self.given) if self.given_cold is None else self.given_cold
        return None if made is None else _alone(made)

    @cached_property
    def calls(self) -> dict[str, Call]:
        """All calls that the loss takes: what its class declares, and of that what it does not refuse."""
        return {title: call for title, call in self._possible.items() if title == "two views" or self.takes(title)}

    def takes(self, title: str) -> bool:
        """Whether that is one of them."""
        return title in self._possible and is_taken(self.loss, self._possible[title])

    @cached_property
    def _possible(self) -> dict[str, Call]:
        return possible_calls(self.loss)

    def differentiated(self, call: Call) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """The function of the embeddings whose derivative the gradient is at this call.

        A coupling that carries no gradient is a constant by the loss's own declaration: it stands still while the
        embeddings move. So does what `standing` holds.
        """
        loss = self.loss if self.standing is None else self.standing(self.loss, call)
        fixed = self._fixed(loss, call.leaves())

        def value(tensors: Mapping[str, Tensor]) -> Tensor:
            moved = call.holding(tensors)
            if not fixed:
                return moved.of(loss)
            batch = loss.batch(*moved.views, **moved.sides)
            return loss.value(batch, {**loss.couplings(batch), **fixed}).reshape(())

        return value

    @staticmethod
    def _fixed(loss: Loss, call: Call) -> dict[str, Any]:
        """The couplings of a loss that carry no gradient of the embeddings."""
        plans = loss.couplings(loss.batch(*call.views, **call.sides))
        return {name: plan.detach() for name, plan in plans.items() if not plan.plan().requires_grad}


def _alone(loss: Loss) -> Loss:
    """A copy in double precision, by itself; the loss as it is where it cannot be copied, which a check then says."""
    try:
        return copy.deepcopy(loss).double().apart()
    except Exception:
        return loss.apart()


def _at_low_temperature(loss: Loss) -> Loss | None:
    """The loss made again with its own parameters and a low temperature."""
    known = parameters_of(type(loss))
    if "temperature" not in known:
        return None
    settings = {name: getattr(loss, name) for name in known if hasattr(loss, name)}
    try:
        return type(loss)(**{**settings, "temperature": LOW_TEMPERATURE})
    except Exception:
        return None


def generator() -> torch.Generator:
    """A seed of the checks' own."""
    return torch.Generator().manual_seed(0)
