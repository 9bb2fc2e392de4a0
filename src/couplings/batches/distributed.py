"""One batch over several processes: every process hands in its rows and sees the rows of all, in rank order.

All processes then compute the same value from the same numbers. The gradient in a process's own rows is the global one
times the number of processes, because data parallel training (DDP) averages gradients over processes: what reaches the
encoder is the gradient of one process with the whole batch.

Errors never leave the other processes waiting: what a process is about to hand in is described in a small header, which
all processes see before any data moves, so that all of them raise, or none.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ..basics import checks
from ..basics.errors import InvalidInput
from ..basics.transforms import Opaque
from ..engine.team import Team, of_each

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    Gather = bool | ProcessGroup | DeviceMesh
    """Who shares a batch: all processes, none, those of a group, or those along the one dimension of a mesh."""


def gathering(gather: Gather) -> bool | ProcessGroup:
    """Who shares a batch, checked; a mesh as its group.

    Raises:
        InvalidInput: something else, a mesh of several dimensions, or a group that this process is not in.
    """
    if isinstance(gather, bool):
        return gather
    if dist.is_available():
        from torch.distributed.device_mesh import DeviceMesh  # which takes as long to load as all of this

        if isinstance(gather, DeviceMesh):
            named = gather.mesh_dim_names
            checks.require(
                gather.ndim == 1,
                f"gather is a mesh of {gather.ndim} dimensions {named}: pass the one that shares the batch, mesh[name]",
            )
            return gather.get_group()
        if isinstance(gather, dist.ProcessGroup):
            member = dist.get_rank(gather) >= 0
            checks.require(member, "gather is a process group that this process is not in: pass its own group")
            return gather
    raise InvalidInput(
        f"gather must be True or False, a process group of this process, or a mesh of one dimension, got {gather!r}"
    )


def processes(gather: bool | ProcessGroup = True) -> int:
    """How many processes share a batch: 1 unless torch.distributed is initialised."""
    if gather is False or not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size(_group(gather))


def _group(gather: bool | ProcessGroup) -> ProcessGroup | None:
    return None if isinstance(gather, bool) else gather


@dataclass(frozen=True)
class Shares:
    """How many rows each process has, in rank order, and which of them this process is; of a group, or of all."""

    counts: tuple[int, ...]
    rank: int
    group: Any = None

    @property
    def total(self) -> int:
        """Rows of all processes."""
        return sum(self.counts)

    @property
    def own(self) -> slice:
        """This process's rows among all."""
        start = sum(self.counts[: self.rank])
        return slice(start, start + self.counts[self.rank])

    @property
    def team(self) -> Team:
        """The processes that then have all rows."""
        return Team(len(self.counts), self.rank, self.group)

    def pieces(self, name: str, rows: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Rows of all processes cut into each one's, with a name that says whose; none of those without rows."""
        starts = accumulate(self.counts, initial=0)
        for process, (start, count) in enumerate(zip(starts, self.counts, strict=False)):
            if count:
                yield f"{name} of process {process}", rows[start : start + count]


@dataclass(frozen=True)
class Header:
    """What a process is about to hand in.

    Attributes:
        rows: how many rows; the only thing that may differ.
        moves: whether they carry gradient.
        facts: what must be the same everywhere, by name, in words.
        problem: why it cannot.
    """

    rows: int = 0
    moves: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


def compared(describe: Callable[[], Header], gather: bool | ProcessGroup = True) -> tuple[Shares, bool]:
    """Everybody's rows, and whether any of them carry gradient; a collective call.

    Raises:
        InvalidInput: on all processes, when describing failed on one or when facts differ; the message names it.
        RuntimeError: a process has stopped or makes another call, as when one process evaluates by itself.
    """
    cause: Exception | None = None
    try:
        mine = describe()
    except Exception as error:
        cause, mine = error, Header(problem=str(error))
    everybody = _told(mine, _group(gather))
    for process, header in enumerate(everybody):
        if header.problem is not None:
            raise InvalidInput(f"process {process}: {header.problem}") from cause
    _same_facts(everybody)
    group = _group(gather)
    return Shares(tuple(h.rows for h in everybody), dist.get_rank(group), group), any(h.moves for h in everybody)


def _told(mine: Header, group: ProcessGroup | None) -> list[Header]:
    """The headers of all processes of the group."""
    headers: list[object] = [None] * dist.get_world_size(group)
    try:
        dist.all_gather_object(headers, mine, group=group)
    except RuntimeError as error:
        raise type(error)(_alone(str(error))) from error  # the same type: some look at it to tell a lost process
    except (pickle.UnpicklingError, EOFError) as error:
        raise RuntimeError(_alone(f"what came is no message of ours, {error}")) from error
    for process, header in enumerate(headers):
        if not isinstance(header, Header):
            raise RuntimeError(_alone(f"process {process} sent {type(header).__name__} of another call"))
    return cast(list[Header], headers)


def _alone(what: str) -> str:
    return (
        f"process {dist.get_rank()} could not agree with the other processes on a call ({what.strip()}): probably not "
        "all of them make it, or one has stopped. Where torch.distributed is initialised, a loss, coupling(), "
        "pair_weights(), Guide and KeyQueue.enqueue wait for the same call on every process; to call them on one "
        "process only, as an evaluation on process 0 does, make them with gather=False"
    )


def _same_facts(headers: Sequence[Header]) -> None:
    first = headers[0].facts
    for process, header in enumerate(headers):
        for name in {**first, **header.facts}:
            mine, theirs = first.get(name, "nothing"), header.facts.get(name, "nothing")
            checks.require(
                mine == theirs,
                f"{name} is {theirs} on process {process} but {mine} on process 0: every process makes the "
                "same loss and passes its share of the same arguments, and keys, masks and targets that are equal on "
                "all; gather=False keeps a loss to its own process",
            )


def checksum(values: Tensor) -> int:
    """A number that differs, almost surely, where an entry of a tensor (or the order of its rows) does; 0 if empty."""
    if values.numel() == 0:
        return 0
    flat = values.detach().contiguous().reshape(len(values), -1)
    bits = flat.view(_BITS[flat.element_size()]).sum(1, dtype=torch.int64)
    return int((bits * torch.arange(1, len(bits) + 1, device=bits.device)).sum())


_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def gathered(rows: Tensor, shares: Shares | None = None, *, gather: Gather = True) -> Tensor:
    """The rows of all processes, in rank order; each may have as many as it likes, or none.

    A collective call. The gradient in the own rows is the one of what all processes compute alike, times their number;
    see the module.

    Args:
        rows: (n, ...), with the same dtype and trailing dimensions everywhere.
        shares: how many rows each process has; asked for unless given.
        gather: whose rows: of all processes, or of those of a process group or of one dimension of a mesh.
    """
    who = gathering(gather)
    if processes(who) == 1:
        return rows
    if shares is None:
        what = f"{rows.dtype} of shape (n, {', '.join(map(str, rows.shape[1:]))})"
        shares, moves = compared(lambda: Header(len(rows), rows.requires_grad, {"what is gathered": what}), who)
        rows = with_gradient(rows, moves)
    return cast(Tensor, _Gathered.apply(rows, shares))


def with_gradient(rows: Tensor, moves: bool) -> Tensor:
    """The rows, with gradient if anybody's have it: all processes then record the same graph."""
    if moves and torch.is_grad_enabled() and not rows.requires_grad:
        return rows.detach().requires_grad_()
    return rows


class _Gathered(Opaque):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, shares: Shares) -> Tensor:
        ctx.shares = shares
        longest = max(shares.counts)
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        everybody = of_each(padded, len(shares.counts), shares.group)
        if shares.total == len(shares.counts) * longest:
            return everybody.flatten(0, 1)
        return torch.cat([theirs[:count] for theirs, count in zip(everybody, shares.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return cotangent[ctx.shares.own] * len(ctx.shares.counts), None
