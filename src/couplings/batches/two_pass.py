"""GradCache (Gao et al. 2021): a batch as large as the loss wants, through an encoder that fits a part of it.

    first pass   z_k = encoder(x_k) for each micro-batch x_k, without its activations
    loss         one call on all rows of z; its gradient dL/dz costs what the embeddings cost
    second pass  encoder(x_k) once more, with activations; dL/dw = sum_k (dz_k/dw)^T dL/dz_k

The first two happen when the loss is called, the second pass within its `backward()`, so loops, scalers and wrappers
of the encoder need not know. Each micro-batch is a checkpoint of torch, which repeats random numbers and autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import is_lazy
from torch.utils.checkpoint import checkpoint

from ..basics import checks
from ..basics.errors import warn

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_TRACKING = (*_BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


class TwoPass:
    """An encoder that keeps the activations of one micro-batch, whatever the batch: GradCache for any loss.

    Call it as the encoder is called, hand the embeddings to a loss, and go on as always. Gradients are those of the
    one-pass step up to rounding. The price is one more forward of the encoder: about 4/3 of the time.

    Args:
        encoder: a module or a function; what it returns (a tensor, or a tuple, list or mapping of tensors) has a row
            for each row of its input, and no row depends on another. Beside them may stand what is the same for all
            rows: 0-dim tensors (a learnt scale), words, numbers, None. It may draw augmented views itself, so that they
            never lie in memory together.
        micro_batch: rows that are encoded at a time, >= 1; it need not divide the batch.
        generators: those that the encoder draws from beside torch's global ones; the second pass repeats the numbers.

    Shape:
        Tensors among the arguments, also inside of tuples, lists and mappings, have n rows and are cut along them;
        anything else reaches the encoder as it is. Returns what the encoder returns for n rows; a mapping as a dict.

    Raises:
        InvalidInput: micro_batch is no integer >= 1; arguments without rows or of unequal length; an encoder that
            does not return a row for each row, or whose 0-dim tensors, words or numbers differ between micro-batches.

    Warns:
        CouplingWarning: once, if the encoder takes batch statistics: each micro-batch has its own, and the gradient is
            not that of the one-pass step. Running statistics are updated by the first pass only.

    Source:
        Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".

    Example:
        >>> import torch
        >>> from couplings import InfoNCE, TwoPass
        >>> encoder, loss = torch.nn.Linear(8, 4), InfoNCE()
        >>> encode = TwoPass(encoder, micro_batch=3)
        >>> loss(encode(torch.randn(10, 8)), encode(torch.randn(10, 8))).backward()
        >>> encoder.weight.grad.shape
        torch.Size([4, 8])
    """

    def __init__(
        self, encoder: Callable[..., Any], micro_batch: int, generators: Sequence[torch.Generator] = ()
    ) -> None:
        checks.require(callable(encoder), f"encoder must be a module or a function, got {type(encoder).__name__}")
        checks.count("micro_batch", micro_batch)
        checks.require(micro_batch >= 1, "micro_batch must be at least one row, got 0")
        self.encoder, self.micro_batch, self.generators = encoder, int(micro_batch), tuple(generators)
        self._warned = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the encoder returns for these arguments."""
        rows = _rows((args, kwargs))
        watched = _watched(self.encoder)
        outputs = []
        for start in range(0, rows, self.micro_batch):
            part = slice(start, min(start + self.micro_batch, rows))
            replay = _Replay(self.encoder, self.generators)
            inputs = [tensor[part] for tensor in _tensors((args, kwargs))]
            encode = partial(_encode, self.encoder, (args, kwargs), len(inputs))
            output = checkpoint(encode, *inputs, *watched, use_reentrant=False, context_fn=replay.contexts)
            _check_output(output, part.stop - part.start)
            self._warn_once(replay.seen, rows)
            outputs.append(output)
        return _join(outputs)

    def _warn_once(self, norms: Iterable[nn.Module], rows: int) -> None:
        takes = [norm for norm in norms if isinstance(norm, _BATCH_NORMS) and _of_the_batch(norm)]
        if self._warned or not takes or rows <= self.micro_batch:
            return
        self._warned = True
        warn(
            f"the encoder holds batch norm ({type(takes[0]).__name__}, {len(takes)} in all), whose statistics are now "
            f"those of {self.micro_batch} samples instead of {rows}: gradients differ from those of one pass. Use "
            "group or layer norm, or freeze the statistics (.eval() on these layers); SyncBatchNorm does not help"
        )


def _encode(encoder: Callable[..., Any], arguments: Any, count: int, *tensors: Tensor) -> Any:
    """The encoder's output of the arguments, so many tensors put in; the others are for `checkpoint` to look at.

    Each pass has containers of its own: what an encoder writes into a mapping that it is given ends with the pass.
    """
    given = iter(tensors[:count])
    args, kwargs = _each(lambda _: next(given), arguments)
    return encoder(*args, **kwargs)


