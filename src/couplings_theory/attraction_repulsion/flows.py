"""Free embeddings that repel each other, along the gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from couplings import Coupling
from couplings.basics import checks

from .plans import _scores, mutual_information, repulsion_plan

__all__ = ["Flow", "random_rows", "repelled", "repulsion_flow"]


@dataclass(frozen=True)
class Flow:
    """Embeddings along a gradient flow, record 0 before the first step.

    Attributes:
        embeddings: unit rows, (steps + 1, M, d).
        values: the repulsion, (steps + 1,).
        information: mutual information of query and negative in nats, (steps + 1,).
        entropies: mean entropy of a query's weights, H(negative | query), in nats, (steps + 1,).
    """

    embeddings: Tensor
    values: Tensor
    information: Tensor
    entropies: Tensor


def random_rows(samples: int, dimension: int, seed: int) -> Tensor:
    """Directions drawn uniformly: unit rows (M, d) in float64.

    Raises:
        InvalidInput: fewer than two samples, no dimension.

    Example:
        >>> from couplings_theory.attraction_repulsion import random_rows
        >>> random_rows(10, 4, seed=0).shape
        torch.Size([10, 4])
    """
    for name, value, least in (("samples", samples, 2), ("dimension", dimension, 1), ("seed", seed, 0)):
        checks.count(name, value)
        checks.require(value >= least, f"{name} must be {least} or more, got {value}")
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(samples, dimension, generator=generator, dtype=torch.float64), dim=1)


def repelled(
    start: Tensor,
    hardness: float = 1.0,
    steps: int = 130,
    rate: float = 0.1,
    plan: Callable[[Tensor, float], Coupling] = repulsion_plan,
) -> Flow:
    """Adam on the repulsion of free embeddings.

    Args:
        start: shape (M, d), M >= 2, no zero row.
        hardness: t- >= 0 of the weights, which the gradient passes through.
        steps: of Adam, >= 0.
        rate: Adam's learning rate > 0, in units of an embedding's entry.
        plan: who repels whom, from unit rows and hardness.

    Raises:
        InvalidInput: as `repulsion_plan`; negative steps, a rate that is not above zero.

    Cost:
        O(steps M^2 d), about 1.5 ms a step for ten samples.

    Source:
        The repulsion of Zheng et al. (arXiv 2105.03746); the program is ours, no experiment of the paper.

    Example:
        >>> from couplings_theory.attraction_repulsion import random_rows, repelled
        >>> flow = repelled(random_rows(3, 2, seed=0), steps=100)
        >>> round(flow.values[-1].item(), 4)  # three points on a circle: -2 * 3 / 2
        -3.0
    """
    checks.count("steps", steps)
    checks.finite_positive("rate", rate)
    checks.matrix("start", start)
    free = start.detach().double().clone().requires_grad_()
    optimiser = torch.optim.Adam([free], lr=rate)
    records = []
    for step in range(steps + 1):
        unit = nn.functional.normalize(free, dim=1)
        coupling = plan(unit, hardness)
        value = coupling.expect(_scores(unit)).mean()
        records.append(_record(unit.detach(), value.detach(), coupling.detach()))
        if step < steps:
            optimiser.zero_grad()
            torch.autograd.backward(value)
            optimiser.step()
    return Flow(*(torch.stack(part) for part in zip(*records, strict=True)))


def _record(unit: Tensor, value: Tensor, coupling: Coupling) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return unit, value, mutual_information(coupling.plan()), coupling.row_entropy().mean()


def repulsion_flow(
    samples: int, dimension: int, hardness: float = 1.0, seed: int = 0, steps: int = 130, rate: float = 0.1
) -> Flow:
    """`repelled` from random directions: `repelled(random_rows(samples, dimension, seed), hardness, steps, rate)`.

    Example:
        >>> from couplings_theory.attraction_repulsion import repulsion_flow
        >>> round(repulsion_flow(10, 16, steps=130).information[-1].item(), 4)  # log(10 / 9)
        0.1054
    """
    return repelled(random_rows(samples, dimension, seed), hardness, steps, rate)
