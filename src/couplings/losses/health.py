"""Batches that no loss can learn from: warned about once, because training goes on in silence."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import checks
from ..errors import CouplingWarning

_CLOSE = 1e-5
"""Rows whose projections differ by less are compared entry by entry; rounding is far below."""


class Watch:
    """Says once that rows have collapsed, once that samples are duplicated, then no longer looks.

    Cost: a projection and a sort of the rows, O(N d + N log N); nothing while `set_checks(False)`.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def look(self, views: tuple[Tensor, ...], ids: Tensor | None) -> None:
        """Look at the views of a call, raw; equal ids explain duplicates."""
        if len(self._said) == 2 or not checks.checks_enabled():
            return
        z = torch.stack([view.detach() for view in views])  # (views, n, d)
        first, second, equal = _neighbours(z)
        if equal is None:
            return
        if bool(equal.all()) and bool((z == z[:1, :1]).all()):
            self._say("collapse", _collapse(z.shape[1]))
        elif ids is None or bool((equal & (ids[first] != ids[second])).any()):
            view, place = equal.nonzero()[0].tolist()
            pair = int(first[view, place]), int(second[view, place])
            self._say("duplicates", _duplicates(int(equal.sum(1).max()), z.shape[1], view + 1, *pair))

    def _say(self, kind: str, message: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(message, CouplingWarning, stacklevel=6)


def _neighbours(z: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Samples next to each other along a fixed direction, per view, and whether their rows are equal (None: none)."""
    direction = torch.cos(1.7 * torch.arange(1, z.shape[2] + 1, device=z.device)).to(z.dtype)
    place, order = (z @ direction).sort(dim=1)
    first, second = order[:, :-1], order[:, 1:]
    close = place.diff(dim=1) <= _CLOSE * place.abs()[:, 1:]
    if not close.any():
        return first, second, None
    view, where = close.nonzero(as_tuple=True)
    rows = (z[view, first[view, where]] == z[view, second[view, where]]).all(-1)
    equal = close.clone()
    equal[view, where] = rows
    return first, second, equal if rows.any() else None


def _collapse(n: int) -> str:
    return (
        f"all {n} samples have the same embedding in every view: the encoder has collapsed (or its last layer is "
        "constant), and no loss can tell samples apart; lower the learning rate, look for dead units or a missing "
        "normalisation, and check that views differ"
    )


def _duplicates(count: int, n: int, view: int, i: int, j: int) -> str:
    return (
        f"{count} of {n} samples have the embedding of another one in the batch (first: samples {i} and {j} in view "
        f"{view}) and are pushed apart as negatives: pass ids= with equal entries for equal samples, or drop "
        "duplicates from the batch"
    )
