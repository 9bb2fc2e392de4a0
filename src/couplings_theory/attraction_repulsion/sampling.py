"""What many samples tend to, exactly: expectations over k independent draws as one-dimensional integrals."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from couplings.basics import checks

__all__ = ["approach_rate", "expected_infonce", "expected_weights", "population_infonce", "tilted_weights"]


def population_infonce(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """What InfoNCE with k negatives tends to as k grows, log k taken off.

        mean_i [ -s_i+ / tau + log mean_j exp(s_ij / tau) ]

    Its gradient in the scores weighs negatives by softmax_j(s_ij / tau).

    Args:
        positive: scores of each query's positive, (N,).
        negative: scores of all that negatives are drawn from, alike, (N, A).
        temperature: tau > 0.

    Returns:
        0-dim, with gradient.

    Raises:
        InvalidInput: shapes that do not fit, temperature <= 0.

    Source:
        Restated from arXiv 2105.03746 (the relation to contrastive losses); Wang and Isola 2020 have the limit.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import population_infonce
        >>> round(population_infonce(torch.tensor([1.0]), torch.tensor([[0.0, 0.0]]), temperature=0.5).item(), 4)
        -2.0
    """
    _scores_fit(positive, negative, temperature)
    partition = torch.logsumexp(negative / temperature, 1) - math.log(negative.shape[1])
    return (partition - positive / temperature).mean()


def expected_infonce(positive: Tensor, negative: Tensor, temperature: float, count: int) -> Tensor:
    """InfoNCE with k independent negatives, in expectation over their draws; exact up to rounding.

        mean_i E[ -s_i+ / tau + log( e^{s_i+ / tau} + sum_{l=1}^k e^{s_{i J_l} / tau} ) ],   J_l uniform over columns

    E log S is the integral over u of (e^{-u} - E e^{-u S}) / u, and E e^{-u S} factors over the draws; the trapezoid
    rule in log u is exact to rounding.

    Args:
        positive: scores of each query's positive, (N,).
        negative: scores of all that negatives are drawn from, alike and with replacement, (N, A).
        temperature: tau > 0.
        count: k >= 1 negatives.

    Returns:
        0-dim, float64.

    Raises:
        InvalidInput: shapes that do not fit, temperature <= 0, count < 1.

    Cost:
        O(N A Q) time and memory, Q = 400 + 20 s / tau nodes for scores of range s.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import expected_infonce
        >>> round(expected_infonce(torch.tensor([1.0]), torch.tensor([[1.0]]), 0.5, count=7).item(), 6)  # log 8
        2.079442
    """
    _scores_fit(positive, negative, temperature)
    _draws(count)
    positive, negative = positive.double() / temperature, negative.double() / temperature
    top = torch.maximum(negative.amax(1), positive)
    first, kernel = torch.exp(positive - top)[:, None], torch.exp(negative - top[:, None])
    u, step = _nodes(torch.minimum(kernel.amin(), first.amin()), count)
    left = torch.exp(-u) - torch.exp(-first * u) * _laplace(kernel, u) ** count
    return (left.sum(1) * step + top - positive).mean()


def approach_rate(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """k times the distance of InfoNCE with k negatives from its limit, as k grows: the delta method.

        mean_i [ e^{s_i+ / tau} / mu_i - var_i / (2 mu_i^2) ],   mu, var of e^{s_ij / tau} over j

    Arguments, shapes and errors as `population_infonce`; 0-dim.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import approach_rate
        >>> approach_rate(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]), temperature=0.5).item()
        1.0
    """
    _scores_fit(positive, negative, temperature)
    top = negative.amax(1, keepdim=True)
    kernel = torch.exp((negative - top) / temperature)
    mean, variance = kernel.mean(1), kernel.var(1, correction=0)
    return (torch.exp((positive - top[:, 0]) / temperature) / mean - variance / (2 * mean**2)).mean()


def tilted_weights(squared: Tensor, hardness: float) -> Tensor:
    """The conditional that attraction aims at: all possible positives, weighed by exp(hardness |z - z_p|^2), (A,).

    Args:
        squared: squared distances of the query to all possible positives, alike in probability, (A,).
        hardness: t+ >= 0.

    Raises:
        InvalidInput: no vector, a negative distance, a negative hardness.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import tilted_weights
        >>> tilted_weights(torch.tensor([1.0, 1.0]), hardness=3.0).tolist()
        [0.5, 0.5]
    """
    _distances(squared, hardness)
    return torch.softmax(hardness * squared, 0)


def expected_weights(squared: Tensor, hardness: float, count: int) -> Tensor:
    """Mass on each possible positive when K of them are drawn and weighed among themselves, in expectation.

        E[ sum_{l: J_l = a} softmax_l(hardness |z - z_{J_l}|^2) ],   J_1 ... J_K uniform over the A possible ones

    K = 1 is uniform, whatever the distances; K without bound is `tilted_weights`. The expectation of a ratio is the
    integral over u of K e_a e^{-u e_a} E[e^{-u e}]^{K-1} / A with e = exp(hardness |z - z_a|^2).

    Args:
        squared: squared distances of the query to all possible positives, alike in probability, (A,).
        hardness: t+ >= 0.
        count: K >= 1 positives drawn.

    Returns:
        Shape (A,), sum one, float64.

    Raises:
        InvalidInput: no vector, a negative distance, a negative hardness, count < 1.

    Cost:
        O(A Q), Q = 400 + 20 hardness (range of squared distances) nodes.

    Example:
        >>> import torch
        >>> from couplings_theory.attraction_repulsion import expected_weights
        >>> [round(w, 4) for w in expected_weights(torch.tensor([0.0, 1.0]), hardness=1.0, count=1).tolist()]
        [0.5, 0.5]
    """
    _distances(squared, hardness)
    _draws(count)
    squared = squared.double()
    kernel = torch.exp(hardness * (squared - squared.max()))
    u, step = _nodes(kernel.min(), count)
    decay = torch.exp(-kernel[:, None] * u)
    density = kernel[:, None] * decay * decay.mean(0) ** (count - 1) * u
    return density.sum(1) * step * count / len(squared)


_STEP = 0.1


def _nodes(least: Tensor, count: int) -> tuple[Tensor, float]:
    """u and the step in log u: from where the integrand is below rounding up to where e^{-u least} is."""
    low, high = -40.0 - math.log(count), math.log(50.0) - math.log(max(least.item(), 1e-300))
    return torch.exp(torch.arange(low, high + _STEP, _STEP, dtype=torch.float64)), _STEP


def _laplace(kernel: Tensor, u: Tensor) -> Tensor:
    """Mean over columns of exp(-u kernel), (N, Q)."""
    return torch.exp(-kernel[:, :, None] * u).mean(1)


def _scores_fit(positive: Tensor, negative: Tensor, temperature: float) -> None:
    checks.matrix("negative", negative)
    checks.tensor("positive", positive)
    fits = positive.shape == negative.shape[:1]
    shapes = f"{tuple(positive.shape)} and {tuple(negative.shape)}"
    checks.require(fits, f"positive must have one score for each row of negative, got shapes {shapes}")
    checks.temperature(temperature)


def _distances(squared: Tensor, hardness: float) -> None:
    checks.tensor("squared", squared)
    fits = squared.dim() == 1 and len(squared) > 0 and bool((squared >= 0).all())
    checks.require(fits, f"squared must be a vector of squared distances >= 0, got shape {tuple(squared.shape)}")
    checks.finite_nonnegative("hardness", hardness)


def _draws(count: int) -> None:
    checks.count("count", count)
    checks.require(count >= 1, f"count must be 1 or more draws, got {count}")
