"""False negatives found by another model: candidates that the guide finds nearer than the positive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks
from ..basics.errors import InvalidInput
from ..basics.precision import at_least_single
from ..basics.sizes import Index, limits, slices
from ..batches.distributed import Shares, gathering, processes
from ..engine.grams import pick
from ..pieces.masks import Mask
from .gather import Call, in_words, joined

if TYPE_CHECKING:
    from ..batches.distributed import Gather


class Guide(Mask):
    """Masks negatives that a guide model finds nearer to the anchor than its positive, less a margin.

        forbidden(i, j)  when  cos(g_i, g_j) >= max_p cos(g_i, g_p) - margin

    for guide embeddings g. Pass it as `mask=`; positives stay. So does, in each view and in the queue, the candidate
    that the guide finds farthest: no anchor loses its last negative.

    Args:
        views: embeddings of the guide, (n, d) each, in the order of the loss's views; constants. One view is enough
            from a guide that sees un-augmented samples: then say in `repeat` how many views the loss has.
        margin: >= 0 masks more: negatives almost as near as the positive.
        repeat: views of the loss, when one guide view is given.
        keys: embeddings of the queue's keys by the guide, (m, d), when the loss gets `keys=`.
        gather: where torch.distributed is initialised, views are each process's share, as those of the loss are;
            what the loss has for `gather`.

    Relations:
        The absolute-margin form of guided in-sample selection (GIST embeddings).

    Source:
        Solatorio 2024.

    Example:
        >>> import torch
        >>> from couplings import Guide, InfoNCE
        >>> z = torch.eye(4)
        >>> guide = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
        >>> mask = Guide(guide, guide + 0.1 * torch.eye(4, 2))
        >>> InfoNCE(0.5)(z, z, mask=mask) < InfoNCE(0.5)(z, z)
        tensor(True)
    """

    def __init__(
        self,
        *views: Tensor,
        margin: float = 0.0,
        repeat: int = 1,
        keys: Tensor | None = None,
        gather: Gather = True,
    ) -> None:
        checks.require(len(views) > 0, "a guide needs at least one view of embeddings")
        who = gathering(gather)
        checks.finite_nonnegative("margin", margin)
        checks.count("repeat", repeat)
        checks.require(repeat >= 1, f"repeat must be >= 1, got {repeat}")
        if repeat > 1 and len(views) > 1:
            raise InvalidInput(f"repeat={repeat} repeats one guide view, but {len(views)} were given: drop repeat")
        facts = {"the guide": in_words(type(self), {"margin": margin, "repeat": repeat})}
        call = joined(views, {"keys": keys}, facts, who) if processes(who) > 1 else Call(views, {})
        views = tuple(call.views)
        names = [f"view {i + 1} of the guide" for i in range(len(views))]
        blocks = [_unit(name, view, call.shares) for name, view in zip(names, views, strict=True)] * repeat
        checks.same_shape(names, views)
        queue = [] if keys is None else [_unit("keys of the guide", keys)]
        self._anchors, self._candidates = torch.cat(blocks), torch.cat(blocks + queue)
        nearest = _nearest_positive(torch.stack(blocks)) - margin - _ROUNDING
        bars = [
            torch.maximum(nearest, _farthest(self._anchors, block, i >= len(blocks)))
            for i, block in enumerate(blocks + queue)
        ]
        self._bars = torch.stack(bars, dim=1)  # (N, blocks): from which similarity on a block's candidates are masked
        sizes = torch.tensor([len(block) for block in blocks + queue])
        self._block = torch.arange(len(sizes)).repeat_interleave(sizes).to(self._bars.device)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self._anchors), len(self._candidates)

    def forbidden(self) -> Tensor:
        """Boolean (N, M)."""
        return self._anchors @ self._candidates.T > self._bars.index_select(1, self._block)

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Similarities of the pairs alone, O(pairs d)."""
        near = (pick(self._anchors, i) * pick(self._candidates, j)).sum(-1)
        return near > self._bars[i, self._block[j]]

    def block(self, rows: Index, cols: Index) -> Mask:
        """The mask of a sub-matrix."""
        part = object.__new__(Guide)
        part._anchors, part._bars = self._anchors[rows], self._bars[rows]
        part._candidates, part._block = self._candidates[cols], self._block[cols]
        return part


_ROUNDING = 1e-6
"""Similarities nearer than this are equal: exact duplicates of the positive are masked."""
_KEPT = 1e-5
"""Above the rounding of any matrix product of unit rows, so that the farthest candidate is below its bar."""


def _unit(name: str, z: Tensor, shares: Shares | None = None) -> Tensor:
    checks.matrix(name, z)
    z = at_least_single(z.detach())
    for whose, piece in [(name, z)] if shares is None else shares.pieces(name, z):
        checks.rows_usable(whose, piece, zero=False, raw=False)
    return torch.nn.functional.normalize(z, dim=1)


def _nearest_positive(by_view: Tensor) -> Tensor:
    """Similarity of each anchor to its nearest positive, (N,); to itself when there is one view."""
    others = [(by_view * by_view.roll(-k, 0)).sum(-1) for k in range(1, len(by_view))]
    return torch.stack(others).amax(0).flatten() if others else by_view.new_ones(by_view.shape[1])


def _farthest(anchors: Tensor, block: Tensor, queue: bool) -> Tensor:
    """Similarity of each anchor to the farthest other sample of a block, rounded up so that it stays below, (N,)."""
    size = len(block)
    parts = slices(len(anchors), max(1, limits(block.device).panel // size))
    return torch.cat([_farthest_of(anchors[part], block, None if queue else part.start % size) for part in parts])


def _farthest_of(anchors: Tensor, block: Tensor, first: int | None) -> Tensor:
    """Of some consecutive anchors, the first of which is that sample of the block."""
    near = anchors @ block.T
    if first is not None:
        row = torch.arange(len(anchors), device=near.device)
        near[row, (first + row) % len(block)] = torch.inf
    return near.amin(1) + _KEPT
