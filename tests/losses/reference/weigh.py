"""Losses that weigh each pair by its distance: hinges and exponentials, alpha-CL, CACR, moments."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations, permutations
from typing import Any

import torch
from scipy.optimize import brentq
from torch import Tensor

from .plans import conditional, converged, quadratic, sweep, uniform
from .world import QUEUE, Temperature, World, mean_over_positives, softmax_over, sum_over

# phi and psi


def pair_loss(w: World, phi: Callable[[Tensor], Tensor], psi: Callable[[Tensor], Tensor]) -> Tensor:
    """phi(xi_ip), xi_ip = sum_neg psi(d_ip^2 - d_ij^2), an anchor and a positive at a time."""
    d, per_anchor = w.half, []
    for i in range(len(d)):
        near, far = d[i][w.positives[i]], d[i][w.negatives[i]]
        per_anchor.append(torch.stack([phi(psi(p - far).sum()) for p in near]).mean())
    return torch.stack(per_anchor).mean()


def scaled_infonce(w: World, temperature: Temperature = 0.5, e0: float = 1.0) -> Tensor:
    """t log(e0 + x), e^{x/t}."""
    return pair_loss(w, lambda x: temperature * (e0 + x).log(), lambda x: (x / temperature).exp())


def mine(w: World) -> Tensor:
    """log x, e^x."""
    return pair_loss(w, torch.log, torch.exp)


def triplet(w: World, margin: float = 0.5) -> Tensor:
    """x, [x + m]_+."""
    return pair_loss(w, lambda x: x, lambda x: (x + margin).clamp_min(0))


def soft_triplet(w: World, temperature: Temperature = 0.5, margin: float = 0.5) -> Tensor:
    """t log(1 + x), e^{x/t + m}."""
    return pair_loss(w, lambda x: temperature * (1 + x).log(), lambda x: (x / temperature + margin).exp())


def n_plus_one_tuplet(w: World) -> Tensor:
    """log(1 + x), e^x."""
    return pair_loss(w, torch.log1p, torch.exp)


def lifted_structured(w: World, margin: float = 1.0) -> Tensor:
    """[log x]_+^2, e^{x + m}."""
    return pair_loss(w, lambda x: x.log().clamp_min(0) ** 2, lambda x: (x + margin).exp())


def modified_triplet(w: World, slope: float = 5.0) -> Tensor:
    """x, sigmoid(c x)."""
    return pair_loss(w, lambda x: x, lambda x: 1 / (1 + (-slope * x).exp()))


def triplet_contrastive(w: World) -> Tensor:
    """x, x."""
    return pair_loss(w, lambda x: x, lambda x: x)


# alpha


def energy(w: World, alpha: Tensor) -> Tensor:
    """sum_j alpha_ij (d_ip^2 - d_ij^2) under constant weights."""
    alpha, d = torch.where(w.negatives, alpha, 0.0).detach(), w.half
    return mean_over_positives(w, d * alpha.sum(1, keepdim=True) - (alpha * d).sum(1, keepdim=True))


def simplex_projection(cost: Tensor, where: Tensor, t: float) -> Tensor:
    """[mu_i - cost]_+ / t with rows of sum one."""
    x = torch.where(where, -cost / t, -torch.inf)
    return (1 + x + quadratic(x, torch.ones(x.shape[1], dtype=x.dtype))[:, None]).clamp_min(0)


def power_weights(cost: Tensor, where: Tensor, t: float, q: float) -> Tensor:
    """((q - 1)(cost + mu_i) / t)^{-1/(q - 1)} with rows of sum one."""
    alpha = torch.zeros_like(cost)
    for row, seen, out in zip(cost, where, alpha, strict=True):
        held = row[seen]

        def weights(mu: float, held: Tensor = held) -> Tensor:
            return ((q - 1) * (held + mu) / t) ** (-1 / (q - 1))

        lowest = -float(held.min())
        mu = brentq(lambda m, of=weights: float(of(m).sum()) - 1, lowest + 1e-12, lowest + 1e6, xtol=1e-16)
        out[seen] = weights(mu)
    return alpha


def min_player(w: World, t: float, rule: float, cost: Tensor) -> Tensor:
    """argmin <alpha, cost> + t R(alpha) over rows of sum one; rule is the q of phi_q."""
    if rule == 1:
        return softmax_over(-cost / t, w.negatives)
    return (simplex_projection if rule == 0 else partial(power_weights, q=rule))(cost, w.negatives, t)


def alpha_cl(w: World, temperature: float = 0.5, rule: float = 1.0, p: float = 2.0) -> Tensor:
    """The exact min player of d^p."""
    return energy(w, min_player(w, temperature, rule, w.half.detach() ** (p / 2)))


def alpha_cl_inverse(w: World, shift: float = 0.5, power: float = 1.0) -> Tensor:
    """alpha proportional to (d^2 + shift)^-power."""
    raw = torch.where(w.negatives, (w.half.detach() + shift) ** -power, 0.0)
    return energy(w, raw / raw.sum(1, keepdim=True))


def alpha_cl_direct(w: World, temperature: float = 0.5, p: float = 4.0) -> Tensor:
    """alpha proportional to exp(-d^p / t)."""
    return alpha_cl(w, temperature, p=p)


def alpha_cl_per_sample(w: World, temperature: float = 0.5) -> Tensor:
    """alpha_ij = N r_i / (number of negatives of i), r the row sums of e^{-d^2/t} scaled to sum one."""
    r = sum_over((-w.half.detach() / temperature).exp(), w.negatives)
    each = len(r) * (r / r.sum()) / w.negatives.sum(1)
    return energy(w, torch.where(w.negatives, each[:, None], 0.0))


def alpha_cl_low_rank(w: World, temperature: float = 0.5, rank: int = 8) -> Tensor:
    """alpha of the entropic min player cut to its leading singular vectors, inadmissible pairs dropped afterwards."""
    u, values, v = torch.linalg.svd(min_player(w, temperature, 1.0, w.half.detach()), full_matrices=False)
    return energy(w, u[:, :rank] @ torch.diag(values[:rank]) @ v[:rank])


def balanced_alpha_cl(w: World, temperature: float = 0.5, p: float = 2.0, sweeps: int | None = None) -> Tensor:
    """alpha the rows of the balanced plan of d^p."""
    x = torch.where(w.negatives, -(w.half.detach() ** (p / 2)) / temperature, -torch.inf)
    n, m = x.shape
    if sweeps is None:
        p_ = converged(x, uniform(n), uniform(m))
    else:
        p_ = sweep(x, uniform(n), uniform(m), sweeps, row_step=True)
    return energy(w, conditional(x, uniform(m), p_))


# Views against views


def attraction(w: World, t_positive: float, detach_weights: bool) -> Tensor:
    """mean_i sum_p w+_ip |z_i - z_p|^2, far positives heavier."""
    weights = softmax_over(t_positive * w.D, w.positives)
    return sum_over((weights.detach() if detach_weights else weights) * w.D, w.positives).mean()


def cacr(
    w: World,
    t_positive: float = 1.0,
    t_negative: float = 2.0,
    alpha: float = 1.0,
    beta: float = 1.0,
    cost: str = "sqeuclidean",
    tau_plus: float = 0.0,
    ordered: bool = False,
    detach_weights: bool = False,
    rbf: float = 2.0,
    sweeps: int | None = None,
) -> Tensor:
    """Attraction, and repulsion averaged over ordered pairs of views; with `sweeps` each repulsion is balanced."""
    terms = []
    for a, b in (combinations if ordered else permutations)(range(w.count), 2):
        rows, inside = w.between(a, b)
        block = (inside | (w.col_view == QUEUE))[rows]
        seen, D = w.negatives[rows] & block, w.D[rows]
        weights = _repulsion_weights(D, seen, t_negative, sweeps, block)
        weights = weights.detach() if detach_weights else weights
        score = (-rbf * D).exp() if cost == "rbf" else -D
        own = sum_over(score, (w.positives & inside)[rows])
        far = (sum_over(weights * score, seen) - tau_plus * own) / (1 - tau_plus)
        terms.append((far.clamp_min(math.exp(-4 * rbf)).log() if cost == "rbf" else far).mean())
    return alpha * attraction(w, t_positive, detach_weights) + beta * torch.stack(terms).mean()


def _repulsion_weights(D: Tensor, seen: Tensor, t: float, sweeps: int | None, block: Tensor) -> Tensor:
    """Near negatives heavier; balanced between the rows and the block's columns when sweeps are given."""
    x = torch.where(seen, -t * D, -torch.inf)
    if sweeps is None:
        return x.softmax(1)
    inner = x[block].reshape(len(x), -1)
    b = uniform(inner.shape[1])
    rows = conditional(inner, b, sweep(inner, uniform(len(x)), b, sweeps, row_step=True))
    return torch.zeros_like(x).masked_scatter(block, rows)


def sinkhorn_cacr(w: World, sweeps: int = 10, **others: Any) -> Tensor:
    """CACR whose repulsion is balanced within each pair of views."""
    return cacr(w, sweeps=sweeps, **others)


# Moments


def spectral(w: World, scale: float = 1.0) -> Tensor:
    """-2 mean_p s_ip + mean_neg s_ij^2 of s = scale <z_i, z_j>."""
    s = scale * w.s
    repulsion = (sum_over(s**2, w.negatives) / w.negatives.sum(1)).mean()
    return mean_over_positives(w, -2 * s) + repulsion


def alignment_uniformity(w: World, power: float = 2.0, t: float = 2.0, weight: float = 1.0) -> Tensor:
    """|z_i - z_p|^power, and the log of the mean of e^{-t D} over negative pairs within a view or with the queue."""
    near = mean_over_positives(w, torch.where(w.positives, w.D, 1.0) ** (power / 2))
    far = []
    for view in range(w.count):
        rows, inside = w.between(view, view)
        seen = (w.negatives & (inside | (w.col_view == QUEUE)))[rows]
        far.append((-t * w.D[rows][seen]).exp().mean().log())
    return near + weight * torch.stack(far).mean()
