"""Scores between queries and keys, as a lazy operator: s_ij / temperature, with a mask.

Nothing of size n x m is computed when a `Scores` is built. Adding two adds their logits (HCL multiplies a
weight by a kernel: their exponents add), `-scores` flips the sign (CACR's attraction prefers the far), and
`detach()` stops the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import at_least_single
from ..basics.sizes import is_large
from ..basics.transforms import refuse_vmap
from ..engine.grams import GivenDots, Gram, OwnKeys, SharedKeys
from ..engine.logits import Logits
from ..engine.terms import Term
from ..pieces.costs import Cosine, Cost, InnerProduct, is_cost
from ..pieces.masks import GivenMask, Mask


class Scores(Logits):
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
        if isinstance(cost, Cosine) and isinstance(gram, SharedKeys) and is_large(*gram.shape, gram.device):
            gram, cost = gram.normalised(), InnerProduct()
        checks.require(gram.shape[0] == len(q), f"k holds keys for {gram.shape[0]} rows but q has {len(q)}")
        super().__init__(_terms(gram, cost, temperature), _as_mask(mask, gram.shape))
        self.temperature = temperature
        """What one unit of logit costs in score: the price that `KL(rho)` is compared with. 1 for a sum."""

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
        Logits.__init__(scores, terms, _as_mask(mask, terms[0].gram.shape))
        scores.temperature = temperature
        return scores

    def _over(
        self,
        terms: tuple[Term, ...],
        mask: Mask | None,
        *,
        one_matrix: bool = False,
        matrix: Tensor | None = None,
    ) -> Scores:
        scores = type(self).__new__(type(self))
        Logits.__init__(scores, terms, mask, one_matrix=one_matrix, matrix=matrix)
        scores.temperature = self.temperature
        return scores

    def __add__(self, other: Scores) -> Scores:
        """Logits added, masks joined."""
        same = self.shape == other.shape
        checks.require(same, f"scores of shapes {self.shape} and {other.shape} do not add")
        masks = [m for m in (self.mask, other.mask) if m is not None]
        return self._of(self.terms + other.terms, 1.0, reduce(or_, masks) if masks else None)

    def detach(self) -> Scores:
        """The same scores as constants."""
        scores = super().detach()
        scores.temperature = self.temperature.detach() if isinstance(self.temperature, Tensor) else self.temperature
        return scores

    def row_sum(self, fn: Callable[[Tensor], Tensor], offset: float | Tensor = 0.0) -> Tensor:
        """sum_j fn(logit_ij + offset_i) over the admissible pairs of each row, (n,); fn is elementwise.

        `offset` is a number or a vector (n,).
        """
        return self.pair_sum(fn, offset)


def _gram(q: Tensor, k: Tensor | None) -> Gram:
    if k is not None and k.dim() == 3:
        return OwnKeys(q, k)
    return SharedKeys(q, q if k is None else k)


def _as_mask(mask: Mask | Tensor | None, shape: tuple[int, int]) -> Mask | None:
    known = GivenMask(mask) if isinstance(mask, Tensor) else mask
    if known is not None:
        ours, kind = isinstance(known, Mask), type(mask).__name__
        checks.require(ours, f"mask must be a Mask or a boolean tensor (True = forbidden), got {kind}")
        checks.require(known.shape == shape, f"mask has shape {known.shape} but the scores are {shape}")
    return known


def _terms(gram: Gram, cost: Cost, temperature: float | Tensor) -> tuple[Term, ...]:
    checks.positive("temperature", temperature)
    return (Term(gram, cost, 1 / temperature),)
