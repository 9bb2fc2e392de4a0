"""What every loss shares: a call becomes a `Batch`, couplings are solved on it, a formula gives the value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .. import checks
from ..coupling import Coupling
from ..precision import full_precision
from .batch import Batch, Sides, as_matrix, build

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in typing from Python 3.11 on

Couplings = Mapping[str, Coupling]


class Loss(nn.Module, ABC):
    """A loss is a choice of couplings and a value of them.

    A subclass says both in a few lines: `couplings(batch)` and `value(batch, couplings)`. The base class turns
    calls into batches and gives every loss `coupling` and `pair_weights`.

    Args:
        normalize: scale rows to unit norm (default), so that scores are cosines; otherwise embeddings are taken
            as they are, scores are inner products and gradients reach the norms. The gradient in a normalised row grows
            as 1 / norm; a zero row, or one shorter than 1e-12, is refused.
    """

    def __init__(self, *, normalize: bool = True) -> None:
        super().__init__()
        checks.flag("normalize", normalize)
        self.normalize = normalize

    @abstractmethod
    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The couplings of this loss, by name."""

    @abstractmethod
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The loss, 0-dim, from the batch and its couplings."""

    def forward(self, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
        """The loss of two or more views (n, d) of the same samples, a 0-dim tensor.

        Keyword arguments (see `Sides`): `labels` (n,), `ids` (n,), `keys` (m, d), `key_ids` (m,) and
        `negatives` (n, k, d). Half precision is computed in single, under autocast too.

        Raises:
            InvalidInput: NaN, inf, a zero row, one sample, unequal shapes, integers; the message says what to do.
        """
        with _full_precision(views):
            batch = self.batch(*views, **sides)
            return self.value(batch, self.couplings(batch))

    def batch(self, *views: Tensor, **sides: Unpack[Sides]) -> Batch:
        """The validated batch of a call."""
        return build(views, sides, normalize=self.normalize)

    def coupling(self, *views: Tensor, **sides: Unpack[Sides]) -> dict[str, Coupling]:
        """The solved couplings of a call, by name; rows in block order (view 1's samples, then view 2's)."""
        with _full_precision(views):
            return self.couplings(self.batch(*views, **sides))

    def pair_weights(self, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
        """w_ij = d loss / d s_ij, the pull of candidate j on anchor i, shape (N, M).

        s is the matrix of inner products of the (normalised) rows; s_ij and s_ji count as independent and
        stop-gradients are respected. Negative: the pair attracts. Positive: it repels. O(N M) memory.
        """
        with _full_precision(views), torch.enable_grad():
            batch = self.batch(*views, **sides)
            matrix, gram = as_matrix(batch.gram)
            free = batch.with_gram(gram)
            (weights,) = torch.autograd.grad(self.value(free, self.couplings(free)), matrix)
        return weights

    def extra_repr(self) -> str:
        """Parameters, as passed."""
        public = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "training"}
        return ", ".join(f"{name}={value!r}" for name, value in public.items())


def _full_precision(views: tuple[Tensor, ...]) -> torch.autocast:
    device = views[0].device if views and isinstance(views[0], Tensor) else torch.device("cpu")
    return full_precision(device)
