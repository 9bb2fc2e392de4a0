"""Whether any plan can meet the marginals under the mask, checked before a sweep is spent on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..basics import looks
from ..basics.errors import Infeasible, InvalidInput, warn
from ..basics.sizes import Index, row_parts
from ..pieces.masks import Mask, SameId
from .logits import Logits
from .sides import Side


@dataclass(frozen=True, eq=False)
class Weightless(Mask):
    """Pairs whose row or column has weight zero: True in the vectors (n,) and (m,)."""

    rows: Tensor
    cols: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.cols)

    @property
    def any(self) -> bool:
        """Whether there is such a row or column at all."""
        return bool(self.rows.any() | self.cols.any())

    def forbidden(self) -> Tensor:
        """Boolean (n, m)."""
        return self.rows[:, None] | self.cols

    @property
    def by_ids(self) -> bool:
        """By weights: what they forbid holds no mass."""
        return True

    def block(self, rows: Index, cols: Index) -> Mask:
        """The mask of a sub-matrix."""
        return Weightless(self.rows[rows], self.cols[cols])

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Weights looked up, O(pairs)."""
        return self.rows[i] | self.cols[j]


def _admissible(logits: Logits, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows and columns have at least one admissible pair with a side of positive weight."""

    def rows(part: slice) -> Tensor:
        return ((logits.of_rows(part).matrix() > -torch.inf) & (b > 0)).any(1)

    def cols(part: slice) -> Tensor:
        return ((logits.of_rows(part).matrix() > -torch.inf) & (a[part] > 0)[:, None]).any(0)

    return logits.map_rows(rows), logits.map_rows(cols, summed=True) > 0


def solvable(name: str, potential: Tensor, side: Side) -> None:
    """Raise when a potential shows NaN scores, or a row or column with mass that has no admissible pair."""
    numbers = potential.detach()
    looks.expect_finite((numbers * 0).sum(), partial(unsolvable, name, numbers, side))  # NaN unless all are finite


def unsolvable(name: str, potential: Tensor, side: Side) -> None:
    """Raise in words for a potential, or log-sum-exps, that are not all finite."""
    no_nan(name, potential)
    _no_empty(name, potential.isinf() & (side.weights > 0))


def _no_empty(name: str, bad: Tensor) -> None:
    if bad.any():
        first, total = int(bad.nonzero()[0]), int(bad.sum())
        raise Infeasible(
            f"{name} {first} has no admissible pair ({total} such {name}s): the mask forbids them all, or their costs "
            "are infinite. Loosen ids, labels or mask; scale the embeddings down for an exp cost; or drop them from "
            "the batch (couple(skip_empty=True) gives them zero mass)"
        )


def no_nan(name: str, values: Tensor) -> None:
    """Raise when one of the rows' or columns' values is NaN."""
    bad = values.isnan()
    if bad.any():
        raise InvalidInput(
            f"the scores of {name} {int(bad.nonzero()[0])} hold NaN: look for a cost that returns NaN, or for "
            "embeddings so large that their scores overflow"
        )


@torch.no_grad()
def without_empty(scores: Logits, a: Tensor, b: Tensor, rows: bool, cols: bool) -> tuple[Tensor, Tensor]:
    """Weights with the mass of empty constrained rows and columns moved to the others."""
    row_ok, col_ok = _admissible(scores, a, b)
    return (_moved(a, row_ok) if rows else a), (_moved(b, col_ok) if cols else b)


def _moved(weights: Tensor, ok: Tensor) -> Tensor:
    kept = weights * ok
    if not kept.any():
        raise Infeasible("the mask leaves no admissible pair at all: loosen ids, labels or mask")
    return kept * (weights.sum() / kept.sum())


def same_mass(a: Tensor, b: Tensor) -> None:
    """Raise when two fixed marginals carry different mass."""
    both = torch.stack([a.sum(), b.sum()])

    def diagnose() -> None:
        rows, cols = both.tolist()
        if abs(rows - cols) > 1e-4 * max(rows, cols):
            raise InvalidInput(
                f"Fixed rows carry mass {rows:g} but Fixed columns carry {cols:g}: no plan has both; rescale the "
                "weights to the same sum, or relax one side with KL(rho)"
            )

    looks.expect_finite((1e-4 * both.amax() - (both[0] - both[1]).abs()).log(), diagnose)


def balanced(mask: Mask, rows: Side, cols: Side) -> None:
    """Raise when an id class is too heavy for a balanced plan; warn when it is exactly at the limit.

    A class must send its row mass outside itself, so a(class) + b(class) may not exceed the total.
    """
    for ids in mask.id_masks():
        a, b = rows.weights, cols.weights
        room = 1 - _AT_THE_LIMIT - _heaviest(ids, a, b)
        looks.expect_finite(room.log(), partial(_too_heavy, [ids], a, b))


_AT_THE_LIMIT = 1e-5
"""How near to half of the mass a class holds half of it."""


def _heaviest(ids: SameId, a: Tensor, b: Tensor) -> Tensor:
    """The mass of the heaviest class on both sides, over that of the rows; 0-dim, on the device."""
    ordered, order = torch.cat([ids.rows.to(a.device), ids.cols.to(a.device)]).sort()
    place = torch.zeros_like(order)
    place[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
    mass = torch.cat([a, b])
    return torch.zeros_like(mass).index_add_(0, place, mass[order]).amax() / a.sum()


def _too_heavy(several: list[SameId], a: Tensor, b: Tensor) -> None:
    for ids in several:
        both = torch.cat([ids.rows.to(a.device), ids.cols.to(a.device)])
        classes, index = torch.unique(both, return_inverse=True)
        share = a.new_zeros(len(classes)).index_add_(0, index, torch.cat([a, b])) / a.sum()
        heaviest, where = share.max(0)
        excess, name = float(heaviest) - 1, int(classes[where])
        if excess > _AT_THE_LIMIT:
            raise Infeasible(
                f"sample, id or label {name} holds {50 * (1 + excess):.3g} % of the mass and its pairs are masked, so "
                "a balanced plan has nowhere to send it: use more samples or smaller classes, drop ids or labels, or "
                "take KL(rho) on one side of couple"
            )
        if excess > -_AT_THE_LIMIT and len(classes) > 2:
            warn(
                f"sample, id or label {name} holds exactly half of the mass: a balanced plan exists, but sweeps "
                "approach it slowly"
            )


_NAMED = 8
"""Rows or columns that a message lists."""
_SHORT = 1e-5
"""Share of the mass that rounding may seem to lack."""


@torch.no_grad()
def shortage(mask: Mask, a: Tensor, b: Tensor, orders: Sequence[Tensor]) -> str | None:
    """Rows with more mass than all columns that the mask leaves them (or columns, than rows), in words; None: not seen.

    A balanced plan exists unless there are such rows (Hall). Sweeps raise their potentials without end, so they are
    looked for among the rows that come first in the potentials; what is found is proof, whatever the order.
    """
    for order in orders:
        rows = order.argsort(descending=True)
        reached = _first_reached(mask, rows)
        held = b.new_zeros(len(a) + 1, dtype=torch.float64).index_add_(0, reached, b.double()).cumsum(0)[:-1]
        lack, last = (a[rows].double().cumsum(0) - held).max(0)
        if bool(lack > _SHORT * a.sum()):
            return _in_words(rows[: int(last) + 1], reached > last, a, b)
    return None


def _first_reached(mask: Mask, rows: Tensor) -> Tensor:
    """For each column the place of the first of the rows that may use it; their number where none may, (m,)."""
    n, m = mask.shape
    place = torch.empty_like(rows)
    place[rows] = torch.arange(n, device=rows.device)
    first, every = rows.new_full((m,), n), slice(None)
    for part in row_parts(n, m, rows.device):
        here = torch.where(mask.block(part, every).forbidden(), n, place[part, None])
        first = torch.minimum(first, here.amin(0))
    return first


def _in_words(rows: Tensor, closed: Tensor, a: Tensor, b: Tensor) -> str:
    """The smaller side of the proof: the rows, or the columns that are closed to them."""
    columns, total = closed.nonzero()[:, 0], float(a.sum())
    outside = torch.ones_like(a, dtype=torch.bool).index_fill_(0, rows, False)
    if len(rows) <= len(columns):
        who, whom, few, own, rest = "row", "column", rows, a[rows], b[~closed]
    else:
        who, whom, few, own, rest = "column", "row", columns, b[columns], a[outside]
    named = ", ".join(map(str, few.sort().values[:_NAMED].tolist()))
    more = f", ... ({len(few)} in all)" if len(few) > _NAMED else ""
    return (
        f"{who}s {named}{more} hold {100 * float(own.sum()) / total:.3g} % of the mass, but the mask leaves them "
        f"{len(rest)} {whom}s with {100 * float(rest.sum()) / total:.3g} %, and no number of sweeps changes that: "
        "admit more pairs there, or relax a side, by KL(rho) or Free (a loss with relaxed or free columns)"
    )
