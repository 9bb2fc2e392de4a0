"""A queue of keys: negatives of earlier batches, as MoCo keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..basics import checks
from .distributed import Header, compared, gathered, gathering, processes

if TYPE_CHECKING:
    from .distributed import Gather

_NONE = torch.iinfo(torch.int64).min
"""Id of a key that came without one."""


class KeyQueue(nn.Module):
    """The last `size` keys, constants, for the `keys=` of a loss; the oldest make room for new ones.

    `loss(a, b, keys=queue.keys)` works from the first step on: an empty queue has None for `keys`, and a queue that is
    not full has the keys that it holds. Enqueue the step's keys after its loss, or they repel their own samples; or
    pass ids, with which they never do: `ids=`, `key_ids=queue.ids`.

    Args:
        size: how many keys, >= 1. It need not be a multiple of the batch.
        dim: d of the keys.
        gather: where torch.distributed is initialised, `enqueue` takes the keys of all processes in rank order
            (default), so that the queues of all processes are equal, as a loss that gathers needs them;
            or of a process group or dimension of a mesh, as the loss.

    State: `stored` (size, d), `stored_ids` (size,), `place` (where the next key goes) and `filled` are buffers: they
    follow `to()` and are part of the `state_dict`, from which a queue goes on as if it had never stopped.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE, KeyQueue
        >>> loss, queue = InfoNCE(), KeyQueue(size=6, dim=8)
        >>> for step in range(3):
        ...     a, b = torch.randn(2, 4, 8)
        ...     value = loss(a, b, keys=queue.keys)
        ...     queue.enqueue(b)
        >>> len(queue), queue.keys.shape
        (6, torch.Size([6, 8]))
    """

    stored: Tensor
    stored_ids: Tensor
    place: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int, *, gather: Gather = True) -> None:
        super().__init__()
        for name, value in (("size", size), ("dim", dim)):
            checks.count(name, value)
            checks.require(value >= 1, f"{name} must be >= 1, got {value}")
        self.size, self.dim, self.gather = int(size), int(dim), gathering(gather)
        self.register_buffer("stored", torch.zeros(self.size, self.dim))
        self.register_buffer("stored_ids", torch.full((self.size,), _NONE))
        self.register_buffer("place", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(0))

    def __len__(self) -> int:
        return int(self.filled)

    def __bool__(self) -> bool:
        """A queue is a queue, empty or not."""
        return True

    @property
    def keys(self) -> Tensor | None:
        """The keys, (m, d) with m <= size, in the order of their places; None while there are none.

        Those of a queue that is not full are in the order they came; later the newest end before `place`. A view,
        which `enqueue` writes to: clone what is to stay.
        """
        return self.stored[: len(self)] if len(self) else None

    @property
    def ids(self) -> Tensor | None:
        """Ids of the keys, (m,), in the same order; None while there are none, or if keys come without."""
        return self.stored_ids[: len(self)] if self._with_ids else None

    @property
    def _with_ids(self) -> bool:
        return len(self) > 0 and int(self.stored_ids[0]) != _NONE

    @torch.no_grad()
    def enqueue(self, keys: Tensor, ids: Tensor | None = None) -> None:
        """Add keys (n, d), any floating dtype, and their ids (n,); over processes each one's, a collective call.

        They are kept as they come, in the dtype of `stored`: losses normalise. Of more keys than the queue holds the
        last stay.

        Raises:
            InvalidInput: keys of another width, NaN or inf, ids for some keys only; on all processes alike.
        """
        if processes(self.gather) > 1:
            keys, ids = self._of_all(keys, ids)
        else:
            self._check(keys, ids)
        count = len(keys)
        kept = min(count, self.size)
        where = (self.place + (count - kept) + torch.arange(kept, device=self.place.device)) % self.size
        self.stored[where] = keys[count - kept :].to(self.stored)
        self.stored_ids[where] = _NONE if ids is None else ids[count - kept :].to(self.stored_ids)
        self.place.add_(count).remainder_(self.size)
        self.filled.add_(count).clamp_max_(self.size)

    def _of_all(self, keys: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor | None]:
        def describe() -> Header:
            self._check(keys, ids)
            facts = {"the queue": f"{self.size} keys of {self.dim} numbers, {len(self)} of them there"}
            facts["ids"] = "not passed" if ids is None else "passed"
            return Header(len(keys), facts=facts)

        shares, _ = compared(describe, self.gather)
        ids = None if ids is None else gathered(ids.to(self.stored_ids), shares, gather=self.gather)
        return gathered(keys.to(self.stored), shares, gather=self.gather), ids

    def _check(self, keys: Tensor, ids: Tensor | None) -> None:
        checks.matrix("keys", keys, empty=True)
        fits = keys.shape[1] == self.dim
        checks.require(fits, f"keys have {keys.shape[1]} dimensions but the queue holds keys of {self.dim}")
        if len(keys):
            checks.rows_usable("keys", keys, zero=True)
        if ids is not None:
            checks.ids("ids", ids, len(keys))
        known = len(self) == 0 or self._with_ids == (ids is not None)
        came, there = ("without", "with") if ids is None else ("with", "without")
        checks.require(known, f"keys come {came} ids, those in the queue {there}: pass ids= always or never")

    def extra_repr(self) -> str:
        """Size and width."""
        return f"size={self.size}, dim={self.dim}" + ("" if self.gather else ", gather=False")
