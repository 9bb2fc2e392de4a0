"""What the checks of tensor values cost in a loss call: with them and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from couplings.basics.checks import set_checks
from couplings.losses import LOSSES

from .ours import OurLoss
from .work import Call, Contender, Size, Work

__all__ = ["works"]


@dataclass(frozen=True)
class _Without:
    """A loss without its checks, which are on again afterwards."""

    loss: OurLoss

    def __call__(self, size: Size, device: torch.device) -> Call:
        call = self.loss(size, device)

        def unchecked() -> tuple[torch.Tensor, ...]:
            set_checks(False)
            try:
                return call()
            finally:
                set_checks(True)

        return unchecked


def works() -> Sequence[Work]:
    """One a loss, at a batch that people use."""
    return [
        Work(
            name,
            kind.__name__,
            (Size(512),),
            Contender("with checks", OurLoss(name)),
            (Contender("without checks", _Without(OurLoss(name))),),
            memory=False,
        )
        for name, kind in LOSSES.items()
    ]
