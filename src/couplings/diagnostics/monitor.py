"""The figures of a space while it is trained, in any loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..basics import checks
from ..basics.errors import InvalidInput, warn
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
    not run again; at most `samples` samples, spread over the batch, are looked at, which bounds the cost. A copy of the
    loss, deep or pickled, is not watched.

    Args:
        loss: to watch.
        every: calls between two looks, >= 1; the first call is looked at.
        samples: of a batch at most, >= 2.
        then: told of each look's figures; in Lightning ``then=lambda figures: self.log_dict(figures._asdict())``.

    Attributes:
        records: all figures so far.

    Raises:
        InvalidInput: a number out of range.

    Warns:
        CouplingWarning: once, where the samples looked at have no figures, such as where none has a negative among
            them; training goes on, and the look leaves no record.

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
        self._warned = False
        self._handle = loss.register_forward_hook(_Hook(self._look), with_kwargs=True)

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
        if (self._calls - 1) % self._every:
            return
        try:
            figures = _figures(self._calls, cast(Loss, loss), views, sides, value, self._samples)
        except InvalidInput as error:
            self._tell(error)
            return
        self.records.append(figures)
        if self._then is not None:
            self._then(figures)

    def _tell(self, error: InvalidInput) -> None:
        """Once, that a look had no figures; the batch itself was fine, so it must not stop the training."""
        if not self._warned:
            self._warned = True
            warn(
                f"Monitor: call {self._calls} leaves no record, and others like it neither; training goes on. Of the "
                f"samples looked at, {self._samples} at most: {error}. A larger samples= may help"
            )


class _Hook:
    """Shows a call to a monitor. A copy, deep or pickled, shows it to nobody: it hangs on another loss."""

    def __init__(self, look: Callable[..., None] | None = None) -> None:
        self._look = look

    def __call__(self, *call: Any) -> None:
        if self._look is not None:
            self._look(*call)

    def __reduce__(self) -> tuple[type[_Hook], tuple[()]]:
        return _Hook, ()


@torch.no_grad()
def _figures(
    call: int, loss: Loss, views: tuple[Tensor, ...], sides: Mapping[str, Any], value: Tensor, samples: int
) -> Figures:
    rows = _spread_out(len(views[0]), samples, call).to(views[0].device)
    shown = [view.detach()[rows] for view in views]
    pushed = repulsion(loss, *shown, **_of_samples(sides, rows))
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


def _spread_out(n: int, count: int, seed: int) -> Tensor:
    """At most `count` of n rows, one at random out of each of as many equal stretches.

    Not the first ones, since batches may be sorted; not every kth, since classes may take turns. The random numbers
    are of its own, so that training draws the same with and without.
    """
    starts = torch.arange(min(count, n) + 1) * n // min(count, n)
    inside = torch.rand(min(count, n), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return starts[:-1] + (inside * starts.diff()).long()


def _of_samples(sides: Mapping[str, Any], rows: Tensor) -> Sides:
    """What the loss was told of the samples that are looked at; matrices and keys are left out."""
    told = {name: sides[name] for name in ("labels", "ids", "domains") if sides.get(name) is not None}
    return cast("Sides", {name: each[rows.to(each.device)] for name, each in told.items()})
