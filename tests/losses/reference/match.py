"""Losses that match a plan, of rows alone or of rows and columns, to a target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .plans import Potentials, half_step, q_exp_conjugate, q_exp_integral, sweep, uniform
from .world import QUEUE, Temperature, World, log_sum, mean_over_positives, sum_over


def infonce(w: World, temperature: Temperature = 0.2) -> Tensor:
    """-log e^{s_ip/t} / (e^{s_ip/t} + sum_neg e^{s_ij/t})."""
    x = w.s / temperature
    return mean_over_positives(w, torch.logaddexp(x, log_sum(x, w.negatives)[:, None]) - x)


def decoupled_infonce(w: World, temperature: Temperature = 0.2) -> Tensor:
    """-s_ip/t + log sum_neg e^{s_ij/t}."""
    x = w.s / temperature
    return mean_over_positives(w, log_sum(x, w.negatives)[:, None] - x)


def supcon(
    w: World, temperature: Temperature = 0.1, *, log_inside: bool = False, target: Tensor | None = None
) -> Tensor:
    """Positives pooled: -sum_p T(p|i) log softmax_ip, or -log sum_p T(p|i) softmax_ip."""
    wanted = w.positives.double() if target is None else target
    share, x = wanted / wanted.sum(1, keepdim=True), w.s / temperature
    log_p = x - log_sum(x, w.negatives | w.positives | (wanted > 0))[:, None]
    inside = -log_sum(log_p + share.clamp_min(1e-300).log(), share > 0)
    return (inside if log_inside else -sum_over(share * log_p, share > 0)).mean()


def alignment(w: World, temperature: Temperature = 0.5) -> Tensor:
    """(1 - s_ip) / t."""
    return mean_over_positives(w, (1 - w.s) / temperature)


def clip(w: World, temperature: Temperature = 0.07) -> Tensor:
    """Mean over ordered pairs of views of a softmax over one view's samples and the queue."""
    x, terms = w.s / temperature, []
    for a, b in permutations(range(w.count), 2):
        rows, inside = w.between(a, b)
        own = w.positives & inside
        seen = own | (w.negatives & (inside | (w.col_view == QUEUE)))
        terms.append((log_sum(x, seen) - sum_over(x, own))[rows].mean())
    return torch.stack(terms).mean()


def siglip(w: World, temperature: Temperature = 0.1, bias: Temperature = -10.0) -> Tensor:
    """Mean over pairs of views of (1/n) sum_i [softplus(-(s_ii/t + bias)) + sum_neg softplus(s_ij/t + bias)].

    Both orders of a pair are the same sum, unless a queue, own negatives or a mask tell them apart: then both count.
    """
    x, terms = w.s / temperature + bias, []
    for a, b in permutations(range(w.count), 2):
        rows, inside = w.between(a, b)
        seen = w.negatives & (inside | (w.col_view == QUEUE))
        own = sum_over(softplus(-x), w.positives & inside)
        terms.append((own + sum_over(softplus(x), seen))[rows].mean())
    return torch.stack(terms).mean()


# A plan with two marginals


def positives_target(w: World) -> Tensor:
    """Each row's mass 1/N in equal parts on its positives."""
    return w.positives.double() / w.positives.sum(1, keepdim=True) / len(w.rows)


def domains_target(w: World, domains: Tensor, within: float, across: float) -> Tensor:
    """1 on positives, `within` on pairs of one domain, `across` on others, rows scaled to 1/N (no queue)."""
    of = domains.repeat(w.count)
    alike = (of[:, None] == of).double()
    wanted = (within * alike + across * (1 - alike)) * w.negatives
    wanted = torch.where(w.positives, 1.0, wanted)
    return wanted / wanted.sum(1, keepdim=True) / len(w.rows)


def domain_shares_target(w: World, domains: Tensor, within: float, across: float) -> Tensor:
    """A share of each row's 1/N on negatives of its domain, one on those of others; of an empty set on positives."""
    of = domains.repeat(w.count)
    alike = of[:, None] == of
    total = torch.zeros_like(w.s.detach())
    left = torch.ones(len(w.rows), 1, dtype=total.dtype)
    for share, chosen in ((within, alike & w.negatives), (across, ~alike & w.negatives)):
        some = chosen.any(1, keepdim=True).double() * share
        total, left = total + some * chosen / chosen.sum(1, keepdim=True).clamp_min(1), left - some
    return (total + left * w.positives.double() / w.positives.sum(1, keepdim=True)) / len(w.rows)


def divergence(t: Tensor, log_p: Tensor) -> Tensor:
    """sum t log(t / p) where t > 0."""
    held = t > 0
    return (t[held] * (t[held].log() - log_p[held])).sum()


@dataclass(frozen=True, eq=False)
class Matched:
    """A plan solved towards the marginals of a target T; x is minus infinity off the admissible pairs."""

    x: Tensor
    a: Tensor
    b: Tensor
    p: Potentials

    @property
    def log_plan(self) -> Tensor:
        """log P, minus infinity where there is no mass."""
        return self.a.log()[:, None] + self.b.log() + self.p.f[:, None] + self.p.g + self.x

    @property
    def count(self) -> Tensor:
        """How many candidates each row has."""
        return (self.x > -torch.inf).sum(1)

    @property
    def kernel(self) -> Tensor:
        """k_ij = M b_j e^{s_ij/t + g_j}."""
        return self.x.shape[1] * self.b * (self.x + self.p.g).exp()


