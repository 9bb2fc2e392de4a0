"""False negatives found by another model: candidates that the guide finds nearer than the positive."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ..errors import InvalidInput
from ..masks import Mask
from ..precision import at_least_single


class Guide(Mask):
    """Masks negatives that a guide model finds nearer to the anchor than its positive, less a margin.

        forbidden(i, j)  when  cos(g_i, g_j) > max_p cos(g_i, g_p) - margin

    for guide embeddings g. Pass it as `mask=`; positives stay, and so does the candidate that the guide finds farthest:
    no anchor loses its last negative.

    Args:
        views: embeddings of the guide, (n, d) each, in the order of the loss's views; constants. One view is enough
            from a guide that sees un-augmented samples: then say in `repeat` how many views the loss has.
        margin: >= 0 masks more: negatives almost as near as the positive.
        repeat: views of the loss, when one guide view is given.

    Relations:
        The absolute-margin form of guided in-sample selection (GIST embeddings).

    Cost:
        An N x N matrix.

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

    def __init__(self, *views: Tensor, margin: float = 0.0, repeat: int = 1) -> None:
        names = [f"view {i + 1} of the guide" for i in range(len(views))]
        checks.require(len(views) > 0, "a guide needs at least one view of embeddings")
        for name, view in zip(names, views, strict=True):
            checks.matrix(name, view)
        checks.same_shape(names, views)
        checks.finite_nonnegative("margin", margin)
        checks.count("repeat", repeat)
        if repeat > 1 and len(views) > 1:
            raise InvalidInput(f"repeat={repeat} repeats one guide view, but {len(views)} were given: drop repeat")
        stacked = at_least_single(torch.cat([v.detach() for v in views]))
        checks.rows_usable("guide", stacked, zero=False)
        self._z = torch.nn.functional.normalize(stacked, dim=1).repeat(repeat, 1)
        self._rows = self._cols = torch.arange(len(self._z), device=self._z.device)
        farthest = (self._z @ self._z.T).amin(1)
        self._bar = torch.maximum(self._nearest_positive(len(views[0])) - margin, farthest)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self._rows), len(self._cols)

    def forbidden(self) -> Tensor:
        """Boolean (N, N)."""
        near = self._z[self._rows] @ self._z[self._cols].T
        return near > self._bar[self._rows][:, None]

    def block(self, rows: Tensor, cols: Tensor) -> Mask:
        """The mask of a sub-matrix."""
        part = object.__new__(Guide)
        part.__dict__.update(self.__dict__, _rows=self._rows[rows], _cols=self._cols[cols])
        return part

    def _nearest_positive(self, n: int) -> Tensor:
        """Similarity of each anchor to its nearest positive, (N,)."""
        by_view = self._z.reshape(len(self._z) // n, n, -1)
        others = [(by_view * by_view.roll(-k, 0)).sum(-1) for k in range(1, len(by_view))]
        return torch.stack(others).amax(0).flatten() if others else self._z.new_ones(n)
