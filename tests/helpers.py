"""What several test modules need: inputs, finite differences and the six losses by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from couplings import CACR, GCAINCE, HCL, HCLOT, AlphaCLDirect, InfoNCE, Loss

F64 = torch.float64

SIX: dict[str, Callable[..., Loss]] = {
    "InfoNCE": InfoNCE,
    "HCL": HCL,
    "HCLOT": HCLOT,
    "GCAINCE": GCAINCE,
    "AlphaCLDirect": AlphaCLDirect,
    "CACR": CACR,
}
DETACHED = ("HCLOT", "AlphaCLDirect")
"""Losses whose plan is a constant by definition: the gradient is not the derivative of the value."""


def at_temperature(name: str, temperature: float) -> Loss:
    """The loss with that temperature; CACR's hardness is its inverse."""
    if name == "CACR":
        return CACR(t_positive=0.5 / temperature, t_negative=0.5 / temperature)
    return SIX[name](temperature=temperature)


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
