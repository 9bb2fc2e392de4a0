"""What several test modules need: inputs, finite differences and a catalogue of all losses."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from couplings import Loss
from couplings.losses import LOSSES
from couplings.losses.base import Options

F64 = torch.float64


def _temperature(t: float) -> dict[str, Any]:
    return {"temperature": t}


@dataclass(frozen=True)
class Case:
    """What tests must know of a loss that its signature does not say. Calling it builds the loss."""

    name: str
    """In configuration files."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Test parameters, where the defaults do not do."""
    at: Callable[[float], dict[str, Any]] | None = _temperature
    """Options that make the loss as hard as a temperature; None where the loss has no scale of its own."""
    learnable: tuple[str, ...] = ("temperature",)
    """Options that may be tensors with gradient."""
    constant: bool = False
    """Plans are constants by definition: the gradient is not the derivative of the value."""
    keys: bool = True
    """Takes a queue; a balanced plan with a target does not, nor what repels nothing."""
    negatives: bool = True
    """Takes negatives of each sample's own; a plan with a column marginal does not, nor what repels nothing."""
    across: bool = False
    """Negatives come from other views, always."""
    within: bool = False
    """Negatives come from an anchor's own view, always."""
    repels: bool = True
    """Has negatives at all."""
    sparse: bool = False
    """Some negatives may have weight zero."""

    @property
    def loss(self) -> type[Loss]:
        return LOSSES[self.name]

    def takes(self, option: str) -> bool:
        """Whether the constructor has that option."""
        parameters = inspect.signature(self.loss).parameters
        return option in parameters or ("options" in parameters and option in Options.__annotations__)

    def looks_at(self, n: int, count: int = 2) -> Tensor:
        """Pairs (N, N) of different samples whose scores the loss depends on."""
        sample, view = torch.arange(n).repeat(count), torch.arange(count).repeat_interleave(n)
        within, pairs = view[:, None] == view, (sample[:, None] != sample) & self.repels
        return pairs & ~within if self.across else pairs & within if self.within else pairs

    def __call__(self, **options: Any) -> Loss:
        return self.loss(**{**self.options, **options})

    def at_temperature(self, t: float, **options: Any) -> Loss:
        """The loss that is as hard as that temperature; as it is when it has no scale."""
        return self(**({} if self.at is None else self.at(t)), **options)


_GCA: dict[str, Any] = {"keys": False, "negatives": False}
"""Balanced plans with a target."""
_ALPHA: dict[str, Any] = {"learnable": (), "constant": True}


def _hardness(t: float) -> dict[str, Any]:
    return {"t_positive": 0.5 / t, "t_negative": 0.5 / t}


_ROWS = [
    Case("infonce"),
    Case("decoupled-infonce"),
    Case("supcon"),
    Case("alignment", repels=False, keys=False, negatives=False),
    Case("clip", across=True),
    Case("siglip", across=True, learnable=("temperature", "bias")),
    Case("rince"),
    Case("gca-ince", **_GCA),
    Case("gca-rince", **_GCA),
    Case("gca-uot", negatives=False, learnable=("temperature", "rho1", "rho2")),
    Case("iot", **_GCA),
    Case("sparse-gca", {"temperature": 1.0, "sweeps": 4}, sparse=True, **_GCA),
    Case("debiased-infonce", sparse=True),
    Case("hcl"),
    Case("hcl-ot", constant=True, negatives=False),
    Case("relaxed-hcl-ot", constant=True, negatives=False),
    Case("scaled-infonce"),
    Case("mine", at=None, learnable=()),
    Case("triplet", {"margin": 1.0}, at=None, learnable=(), sparse=True),
    Case("soft-triplet"),
    Case("n-plus-one-tuplet", at=None, learnable=()),
    Case("lifted-structured", at=None, learnable=(), sparse=True),
    Case("modified-triplet", at=lambda t: {"slope": 1 / t}, learnable=()),
    Case("triplet-contrastive", at=None, learnable=()),
    Case("alpha-cl", **_ALPHA),
    Case("alpha-cl-direct", **_ALPHA),
    Case("alpha-cl-per-sample", **_ALPHA),
    Case("alpha-cl-low-rank", **_ALPHA),
    Case("balanced-alpha-cl", negatives=False, **_ALPHA),
    Case("cacr", at=_hardness, learnable=(), across=True),
    Case("sinkhorn-cacr", at=_hardness, learnable=(), across=True, negatives=False),
    Case("spectral", at=None, learnable=()),
    Case("alignment-uniformity", at=lambda t: {"t": 0.5 / t}, learnable=(), within=True),
]
CASES: dict[str, Case] = {case.loss.__name__: case for case in _ROWS if case.name in LOSSES}
"""Every loss by class name."""


