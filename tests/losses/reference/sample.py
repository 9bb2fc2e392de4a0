"""Losses over negatives that are sampled by weight: debiased, hard, transported."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .plans import conditional, converged, half_step, sweep, uniform
from .world import Temperature, World, mean_over_positives, softmax_over, sum_over


def expected_loss(w: World, weights: Tensor, temperature: Temperature, tau_plus: float) -> Tensor:
    """-log k_p / (k_p + Ng), Ng = N' max((E_w[k] - tau_plus k_p) / (1 - tau_plus), e^{-1/t})."""
    k = (w.s / temperature).exp()
    expected = sum_over(weights * k, w.negatives)[:, None]
    debiased = (expected - tau_plus * k) / (1 - tau_plus)
    floor = torch.exp(-1 / torch.as_tensor(temperature, dtype=torch.float64))
    ng = w.negatives.sum(1, keepdim=True) * torch.maximum(debiased, floor)
    return mean_over_positives(w, ((k + ng) / k).log())


def hcl(
    w: World,
    temperature: Temperature = 0.3,
    beta: float = 1.0,
    tau_plus: float = 0.0,
    detach_weights: bool = False,
) -> Tensor:
    """w_ij = softmax over the negatives of beta s_ij / t."""
    weights = softmax_over(beta * w.s / temperature, w.negatives)
    return expected_loss(w, weights.detach() if detach_weights else weights, temperature, tau_plus)


def debiased_infonce(w: World, temperature: Temperature = 0.2, tau_plus: float = 0.01) -> Tensor:
    """Negatives weighed alike."""
    return expected_loss(w, w.negatives.double() / w.negatives.sum(1, keepdim=True), temperature, tau_plus)


def hcl_ot(
    w: World,
    temperature: Temperature = 0.5,
    reg: float = 0.7,
    tau_plus: float = 0.0,
    cost: str = "sqeuclidean",
    kappa: float = 1.0,
    rule: float = 1.0,
    sweeps: int | None = None,
    detach_weights: bool = True,
    rho: float | None = None,
) -> Tensor:
    """Weights are the rows of a plan over the negatives: columns fixed, or softened by KL(rho).

    P(j | i) = phi(theta_i + gamma_j - C_ij / reg), so the plan against a x b has regularisation reg M^{q - 1}.
    """
    price = w.D if cost == "sqeuclidean" else (w.D - kappa).exp()
    n, m = price.shape
    x = torch.where(w.negatives, -price / (reg * m ** (rule - 1)), -torch.inf)
    c = 0.0 if rho is None else reg / rho
    step = half_step(rule)
    with torch.set_grad_enabled(not detach_weights):
        if sweeps is None:
            p = converged(x, uniform(n), uniform(m), c=c, step=step)
        else:
            p = sweep(x, uniform(n), uniform(m), sweeps, c=(0.0, c), step=step)
        weights = conditional(x, uniform(m), p, rule)
    return expected_loss(w, weights, temperature, tau_plus)


def relaxed_hcl_ot(w: World, reg: float = 0.7, rho: float = 1.0, **others: Any) -> Tensor:
    """HCL-OT with columns KL(rho)."""
    return hcl_ot(w, reg=reg, rho=rho, **others)