@dataclass
class _Replay:
    """What the second pass of a micro-batch must find as the first did, and leave as the first left it."""

    encoder: Callable[..., Any]
    generators: tuple[torch.Generator, ...]
    seen: dict[nn.Module, None] = field(default_factory=dict)
    """Normalisations that take or track statistics, in their order; known after the first pass."""

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Around the first pass, around the second."""
        states = [generator.get_state() for generator in self.generators]
        return self._first(), _Reusable(partial(self._second, states))

    @contextmanager
    def _first(self) -> Iterator[None]:
        if isinstance(self.encoder, nn.Module):
            self._see(self.encoder)
            yield
            return
        # Modules that a function calls show themselves only then.
        hook = register_module_forward_pre_hook(lambda module, _: self._see(module))
        try:
            yield
        finally:
            hook.remove()

    def _see(self, module: nn.Module) -> None:
        self.seen |= {inner: None for inner in module.modules() if isinstance(inner, _TRACKING)}

    @contextmanager
    def _second(self, states: list[Tensor]) -> Iterator[None]:
        now = [generator.get_state() for generator in self.generators]
        buffers = [buffer for norm in self.seen for buffer in norm.buffers()]
        kept = [buffer.clone() for buffer in buffers]
        _set_states(self.generators, states)
        try:
            yield
        finally:
            _set_states(self.generators, now)
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)


class _Reusable(AbstractContextManager[None]):
    """A context made anew whenever it is entered: a graph that is kept is gone through again."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make

    def __enter__(self) -> None:
        self._current = self._make()
        self._current.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._current.__exit__(*error)


def _set_states(generators: Sequence[torch.Generator], states: Sequence[Tensor]) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)


def _of_the_batch(norm: nn.Module) -> bool:
    """Whether a batch norm takes its statistics from the batch."""
    return norm.training or norm.running_mean is None


def _watched(encoder: Callable[..., Any]) -> list[Tensor]:
    """What `checkpoint` looks at beside the inputs: parameters that may not change, devices of random numbers."""
    if isinstance(encoder, nn.Module):
        return [parameter for parameter in encoder.parameters() if not is_lazy(parameter)]
    if torch.accelerator.is_available() and (current := torch.accelerator.current_accelerator()) is not None:
        return [torch.empty(0, device=current)]
    return []


def _each(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`value` with the function applied to every tensor in it."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _each(function, inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        # A named tuple takes its fields one by one.
        make = getattr(type(value), "_make", type(value))
        return make([_each(function, inner) for inner in value])
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """What is left when tuples, lists and mappings are opened."""
    if isinstance(value, Mapping | tuple | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(inner)
    else:
        yield value


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in _leaves(value) if isinstance(leaf, Tensor)]


def _rows(arguments: Any) -> int:
    """The one length of all tensors."""
    shapes = [tuple(tensor.shape) for tensor in _tensors(arguments)]
    checks.require(bool(shapes), "there is no tensor to split into micro-batches: pass the encoder's inputs as tensors")
    checks.require(() not in shapes, "a 0-dim tensor has no rows to split: pass it as a number")
    lengths = {shape[0] for shape in shapes}
    listed = ", ".join(map(str, shapes))
    checks.require(len(lengths) == 1, f"all tensors must have as many rows, got shapes {listed}")
    checks.require(0 not in lengths, f"the batch is empty: shapes {listed}; pass at least one row")
    return shapes[0][0]


_PLAIN = str | int | float | bool | None
"""What may stand beside the embeddings."""


def _check_output(output: Any, rows: int) -> None:
    """A row for each row of the input, in every tensor but those of no dimension that stand beside others."""
    leaves, tensors = list(_leaves(output)), _tensors(output)
    kinds = [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor)]
    foreign = [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor | _PLAIN)]
    came = ", ".join(foreign or kinds) or f"an empty {type(output).__name__}"
    checks.require(
        bool(tensors) and not foreign,
        f"the encoder returned {came}: it must return a tensor, or a tuple, list or mapping of tensors",
    )
    for tensor in [tensor for tensor in tensors if tensor.dim()] or tensors:
        checks.require(
            tensor.dim() > 0 and len(tensor) == rows,
            f"the encoder returned shape {tuple(tensor.shape)} for a micro-batch of {rows} rows: its output must have "
            "a row for each row of its input",
        )


def _join(outputs: Sequence[Any]) -> Any:
    """The outputs of the micro-batches, one below the other."""
    first = outputs[0]
    if isinstance(first, Tensor) and first.dim():
        return torch.cat(list(outputs))
    if isinstance(first, Tensor | _PLAIN):
        for other in outputs[1:]:
            checks.require(
                torch.equal(first, other) if isinstance(first, Tensor) else first == other,
                f"the encoder returned {_number(first)} for one micro-batch and {_number(other)} for another: what has "
                "no rows must not depend on them; return the embeddings alone",
            )
        return first
    if isinstance(first, Mapping):
        return {key: _join([output[key] for output in outputs]) for key in first}
    make = getattr(type(first), "_make", type(first))
    return make([_join(inner) for inner in zip(*outputs, strict=True)])


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value
