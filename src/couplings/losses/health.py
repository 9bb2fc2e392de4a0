"""Batches that no loss can learn from: warned about once, because training goes on in silence."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..basics import checks, looks
from ..basics.errors import warn
from ..basics.transforms import fake, transformed
from .batch import Batch

_CLOSE = 1e-5
"""Rows whose projections differ by less are compared entry by entry; rounding is far below."""
_EQUAL = 1e-6
"""Rows that differ by less in every entry, relative to the largest entry of all, are equal."""
_OFTEN = 10
"""Calls that are all looked at; afterwards one in so many is."""
_LISTED = 64
"""Duplicates that are looked up in the mask."""


class Watch:
    """Says once that rows have collapsed, once that samples are duplicated, then no longer looks.

    Cost: a projection and a sort of the rows, O(N d + N log N), in the first ten calls and every tenth from then on;
    nothing while `set_checks(False)`.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._said = {"collapse", "duplicates"} if silent else set[str]()
        self._calls = 0

    def look(self, batch: Batch, twins: bool) -> None:
        """Look at the rows of a batch for collapse and, with `twins`, for duplicates that it does not mask."""
        self._calls += 1
        often = self._calls <= _OFTEN or self._calls % _OFTEN == 0
        if len(self._said) == 2 or not often or batch.n < 2 or not checks.checks_enabled():
            return
        z = batch.embeddings.detach().view(batch.views, batch.n, -1)
        place = (z @ direction(z)).sort(dim=1)
        gap = (place.values[:, 1:] - place.values[:, :-1]).amin() - _CLOSE * place.values.abs().amax()
        looks.expect_finite(gap.log(), lambda: self._closer(batch, z, place, twins))

    def _closer(self, batch: Batch, z: Tensor, place: torch.return_types.sort, twins: bool) -> None:
        """A look at the rows themselves, where some have nearly the same place."""
        first, second, equal = _neighbours(z, place)
        if equal is None:
            return
        if bool(equal.all()):
            self._say("collapse", _collapse(batch.n))
        elif twins and not batch.gram.own_columns:
            view, where = equal.nonzero(as_tuple=True)
            pair = torch.stack([first[view, where], second[view, where]], dim=1).sort(dim=1).values
            pairs = torch.cat([view[:, None], pair], dim=1)[:_LISTED]
            repelling = pairs[_repel(batch, pairs)]
            if len(repelling):
                self._say("duplicates", _duplicates(int(equal.sum(1).max()), batch.n, *repelling[0].tolist()))

    def _say(self, kind: str, message: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            warn(message)


def direction(z: Tensor) -> Tensor:
    """A fixed vector (d,), on which different rows have different places; on the CPU those of a few sizes are kept."""
    plain = z.device.type == "cpu" and not (fake() or transformed() or torch.is_inference_mode_enabled())
    return (_kept if plain else _direction)(z.shape[2], z.dtype, z.device)


def _direction(d: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.cos(1.7 * torch.arange(1, d + 1, device=device)).to(dtype)


_kept = lru_cache(maxsize=8)(_direction)


def _neighbours(z: Tensor, places: torch.return_types.sort) -> tuple[Tensor, Tensor, Tensor | None]:
    """Samples next to each other along the direction, per view, and whether their rows are equal (None: none)."""
    place, order = places
    first, second = order[:, :-1], order[:, 1:]
    close = place.diff(dim=1) <= _CLOSE * place.abs().amax()
    if not close.any():
        return first, second, None
    view, where = close.nonzero(as_tuple=True)
    apart = (z[view, first[view, where]] - z[view, second[view, where]]).abs().amax(-1)
    rows = apart <= _EQUAL * z.abs().amax()
    equal = close.clone()
    equal[view, where] = rows
    return first, second, equal if rows.any() else None


def _repel(batch: Batch, pairs: Tensor) -> Tensor:
    """Whether the anchor (view, sample) meets the second sample of a pair as a negative, in any view."""
    view, first, second = pairs.T
    anchors, tame = view * batch.n + first, batch.same | batch.kin
    masked = [tame.block(anchors, b * batch.n + second).forbidden().diagonal() for b in range(batch.views)]
    return ~torch.stack(masked).all(0)


def _collapse(n: int) -> str:
    return (
        f"all {n} samples have the same embedding in every view: the encoder has collapsed (or its last layer is "
        "constant), and no loss can tell samples apart; lower the learning rate, look for dead units or a missing "
        "normalisation, and check that views differ"
    )


def _duplicates(count: int, n: int, view: int, i: int, j: int) -> str:
    return (
        f"{count} of {n} samples have the embedding of another one in the batch (first: samples {i} and {j} in view "
        f"{view + 1}) and are pushed apart as negatives: pass ids= with equal entries for equal samples, or drop "
        "duplicates from the batch"
    )
