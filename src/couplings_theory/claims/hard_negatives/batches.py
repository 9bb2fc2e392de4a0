"""What the claims about hard negatives share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from couplings.plans.coupling import Coupling
from couplings_theory.hard_negatives import clustered_views

Tilt = Callable[[Sequence[Tensor], float], Coupling]
Transport = Callable[..., Coupling]
Views = tuple[Tensor, Tensor]


def batch(seed: int = 0, samples: int = 24) -> Views:
    """Two views of samples in four clusters."""
    view, other, _ = clustered_views(samples, seed=seed)
    return view, other
