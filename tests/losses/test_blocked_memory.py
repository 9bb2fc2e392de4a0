"""What losses take without their matrices, counted in bytes: O(N d), a panel and tiles, nothing as large as N x M."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from couplings import Guide, Loss
from couplings.basics.sizes import limited
from helpers import CASES
from largest import largest_tensor

N, D, TILE, PANEL, SWEEPS = 256, 8, 64, 1 << 13, 2
"""Rows, dimensions, the side of a tile, the entries of a panel, and sweeps where there are some."""
WHOLE = {"AlphaCLLowRank": "A singular value decomposition of an N x M matrix"}
"""Losses that make the matrix all the same, and where they say so."""
every_blocked_loss = pytest.mark.parametrize("name", [name for name in CASES if name not in WHOLE])


class Live(TorchDispatchMode):
    """The most bytes that tensors made within held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {x.untyped_storage()._cdata for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)}
        result = func(*args, **(kwargs or {}))
        fresh = [x.untyped_storage() for x in tree_iter(result) if isinstance(x, Tensor)]
        fresh = [storage for storage in fresh if storage._cdata not in known]
        if fresh:
            self.held = {key: held for key, held in self.held.items() if not held[0].expired()}
            self.held |= {s._cdata: (StorageWeakRef(s), s.nbytes()) for s in fresh}
            self.peak = max(self.peak, sum(size for _, size in self.held.values()))
        return result


def _loss(name: str) -> Loss:
    """Two sweeps are enough to see what one more keeps."""
    return CASES[name](**({"sweeps": SWEEPS} if CASES[name].takes("sweeps") else {}))


def _views(n: int, count: int = 2) -> list[Tensor]:
    return [torch.randn(n // count, D, requires_grad=True) for _ in range(count)]


def _blocked() -> AbstractContextManager[None]:
    """Panels and tiles are the same whatever N: the rest is what grows."""
    return limited(dense=0, tiled=0, tile=TILE, panel=PANEL, budget=0)


def _peak(name: str, n: int) -> int:
    with _blocked(), Live() as live:
        _loss(name)(*_views(n)).backward()
    return live.peak


@every_blocked_loss
def test_live_bytes_grow_with_the_rows(name: str) -> None:
    """At most six times what must be there: embeddings, vectors of T sweeps, a panel and a tile."""
    small, large = _peak(name, N), _peak(name, 2 * N)
    for n, peak in ((N, small), (2 * N, large)):
        assert peak <= 6 * 4 * (n * (D + 2 * SWEEPS) + PANEL + TILE**2)
    assert large <= 2.1 * small


SIDES: dict[str, Callable[[list[Tensor]], dict[str, Any]]] = {
    "nothing": lambda views: {},
    "labels and ids": lambda views: {
        "labels": torch.arange(len(views[0])) % 4,
        "ids": torch.arange(len(views[0])) // 2,
    },
    "guide": lambda views: {"mask": Guide(*views)},
    "keys": lambda views: {"keys": torch.randn(N // 2, D)},
}


@every_blocked_loss
@pytest.mark.parametrize(("side", "count"), [("nothing", 4), ("labels and ids", 2), ("guide", 2), ("keys", 2)])
def test_no_tensor_is_near_the_size_of_the_matrix(name: str, side: str, count: int) -> None:
    """An eighth of its entries at most: the lists that masks of few pairs are, for four views."""
    if side != "nothing" and (not CASES[name].repels or (side == "keys" and not CASES[name].keys)):
        return
    loss, views = _loss(name), _views(N, count)
    with _blocked():
        sides = SIDES[side](views)
        assert largest_tensor(lambda: loss(*views, **sides).backward()) <= N * N / 8


COSTS = (Path(__file__).parents[2] / "docs" / "costs.md").read_text()


@pytest.mark.parametrize("name", WHOLE)
def test_what_makes_the_matrix_says_so(name: str) -> None:
    views = _views(N)
    with _blocked():
        assert largest_tensor(lambda: CASES[name]()(*views).backward()) >= N * N
    assert WHOLE[name] in COSTS


def test_the_count_sees_a_matrix() -> None:
    """The measure itself: one matrix, then none."""
    q = torch.randn(N, D)
    with Live() as live:
        for _ in range(3):
            (q @ q.T).sum()
    assert 4 * N * N <= live.peak <= 4 * N * N + 64
