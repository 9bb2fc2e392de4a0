"""Logits that are a line in one dot product, h_ij = slope <q_i, k_j> + level, and the range of bounded logits."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..pieces.costs import is_built_in
from .grams import SharedKeys
from .sphere import Profile
from .terms import Term, Terms


class Line(NamedTuple):
    """h = slope <q, k> + level."""

    q: Tensor
    k: Tensor
    slope: float
    level: float


def line_of(scores: Terms) -> Line | None:
    """The logits as a line, if all terms have the same dot products and affine costs."""
    first = scores.terms[0].gram
    slope = level = 0.0
    for term in scores.terms:
        coefficients = term.line
        if coefficients is None or not (isinstance(first, SharedKeys) and first.shares_dots(term.gram)):
            return None
        slope += float(term.scale) * coefficients[0]
        level += float(term.scale) * coefficients[1]
    assert isinstance(first, SharedKeys)
    return Line(first.q.detach(), first.k.detach(), slope, level)


def range_of(scores: Terms) -> tuple[float, float] | None:
    """Lowest and highest logit that rows of unit norm can have; None where norms or costs are not known."""
    if not all(_unit(term) and is_built_in(term.cost) for term in scores.terms):
        return None
    bounds = [Profile((term,), (False,)).bounds() for term in scores.terms]
    return sum(low for low, _ in bounds), sum(high for _, high in bounds)


def _unit(term: Term) -> bool:
    return isinstance(term.gram, SharedKeys) and term.gram.unit
