"""Gradients over processes beside those of one process with the whole batch: of a loss of this library, or of any."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor

from ..basics import checks
from ..basics.errors import CouplingWarning, InvalidInput
from ..losses.base import Loss
from .calls import Call
from .near import all_near, outcome
from .processes import Processes
from .subject import Subject

Factory = Callable[[], Callable[..., Tensor]] | str


@contextmanager
def started(processes: int | Processes) -> Iterator[Processes]:
    """These processes, or as many as are wanted, for a while."""
    if isinstance(processes, Processes):
        yield processes
    else:
        with Processes(processes) as own:
            yield own


# The check of a loss of this library


def gather(subject: Subject) -> None:
    """Value and gradient of processes that pass uneven or empty shares, beside one process with all samples."""
    with started(subject.processes) as processes:
        for call in subject.calls.values():
            _compare_shares(subject, call, processes, _uneven(len(call.views[0]), processes.count))
        call = subject.calls["two views"]
        _compare_shares(subject, call, processes, [*[0] * (processes.count - 1), len(call.views[0])])


def _compare_shares(subject: Subject, call: Call, processes: Processes, counts: list[int]) -> None:
    whole, world = outcome(subject.loss, call), processes.count
    for rank, found in enumerate(processes.run(_of_share, subject.given, call, counts)):
        own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        mine = {name: g[own] * world if _of_samples(name) else g for name, g in whole.items()}
        what = f"{call.title}, process {rank} with {counts[rank]} samples and one process with all {sum(counts)}"
        all_near(what, found, mine)


def _of_samples(name: str) -> bool:
    """Whether processes hand in their share of it; its gradient is then the one that is averaged over them."""
    return name.startswith(("gradient at view", "gradient at negatives"))


def _uneven(n: int, world: int) -> list[int]:
    """Shares of n samples: one or two each, and the first has what the others leave."""
    others = [1 + rank % 2 for rank in range(1, world)]
    return [n - sum(others), *others]


def _of_share(loss: Loss, call: Call, counts: Sequence[int]) -> dict[str, Tensor]:
    """On each process: value and gradients of its share of a call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CouplingWarning)
        return outcome(loss.double(), call.share(counts, dist.get_rank()))


# Any loss under data parallel training


@dataclass(frozen=True)
class Gradients:
    """What `check_gradients` found.

    Attributes:
        processes: how many shared the batch.
        ratio: the averaged gradient, projected on the one of one process, over that.
        residual: the part of the averaged gradient that is not parallel to that of one process, relative to it.
        value: the mean of the processes' values over the value of one process.
        own_batches: whether the gradient is the mean of those of losses that each see one process's samples alone.
        shifts: whether the gradient stays when processes exchange their shares. A loss whose masks and targets are
            those of process 0 on every process changes it.
        tolerance: the residual up to which gradients count as parallel, and ratios as equal.
    """

    processes: int
    ratio: float
    residual: float
    value: float
    own_batches: bool
    shifts: bool
    tolerance: float

    @property
    def parallel(self) -> bool:
        """Whether the gradient is that of one process but for a factor."""
        return self.residual <= self.tolerance

    @property
    def right(self) -> bool:
        """Whether it is that of one process with the whole batch."""
        return self.parallel and abs(self.ratio - 1) <= self.tolerance

    @property
    def fraction(self) -> str:
        """The ratio in words: "1", "1/2", "1/W" for W processes, "W", another number, or "none" where not parallel."""
        if not self.parallel:
            return "none"
        world = self.processes
        known = {"1": 1.0, "1/W": 1 / world, "1/2": 0.5, "W": float(world)}
        near = [name for name, number in known.items() if abs(self.ratio / number - 1) <= self.tolerance]
        return near[0] if near else f"{self.ratio:.4g}"

    def __str__(self) -> str:
        if self.right:
            return f"the gradient over {self.processes} processes is that of one process with the whole batch"
        if self.parallel:
            return (
                f"the gradient over {self.processes} processes is {self.fraction} of that of one process with the "
                f"whole batch ({self.ratio:.4g} times it): the learning rate is off by that factor"
            )
        reason = "its masks or targets do not shift with the rank" * (not self.shifts)
        reason = "each process contrasts its own samples alone" if self.own_batches else reason
        return (
            f"the gradient over {self.processes} processes points elsewhere than that of one process with the whole "
            f"batch ({self.residual:.1%} of it is not parallel){': ' if reason else ''}{reason}"
        )


