r"""Sums of functions of dot products over tiles that are made, used and forgotten: the engine of large batches.

    x_ij = lead <q_i, k_j> + o_i,    R_ci = sum_j v_j phi_c(x_ij),    C_cj = sum_i phi_c(x_ij)    over admissible pairs

Forward: one product a tile, the functions in place, row and column sums. Backward: with cotangents Rbar, Cbar

    dL/dx_ij = sum_c (Rbar_ci v_j + Cbar_cj) phi_c'(x_ij)

so each tile is made again, turned into that weight and multiplied once each way: dL/dq = lead W k, dL/dk = lead W^T q.
With q = k and a symmetric mask a tile above the diagonal serves its transpose too (its column sums are rows of the
transpose), which halves all of it. Memory: O((n + m) d) and a few tiles. Nothing is kept for the gradient but q and k.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ..basics.precision import full_precision
from ..basics.transforms import Opaque
from .forbidden import Forbidden
from .team import ALONE, Team
from .threads import Turn, by_threads, threads_for
from .tiling import Tile, Tiling

Weigh = Callable[[int, Tensor], Tensor]
"""weigh(c, values): multiplies a tile in place by the cotangents Rbar_ci + Cbar_cj of function c."""


class PairFunctions(ABC):
    """A few functions phi_c of one dot product, elementwise, and how cotangents of their sums come back to it.

    Attributes:
        count: how many functions.
        leaves: tensors, beside the dot products, that the functions depend on and that carry gradient.
    """

    count: int
    leaves: tuple[Tensor, ...] = ()

    def dtype(self, x: torch.dtype) -> torch.dtype:
        """In which the functions are computed and summed."""
        return x

    @abstractmethod
    def values(self, x: Tensor, scratch: Scratch) -> Sequence[Tensor]:
        """The tiles phi_c(x); may write over x."""

    @abstractmethod
    def pull(self, x: Tensor, weigh: Weigh, scratch: Scratch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """dL/dx of a tile (may write over x), and its contribution to the gradients of the leaves."""

    def with_leaves(self, *leaves: Tensor) -> PairFunctions:
        """The same functions over other leaves."""
        return self


class Scratch:
    """Memory of tiles that one thread makes, used again for each of them."""

    def __init__(self, like: Tensor, side: int) -> None:
        self._device, self._size = like.device, side * side
        self._held: dict[tuple[str, torch.dtype], Tensor] = {}

    def tile(self, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """A contiguous tile with whatever it holds."""
        key = name, dtype
        if key not in self._held:
            self._held[key] = torch.empty(self._size, dtype=dtype, device=self._device)
        rows, cols = shape
        return self._held[key][: rows * cols].view(rows, cols)

    def copy(self, name: str, x: Tensor, dtype: torch.dtype) -> Tensor:
        """A tile with the numbers of x."""
        return self.tile(name, (x.shape[0], x.shape[1]), dtype).copy_(x)


@dataclass(frozen=True, eq=False)
class Layout:
    """Which tiles are visited, what the mask takes out of them, and whether column sums are wanted.

    In a triangle the column sums of a tile are row sums of its transpose, so C is added to R. A team visits its tiles
    between them, and its processes add up what they got.
    """

    tiling: Tiling
    forbidden: Forbidden
    columns: bool = False
    team: Team = ALONE


def pair_sums(
    functions: PairFunctions,
    layout: Layout,
    q: Tensor,
    k: Tensor,
    lead: float | Tensor,
    offsets: Tensor | None = None,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(R, C), shapes (count, n) and (count, m); C is empty (count, 0) unless the layout asks for it.

    All may carry gradient: `lead` (a 0-dim tensor), the `offsets` o (n,) of the rows, which no triangle has, and the
    `weights` v (m,) of the columns (ones when None), which go without column sums.
    """
    scale = lead.to(q) if isinstance(lead, Tensor) else q.new_tensor(lead)
    if weights is not None:
        weights = weights.to(functions.dtype(q.dtype))
    operands = _Operands(q, k, scale, offsets, weights)
    applied = _PairSums.apply(functions, layout, len(operands), *operands, *functions.leaves)
    return cast(tuple[Tensor, Tensor], applied)


