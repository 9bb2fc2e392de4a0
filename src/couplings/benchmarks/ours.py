"""Our side of the works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from couplings.losses import LOSSES

from .inputs import labels, views
from .peers import with_gradient
from .work import Call, Contender, Size

__all__ = ["OurLoss", "ours"]


@dataclass(frozen=True)
class OurLoss:
    """A loss by its name, forward and backward on two views."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    labelled: bool = False

    def __call__(self, size: Size, device: torch.device) -> Call:
        """The loss of the views, with the gradients in them; `sweeps` of the size if it has any."""
        own = {"sweeps": size.sweeps} if size.sweeps else {}
        loss = LOSSES[self.name](**{**dict(self.options), **own}).to(device)
        two, sides = views(size, device), {"labels": labels(size, device)} if self.labelled else {}
        return lambda: with_gradient(loss(*two, **sides), two)


def ours(name: str, *, labelled: bool = False, **options: Any) -> Contender:
    """A loss of ours as a contender."""
    return Contender(LOSSES[name].__name__, OurLoss(name, tuple(options.items()), labelled))
