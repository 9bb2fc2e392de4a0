"""What a solve stands on: one matrix, or embeddings of which panels are made. Chosen by size and memory.

- One matrix: logits that are there already, small, given, or with keys of each row's own.
- Kept: the kernel or the logits in one buffer of n m numbers outside of autograd, where it fits the budget.
- Made again: panels at every visit, in O((n + m) d) memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from ..basics.sizes import Limits, limits
from .gradient import ByAutograd, Gradient, OfLine, OfMatrix
from .line import line_of, range_of
from .panels import Kept, Remade
from .sums import KernelSums, LogSums
from .terms import Terms

_CACHED = 4
"""A kept matrix is visited in panels so many times smaller than those that are made: two products then read one from
the cache."""


class Backing(ABC):
    """Leaves that gradients are returned for, and what is computed from them."""

    @property
    @abstractmethod
    def leaves(self) -> tuple[Tensor, ...]:
        """Tensors that carry gradient, or may."""

    @abstractmethod
    def with_leaves(self, *leaves: Tensor) -> Backing:
        """The same over other leaves."""

    @property
    def hollow(self) -> Backing:
        """The same without its numbers: what the graph may hold beside its saved tensors."""
        return self.with_leaves(*(leaf.new_empty(()).expand(leaf.shape) for leaf in self.leaves))

    @abstractmethod
    def logs(self) -> LogSums:
        """In the log domain."""

    def kernels(self, spread: Callable[[], float]) -> KernelSums | None:
        """In the kernel domain, if the logits are bounded enough for exponents that are spread so far."""
        return None

    @abstractmethod
    def gradient(self, needed: Sequence[bool]) -> Gradient:
        """Where dL/dh goes."""


class OneMatrix(Backing):
    """The reference that all others must agree with."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The logits."""
        return (self.logits,)

    def with_leaves(self, *leaves: Tensor) -> OneMatrix:
        """Other logits."""
        return OneMatrix(*leaves)

    def logs(self) -> LogSums:
        """As one panel."""
        return LogSums(Kept(self.logits, self.logits.numel()), owned=False)

    def gradient(self, needed: Sequence[bool]) -> Gradient:
        """The matrix of cotangents."""
        return OfMatrix(self.logits)


class Panelled(Backing):
    """Scores of which there is no matrix in the graph."""

    def __init__(self, scores: Terms, bounds: Limits) -> None:
        self.scores, self.limits = scores, bounds

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """Embeddings and scales."""
        return self.scores.leaves

    def with_leaves(self, *leaves: Tensor) -> Panelled:
        """Other embeddings and scales."""
        return Panelled(self.scores.with_leaves(*leaves), self.limits)

    def logs(self) -> LogSums:
        """Kept or made again."""
        return LogSums(self._source(None), owned=True)

    def kernels(self, spread: Callable[[], float]) -> KernelSums | None:
        """Kept or made again, if the cosines are known to be in [-1, 1] and the temperature is high enough."""
        found = range_of(self.scores)
        if found is None:
            return None
        low, high = found
        bound, dtype = (high - low) / 2, self.scores.dtype
        if not KernelSums.suits(bound, spread(), max(self.scores.shape), dtype):
            return None
        centre = (low + high) / 2
        return KernelSums(self._source(centre), centre, bound, dtype)

    def _source(self, centre: float | None) -> Kept | Remade:
        n, m = self.scores.shape
        panel = min(self.limits.panel, self.limits.buffer)
        made = Remade(self.scores, panel, centre)
        fits = n * m * self.scores.dtype.itemsize <= self.limits.budget * self.scores.team.size
        return made.kept(panel // _CACHED) if fits else made

    def gradient(self, needed: Sequence[bool]) -> Gradient:
        """Two products a panel, or autograd."""
        line = line_of(self.scores)
        return ByAutograd(self.scores, needed) if line is None else OfLine(self.scores, line, needed)


def backing_of(scores: Terms) -> Backing:
    """The scores' matrix, or panels where there is none."""
    return Panelled(scores, limits(scores.device)) if scores.blocked else OneMatrix(scores.matrix())
