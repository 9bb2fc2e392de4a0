"""What attracts and what repels: values and weights by the library's own couplings, their information, their bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from couplings import Coupling, SameId, Scores, couple
from couplings.basics import checks
from couplings.pieces.costs import SquaredEuclidean

__all__ = [
    "attraction",
    "attraction_weights",
    "least_information",
    "mutual_information",
    "repulsion",
    "repulsion_plan",
    "repulsion_weights",
    "row_entropies",
    "simplex_bound",
    "simplex_rows",
]


def attraction(views: Tensor, hardness: float) -> Tensor:
    """Contrastive attraction of the views of each sample.

        mean_i sum_p w_ip |z_i - z_p|^2,   w_ip = softmax_p(hardness |z_i - z_p|^2),   p over i's other views

    Equals `couplings.CACR(beta=0)`, without the cost of its repulsion; the gradient passes through the weights.

    Args:
        views: shape (V, M, d), V >= 2 views of M >= 1 samples; rows are normalised.
        hardness: t+ >= 0, in 1 / squared distance; 0 weighs positives alike.

    Returns:
        0-dim, in [0, 4], with gradient; zero where all views of each sample coincide and only there.

    Raises:
        InvalidInput: another shape, one view, a zero row, a negative hardness.

    Cost:
        O(V^2 M d).

    Source:
        Zheng et al., arXiv 2105.03746.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import attraction
        >>> views = torch.stack([torch.eye(3), torch.eye(3).roll(1, 0)]).double()
        >>> round(attraction(views, hardness=1.0).item(), 6)
        2.0
    """
    positives = _positives(views)
    return -couple(-positives(_inverse(hardness))).expect(positives(1.0)).mean()


def attraction_weights(views: Tensor, hardness: float) -> Tensor:
    """The weights w_ip of `attraction`: how much of its attraction each view spends on each of the others.

    Args:
        views: shape (V, M, d); see `attraction`.
        hardness: t+ >= 0.

    Returns:
        Shape (V, M, V - 1): of view v of sample m, over views v + 1, v + 2, ..., counted round. Each row sums to one.

    Raises:
        InvalidInput: as `attraction`.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import attraction_weights
        >>> attraction_weights(torch.eye(4).reshape(2, 2, 4).repeat(2, 1, 1), hardness=0.0)[0, 0]
        tensor([0.3333, 0.3333, 0.3333])
    """
    plan = couple(-_positives(views)(_inverse(hardness)))
    return plan.conditional().reshape(len(views), views.shape[1], -1)


def repulsion_plan(z: Tensor, hardness: float) -> Coupling:
    """The coupling of query and negative: each row chooses another row, the near ones more often.

        P_ij = (1 / M) softmax_{j != i}(-hardness |z_i - z_j|^2)

    Rows Fixed, columns Free, entropic: `couple` with the self pairs masked.

    Args:
        z: shape (M, d), M >= 2; rows are normalised.
        hardness: t- >= 0, in 1 / squared distance.

    Raises:
        InvalidInput: another shape, one row, a zero row, a negative or infinite hardness.

    Cost:
        O(M^2 d).

    Source:
        Zheng et al., arXiv 2105.03746.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import repulsion_plan
        >>> round(repulsion_plan(torch.eye(4), hardness=2.0).entropy().item(), 4)
        2.4849
    """
    return couple(_scores(_unit("z", z), _inverse(hardness)))


def repulsion(z: Tensor, hardness: float) -> Tensor:
    """Contrastive repulsion of the rows of one view: minus the weighed squared distance to the other rows.

        mean_i sum_{j != i} w_ij (-|z_i - z_j|^2),   w_ij = softmax_{j != i}(-hardness |z_i - z_j|^2)

    Equals `couplings.CACR(alpha=0)` of two identical views; the gradient passes through the weights.

    Args:
        z: shape (M, d), M >= 2; rows are normalised.
        hardness: t- >= 0; 0 weighs negatives alike.

    Returns:
        0-dim, in [simplex_bound(M), 0].

    Raises:
        InvalidInput: as `repulsion_plan`.

    Cost:
        O(M^2 d).

    Source:
        Zheng et al., arXiv 2105.03746.

    Example:
        >>> from couplings_theory.attraction_repulsion import repulsion, simplex_rows
        >>> round(repulsion(simplex_rows(10), hardness=3.0).item(), 7)
        -2.2222222
    """
    unit = _unit("z", z)
    return repulsion_plan(unit, hardness).expect(_scores(unit)).mean()


def repulsion_weights(z: Tensor, hardness: float) -> Tensor:
    """The weights w_ij of `repulsion`, shape (M, M): rows sum to one, the diagonal is zero.

    Raises:
        InvalidInput: as `repulsion_plan`.

    Example:
        >>> from couplings_theory.attraction_repulsion import repulsion_weights, simplex_rows
        >>> repulsion_weights(simplex_rows(3), hardness=2.0)[0].round(decimals=4).tolist()
        [0.0, 0.5, 0.5]
    """
    return repulsion_plan(z, hardness).conditional()


def mutual_information(plan: Tensor) -> Tensor:
    """Mutual information of row and column under a joint plan, in nats.

        I = sum_ij P_ij log(P_ij / (r_i c_j)),   r = P 1, c = P^T 1

    Args:
        plan: shape (n, m), entries >= 0, sum one.

    Returns:
        0-dim, in [0, min(H(r), H(c))].

    Raises:
        InvalidInput: another shape, a negative or infinite entry, another sum.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import mutual_information
        >>> round(mutual_information(torch.eye(2) / 2).item(), 4)
        0.6931
    """
    _mass("plan", plan, plan.sum() if isinstance(plan, Tensor) else plan)
    product = plan.sum(1, keepdim=True) * plan.sum(0)
    return torch.sum(torch.special.xlogy(plan, plan) - torch.special.xlogy(plan, product))


def row_entropies(weights: Tensor) -> Tensor:
    """Entropy of each row of weights, in nats, shape (n,): log of the effective number of columns.

    Args:
        weights: shape (n, m), entries >= 0, each row with sum one.

    Raises:
        InvalidInput: another shape, a negative or infinite entry, another sum.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import row_entropies
        >>> row_entropies(torch.eye(2)).tolist()
        [0.0, 0.0]
    """
    _mass("weights", weights, weights.sum(-1) if isinstance(weights, Tensor) else weights)
    return torch.sum(torch.special.entr(weights), 1)


def least_information(samples: int) -> float:
    """log(M / (M - 1)): the least mutual information of a plan of M rows of equal mass without self pairs, in nats.

    Any such plan puts nothing on the diagonal, where the product of its marginals has 1 / M; attained by uniform
    weights alone.

    Raises:
        InvalidInput: samples < 2.

    Example:
        >>> from couplings_theory.attraction_repulsion import least_information
        >>> round(least_information(10), 7)
        0.1053605
    """
    _enough(samples)
    return math.log(samples / (samples - 1))


def simplex_bound(samples: int) -> float:
    """-2 M / (M - 1): the least repulsion of M unit rows, whatever the hardness.

    Near rows weigh no less than far ones, so the weighed mean distance is at most the plain one (Chebyshev's sum
    inequality), and M (M - 1) times that is 2 M^2 - 2 |sum z|^2.

    Raises:
        InvalidInput: samples < 2.

    Example:
        >>> from couplings_theory.attraction_repulsion import simplex_bound
        >>> simplex_bound(3)
        -3.0
    """
    _enough(samples)
    return -2 * samples / (samples - 1)


def simplex_rows(samples: int) -> Tensor:
    """Corners of a regular simplex around zero: M unit rows (M, M) in float64 at equal distances.

    Raises:
        InvalidInput: samples < 2.

    Example:
        >>> from couplings_theory.attraction_repulsion import simplex_rows
        >>> z = simplex_rows(3)
        >>> round((z[0] @ z[1]).item(), 6)
        -0.5
    """
    _enough(samples)
    return torch.nn.functional.normalize(torch.eye(samples, dtype=torch.float64) - 1 / samples, dim=1)


def _inverse(hardness: float) -> float:
    """The temperature of squared distances; no hardness is no difference between scores."""
    checks.finite_nonnegative("hardness", hardness)
    return 1 / hardness if hardness else math.inf


def _positives(views: Tensor) -> Callable[[float], Scores]:
    """Minus squared distances of each view of each sample to its other views, at a temperature."""
    checks.matrix("views", views, dims=3)
    count = len(views)
    checks.require(count > 1, "views holds one view, which has nothing to attract: pass shape (V, M, d) with V >= 2")
    checks.rows_usable("views", views, zero=False, raw=False)
    unit = torch.nn.functional.normalize(views, dim=2)
    others = torch.stack([unit.roll(-k, 0) for k in range(1, count)], 2)
    anchors, keys = unit.flatten(0, 1), others.flatten(0, 1)
    return lambda temperature: Scores(anchors, keys, temperature=temperature, cost=SquaredEuclidean())


def _scores(unit: Tensor, temperature: float = 1.0) -> Scores:
    """Minus squared distances of unit rows, self pairs masked."""
    ids = torch.arange(len(unit), device=unit.device)
    return Scores(unit, temperature=temperature, cost=SquaredEuclidean(), mask=SameId(ids, ids))


def _unit(name: str, z: Tensor) -> Tensor:
    checks.matrix(name, z)
    checks.require(len(z) > 1, f"{name} has one row, which has nothing to repel: pass two or more")
    checks.rows_usable(name, z, zero=False, raw=False)
    return torch.nn.functional.normalize(z, dim=1)


def _mass(name: str, weights: Tensor, sums: Tensor) -> None:
    """Nonnegative entries, and sums that are one."""
    checks.matrix(name, weights)
    least = weights.detach().min().item()
    checks.require(least >= 0, f"{name} must have finite entries >= 0, got {least:g}")
    farthest = (sums.detach() - 1).abs().max().item()
    near = farthest <= 1e-4 if weights.dtype != torch.float64 else farthest <= 1e-8
    checks.require(near, f"{name} must have mass one, but is off by {farthest:.3g}: divide by its sum")


def _enough(samples: int) -> None:
    checks.count("samples", samples)
    checks.require(samples >= 2, f"samples must be 2 or more, got {samples}: one sample has nothing to repel")