class _Operands(NamedTuple):
    """What dot products are made of, and what they are summed with."""

    q: Tensor
    k: Tensor
    lead: Tensor
    offsets: Tensor | None
    weights: Tensor | None


class _PairSums(Opaque):
    @staticmethod
    def forward(
        ctx: Any, functions: PairFunctions, layout: Layout, operands: int, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.functions, ctx.layout, ctx.operands = functions, layout, operands
        ctx.save_for_backward(*tensors)
        return _Pass(functions.with_leaves(*tensors[operands:]), layout, _Operands(*tensors[:operands])).sums()

    @staticmethod
    def backward(ctx: Any, rows: Tensor, cols: Tensor) -> tuple[Tensor | None, ...]:
        Opaque.refuse_second("tiles have")
        tensors, operands = ctx.saved_tensors, ctx.operands
        functions = ctx.functions.with_leaves(*tensors[operands:])
        with full_precision(rows.device):
            run = _Pass(functions, ctx.layout, _Operands(*tensors[:operands]))
            return None, None, None, *run.gradients(rows, cols, ctx.needs_input_grad[3:])


class _Pass:
    """One visit of all tiles; what a tile adds to shared sums it adds in its turn."""

    def __init__(self, functions: PairFunctions, layout: Layout, operands: _Operands) -> None:
        self.functions, self.layout, self.tiling, self.team = functions, layout, layout.tiling, layout.team
        self.q, self.k, self.lead, self.offsets, self.weights = operands
        self.scaled = self.q * self.lead

    def visit(self, work: Callable[[Tile, Turn, Scratch], None]) -> None:
        """The tiles that are this process's, each by one thread with its own scratch."""

        def worker() -> Callable[[Tile, Turn], None]:
            scratch = Scratch(self.q, self.tiling.side)
            return lambda tile, turn: work(tile, turn, scratch)

        tiles = list(self.team.share(self.tiling.rounds()))
        threads = threads_for(sum(tile.entries for tile in tiles), self.q)
        by_threads(tiles, self.tiling.touched, worker, threads)

    def dots(self, tile: Tile, scratch: Scratch) -> Tensor:
        """lead <q_i, k_j> + o_i of a tile."""
        out = scratch.tile("dots", tile.shape, self.q.dtype)
        torch.mm(self.scaled[tile.rows], self.k[tile.cols].T, out=out)
        return out if self.offsets is None else out.add_(self.offsets[tile.rows][:, None])

    def values(self, tile: Tile, scratch: Scratch) -> Sequence[Tensor]:
        """phi_c of a tile, zero where the mask forbids."""
        several = self.functions.values(self.dots(tile, scratch), scratch)
        for values in several:
            self.layout.forbidden.zero_(values, tile)
        return several

    def sums(self) -> tuple[Tensor, Tensor]:
        """Row sums and column sums."""
        tiling, count, mirrored = self.tiling, self.functions.count, self.tiling.triangle
        rows = self.q.new_zeros((count, tiling.n), dtype=self.functions.dtype(self.q.dtype))
        cols = rows if mirrored else rows.new_zeros((count, tiling.m if self.layout.columns else 0))

        def work(tile: Tile, turn: Turn, scratch: Scratch) -> None:
            several = self.values(tile, scratch)
            both = self.layout.columns or (mirrored and not tile.diagonal)
            down = [_along(values, self.weights, tile.cols) for values in several]
            across = [_along(values.T, self.weights, tile.rows) for values in several] if both else []
            with turn:
                _add_(rows, tile.rows, down)
                _add_(cols, tile.cols, across)

        self.visit(work)
        self.team.total_(*([rows] if mirrored else [rows, cols]))
        return rows, rows.new_zeros((count, 0)) if mirrored else cols

    def to_weights(self, rows: Tensor) -> Tensor:
        """dL/dv_j = sum_ci Rbar_ci phi_c(x_ij): the sums of the transpose, weighed by the cotangents."""
        total = torch.zeros_like(cast(Tensor, self.weights))

        def work(tile: Tile, turn: Turn, scratch: Scratch) -> None:
            several = self.values(tile, scratch)
            with turn:
                for c, values in enumerate(several):
                    total[tile.cols] += rows[c, tile.rows] @ values
                    if self.tiling.triangle and not tile.diagonal:
                        total[tile.rows] += values @ rows[c, tile.cols]

        self.visit(work)
        self.team.total_(total)
        return total

    def gradients(self, rows: Tensor, cols: Tensor, needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """dL/d(q, k, lead, offsets, weights, leaves) from the cotangents of both sums."""
        triangle = self.tiling.triangle
        to_q = torch.zeros_like(self.q)
        to_k = to_q if triangle else torch.zeros_like(self.k)
        to_offsets = None if self.offsets is None else torch.zeros_like(self.offsets)
        to_leaves = [leaf.new_zeros((self.tiling.count, *leaf.shape)) for leaf in self.functions.leaves]
        cols = rows if triangle else cols

        def work(tile: Tile, turn: Turn, scratch: Scratch) -> None:
            weigh = self._weigh(tile, rows, cols, scratch)
            pulled, given = self.functions.pull(self.dots(tile, scratch), weigh, scratch)
            weights = pulled.to(self.q.dtype)
            twice = triangle and tile.diagonal  # both orders of a pair are in the tile, and in the weights of each
            for parts, part in zip(to_leaves, given, strict=True):
                parts[tile.number] = part / 2 if twice else part
            with turn:
                if needed[0] or needed[2]:
                    to_q[tile.rows].addmm_(weights, self.k[tile.cols])
                if needed[1] and not twice:
                    to_k[tile.cols].addmm_(weights.T, self.q[tile.rows])
                if to_offsets is not None:
                    to_offsets[tile.rows] += weights.sum(1)

        self.visit(work)
        to_weights = self.to_weights(rows) if needed[4] else None
        offsets = [] if to_offsets is None else [to_offsets]
        leaves = [parts.sum(0) for parts in to_leaves]
        self.team.total_(*([to_q] if triangle else [to_q, to_k]), *offsets, *leaves)
        to_lead = (to_q * self.q).sum() / (2 if triangle else 1) if needed[2] else None
        by_columns = None if triangle else to_k.mul_(self.lead)
        return to_q.mul_(self.lead), by_columns, to_lead, to_offsets, to_weights, *leaves

    def _weigh(self, tile: Tile, rows: Tensor, cols: Tensor, scratch: Scratch) -> Weigh:
        """Multiplies by Rbar + Cbar; in a triangle by both rows' cotangents, once on the diagonal for both."""

        def weigh(c: int, values: Tensor) -> Tensor:
            self.layout.forbidden.zero_(values, tile)
            return values.mul_(self._cotangent(tile, rows[c], cols[c], scratch))

        return weigh

    def _cotangent(self, tile: Tile, rows: Tensor, cols: Tensor, scratch: Scratch) -> Tensor:
        """Rbar_i v_j + Cbar_j, where in a triangle Cbar_j is Rbar_j v_i."""
        down, across = rows[tile.rows], cols[tile.cols]
        if self.weights is None and not len(cols):
            return down[:, None]
        out = scratch.tile("weights", tile.shape, down.dtype)
        if self.weights is None:
            return torch.add(down[:, None], across, out=out)
        if not self.tiling.triangle:
            return torch.outer(down, self.weights[tile.cols], out=out)
        left = torch.stack([down, self.weights[tile.rows]], dim=1)
        return torch.mm(left, torch.stack([self.weights[tile.cols], across]), out=out)


def _along(values: Tensor, weights: Tensor | None, part: slice) -> Tensor:
    """Sums over the second axis, weighed."""
    return values.sum(1) if weights is None else values @ weights[part]


def _add_(totals: Tensor, part: slice, several: Sequence[Tensor]) -> None:
    for total, own in zip(totals, several, strict=False):
        total[part] += own
