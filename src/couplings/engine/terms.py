"""What logits are made of: a sum of scaled costs of dot products, under a mask; a matrix only where it is small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics.precision import full_precision, recorded
from ..basics.sizes import Index, limits
from ..pieces.costs import Cost, InnerProduct, affine_on_sphere, is_built_in
from ..pieces.masks import Mask
from .grams import Gram, SharedKeys
from .team import ALONE, Team

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of the logits: scale * cost.score(gram)."""

    gram: Gram
    cost: Cost
    scale: float | Tensor

    def logits(self) -> Tensor:
        """The (n, m) matrix."""
        with full_precision(self.gram.device):
            return self._scaled(self.gram.dots, lambda: self.gram.norms)

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Values at the pairs (i, j)."""
        return self._scaled(self.gram.dots_at(i, j), lambda: self.gram.norms_at(i, j))

    def along(self, columns: Tensor) -> Tensor:
        """Values of each row at its own columns (n, p), from the matrix of dot products."""
        rows = torch.arange(len(columns), device=columns.device)[:, None]
        # Unlike gather, advanced indexing keeps no matrix for its gradient.
        return self._scaled(self.gram.dots[rows, columns], lambda: self.gram.norms_along(columns))

    def _scaled(self, dots: Tensor, norms: Callable[[], tuple[Tensor, Tensor]]) -> Tensor:
        line = self.line
        if line is not None:
            slope, level = line
            values = (self.scale if slope == 1 else self.scale * slope) * dots
            return values + self.scale * level if level else values
        return self.scale * self.cost.score(dots, *norms())

    @property
    def line(self) -> tuple[float, float] | None:
        """(slope, level) where the cost is slope dot + level: the inner product, and others between unit rows."""
        if isinstance(self.cost, InnerProduct):
            return 1.0, 0.0
        return affine_on_sphere(self.cost) if self.gram.unit else None

    @property
    def learns(self) -> bool:
        """Whether the cost has learnt parts of its own, which only a whole matrix passes gradients to."""
        if is_built_in(self.cost):
            return False
        with torch.enable_grad():
            one = torch.ones((1, 1), device=self.gram.device, dtype=self.gram.dtype)
            return self.cost.score(one / 2, one, one).requires_grad

    def is_transpose_of(self, other: Term) -> bool:
        """Whether rows and columns are the other's, exchanged; scales aside."""
        mine, theirs = self.gram, other.gram
        if not (isinstance(mine, SharedKeys) and isinstance(theirs, SharedKeys)):
            return False
        return mine.is_transpose_of(theirs) and self.cost == other.cost

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """Shared embeddings, and the scale if it is a tensor."""
        gram = (self.gram.q, self.gram.k) if isinstance(self.gram, SharedKeys) else ()
        return (*gram, self.scale) if isinstance(self.scale, Tensor) else gram

    def with_leaves(self, new: Mapping[int, Tensor]) -> Term:
        """The same over other tensors, by the id of those that they replace."""
        scale = new[id(self.scale)] if isinstance(self.scale, Tensor) else self.scale
        if not isinstance(self.gram, SharedKeys):
            return Term(self.gram, self.cost, scale)
        q, k = new[id(self.gram.q)], new[id(self.gram.k)]
        return Term(SharedKeys(q, k, self.gram.unit, team=self.gram.team), self.cost, scale)

    def detach(self) -> Term:
        """The same numbers as constants."""
        scale = self.scale.detach() if isinstance(self.scale, Tensor) else self.scale
        return Term(self.gram.detach(), self.cost, scale)


