"""From dL/dh, given panel by panel, to the gradients of what the logits are made of.

A line h = slope <q, k> + level needs two products a panel, dL/dq = slope W k and dL/dk = slope W^T q, and the gradients
of the scales are read off them: sum_ij W_ij <q_i, k_j> = sum_i <q_i, (W k)_i>. Other costs go through autograd on the
panel. Nothing but the sums is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from .grams import SharedKeys
from .line import Line
from .sides import COLS, ROWS
from .terms import Term, Terms


class Gradient(ABC):
    """Sums up contributions to the leaves' gradients."""

    @abstractmethod
    def add(self, part: slice, weights: Tensor) -> None:
        """dL/dh of some rows against all columns; each row comes once, and the panel may be kept."""

    @abstractmethod
    def result(self, scale: Tensor) -> tuple[Tensor | None, ...]:
        """One gradient a leaf, times the scale; None where none was asked for."""


class OfMatrix(Gradient):
    """The leaf is the matrix itself, visited as one panel."""

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.total = logits, None

    total: Tensor | None

    def add(self, part: slice, weights: Tensor) -> None:
        """All of it."""
        self.total = weights

    def result(self, scale: Tensor) -> tuple[Tensor | None, ...]:
        """Zero if there was no half-step."""
        return (torch.zeros_like(self.logits) if self.total is None else self.total.mul_(scale),)


class OfLine(Gradient):
    """The leaves are embeddings and scales of logits that are a line."""

    def __init__(self, scores: Terms, line: Line, needed: Sequence[bool]) -> None:
        self.scores, self.line = scores, line
        self.needed = {id(leaf): need for leaf, need in zip(scores.leaves, needed, strict=True)}
        scales = any(self._needs(term.scale) for term in scores.terms)
        self.sides = (
            scales or any(self._needs(_embeddings(term)[ROWS]) for term in scores.terms),
            any(self._needs(_embeddings(term)[COLS]) for term in scores.terms),
        )
        self.pulled = torch.zeros_like(line.q), torch.zeros_like(line.k)  # W k and W^T q
        self.mass = line.q.new_zeros(()) if scales and any(_level(term) for term in scores.terms) else None

    def _needs(self, leaf: object) -> bool:
        return self.needed.get(id(leaf), False)

    def add(self, part: slice, weights: Tensor) -> None:
        """One product a side."""
        if self.sides[ROWS]:
            torch.mm(weights, self.line.k, out=self.pulled[ROWS][part])
        if self.sides[COLS]:
            self.pulled[COLS].addmm_(weights.T, self.line.q[part])
        if self.mass is not None:
            self.mass += weights.sum()

    def result(self, scale: Tensor) -> tuple[Tensor | None, ...]:
        """Every term's share: several may have the same embeddings."""
        shares = [pulled for pulled, wanted in zip(self.pulled, self.sides, strict=True) if wanted]
        self.scores.team.total_(*shares, *([] if self.mass is None else [self.mass]))
        total: dict[int, Tensor] = {}
        for term in self.scores.terms:
            slope, level = term.line or (0.0, 0.0)
            for side, leaf in enumerate(_embeddings(term)):
                if self._needs(leaf):
                    _add(total, leaf, self.pulled[side] * (float(term.scale) * slope))
            if isinstance(term.scale, Tensor) and self._needs(term.scale):
                moved = slope * (self.line.q * self.pulled[ROWS]).sum()
                _add(
                    total, term.scale, (moved if self.mass is None else moved + level * self.mass).to(term.scale.dtype)
                )
        return tuple(total[id(x)] * scale if id(x) in total else None for x in self.scores.leaves)


def _add(total: dict[int, Tensor], leaf: Tensor, part: Tensor) -> None:
    total[id(leaf)] = total[id(leaf)] + part if id(leaf) in total else part.reshape(leaf.shape)


def _embeddings(term: Term) -> tuple[Tensor, Tensor]:
    assert isinstance(term.gram, SharedKeys)
    return term.gram.q, term.gram.k


def _level(term: Term) -> float:
    return (term.line or (0.0, 0.0))[1]


class ByAutograd(Gradient):
    """The leaves are those of any scores: a panel's graph is made, walked and dropped."""

    def __init__(self, scores: Terms, needed: Sequence[bool]) -> None:
        self.leaves = [leaf.detach().requires_grad_(need) for leaf, need in zip(scores.leaves, needed, strict=True)]
        self.moving = [leaf for leaf in self.leaves if leaf.requires_grad]
        self.totals = [torch.zeros_like(leaf) for leaf in self.moving]
        self.scores = scores.with_leaves(*self.leaves)

    def add(self, part: slice, weights: Tensor) -> None:
        """The panel once more, with its graph."""
        with torch.enable_grad():
            logits = self.scores.block(part, slice(None)).matrix()
        grads = torch.autograd.grad(logits, self.moving, weights, allow_unused=True)
        for total, grad in zip(self.totals, grads, strict=True):
            if grad is not None:
                total += grad

    def result(self, scale: Tensor) -> tuple[Tensor | None, ...]:
        """In the order of the leaves."""
        self.scores.team.total_(*self.totals)
        totals = iter(self.totals)
        return tuple(next(totals).mul_(scale) if leaf.requires_grad else None for leaf in self.leaves)
