"""Random numbers that depend on the run's seed, their purpose and the step alone.

So nothing random has to be kept: a run that continues at step 700 draws what it would have drawn, and each of several
processes draws the same.
"""

from __future__ import annotations

from enum import IntEnum

import torch

__all__ = ["Purpose", "generator", "seed_of"]

_MASK = 2**64 - 1


class Purpose(IntEnum):
    """What random numbers are for; each has a stream of its own."""

    ORDER = 1
    PAIRS = 2
    VIEWS = 3
    NETWORK = 4


def seed_of(seed: int, purpose: Purpose, step: int) -> int:
    """A seed of 63 bits; neighbouring steps get unrelated ones (SplitMix64).

    Example:
        >>> seed_of(0, Purpose.VIEWS, 1) != seed_of(0, Purpose.VIEWS, 2)
        True
    """
    mixed = seed
    for part in (purpose, step):
        mixed = _mix((mixed ^ _mix(part)) + 0x9E3779B97F4A7C15)
    return mixed >> 1


def _mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def generator(seed: int, purpose: Purpose, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator at the start of its stream."""
    return torch.Generator(device).manual_seed(seed_of(seed, purpose, step))