def held(loss: Loss, views: Sequence[Tensor], **sides: Any) -> Callable[..., Tensor]:
    """The loss as a function of the views (and sides) with its couplings held still at these views."""
    couplings = {key: plan.detach() for key, plan in loss.couplings(loss.batch(*views, **sides)).items()}

    def value(*inputs: Tensor, **moved: Tensor) -> Tensor:
        return loss.value(loss.batch(*inputs, **{**sides, **moved}), couplings)

    return value


def with_shift(loss: Any, views: Sequence[Tensor], **sides: Any) -> Loss:
    """The same loss; where it subtracts a shift that depends on the batch, that of these views, as a number."""
    if getattr(loss, "shift", 0.0) is None:
        loss, batch = copy.copy(loss), loss.batch(*views, **sides)
        loss.shift = loss._standing(loss._matches(batch, loss.couplings(batch))).item()
    return loss


def differentiated(name: str, loss: Loss, views: Sequence[Tensor], **sides: Any) -> Callable[..., Tensor]:
    """The function whose derivative the gradient of the loss is: constant plans and shifts held still."""
    if CASES[name].constant:
        return held(loss, views, **sides)
    loss = with_shift(loss, views, **sides)
    return lambda *inputs, **moved: loss(*inputs, **{**sides, **moved})


def unit_views(n: int = 6, d: int = 4, count: int = 2, seed: int = 0, noise: float = 0.5) -> list[Tensor]:
    """Noisy views of random samples on the unit sphere, float64."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(n, d, generator=generator, dtype=F64)
    noisy = [base + noise * torch.randn(n, d, generator=generator, dtype=F64) for _ in range(count)]
    return [torch.nn.functional.normalize(v, dim=1) for v in noisy]


def gradients(fn: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """d fn / d inputs by autograd, zeros where an input has no effect."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    return torch.autograd.grad(fn(*leaves), leaves, allow_unused=True, materialize_grads=True)


def central_differences(fn: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-6) -> Tensor:
    """d fn / d x, entry by entry."""
    result = torch.zeros_like(x)
    for index in range(x.numel()):
        moved = []
        for sign in (1, -1):
            shifted = x.detach().clone()
            shifted.view(-1)[index] += sign * step
            moved.append(fn(shifted).detach())
        result.view(-1)[index] = (moved[0] - moved[1]) / (2 * step)
    return result


def assert_directional(
    fn: Callable[..., Tensor], inputs: Sequence[Tensor], step: float = 1e-6, tol: float = 1e-7
) -> None:
    """Autograd and a central difference agree along three random directions through all inputs at once."""
    analytic = gradients(fn, inputs)
    for _ in range(3):
        way = [torch.randn_like(x) for x in inputs]
        ahead, behind = (
            fn(*(x.detach() + sign * step * w for x, w in zip(inputs, way, strict=True))) for sign in (1, -1)
        )
        numeric = (ahead - behind) / (2 * step)
        exact = sum((g * w).sum() for g, w in zip(analytic, way, strict=True))
        torch.testing.assert_close(torch.as_tensor(exact), numeric, rtol=tol, atol=tol)
