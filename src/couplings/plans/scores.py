"""Scores between queries and keys, as a lazy operator: s_ij / temperature, with a mask.

Nothing of size n x m is computed when a `Scores` is built. Adding two adds their logits (HCL multiplies a
weight by a kernel: their exponents add), `-scores` flips the sign (CACR's attraction prefers the far), and
`detach()` stops the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from operator import or_

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import at_least_single, full_precision, recorded
from ..basics.sizes import Index, limits, slices
from ..basics.transforms import refuse_vmap
from ..engine import sphere
from ..engine.dense import Dense
from ..engine.grams import GivenDots, Gram, OwnKeys, SharedKeys
from ..engine.team import ALONE, Team
from ..engine.visits import Rows, by_panels
from ..pieces.costs import Cosine, Cost, InnerProduct, is_built_in, is_cost
from ..pieces.masks import GivenMask, Mask


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

    def _scaled(self, dots: Tensor, norms: Callable[[], tuple[Tensor, Tensor]]) -> Tensor:
        if isinstance(self.cost, InnerProduct):  # the one that needs no norms, and the one that most losses use
            return self.scale * dots
        return self.scale * self.cost.score(dots, *norms())

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


class Scores:
    """Scores of queries and keys divided by a temperature; the logits of every coupling.

    Args:
        q: queries, shape (n, d), floating point.
        k: keys, shape (m, d); (n, m, d) when each row has keys of its own; the queries themselves when None.
        temperature: divides the score, > 0; a tensor carries gradient.
        cost: what a score is (`couplings.pieces.costs`); cosine by default.
        mask: pairs that carry no mass: a `Mask` or a boolean matrix (n, m), True where forbidden.

    Raises:
        InvalidInput: wrong shapes or dtypes, temperature <= 0, NaN or inf, a zero vector under `Cosine`.

    Cost:
        Nothing when built; an (n, m) matrix when a coupling needs it.

    Example:
        >>> import torch
        >>> from couplings import Scores
        >>> scores = Scores(torch.eye(3), temperature=0.5)
        >>> scores.matrix()[0].tolist()
        [2.0, 0.0, 0.0]
    """

    def __init__(
        self,
        q: Tensor,
        k: Tensor | None = None,
        *,
        temperature: float | Tensor = 1.0,
        cost: Cost | None = None,
        mask: Mask | Tensor | None = None,
    ) -> None:
        refuse_vmap()
        cost = Cosine() if cost is None else cost
        checks.require(is_cost(cost), f"cost must be an object with a score method such as Cosine(), got {cost!r}")
        checks.matrix("q", q)
        q = at_least_single(q)
        checks.rows_usable("q", q, zero=not isinstance(cost, Cosine))
        if k is not None:
            checks.tensor("k", k)
            checks.matrix("k", k, dims=3 if k.dim() == 3 else 2)
            k = at_least_single(k)
            checks.rows_usable("k", k, zero=not isinstance(cost, Cosine))
            same = q.shape[-1] == k.shape[-1]
            checks.require(same, f"q has {q.shape[-1]} dimensions but k has {k.shape[-1]}: they must agree")
        gram = _gram(q, k)
        if isinstance(cost, Cosine) and isinstance(gram, SharedKeys) and _large(gram):
            gram, cost = gram.normalised(), InnerProduct()
        checks.require(gram.shape[0] == len(q), f"k holds keys for {gram.shape[0]} rows but q has {len(q)}")
        self._set(_terms(gram, cost, temperature), temperature, mask)

    def _set(self, terms: tuple[Term, ...], temperature: float | Tensor, mask: Mask | Tensor | None) -> None:
        self.terms = terms
        self.temperature = temperature
        """What one unit of logit costs in score: the price that `KL(rho)` is compared with. 1 for a sum."""
        self.shape = terms[0].gram.shape
        self.mask = GivenMask(mask) if isinstance(mask, Tensor) else mask
        if self.mask is not None:
            kind, known = type(mask).__name__, isinstance(self.mask, Mask)
            checks.require(known, f"mask must be a Mask or a boolean tensor (True = forbidden), got {kind}")
            fits = self.mask.shape == self.shape
            checks.require(fits, f"mask has shape {self.mask.shape} but the scores are {self.shape}")

    @classmethod
    def from_gram(
        cls,
        gram: Gram,
        *,
        temperature: float | Tensor = 1.0,
        cost: Cost | None = None,
        mask: Mask | None = None,
    ) -> Scores:
        """Scores over a gram that is known to be sound (what losses use)."""
        return cls._of(_terms(gram, InnerProduct() if cost is None else cost, temperature), temperature, mask)

    @classmethod
    def given(cls, matrix: Tensor, *, temperature: float | Tensor = 1.0, mask: Mask | Tensor | None = None) -> Scores:
        """Scores given as a matrix (n, m); minus infinity forbids a pair, NaN and +inf are refused.

        Example:
            >>> import torch
            >>> from couplings import Scores
            >>> Scores.given(torch.zeros(2, 3), temperature=0.1).shape
            (2, 3)
        """
        checks.matrix("matrix", matrix)
        matrix = at_least_single(matrix)
        if checks.checks_enabled():
            sound = not (matrix.isnan() | (matrix == torch.inf)).any()
            checks.require(bool(sound), "matrix holds NaN or +inf: a score is a number, or -inf to forbid the pair")
        forbidden = matrix == -torch.inf
        if forbidden.any():  # infinities would turn signs and the temperature's gradient into NaN
            own, matrix = GivenMask(forbidden), matrix.masked_fill(forbidden, 0.0)
            given = GivenMask(mask) if isinstance(mask, Tensor) else mask
            mask = own if given is None else own | given
        return cls._of(_terms(GivenDots(matrix), InnerProduct(), temperature), temperature, mask)

    @classmethod
    def _of(cls, terms: tuple[Term, ...], temperature: float | Tensor, mask: Mask | Tensor | None) -> Scores:
        scores = cls.__new__(cls)
        scores._set(terms, temperature, mask)
        return scores

    def block(self, rows: Index, cols: Index) -> Scores:
        """The scores of a sub-matrix, as one matrix whatever its size."""
        terms = tuple(Term(t.gram.block(rows, cols), t.cost, t.scale) for t in self.terms)
        part = self._of(terms, self.temperature, None if self.mask is None else self.mask.block(rows, cols))
        part.__dict__.update(blocked=False, tiled=False)
        return part

    @cached_property
    def blocked(self) -> bool:
        """Whether the matrix is too large to be made: verbs then work on panels and tiles."""
        return all(isinstance(t.gram, SharedKeys) and not t.learns for t in self.terms) and _large(self.terms[0].gram)

    @cached_property
    def team(self) -> Team:
        """Who shares the work: nobody, where everything fits one matrix or some process would have no row."""
        gram = self.terms[0].gram
        shared = self.blocked and isinstance(gram, SharedKeys) and gram.team.size <= min(self.shape)
        return gram.team if shared and isinstance(gram, SharedKeys) else ALONE

    def is_transpose_of(self, other: Scores) -> bool:
        """Whether these are known to be the other's numbers, rows and columns exchanged; of one summand each."""
        if len(self.terms) + len(other.terms) > 2 or self.temperature is not other.temperature:
            return False
        if self.mask is None or other.mask is None:
            return self.mask is other.mask and self.terms[0].is_transpose_of(other.terms[0])
        return self.mask.is_transpose_of(other.mask) and self.terms[0].is_transpose_of(other.terms[0])

    @cached_property
    def tiled(self) -> bool:
        """Whether tiles are the faster way where they can do it: logits are functions of one cosine, and many."""
        n, m = self.shape
        many = self.blocked or n * m > limits(self.device).tiled
        return many and all(isinstance(t.gram, SharedKeys) and t.gram.unit and is_built_in(t.cost) for t in self.terms)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What blocked scores are made of, each tensor once: embeddings and scales that are tensors."""
        return tuple({id(leaf): leaf for term in self.terms for leaf in term.leaves}.values())

    def with_leaves(self, *leaves: Tensor) -> Scores:
        """The same scores over other tensors, in the order of `leaves`."""
        new = {id(old): leaf for old, leaf in zip(self.leaves, leaves, strict=True)}
        return self._of(tuple(term.with_leaves(new) for term in self.terms), self.temperature, self.mask)

    def of_rows(self, part: slice) -> Scores:
        """The scores of a panel of rows; where there is one matrix, as they are."""
        whole = part == slice(0, self.shape[0])
        return self if whole and not self.blocked else self.block(part, _ALL)

    def panels(self) -> Iterator[slice]:
        """Ranges of rows whose logits fit in memory."""
        return slices(self.shape[0], self._step)

    @property
    def _step(self) -> int:
        return max(1, limits(self.device).panel // self.shape[1])

    def by_panels(self, fn: Callable[..., Tensor], *parts: object, summed: bool = False) -> Tensor:
        """fn(rows, *parts) of each panel of rows, concatenated or summed; for the gradient a panel is made again."""
        return by_panels(fn, parts, Rows(self.shape[0], self._step, self.team), summed=summed)

    def masked(self, mask: Mask) -> Scores:
        """The same scores with more pairs forbidden."""
        return self._of(self.terms, self.temperature, mask if self.mask is None else self.mask | mask)

    def __add__(self, other: Scores) -> Scores:
        """Logits added, masks joined."""
        same = self.shape == other.shape
        checks.require(same, f"scores of shapes {self.shape} and {other.shape} do not add")
        masks = [m for m in (self.mask, other.mask) if m is not None]
        return self._of(self.terms + other.terms, 1.0, reduce(or_, masks) if masks else None)

    def __neg__(self) -> Scores:
        """Logits with the other sign; the mask stays."""
        return self._of(tuple(Term(t.gram, t.cost, -t.scale) for t in self.terms), self.temperature, self.mask)

    def detach(self) -> Scores:
        """The same scores as constants."""
        temperature = self.temperature.detach() if isinstance(self.temperature, Tensor) else self.temperature
        return self._of(tuple(t.detach() for t in self.terms), temperature, self.mask)

    @property
    def device(self) -> torch.device:
        """Where the scores are computed."""
        return self.terms[0].gram.device

    @property
    def dtype(self) -> torch.dtype:
        """In which the scores are computed."""
        return self.terms[0].gram.dtype

    @property
    def own_columns(self) -> bool:
        """Whether each row has columns of its own."""
        return any(t.gram.own_columns for t in self.terms)

    def matrix(self) -> Tensor:
        """The logits (n, m), minus infinity where masked: s_ij / temperature."""
        return self.storage.logits

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """The logits at the pairs (i, j), mask ignored, in O(pairs d)."""
        return sum((t.at(i, j) for t in self.terms[1:]), start=self.terms[0].at(i, j))

    def unmasked(self) -> Tensor:
        """The logits (n, m) of all pairs, forbidden ones too."""
        return sum((t.logits() for t in self.terms[1:]), start=self.terms[0].logits())

    def row_sum(self, fn: Callable[[Tensor], Tensor], offset: float | Tensor = 0.0) -> Tensor:
        """sum_j fn(logit_ij + offset_i) over the admissible pairs of each row, (n,); fn is elementwise.

        `offset` is a number or a vector (n,).
        """
        with full_precision(self.device):
            if self.tiled and (sums := sphere.pointwise(self, fn, offset)) is not None:
                return sums
            if self.blocked:
                return self.by_panels(partial(_row_sum, fn), self, offset)
        offset = offset[:, None] if isinstance(offset, Tensor) and offset.dim() else offset
        logits = self.storage.logits
        admitted = logits > -torch.inf
        harmless = logits.detach().amax(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
        values = fn(torch.where(admitted, logits, harmless) + offset)
        checks.tensor("what the pair function returns", values)
        got = tuple(values.shape)
        checks.require(got == self.shape, f"the pair function must act on each entry alone: {self.shape} became {got}")
        return torch.where(admitted, values, 0.0).sum(1)

    @cached_property
    def storage(self) -> Dense:
        """All logits as one matrix."""
        with recorded():
            logits = self.unmasked()
            if self.mask is not None:
                logits = logits.masked_fill_(self.mask.forbidden(), -torch.inf)  # a term's logits are its own tensor
            return Dense(logits)


_ALL = slice(None)


def _row_sum(fn: Callable[[Tensor], Tensor], part: slice, scores: Scores, offset: float | Tensor) -> Tensor:
    here = offset[part] if isinstance(offset, Tensor) and offset.dim() else offset
    return scores.block(part, _ALL).row_sum(fn, here)


def _gram(q: Tensor, k: Tensor | None) -> Gram:
    if k is not None and k.dim() == 3:
        return OwnKeys(q, k)
    return SharedKeys(q, q if k is None else k)


def _large(gram: Gram) -> bool:
    return gram.shape[0] * gram.shape[1] > limits(gram.device).dense


def _terms(gram: Gram, cost: Cost, temperature: float | Tensor) -> tuple[Term, ...]:
    checks.positive("temperature", temperature)
    return (Term(gram, cost, 1 / temperature),)
