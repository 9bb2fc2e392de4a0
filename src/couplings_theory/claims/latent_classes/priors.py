"""The class probabilities that the claims look at."""

from __future__ import annotations

from collections.abc import Sequence

Prior = tuple[float, ...]

THIRDS: Prior = (1 / 3, 1 / 3, 1 / 3)
MILD: Prior = (0.6, 0.3, 0.1)
RARE: Prior = (0.85, 0.1, 0.05)
RAREST: Prior = (0.97, 0.02, 0.01)
TWO_RARE: Prior = (0.003, 0.2298, 0.4257, 0.0087, 0.3328)


def zipf(classes: int) -> Prior:
    """Probabilities in proportion to 1, 1/2, 1/3, ..."""
    total = sum(1 / rank for rank in range(1, classes + 1))
    return tuple(1 / rank / total for rank in range(1, classes + 1))


def in_percent(prior: Sequence[float]) -> str:
    """For labels: 85 / 10 / 5 %."""
    return " / ".join(f"{100 * share:.0f}" for share in prior) + " %"