def matched(
    w: World,
    target: Tensor,
    temperature: Temperature,
    sweeps: int,
    row_step: bool = True,
    rho: tuple[Temperature, Temperature] | None = None,
) -> Matched:
    """T sweeps over all pairs that attract or repel; relaxed columns are uniform where the target leaves some empty."""
    x = torch.where(w.negatives | w.positives | (target > 0), w.s / temperature, -torch.inf)
    a, b = target.sum(1), target.sum(0)
    if rho is None:
        return Matched(x, a, b, sweep(x, a, b, sweeps, row_step=row_step))
    b = uniform(len(b)) if (b == 0).any() else b
    c = (temperature / rho[0], temperature / rho[1])
    return Matched(x, a, b, sweep(x, a, b, sweeps, row_step=row_step, c=c))


def scaled(
    share: Tensor, k: Tensor, total: Tensor, count: Tensor, temperature: Temperature, q: float, shift: float | None
) -> tuple[Tensor, Tensor]:
    """k and S times e^{-shift/t}; without a shift that at which sum_ip share_ip max(k_ip, S_i / count_i)^q = 1."""
    if shift is None:
        level = torch.where(share > 0, torch.maximum(k, total / count[:, None]), 1.0).detach() ** q
        at = temperature.detach() if isinstance(temperature, Tensor) else temperature
        shift = at / q * sum_over(share * level, share > 0).sum().log()
    factor = torch.as_tensor(-shift / temperature, dtype=torch.float64).exp()
    return k * factor, total * factor


def rince(
    w: World, temperature: Temperature = 0.2, q: float = 0.3, lam: float = 0.1, shift: float | None = None
) -> Tensor:
    """(1/q) [(lam S_ip)^q - k_ip^q], S_ip = k_ip + sum_neg k_ij."""
    k = (w.s / temperature).exp()
    total = k + sum_over(k, w.negatives)[:, None]
    share = w.positives.double() / w.positives.sum()
    k, total = scaled(share, k, total, 1 + w.negatives.sum(1), temperature, q, shift)
    return mean_over_positives(w, ((lam * total) ** q - k**q) / q)


def gca_ince(w: World, target: Tensor, temperature: Temperature = 0.2, sweeps: int = 5) -> Tensor:
    """KL(T, P) after T sweeps and a row step."""
    return divergence(target, matched(w, target, temperature, sweeps).log_plan)


def gca_rince(
    w: World,
    target: Tensor,
    temperature: Temperature = 0.2,
    q: float = 0.3,
    lam: float = 0.1,
    sweeps: int = 5,
    shift: float | None = None,
) -> Tensor:
    """mean_i (1/q) [(lam S_i)^q - E_{T(.|i)} k_ip^q], S_i = sum_j k_ij."""
    m = matched(w, target, temperature, sweeps)
    k = m.kernel
    wanted = target / target.sum(1, keepdim=True)
    k, total = scaled(wanted / len(target), k, k.sum(1, keepdim=True), m.count, temperature, q, shift)
    return (((lam * total[:, 0]) ** q - sum_over(wanted * torch.where(wanted > 0, k, 1.0) ** q, wanted > 0)) / q).mean()


def gca_uot(
    w: World,
    target: Tensor,
    temperature: Temperature = 0.2,
    rho1: Temperature = 0.2,
    rho2: Temperature = 0.2,
    r1: float = 1.0,
    r2: float = 0.2,
    q: float = 0.3,
    lam: float = 0.1,
    sweeps: int = 10,
    shift: float | None = None,
) -> Tensor:
    """r1 mean_i KL(T(.|i), P(.|i)) + r2 mean_i (1/q) [(lam M e^{-f_i})^q - E_T k_ij^q]."""
    m = matched(w, target, temperature, sweeps, rho=(rho1, rho2))
    log_rows = m.log_plan - m.log_plan.logsumexp(1, keepdim=True)
    wanted = target / target.sum(1, keepdim=True)
    total = m.x.shape[1] * (-m.p.f)[:, None].exp()
    k, total = scaled(wanted / len(w.rows), m.kernel, total, m.count, temperature, q, shift)
    held = sum_over(wanted * torch.where(wanted > 0, k, 1.0) ** q, wanted > 0)
    return (r1 * divergence(wanted, log_rows) + r2 * ((lam * total[:, 0]) ** q - held).sum() / q) / len(w.rows)


def iot(w: World, target: Tensor, temperature: Temperature = 0.5, uniformity: float = 0.0, sweeps: int = 10) -> Tensor:
    """KL(T, P) + uniformity KL(P, U) of the plan after T sweeps, columns last; U is constant where P may be."""
    log_plan = matched(w, target, temperature, sweeps, row_step=False).log_plan
    held = log_plan > -torch.inf
    flat = log_plan[held]
    return divergence(target, log_plan) + uniformity * (flat.exp() * (flat + math.log(len(flat)))).sum()


def sparse_gca(w: World, target: Tensor, temperature: Temperature = 0.5, sweeps: int = 20, rule: float = 0.0) -> Tensor:
    """eps [sum ab Phi(f + g + h) - <a, f> - <b, g> - <T, h> + sum ab Phi*(T / ab)], h = s / eps, rows last.

    P(j | i) = phi(theta_i + gamma_j + s_ij / t) for uniform columns, so eps = t M^{q - 1}.
    """
    eps = temperature * w.s.shape[1] ** (rule - 1)
    h, a, b = w.s / eps, target.sum(1), target.sum(0)
    x, ab = torch.where(w.negatives | w.positives | (target > 0), h, -torch.inf), a[:, None] * b
    p = sweep(x, a, b, sweeps, row_step=True, step=half_step(rule))
    dual = (ab * q_exp_integral(p.f[:, None] + p.g + x, rule)).sum() - a @ p.f - b @ p.g
    omega = (ab * q_exp_conjugate(target / ab, rule))[target > 0].sum()
    return eps * (dual - (target * h).sum() + omega)
