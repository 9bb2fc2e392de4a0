"""Maps, laws and numbers that the claims about the game share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from couplings_theory.claim import Check, at_most
from couplings_theory.minmax import Descent, Positives, Psi, WorstCoupling, gains

F64 = torch.float64
INSTANCES = torch.arange(4).repeat_interleave(2)
VIEWS, RING = Positives.of_groups(INSTANCES), Positives.ring(8)


def random_map(rows: int, dim: int, seed: int) -> Tensor:
    """Random unit rows, (rows, dim)."""
    drawn = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return torch.nn.functional.normalize(drawn, dim=1)


def simplex(count: int) -> Tensor:
    """Unit rows with inner products -1 / (count - 1), (count, count)."""
    return torch.nn.functional.normalize(torch.eye(count, dtype=F64) - 1 / count, dim=1)


def floor_of(psi: Psi, negatives: int = 1) -> float:
    """psi(0, ..., 0)."""
    return float(psi(torch.zeros(negatives, dtype=F64)))


def misalignments(embeddings: Tensor, positives: Positives) -> Tensor:
    """1 - f(x).f(x+) of each positive pair, (K,), for unit rows."""
    x, positive = embeddings[positives.pairs].unbind(1)
    return 1 - (x * positive).sum(1)


def independent(embeddings: Tensor, positives: Positives, psi: Psi, negatives: int = 1) -> float:
    """E psi with negatives that are independent of the positive pair and of each other."""
    values = gains(embeddings, positives, psi, negatives=negatives)
    for _ in range(negatives):
        values = values @ positives.mass
    return float(positives.weights @ values)


def certified(solved: Sequence[WorstCoupling]) -> tuple[Check, Check]:
    """That linear programs were solved."""
    return (
        at_most("largest gap of the dual certificate of a linear program", max(w.gap for w in solved), 0.0, 1e-9),
        at_most("largest miss of a marginal by a worst coupling", max(w.marginal_error for w in solved), 0.0, 1e-9),
    )


def furthest(values: Sequence[float], centre: float) -> float:
    """The value that lies furthest from the centre."""
    return max(values, key=lambda value: abs(value - centre))


def most(measure: Callable[[Descent], float], ends: Sequence[Descent]) -> float:
    """The largest measure of all runs."""
    return max(measure(end) for end in ends)


def largest_distance(end: Descent) -> float:
    """Of any two points."""
    z = end.embeddings
    return float(torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").max())


def positive_distance(law: Positives, end: Descent) -> float:
    """The largest |f(x) - f(x+)|."""
    x, positive = end.embeddings[law.pairs].unbind(1)
    return float((x - positive).norm(dim=1).max())
