"""What every loss shares: a call becomes a `Batch`, couplings are solved on it, a formula gives the value."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..basics import checks
from ..basics.errors import InvalidInput, did_you_mean
from ..basics.looks import one_look
from ..basics.precision import full_precision, single_at_least
from ..basics.transforms import refuse_vmap, uncompiled
from ..batches.distributed import gathering, processes
from ..pieces.marginals import Free
from ..plans.coupling import Coupling
from ..plans.scores import Scores
from ..plans.solve import couple
from .batch import Batch, as_matrix
from .build import Reading, Sides, build
from .gather import Call, in_words, joined
from .health import Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in typing from Python 3.11 on

    from ..batches.distributed import Gather

Couplings = Mapping[str, Coupling]


def parameters_of(kind: type[Loss]) -> dict[str, inspect.Parameter]:
    """The constructor parameters of a loss by name, the shared options in place of `**options`."""
    own = inspect.signature(kind).parameters
    shared = inspect.signature(Loss.__init__).parameters
    learnable = inspect.Parameter("learnable", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool")
    options = {"learnable": learnable} if kind.tempered else {}
    options |= {name: shared[name] for name in Options.__annotations__}
    return {
        name: parameter
        for given, part in own.items()
        for name, parameter in (options if given == "options" else {given: part}).items()
    }


class Options(TypedDict, total=False):
    """What a loss with negatives from the batch takes beside its own parameters; see `Loss`."""

    normalize: bool
    across_views: bool
    gather: Gather


class Loss(nn.Module, ABC):
    """A loss is a choice of couplings and a value of them.

    A subclass says both in a few lines: `couplings(batch)` and `value(batch, couplings)`. The base class turns
    calls into batches and gives every loss `coupling` and `pair_weights`.

    Args:
        learnable: of a loss with a temperature: learn it, from the given number on and not below 0.01, as the parameter
            `log_scale` = log(1 / temperature), which belongs to the optimiser; `temperature` is read off it.
        normalize: scale rows to unit norm (default), so that scores are cosines; otherwise embeddings are taken
            as they are, scores are inner products and gradients reach the norms. The gradient in a normalised row grows
            as 1 / norm; a zero row, or one shorter than 1e-12, is refused, and in float16 the gradient of a row
            shorter than 1e-3 may overflow. Rows taken as they are may be 1e6 long: above 100, where inner products
            leave single precision too few digits, they are computed in double, and a loss that overflows is refused.
        across_views: negatives from the batch come from other views than the anchor's only; by default from all.
        gather: where torch.distributed is initialised, the batch is that of all processes, each of which passes its
            share of the samples (default); with False each process has a batch of its own. A process group, or one
            dimension of a `DeviceMesh`, shares its batch in place of all: the processes of data parallel training,
            where others hold other parts of the model.
    """

    tempered: ClassVar[bool] = False
    repels: ClassVar[bool] = True
    shares_columns: ClassVar[bool] = False
    weighs_positives: ClassVar[bool] = False
    takes_target: ClassVar[bool] = False
    takes_domains: bool = False
    labels_attract: bool = False

    def __init__(
        self, *, normalize: bool = True, across_views: bool = False, gather: Gather = True, **unknown: object
    ) -> None:
        for name in unknown:
            hint = did_you_mean(name, parameters_of(type(self)))
            raise TypeError(f"{type(self).__name__} has no parameter {name!r}: {hint}")
        super().__init__()
        checks.flag("normalize", normalize)
        checks.flag("across_views", across_views)
        self.normalize, self.across_views, self.gather = normalize, across_views, gathering(gather)
        self._watch = Watch()

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The couplings of this loss, by name; none for a loss of pointwise pair weights."""
        return {}

    @abstractmethod
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The loss, 0-dim, from the batch and its couplings."""

    @uncompiled
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
        with one_look(), _full_precision(views):
            batch = self.batch(*views, **sides)
            value = self.value(batch, self.couplings(batch)).reshape(()).to(single_at_least(*views))
            if not self.normalize:
                checks.finite_value(value)
            return value

    def batch(self, *views: Tensor, **sides: Unpack[Sides]) -> Batch:
        """The validated batch of a call; over processes that of all of them, after a word with each."""
        refuse_vmap()
        call = self._gathered(views, sides) if self._shared() else Call(views, sides)
        views, sides = tuple(call.views), call.sides
        for name, remedy in self._ignored(sides):
            given = sides.get(name) is not None
            checks.require(not given, f"{type(self).__name__} would ignore {name}=: {remedy}")
        if self.shares_columns and sides.get("negatives") is not None:
            raise InvalidInput(
                f"{type(self).__name__} balances mass over columns that all anchors share, but negatives= gives each "
                "anchor its own: pass them as keys=, or use a loss with free columns such as InfoNCE, HCL or CACR"
            )
        reading = Reading(self.normalize, self.across_views, self.labels_attract, self.repels)
        batch = build(views, sides, reading, call.shares)
        self._watch.look(batch, twins=self.repels)
        return batch

    def _shared(self) -> bool:
        """Whether several processes share the batch."""
        possible = self.gather is not False and dist.is_available() and dist.is_initialized()
        return possible and processes(self.gather) > 1

    def _gathered(self, views: tuple[Tensor, ...], sides: Sides) -> Call:
        return joined(views, sides, {"the loss": in_words(type(self), self._settings())}, self.gather)

    def _ignored(self, sides: Sides) -> Iterator[tuple[str, str]]:
        """Arguments without effect on this loss, and what to do instead."""
        if not self.takes_domains:
            yield "domains", "pass it to a loss with target=Domains(within, across), such as GCAINCE"
        if not self.takes_target:
            yield "target", "pass it to a loss that matches a target, such as GCAINCE or SupCon"
        if self.labels_attract and sides.get("target") is not None:
            yield "labels", "target= says what attracts; drop one of them"
        if not self.repels:
            yield from ((name, "it repels nothing, so nothing can be masked or added; drop it") for name in _NEGATIVES)

    def coupling(self, *views: Tensor, **sides: Unpack[Sides]) -> dict[str, Coupling]:
        """The solved couplings of a call, by name; rows in block order (view 1's samples, then view 2's).

        A loss without a plan of its own shows "repulsion", the plan that its repelling pair weights make.
        """
        with one_look(), _full_precision(views), torch.inference_mode(False):
            return self.shown(self.batch(*_usable(views), **_usable_sides(sides)))

    def shown(self, batch: Batch) -> dict[str, Coupling]:
        """What `coupling` returns: the couplings, or the one that the gradient implies where there are none."""
        return self.couplings(batch) or {"repulsion": _as_plan(self._weights(batch))}

    def apart(self) -> Loss:
        """The same loss, with what it learns, for looking at: on this process alone, and without warnings."""
        other = copy.copy(self)
        other.gather, other._watch = False, Watch(silent=True)
        return other

    def pair_weights(self, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
        """w_ij = d loss / d s_ij, the pull of candidate j on anchor i, shape (N, M).

        s is the matrix of inner products of the (normalised) rows; s_ij and s_ji count as independent and
        stop-gradients are respected. Negative: the pair attracts. Positive: it repels. O(N M) memory.
        """
        with one_look(), _full_precision(views), torch.inference_mode(False):
            return self._weights(self.batch(*_usable(views), **_usable_sides(sides)))

    def _weights(self, batch: Batch) -> Tensor:
        with torch.enable_grad():
            matrix, gram = as_matrix(batch.gram)
            free = batch.with_gram(gram)
            (weights,) = torch.autograd.grad(self.value(free, self.couplings(free)), matrix)
        return weights

    def extra_repr(self) -> str:
        """Parameters of the constructor, as passed; options only where they differ from the default."""
        usual = {"normalize": True, "across_views": False, "gather": True, "learnable": False}
        shown = {k: v for k, v in self._settings().items() if usual.get(k) is not v}
        return ", ".join(f"{name}={_number(value)!r}" for name, value in shown.items())

    def _settings(self) -> dict[str, object]:
        """Parameters of the constructor by name, as passed."""
        values = {name: getattr(self, name) for name in parameters_of(type(self)) if hasattr(self, name)}
        return {name: vars(self).get(f"_{name}", value) for name, value in values.items()}


def _number(value: object) -> object:
    return float(f"{value.item():.6g}") if isinstance(value, Tensor) else value


def _usable(values: Iterable[object]) -> tuple[Any, ...]:
    """Tensors that gradients can be taken through, whatever mode they were made in."""
    return tuple(v.clone() if isinstance(v, Tensor) and v.is_inference() else v for v in values)


def _usable_sides(sides: Sides) -> Sides:
    return cast(Sides, dict(zip(sides, _usable(sides.values()), strict=True)))


_NEGATIVES = ("labels", "ids", "keys", "key_ids", "negatives", "mask")
"""Arguments that say who repels whom."""


def _as_plan(weights: Tensor) -> Coupling:
    """Pair weights above zero as the plan of a kernel, mass as it is: log(n m w) over Free sides."""
    return couple(Scores.given(torch.log(weights.clamp_min(0) * weights.numel())), Free(), Free())


def _full_precision(views: tuple[Tensor, ...]) -> torch.autocast:
    device = views[0].device if views and isinstance(views[0], Tensor) else torch.device("cpu")
    return full_precision(device)
