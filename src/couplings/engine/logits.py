r"""The verbs of logits, and the one place that chooses how they are computed: on one matrix, by panels or by tiles.

    log_sum_exp   log sum_j exp(h_ij)                                      a softmax's normaliser
    moment        sum_j exp(h_ij) s_ij / sum_j exp(h_ij), or its logarithm what rows expect of other logits
    pair_sum      sum_j fn(h_ij + o_i)                                     any function of pairs
    map_rows      fn(rows), range by range of rows                         everything else

Small logits are one matrix: nothing else is worth its loop. Many pairs whose logits are functions of one cosine go tile
by tile. Of the rest, what is too large for a matrix goes by panels, some rows against all columns, which the gradient
makes again. The result is the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import full_precision
from ..basics.sizes import row_parts
from . import sphere
from .terms import Terms
from .visits import Rows, by_panels


class Logits(Terms):
    """Terms, and what couplings and losses ask of them."""

    def log_sum_exp(self) -> Tensor:
        """log sum_j exp(h_ij) of each row, (n,); minus infinity for a row without an admissible pair."""
        with full_precision(self.device):
            if self.tiled and (sums := sphere.log_sums(self)) is not None:
                return sums[0][0]
            return self.map_rows(lambda part, own: torch.logsumexp(own.of_rows(part).matrix(), 1), self)

    def log_sum_exp_both_ways(self) -> tuple[Tensor, Tensor] | None:
        """log sum exp over the columns (n,) and over the rows (m,) in one pass; None where one pass cannot."""
        with full_precision(self.device):
            sums = sphere.log_sums(self, columns=True) if self.tiled else None
        return None if sums is None else (sums[0][0], sums[1][0])

    def moment(self, values: Logits, log_weights: Tensor | None = None) -> Tensor:
        """E_i[s_ij] under the row-normalised exp(h_ij) w_j, for other logits s; (n,), zero for an empty row.

        `log_weights` (m,) are log w; forbidden pairs of h alone are left out.
        """
        with full_precision(self.device):
            sums = sphere.moment(self, values, log_weights) if self.tiled and values.tiled else None
            if sums is None:
                return self.map_rows(_moment, self, values, log_weights)
        mass, total = sums
        return total / torch.where(mass > 0, mass, 1.0)

    def log_moment(self, values: Logits, log_weights: Tensor | None = None) -> Tensor:
        """log E_i[exp s_ij] under the row-normalised exp(h_ij) w_j, (n,): one log-sum-exp of added exponents."""
        with full_precision(self.device):
            both = (self, self.plus(values)) if self.tiled and values.tiled else None
            sums = None if both is None else sphere.log_sums(*both, log_weights=log_weights)
            if sums is None:
                return self.map_rows(_log_moment, self, values, log_weights)
        below, above = sums[0].unbind(0)
        return above - below

    def pair_sum(self, fn: Callable[[Tensor], Tensor], offset: float | Tensor = 0.0) -> Tensor:
        """sum_j fn(h_ij + offset_i) over the admissible pairs of each row, (n,); fn is elementwise.

        `offset` is a number or a vector (n,).
        """
        with full_precision(self.device):
            if self.tiled and (sums := sphere.pointwise(self, fn, offset)) is not None:
                return sums
            return self.map_rows(partial(_pair_sum, fn), self, offset)

    def map_rows(self, fn: Callable[..., Tensor], *parts: object, summed: bool = False) -> Tensor:
        """fn(range of rows, *parts), or of each of several ranges, concatenated or summed.

        Where there is no matrix each range is made again for the gradient, which reaches the tensors and whatever of
        the parts is made of tensors.
        """
        if not self.blocked:
            return fn(slice(0, self.shape[0]), *parts)
        n, m = self.shape
        step = next(row_parts(n, m, self.device)).stop
        return by_panels(fn, parts, Rows(n, step, self.team), summed=summed)

    def plus(self, other: Logits) -> Logits:
        """Logits added under the mask of these."""
        return Logits(self.terms + other.terms, self.mask)


def _weighed(h: Tensor, log_weights: Tensor | None) -> Tensor:
    return h if log_weights is None else h + log_weights


def _moment(part: slice, own: Logits, values: Logits, log_weights: Tensor | None) -> Tensor:
    h = _weighed(own.of_rows(part).matrix(), log_weights)
    weights = torch.exp(h - h.detach().amax(1, keepdim=True).clamp_min(torch.finfo(h.dtype).min))
    mass = weights.sum(1)
    total = (weights * torch.where(weights > 0, values.of_rows(part).unmasked(), 0.0)).sum(1)
    return total / torch.where(mass > 0, mass, 1.0)


def _log_moment(part: slice, own: Logits, values: Logits, log_weights: Tensor | None) -> Tensor:
    h = _weighed(own.of_rows(part).matrix(), log_weights)
    return torch.logsumexp(h + values.of_rows(part).unmasked(), 1) - torch.logsumexp(h, 1)


def _pair_sum(fn: Callable[[Tensor], Tensor], part: slice, own: Logits, offset: float | Tensor) -> Tensor:
    offset = offset[part, None] if isinstance(offset, Tensor) and offset.dim() else offset
    logits = own.of_rows(part).matrix()
    admitted = logits > -torch.inf
    harmless = logits.detach().amax(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
    values = fn(torch.where(admitted, logits, harmless) + offset)
    checks.tensor("what the pair function returns", values)
    wanted, got = tuple(logits.shape), tuple(values.shape)
    checks.require(got == wanted, f"the pair function must act on each entry alone: {wanted} became {got}")
    return torch.where(admitted, values, 0.0).sum(1)