class Terms:
    """h_ij = the sum of the terms at (i, j), minus infinity where the mask forbids the pair; n rows, m columns.

    Args:
        terms: the summands, of one shape.
        mask: pairs that carry no mass.
        one_matrix: compute everything on one matrix, whatever its size.
        matrix: the logits, where they are known already.
    """

    def __init__(
        self,
        terms: tuple[Term, ...],
        mask: Mask | None = None,
        *,
        one_matrix: bool = False,
        matrix: Tensor | None = None,
    ) -> None:
        self.terms, self.mask, self.shape = terms, mask, terms[0].gram.shape
        self._one_matrix, self._matrix = one_matrix, matrix

    def _over(
        self,
        terms: tuple[Term, ...],
        mask: Mask | None,
        *,
        one_matrix: bool = False,
        matrix: Tensor | None = None,
    ) -> Self:
        """Logits of the same kind over other terms."""
        return type(self)(terms, mask, one_matrix=one_matrix, matrix=matrix)

    @property
    def device(self) -> torch.device:
        """Where the logits are computed."""
        return self.terms[0].gram.device

    @property
    def dtype(self) -> torch.dtype:
        """In which the logits are computed."""
        return self.terms[0].gram.dtype

    @property
    def like(self) -> Tensor:
        """A constant on their device and in their precision."""
        return self.terms[0].gram.like

    @property
    def own_columns(self) -> bool:
        """Whether each row has columns of its own."""
        return any(t.gram.own_columns for t in self.terms)

    @cached_property
    def blocked(self) -> bool:
        """Whether the matrix is too large to be made."""
        n, m = self.shape
        large = not self._one_matrix and n * m > limits(self.device).dense
        return large and all(isinstance(t.gram, SharedKeys) and not t.learns for t in self.terms)

    @cached_property
    def tiled(self) -> bool:
        """Whether tiles are the faster way where they can do it: logits are functions of one cosine, and many."""
        n, m = self.shape
        many = self.blocked or (not self._one_matrix and n * m > limits(self.device).tiled)
        return many and all(isinstance(t.gram, SharedKeys) and t.gram.unit and is_built_in(t.cost) for t in self.terms)

    @property
    def built_in(self) -> bool:
        """Whether all costs are the library's own."""
        return all(is_built_in(term.cost) for term in self.terms)

    @property
    def whole(self) -> bool:
        """Whether everything is computed on one matrix."""
        return not (self.tiled or self.blocked)

    @cached_property
    def team(self) -> Team:
        """Who shares the work: nobody, where everything fits one matrix or some process would have no row."""
        gram = self.terms[0].gram
        if self.blocked and isinstance(gram, SharedKeys) and gram.team.size <= min(self.shape):
            return gram.team
        return ALONE

    def matrix(self) -> Tensor:
        """The logits (n, m), minus infinity where masked; made once."""
        if self._matrix is None:
            with recorded():
                logits = self.unmasked()
                if self.mask is not None:
                    logits = logits.masked_fill_(self.mask.forbidden(), -torch.inf)  # a term's logits are its own
                self._matrix = logits
        return self._matrix

    def unmasked(self) -> Tensor:
        """The logits (n, m) of all pairs, forbidden ones too."""
        return sum((t.logits() for t in self.terms[1:]), start=self.terms[0].logits())

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """The logits at the pairs (i, j), mask ignored, in O(pairs d)."""
        return sum((t.at(i, j) for t in self.terms[1:]), start=self.terms[0].at(i, j))

    def along(self, columns: Tensor) -> Tensor:
        """The logits of each row at its own columns (n, p), mask ignored; in O(n p d) where there is no matrix."""
        if not self.whole:
            return self.at(torch.arange(self.shape[0], device=columns.device)[:, None], columns)
        return sum((t.along(columns) for t in self.terms[1:]), start=self.terms[0].along(columns))

    def block(self, rows: Index, cols: Index) -> Self:
        """The logits of a sub-matrix, as one matrix whatever its size."""
        terms = tuple(Term(t.gram.block(rows, cols), t.cost, t.scale) for t in self.terms)
        return self._over(terms, None if self.mask is None else self.mask.block(rows, cols), one_matrix=True)

    def of_rows(self, part: slice) -> Self:
        """The logits of a range of rows; where there is one matrix, as they are."""
        whole = part == slice(0, self.shape[0])
        return self if whole and not self.blocked else self.block(part, slice(None))

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What blocked logits are made of, each tensor once: embeddings and scales that are tensors."""
        return tuple({id(leaf): leaf for term in self.terms for leaf in term.leaves}.values())

    def with_leaves(self, *leaves: Tensor) -> Self:
        """The same logits over other tensors, in the order of `leaves`."""
        new = {id(old): leaf for old, leaf in zip(self.leaves, leaves, strict=True)}
        return self._over(tuple(term.with_leaves(new) for term in self.terms), self.mask)

    def masked(self, mask: Mask) -> Self:
        """The same logits with more pairs forbidden."""
        return self._over(self.terms, mask if self.mask is None else self.mask | mask)

    def __neg__(self) -> Self:
        """Logits with the other sign; the mask stays."""
        return self._over(tuple(Term(t.gram, t.cost, -t.scale) for t in self.terms), self.mask)

    def detach(self) -> Self:
        """The same logits as constants; what is computed already is not computed again."""
        matrix = None if self._matrix is None else self._matrix.detach()
        return self._over(tuple(t.detach() for t in self.terms), self.mask, matrix=matrix)

    def is_transpose_of(self, other: Terms) -> bool:
        """Whether these are known to be the other's numbers, rows and columns exchanged; of one summand each."""
        if len(self.terms) + len(other.terms) > 2 or not self.terms[0].is_transpose_of(other.terms[0]):
            return False
        if self.terms[0].scale is not other.terms[0].scale and not _same_number(self, other):
            return False
        if self.mask is None or other.mask is None:
            return self.mask is other.mask
        return self.mask.is_transpose_of(other.mask)

    def grams(self) -> Iterator[Gram]:
        """Of the terms."""
        return (term.gram for term in self.terms)


def _same_number(one: Terms, other: Terms) -> bool:
    first, second = one.terms[0].scale, other.terms[0].scale
    return not isinstance(first, Tensor) and not isinstance(second, Tensor) and first == second
