"""What every loss shares: a call becomes a `Batch`, couplings are solved on it, a formula gives the value."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from .. import checks
from ..coupling import Coupling
from ..marginals import Free
from ..precision import full_precision
from ..scores import Scores
from ..solve import couple
from .batch import Batch, as_matrix
from .build import Reading, Sides, build
from .health import Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in typing from Python 3.11 on

Couplings = Mapping[str, Coupling]


def parameters_of(kind: type[Loss]) -> dict[str, inspect.Parameter]:
    """The constructor parameters of a loss by name, the shared options in place of `**options`."""
    own = inspect.signature(kind).parameters
    shared = inspect.signature(Loss.__init__).parameters
    options = {name: shared[name] for name in Options.__annotations__}
    return {
        name: parameter
        for given, part in own.items()
        for name, parameter in (options if given == "options" else {given: part}).items()
    }


class Options(TypedDict, total=False):
    """What a loss with negatives from the batch takes beside its own parameters; see `Loss`."""

    normalize: bool
    across_views: bool


class Loss(nn.Module, ABC):
    """A loss is a choice of couplings and a value of them.

    A subclass says both in a few lines: `couplings(batch)` and `value(batch, couplings)`. The base class turns
    calls into batches and gives every loss `coupling` and `pair_weights`.

    Args:
        normalize: scale rows to unit norm (default), so that scores are cosines; otherwise embeddings are taken
            as they are, scores are inner products and gradients reach the norms. The gradient in a normalised row grows
            as 1 / norm; a zero row, or one shorter than 1e-12, is refused.
        across_views: negatives from the batch come from other views than the anchor's only; by default from all.
    """

    takes_domains: bool = False
    takes_target: ClassVar[bool] = False
    labels_attract: bool = False

    def __init__(self, *, normalize: bool = True, across_views: bool = False) -> None:
        super().__init__()
        checks.flag("normalize", normalize)
        checks.flag("across_views", across_views)
        self.normalize, self.across_views = normalize, across_views
        self._watch = Watch()

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The couplings of this loss, by name; none for a loss of pointwise pair weights."""
        return {}

    @abstractmethod
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The loss, 0-dim, from the batch and its couplings."""

    def forward(self, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
        """The loss of two or more views (n, d) of the same samples, a 0-dim tensor.

        Keyword arguments (see `Sides`): `labels` (n,), `ids` (n,), `keys` (m, d), `key_ids` (m,), `negatives`
        (n, k, d), `mask` (N, M), and where the loss matches them `domains` (n,) and `target` (N, M). Half precision is
        computed in single, under autocast too.

        Raises:
            InvalidInput: NaN, inf, a zero row, one sample, unequal shapes, integers, an argument that this loss would
                ignore; the message says what to do.

        Warns:
            CouplingWarning: once, when all rows are equal; once, when samples are duplicated within a view.
        """
        with _full_precision(views):
            batch = self.batch(*views, **sides)
            return self.value(batch, self.couplings(batch))

    def batch(self, *views: Tensor, **sides: Unpack[Sides]) -> Batch:
        """The validated batch of a call."""
        kind = type(self).__name__
        for name, taken in (("domains", self.takes_domains), ("target", self.takes_target)):
            given = sides.get(name) is not None
            checks.require(taken or not given, f"{kind} would ignore {name}=: {_REMEDY[name]}")
        batch = build(views, sides, Reading(self.normalize, self.across_views, self.labels_attract))
        self._watch.look(views, sides.get("ids"))
        return batch

    def coupling(self, *views: Tensor, **sides: Unpack[Sides]) -> dict[str, Coupling]:
        """The solved couplings of a call, by name; rows in block order (view 1's samples, then view 2's).

        A loss without a plan of its own shows "repulsion", the plan that its repelling pair weights make.
        """
        with _full_precision(views):
            batch = self.batch(*views, **sides)
            return self.shown(batch)

    def shown(self, batch: Batch) -> dict[str, Coupling]:
        """What `coupling` returns: the couplings, or the one that the gradient implies where there are none."""
        return self.couplings(batch) or {"repulsion": _as_plan(self._weights(batch))}

    def pair_weights(self, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
        """w_ij = d loss / d s_ij, the pull of candidate j on anchor i, shape (N, M).

        s is the matrix of inner products of the (normalised) rows; s_ij and s_ji count as independent and
        stop-gradients are respected. Negative: the pair attracts. Positive: it repels. O(N M) memory.
        """
        with _full_precision(views):
            return self._weights(self.batch(*views, **sides))

    def _weights(self, batch: Batch) -> Tensor:
        with torch.enable_grad():
            matrix, gram = as_matrix(batch.gram)
            free = batch.with_gram(gram)
            (weights,) = torch.autograd.grad(self.value(free, self.couplings(free)), matrix)
        return weights

    def extra_repr(self) -> str:
        """Parameters of the constructor, as passed; options only where they differ from the default."""
        usual = {"normalize": True, "across_views": False}
        values = {name: getattr(self, name) for name in parameters_of(type(self)) if hasattr(self, name)}
        shown = {k: v for k, v in values.items() if usual.get(k) is not v and not inspect.ismethod(v)}
        return ", ".join(f"{name}={_number(value)!r}" for name, value in shown.items())


def _number(value: object) -> object:
    return value.item() if isinstance(value, Tensor) else value


_REMEDY = {
    "domains": "pass it to a loss with target=Domains(within, across), such as GCAINCE",
    "target": "pass it to a loss that matches a target, such as GCAINCE or SupCon",
}


def _as_plan(weights: Tensor) -> Coupling:
    """Pair weights above zero as the plan of a kernel, mass as it is: log(n m w) over Free sides."""
    return couple(Scores.given(torch.log(weights.clamp_min(0) * weights.numel())), Free(), Free())


def _full_precision(views: tuple[Tensor, ...]) -> torch.autocast:
    device = views[0].device if views and isinstance(views[0], Tensor) else torch.device("cpu")
    return full_precision(device)
