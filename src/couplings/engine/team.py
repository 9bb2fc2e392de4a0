"""Who shares the work on a matrix of pairs: one process, or several that all have the same embeddings.

Each makes the tiles or the rows that are its share; sums over pairs, potentials and gradients are vectors that all then
have, so every process goes on with the same numbers. What is below one matrix is not worth a message: everybody makes
it whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..basics.sizes import slices

_TILES = 4
"""Tiles that each process should have at least, so that none waits long for another."""

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Team:
    """So many processes, of which this is the one with that rank; all of its messages are collective calls.

    Attributes:
        group: the process group that they are; all processes when None.
    """

    size: int = 1
    rank: int = 0
    group: Any = None

    def share(self, items: Iterator[Kind]) -> Iterator[Kind]:
        """Every `size`-th."""
        return (item for number, item in enumerate(items) if number % self.size == self.rank)

    def rows(self, count: int) -> slice:
        """This process's range of rows (or columns)."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def panels(self, count: int, step: int) -> Iterator[slice]:
        """This process's rows, at most `step` at a time."""
        own = self.rows(count)
        for part in slices(own.stop - own.start, step):
            yield slice(own.start + part.start, own.start + part.stop)

    def side(self, largest: int, length: int) -> int:
        """The side of the tiles of a matrix: about equal ones, and enough for all."""
        enough = 1 if self.size == 1 else math.ceil(math.sqrt(2 * _TILES * self.size))
        across = max(enough, -(-length // largest))
        return max(1, -(-length // across))

    def total_(self, *shares: Tensor) -> None:
        """Sums over the processes, in place; one message for each dtype."""
        if self.size == 1:
            return
        for dtype in dict.fromkeys(share.dtype for share in shares):
            some = [share for share in shares if share.dtype == dtype]
            flat = torch.cat([share.reshape(-1) for share in some])
            dist.all_reduce(flat, group=self.group)
            for share, total in zip(some, torch.split(flat, [share.numel() for share in some]), strict=True):
                share.copy_(total.view(share.shape))

    def joined(self, own: Tensor, count: int) -> Tensor:
        """All rows, from each process's own."""
        if self.size == 1:
            return own
        whole = own.new_zeros((count, *own.shape[1:]))
        whole[self.rows(count)] = own
        dist.all_reduce(whole, group=self.group)
        return whole

    def log_sum(self, logs: Tensor) -> Tensor:
        """log sum exp over the processes, entry by entry."""
        if self.size == 1:
            return logs
        return torch.logsumexp(of_each(logs, self.size, self.group), 0)

    def agreed(self, condition: Tensor) -> bool:
        """Whether a 0-dim condition holds for all: what decides on the next message must be the same everywhere."""
        if self.size == 1:
            return bool(condition)
        votes = condition.to(torch.int32)
        dist.all_reduce(votes, op=dist.ReduceOp.MIN, group=self.group)
        return bool(votes)


ALONE = Team()


def of_each(values: Tensor, processes: int, group: Any = None) -> Tensor:
    """The values of all processes, (processes, ...), of one shape."""
    everybody = values.new_empty((processes, *values.shape))
    if values.numel():
        dist.all_gather(list(everybody.unbind(0)), values.contiguous(), group=group)
    return everybody
