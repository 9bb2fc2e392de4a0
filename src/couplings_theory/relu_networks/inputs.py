"""Checks and generators that the modules of this folder share."""

from __future__ import annotations

import torch

from couplings.basics import checks


def at_least(name: str, value: int, bound: int) -> None:
    """`value` must be an integer, `bound` or more."""
    checks.count(name, value)
    checks.require(value >= bound, f"{name} must be {bound} or more, got {value}")


def generator_of(seed: int) -> torch.Generator:
    """Random numbers of their own for each seed >= 0."""
    checks.count("seed", seed)
    return torch.Generator().manual_seed(int(seed))
