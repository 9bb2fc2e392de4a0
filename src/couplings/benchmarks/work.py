"""What is measured: one computation at some sizes, by us and by others, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from textwrap import shorten

import torch
from torch import Tensor

__all__ = [
    "INSTALL",
    "Call",
    "Contender",
    "Goal",
    "Make",
    "NotComparable",
    "Quantity",
    "Role",
    "Size",
    "Work",
    "reason",
]

Call = Callable[[], tuple[Tensor, ...]]
"""One run of a computation; it returns its value and gradients, so that a test can compare contenders."""


INSTALL = "pip install 'couplings[bench]'"
"""What brings the peers."""
_LONGEST = 120
"""Letters of a cell's note."""


class NotComparable(Exception):
    """A contender cannot do this work; the message says why and stands in its cell."""


def reason(error: Exception) -> str:
    """Why a contender has no numbers, in one short line."""
    if isinstance(error, NotComparable):
        return str(error)
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, ImportError):
        return f"failed to import: {shorten(line, _LONGEST)}; {INSTALL}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):
        return "out of memory"
    return f"failed: {shorten(line, _LONGEST)}"


@dataclass(frozen=True)
class Size:
    """How large a work is.

    Attributes:
        rows: embeddings in all, 2n for two views of n samples.
        dim: numbers an embedding.
        sweeps: T of a balanced plan; 0 where there are none.
    """

    rows: int
    dim: int = 128
    sweeps: int = 0

    def __str__(self) -> str:
        parts = [f"{self.rows:,} rows", f"d = {self.dim}", f"T = {self.sweeps}" if self.sweeps else ""]
        return ", ".join(part for part in parts if part)


Make = Callable[[Size, torch.device], Call]
"""Makes the inputs, which are neither timed nor counted. Picklable: a function of a module, or a frozen dataclass."""


class Role(Enum):
    """How a peer relates to us."""

    SAME = "same"
    """The same computation: values and gradients agree, which a test checks."""
    YARDSTICK = "yardstick"
    """Another computation, to measure ours by."""


def _whole(size: Size) -> float:
    return 1.0


@dataclass(frozen=True)
class Contender:
    """One way to do a work.

    Attributes:
        name: in tables.
        make: builds the call.
        role: what a peer is to us; ours is what it is measured by.
        package: the module that must be installed; empty for none.
        order: time and memory grow as rows to that power, for deciding what would take too long.
        share: how many of its calls the work at a size is worth (a bound is timed on a smaller problem).
    """

    name: str
    make: Make
    role: Role = Role.SAME
    package: str = ""
    order: float = 2.0
    share: Callable[[Size], float] = _whole

    @property
    def installed(self) -> bool:
        """Whether its package can be imported."""
        return not self.package or find_spec(self.package) is not None

    @property
    def whole(self) -> bool:
        """Whether its call is the work itself, not a share of it: only then does its memory say anything."""
        return self.share is _whole


class Quantity(Enum):
    """What a goal is about."""

    TIME = "time"
    MEMORY = "memory"


@dataclass(frozen=True)
class Goal:
    """What is to be reached: ours / theirs at most so much; without a peer, at most so many bytes of peak growth."""

    quantity: Quantity
    at_most: float
    against: str = ""
    rows: tuple[int, ...] = ()
    """The sizes that it holds for; empty for all."""

    def concerns(self, size: Size, peer: str) -> bool:
        """Whether it is about this pair at this size."""
        return self.against == peer and (not self.rows or size.rows in self.rows)


@dataclass(frozen=True)
class Work:
    """One computation at some sizes.

    Attributes:
        name: one word, what the command line calls it.
        what: one line for a table.
        sizes: in ascending order, so that the cost of a large one is known before it is run.
        ours: our way.
        peers: other ways; none if ours is measured alone.
        goals: what is to be reached.
        limit: a call that would take longer, in seconds, is left out.
        unit: what a call does many of (images); empty if the seconds say it all.
        units: how many of them a call does.
        memory: whether peak growth is measured.
        pace: its share of the seconds that a row gets.
    """

    name: str
    what: str
    sizes: tuple[Size, ...]
    ours: Contender
    peers: tuple[Contender, ...] = ()
    goals: tuple[Goal, ...] = ()
    limit: float = 300.0
    unit: str = ""
    units: Callable[[Size], float] = _whole
    memory: bool = True
    pace: float = 1.0

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Ours first."""
        return (self.ours, *self.peers)
