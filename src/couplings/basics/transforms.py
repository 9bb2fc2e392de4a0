"""What torch.compile and torch.func may do with a loss: run it as it is, differentiate it, or be refused in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch._C import _functorch
from torch._compile import _disable_dynamo

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_NOT_COMPILED = (
    "couplings computes losses and couplings outside of compiled graphs, for they look at values (sizes, NaN, "
    "convergence): compile the encoder, and leave fullgraph=True to it"
)


def uncompiled(fn: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """The function as torch.compile sees it: one break of the graph, run as if nothing were compiled.

    As `torch.compiler.disable`, which would load the compiler, a second's work, with this library and not at a call.
    """
    outside = cast(Callable[_Given, _Result], _disable_dynamo(fn))
    # What torch.compiler.disable(reason=...) writes, in versions of torch that know no reason too.
    vars(outside).update(_torchdynamo_disable=True, _torchdynamo_disable_msg=_NOT_COMPILED)
    return outside


def transformed() -> bool:
    """Whether a transform of torch.func is at work: grad, vjp, jvp, vmap."""
    return bool(torch._C._are_functorch_transforms_active())


def one_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same numbers in the same place, as far as can be told without reading them."""
    if a is b or transformed():  # a transform hides where numbers are
        return a is b
    mine, theirs = ((x.untyped_storage()._cdata, x.storage_offset(), x.stride(), x.shape) for x in (a, b))
    return mine == theirs


def fake() -> bool:
    """Whether tensors made now have no numbers (`FakeTensorMode`)."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


@contextmanager
def with_numbers() -> Iterator[None]:
    """Tensors made within have numbers, also while others are fake: constants that are computed on the host."""
    if not fake():
        yield
        return
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    with unset_fake_temporarily():
        yield


def refuse_vmap() -> None:
    """Raise under vmap: what is checked or solved for depends on values."""
    kinds = [level.key() for level in _functorch.get_interpreter_stack() or ()] if transformed() else []
    if _functorch.TransformType.Vmap in kinds:
        raise NotImplementedError(
            "couplings has no vmap (nor jacfwd and hessian, which use it): call the loss once for each batch"
        )


class Opaque(torch.autograd.Function):
    """A function whose both passes are ours, in place and tile by tile: autograd calls it, no other transform may."""

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Raises under torch.func, which would have to look inside."""
        if transformed():
            raise NotImplementedError(
                "couplings gives torch.func no derivative of sums by tiles, sweeps or gathered rows: use "
                "torch.autograd.grad(loss(a, b), a), or a small batch and a loss without sweeps"
            )
        return super().apply(*args, **kwargs)

    @staticmethod
    def refuse_second(what: str) -> None:
        """Raise in a backward pass that is recorded: its derivative would be silently wrong."""
        if torch.is_grad_enabled():
            raise NotImplementedError(
                f"{what} no second derivative: call backward without create_graph=True (small batches of losses "
                "without sweeps have one)"
            )
