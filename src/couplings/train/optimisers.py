"""Optimisers by name, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from couplings.train.config import OptimiserConfig

__all__ = ["build_optimiser", "rate"]


def build_optimiser(model: nn.Module, loss: nn.Module, config: OptimiserConfig) -> Optimizer:
    """All weights of the model, and what the loss learns (a temperature), which does not decay."""
    groups: list[dict[str, Any]] = [
        {"params": list(model.parameters())},
        {"params": list(loss.parameters()), "weight_decay": 0.0},
    ]
    return _BUILDERS[config.name]([group for group in groups if group["params"]], config)


# Fused: one call for all parameters; on CPU half the time, equal to rounding.
def _adamw(groups: Iterable[Any], config: OptimiserConfig) -> Optimizer:
    return AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def _adam(groups: Iterable[Any], config: OptimiserConfig) -> Optimizer:
    return Adam(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def _sgd(groups: Iterable[Any], config: OptimiserConfig) -> Optimizer:
    momentum, ahead, decay = config.inertia, config.nesterov, config.weight_decay
    return SGD(groups, lr=config.lr, weight_decay=decay, momentum=momentum, nesterov=ahead, fused=True)


def _lars(groups: Iterable[Any], config: OptimiserConfig) -> Optimizer:
    from timm.optim import Lars

    # As SimCLR, BYOL and MoCo v3 have it: biases and batch norms neither decay nor get a rate of their own.
    groups = [
        {**group, "params": weights, **({} if matrices else {"weight_decay": 0.0})}
        for group in groups
        for matrices in (True, False)
        if (weights := [weight for weight in group["params"] if (weight.ndim > 1) == matrices])
    ]
    return Lars(groups, lr=config.lr, weight_decay=config.weight_decay, momentum=config.inertia)


_BUILDERS: dict[str, Callable[[Iterable[Any], OptimiserConfig], Optimizer]] = {
    "adamw": _adamw,
    "adam": _adam,
    "sgd": _sgd,
    "lars": _lars,
}


def rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """The learning rate of a step, from 0, of that many.

    Example:
        >>> config = OptimiserConfig(lr=1.0, warmup_steps=1)
        >>> [round(rate(config, step, 5), 2) for step in range(5)]
        [0.5, 1.0, 0.85, 0.5, 0.15]
    """
    warmup = min(config.warmup_steps, steps // 2)
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
    passed = sum(step >= share * steps for share in config.milestones)
    factor: float = (0.1 if config.factor is None else config.factor) ** passed
    return config.lr * factor
