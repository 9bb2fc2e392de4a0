"""The pairs worth looking at, and what it would cost to mask each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from couplings.basics.errors import InvalidInput
from couplings.diagnostics import Duplicates, repulsion
from couplings.inspection.subject import Subject
from couplings.losses import Loss

__all__ = ["Exhibit", "Kind", "gallery"]

_OF_A_KIND = 40


class Kind(Enum):
    """Why a pair is shown."""

    DUPLICATE = "duplicate"
    FALSE_NEGATIVE = "likely false negative"
    HEAVY = "heavy negative"


@dataclass(frozen=True)
class Exhibit:
    """A pair that the loss pushes apart.

    Attributes:
        pair: row numbers.
        kind: why it is shown.
        similarity: cosine.
        push: how hard, in units of the average pair of a batch.
        cost: by how much masking the pair changes the loss of a batch that holds it; None where the loss takes no mask.
        relative_cost: the same, relative to that loss.
    """

    pair: tuple[int, int]
    kind: Kind
    similarity: float
    push: float
    cost: float | None
    relative_cost: float | None


def gallery(
    subject: Subject, loss: Loss, found: Duplicates, pairs: Tensor, push: Tensor, batch_size: int, seed: int
) -> tuple[Exhibit, ...]:
    """The surest duplicates, the most similar of the other candidates, and those that are pushed hardest."""
    kinds: dict[tuple[int, int], Kind] = {}
    for rows, kind in (
        (found.pairs, Kind.DUPLICATE),
        (pairs, Kind.FALSE_NEGATIVE),
        (pairs[push.argsort(descending=True, stable=True)], Kind.HEAVY),
    ):
        fresh = [pair for pair in map(tuple, rows[: 4 * _OF_A_KIND].tolist()) if pair not in kinds]
        kinds |= dict.fromkeys(fresh[:_OF_A_KIND], kind)
    generator = torch.Generator().manual_seed(seed + 3)
    return tuple(_exhibit(subject, loss, pair, kind, batch_size, generator) for pair, kind in kinds.items())


@torch.no_grad()
def _exhibit(
    subject: Subject, loss: Loss, pair: tuple[int, int], kind: Kind, batch_size: int, generator: torch.Generator
) -> Exhibit:
    """The pair in a batch of others."""
    others = torch.randperm(len(subject), generator=generator)[:batch_size]
    rows = torch.cat([torch.tensor(pair), others[~torch.isin(others, torch.tensor(pair))]])[:batch_size]
    # One pair of many changes the loss in digits that single precision does not have.
    views, quiet = tuple(view.double() for view in subject.views(rows)), loss.apart()
    shown = views if len(views) > 1 else views * 2
    pushed = repulsion(quiet, *shown, **subject.sides(rows))
    average = (pushed.sum() / (len(rows) * (len(rows) - 1))).clamp_min(torch.finfo(pushed.dtype).tiny)
    cost, relative = _cost(subject, quiet, shown, rows)
    push = ((pushed[0, 1] + pushed[1, 0]) / 2 / average).item()
    one, other = subject.samples[rows[:2]].double()
    return Exhibit(pair, kind, torch.nn.functional.cosine_similarity(one, other, dim=0).item(), push, cost, relative)


def _cost(subject: Subject, loss: Loss, views: tuple[Tensor, ...], rows: Tensor) -> tuple[float | None, float | None]:
    """Loss with the first two rows masked, minus loss."""
    n = len(rows)
    mask = torch.zeros(len(views) * n, len(views) * n, dtype=torch.bool)
    for a in range(len(views)):
        for b in range(len(views)):
            mask[a * n, b * n + 1] = mask[a * n + 1, b * n] = True
    sides = subject.sides(rows)
    before = loss(*views, **sides).item()
    try:
        after = loss(*views, **sides, mask=mask).item()
    except InvalidInput:
        return None, None
    return after - before, (after - before) / abs(before) if before else None
