"""The figures of a space while it is trained, in any loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from .. import checks
from ..losses import Loss
from .spread import alignment, effective_rank, uniformity
from .survey import effective_negatives, repulsion

if TYPE_CHECKING:
    from ..losses import Sides

__all__ = ["Figures", "Monitor"]


class Figures(NamedTuple):
    """What a batch says of the space; see the functions of the same names.

    Attributes:
        call: number of the call of the loss, from 1.
        loss: its value.
        alignment: of the views; NaN with a single one.
        uniformity: of the first view.
        effective_rank: of the first view.
        effective_negatives: mean over the samples.
        hub: mass of the heaviest sample, in units of the average one's.
    """

    call: int
    loss: float
    alignment: float
    uniformity: float
    effective_rank: float
    effective_negatives: float
    hub: float


class Monitor:
    """Watches a loss: at every nth call in training it works out the :class:`Figures` of the batch.

    It hangs on the loss, so the loop needs no line of its own: plain PyTorch, Lightning or any other. The network is
    not run again; at most `samples` samples of a batch are looked at, which bounds the cost.

    Args:
        loss: to watch.
        every: calls between two looks, >= 1; the first call is looked at.
        samples: of a batch at most, >= 2.
        then: told of each look's figures; in Lightning ``then=lambda figures: self.log_dict(figures._asdict())``.

    Attributes:
        records: all figures so far.

    Raises:
        InvalidInput: a number out of range.

    Cost:
        A look takes about two calls of the loss on `samples` samples and their singular values; the page on inspection
        has what that is of a step. Between processes nothing is exchanged: each looks at its own part of the batch.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> from couplings.diagnostics import Monitor
        >>> loss = InfoNCE(0.5)
        >>> with Monitor(loss, every=2) as monitor:
        ...     for _ in range(4):
        ...         value = loss(torch.eye(8), torch.eye(8).requires_grad_())
        >>> [figures.call for figures in monitor.records], round(monitor.records[0].effective_rank, 3)
        ([1, 3], 8.0)
    """

    def __init__(
        self, loss: Loss, every: int = 100, samples: int = 256, then: Callable[[Figures], object] | None = None
    ) -> None:
        for name, value, least in (("every", every, 1), ("samples", samples, 2)):
            checks.count(name, value)
            checks.require(value >= least, f"{name} must be at least {least}, got {value}")
        self.records: list[Figures] = []
        self._every, self._samples, self._then, self._calls = every, samples, then, 0
        self._handle = loss.register_forward_hook(self._look, with_kwargs=True)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Stop watching; the records stay."""
        self._handle.remove()

    def _look(self, loss: nn.Module, views: tuple[Tensor, ...], sides: Mapping[str, Any], value: Tensor) -> None:
        # A validation pass is not training.
        if not value.requires_grad:
            return
        self._calls += 1
        if (self._calls - 1) % self._every == 0:
            self.records.append(_figures(self._calls, cast(Loss, loss), views, sides, value, self._samples))
            if self._then is not None:
                self._then(self.records[-1])


@torch.no_grad()
def _figures(
    call: int, loss: Loss, views: tuple[Tensor, ...], sides: Mapping[str, Any], value: Tensor, samples: int
) -> Figures:
    shown = [view.detach()[:samples] for view in views]
    pushed = repulsion(loss, *shown, **_of_samples(sides, len(shown[0])))
    mass = pushed.sum(0)
    return Figures(
        call=call,
        loss=value.item(),
        alignment=alignment(*shown).item() if len(shown) > 1 else float("nan"),
        uniformity=uniformity(shown[0]).item(),
        effective_rank=effective_rank(shown[0]).item(),
        effective_negatives=effective_negatives(pushed).mean().item(),
        hub=(mass.max() / mass.mean().clamp_min(torch.finfo(mass.dtype).tiny)).item(),
    )


def _of_samples(sides: Mapping[str, Any], count: int) -> Sides:
    """What the loss was told of the samples that are looked at; matrices and keys are left out."""
    kept = {name: sides[name][:count] for name in ("labels", "ids", "domains") if sides.get(name) is not None}
    return cast("Sides", kept)
