"""The entropic player: InfoNCE's weights, and those of the other losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from couplings.losses.alpha import AlphaCL
from couplings.losses.exponential import ScaledInfoNCE

from ...claim import Check, Finding, Picture, at_least, equal
from ...figures import pair_importance as figures
from ...pair_importance import MinPlayer, importance
from .common import MEMBERS, TAU, Weights, batch, kernel_sums, largest, seen_distances
from .players import Asked, lead, to_solver, worst_gap

AT_ONE = ("MINE", "N+1 tuplet", "lifted structured")
OTHERS = ("triplet", "modified triplet", "triplet contrastive")


def positive_in_denominator(xi: Tensor, e0: float) -> Tensor:
    """Row masses of InfoNCE's weights: xi / (e0 + xi)."""
    return xi / (e0 + xi)


def entropy_player(
    weights: Weights = importance, mass: Callable[[Tensor, float], Tensor] = positive_in_denominator
) -> Finding:
    """Look for weights that beat InfoNCE's under the entropic regulariser, and test the other losses."""
    views = batch()
    distances, xi = seen_distances(views), kernel_sums(views, TAU)
    alphas = {name: weights(make(True), views) for name, make in MEMBERS.items()}
    asked = [
        (MinPlayer(distances, TAU, mass=mass(xi, e0)), weights(ScaledInfoNCE(TAU, e0=e0), views)) for e0 in (1.0, 0.0)
    ]
    gaps = {name: _own_gap(alpha, distances, TAU) for name, alpha in alphas.items()}
    shipped = AlphaCL(TAU).coupling(*views)["negatives"].conditional()
    leads = torch.stack([lead(player, alpha) for player, alpha in asked])
    at_one = max(_own_gap(alphas[name], distances, 1.0) for name in AT_ONE)
    return Finding(
        checks=(
            *_optimal(asked, leads),
            equal("|AlphaCL - decoupled InfoNCE|, largest of all weights", largest(shipped - asked[1][1]), 0.0, 1e-12),
            equal("KKT gap of MINE, N+1 tuplet and lifted structured at temperature 1", at_one, 0.0, 1e-8),
            at_least("KKT gap of MINE at temperature 0.3, which is not its own", gaps["MINE"], 0.1),
            at_least("KKT gap of hinge, sigmoid and linear members, smallest", min(gaps[name] for name in OTHERS), 0.1),
        ),
        picture=_picture(distances[0], {name: alpha[0] for name, alpha in alphas.items()}, gaps, leads),
        remarks=tuple(
            f"KKT gap of {name} at temperature {TAU}: {gap:.2g}." for name, gap in gaps.items() if gap > 1e-8
        ),
    )


def _optimal(asked: Asked, leads: Tensor) -> tuple[Check, ...]:
    sums = max(largest(alpha.sum(1) - player.masses) for player, alpha in asked)
    return (
        equal("KKT gap of InfoNCE's weights, e0 = 1 and 0", worst_gap(asked), 0.0, 1e-8),
        equal("|row mass - xi / (e0 + xi)|, largest", sums, 0.0, 1e-12),
        at_least("500 random feasible points: value less that of InfoNCE's weights, smallest", leads.min().item(), 0.0),
        equal("|InfoNCE's weights - those of a convex solver|, largest", to_solver(asked), 0.0, 1e-5),
    )


def _picture(distances: Tensor, rows: dict[str, Tensor], gaps: dict[str, float], leads: Tensor) -> Picture:
    return Picture(
        partial(
            figures.entropy_player,
            distances=distances.numpy(),
            weights={name: rows[name].numpy() for name in ("InfoNCE", "MINE", "modified triplet", "triplet")},
            gaps=gaps,
            excess=leads.flatten().numpy(),
            temperature=TAU,
        ),
        (13, 4.6),
        "InfoNCE's weights are the best answer of a player who likes entropy",
        "Left: in logarithms, the weights of one anchor fall by 1/temperature per unit of distance, as entropy asks. "
        "Middle: how far each loss is from the conditions of optimality. Right: no feasible weights do better.",
    )


def _own_gap(alpha: Tensor, distances: Tensor, temperature: float) -> float:
    """The KKT gap under the row masses that the weights have; rows without weight say nothing."""
    full = alpha.sum(1) > 0
    return float(MinPlayer(distances[full], temperature, mass=alpha[full].sum(1)).gap(alpha[full]).max())