def check_gradients(
    factory: Factory,
    processes: int | Processes = 2,
    *,
    samples: int = 6,
    dimension: int = 8,
    views: int = 2,
    labels: bool = False,
    dtype: torch.dtype = torch.float64,
    tolerance: float = 1e-3,
) -> Gradients:
    """Compare the gradient of any loss under data parallel training with that of one process on the joined batch.

    A linear encoder is trained for one step on W gloo processes, each with its share of the samples; gradients are
    averaged over them, as `DistributedDataParallel` does:

        g = (1 / W) sum_r dL_r / dtheta,        ratio = <g, h> / <h, h>,        residual = |g - ratio h| / |g|

    with h the gradient of one process that has the samples of all.

    Args:
        factory: a function without arguments that makes the loss, or ``"module:function"``; it must be at the top of a
            module, and runs on every process, where torch.distributed is initialised. The loss is called with the views
            (n, d) and, with ``labels=True``, labels (n,) after them, and returns a 0-dim tensor.
        processes: how many, at least 2; 3 or more tell 1/W from 1/2. Or `Processes` that are running.
        samples: of each process, at least 2.
        dimension: d >= 1.
        views: at least 2 of each sample.
        labels: pass labels, of which each occurs on several processes.
        dtype: of the views.
        tolerance: what counts as parallel. A loss that computes in single precision has a residual of about 1e-6, a
            wrong mask one of 1e-2 or more.

    Raises:
        InvalidInput: a number out of range, or a factory that is not there.
        ProcessFailed: the loss failed, with the traceback of the process.

    Example:
        >>> from couplings.testing import check_gradients
        >>> found = check_gradients("couplings:InfoNCE")
        >>> found.right, found.fraction
        (True, '1')
    """
    count = processes.count if isinstance(processes, Processes) else processes
    for name, number, least in (("samples", samples, 2), ("dimension", dimension, 1), ("views", views, 2)):
        checks.count(name, number)
        checks.require(number >= least, f"{name} must be at least {least}, got {number}")
    checks.count("processes", count)
    checks.require(count >= 2, f"processes must be at least 2, got {count}: one process is what they are compared with")
    if isinstance(factory, str):
        _found(factory)
    batch = _Batch(count, samples, dimension, views, labels, dtype)
    with started(processes) as many, Processes(1) as one:
        orders = [list(range(count)), [*range(1, count), 0]]
        over = many.run(_averaged, factory, batch, orders)
        (alone,) = one.run(_on_one, factory, batch)
    return _compared(over, alone, count, tolerance)


def _found(name: str) -> Callable[[], Callable[..., Tensor]]:
    """The factory of that name."""
    module, _, function = name.partition(":")
    checks.require(bool(function), f"factory must be a function or 'module:function', got {name!r}")
    try:
        made: Callable[[], Callable[..., Tensor]] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"there is no factory {name!r}: {error}") from error
    return made


@dataclass(frozen=True)
class _Batch:
    """The samples of all processes, and the encoder: the same on each, made from one seed."""

    world: int
    samples: int
    dimension: int
    views: int
    labelled: bool
    dtype: torch.dtype

    def gradient(self, loss: Callable[..., Tensor], shares: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The gradient at the encoder and the value of a loss that is called with these processes' samples."""
        chance, n = torch.Generator().manual_seed(0), self.world * self.samples
        given = torch.randn(self.views, n, 2 * self.dimension, dtype=torch.float64, generator=chance).to(self.dtype)
        weight = torch.randn(2 * self.dimension, self.dimension, dtype=torch.float64, generator=chance).to(self.dtype)
        rows = torch.cat([torch.arange(s * self.samples, (s + 1) * self.samples) for s in shares])
        weight.requires_grad_()
        labels = (torch.arange(n) // 2 % self.samples)[rows]
        views = torch.nn.functional.normalize(given[:, rows] @ weight, dim=-1)
        value = loss(*views, *([labels] if self.labelled else []))
        (found,) = torch.autograd.grad(value, weight)
        return found.double(), value.detach().double()


def _made(factory: Factory) -> Callable[..., Tensor]:
    return (_found(factory) if isinstance(factory, str) else factory)()


def _averaged(factory: Factory, batch: _Batch, orders: Sequence[Sequence[int]]) -> list[tuple[Tensor, Tensor]]:
    """On each process: gradient and value, averaged over all, for each order of the shares."""
    loss, world, results = _made(factory), dist.get_world_size(), []
    for order in orders:
        found, value = batch.gradient(loss, [order[dist.get_rank()]])
        for part in (found, value):
            dist.all_reduce(part)
        results.append((found / world, value / world))
    return results


def _on_one(factory: Factory, batch: _Batch) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """On one process: gradient and value with all samples, and the mean gradient of each share alone."""
    loss = _made(factory)
    shares = [batch.gradient(loss, [rank])[0] for rank in range(batch.world)]
    return batch.gradient(loss, range(batch.world)), torch.stack(shares).mean(0)


def _compared(
    over: Sequence[Sequence[tuple[Tensor, Tensor]]],
    alone: tuple[tuple[Tensor, Tensor], Tensor],
    count: int,
    tolerance: float,
) -> Gradients:
    (found, value), (exchanged, _) = over[0]
    (wanted, whole), separate = alone
    norm = float(wanted.norm())
    checks.require(norm > 0, "the gradient of the loss on one process is zero: there is nothing to compare with")
    ratio = float((found * wanted).sum()) / norm**2
    length = max(float(found.norm()), 1e-300)
    return Gradients(
        processes=count,
        ratio=ratio,
        residual=float((found - ratio * wanted).norm()) / length,
        value=float(value / whole),
        own_batches=float((found - separate).norm()) / length <= tolerance,
        shifts=float((found - exchanged).norm()) / length <= tolerance,
        tolerance=tolerance,
    )
