"""Every loss written out naively in float64, from the equations: an oracle for the library's own code.

Nothing here imports the library. A `World` is one batch with every relation spelled out as a matrix of N anchors
(views in block order) against M columns, possibly other columns for each anchor. Distances are differences of
vectors, plans are log-domain Sinkhorn loops, thresholds are found by sorting or by a root finder, and
gradients are autograd's. Constant weights are detached here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
from typing import Any, TypeAlias

import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn.functional import normalize as unit
from torch.nn.functional import softplus

QUEUE = -1
"""The view of columns that belong to no view."""
Temperature: TypeAlias = float | Tensor


@dataclass(frozen=True, eq=False)
class World:
    """A batch spelled out; all matrices are (N, M)."""

    rows: Tensor
    """Anchors, (N, d)."""
    cols: Tensor
    """Candidates of each anchor, (N, M, d)."""
    row_view: Tensor
    """View of each anchor, (N,)."""
    col_view: Tensor
    """View of each candidate, `QUEUE` where it has none."""
    positives: Tensor
    """Who attracts."""
    negatives: Tensor
    """Who repels."""

    @property
    def s(self) -> Tensor:
        """Inner products: cosines when the rows are unit vectors."""
        return (self.rows[:, None] * self.cols).sum(-1)

    @property
    def D(self) -> Tensor:
        """Squared distances."""
        return (self.rows[:, None] - self.cols).pow(2).sum(-1)

    @property
    def half(self) -> Tensor:
        """d^2 = |z_i - z_j|^2 / 2."""
        return self.D / 2

    @property
    def count(self) -> int:
        """Number of views."""
        return int(self.row_view.max()) + 1

    def between(self, a: int, b: int) -> tuple[Tensor, Tensor]:
        """Which rows lie in view a; which columns lie in view b, as a matrix."""
        return self.row_view == a, self.col_view == b


def world(
    views: Sequence[Tensor],
    *,
    labels: Tensor | None = None,
    ids: Tensor | None = None,
    keys: Tensor | None = None,
    key_ids: Tensor | None = None,
    negatives: Tensor | None = None,
    mask: Tensor | None = None,
    across_views: bool = False,
    normalize: bool = True,
    attract: bool = False,
) -> World:
    """The relations of one call, pair by pair; with `attract` equal labels are positives."""
    n = len(views[0])
    rows, cols, identity = _columns(views, keys, negatives, normalize)
    anchors = [(view, sample) for view in range(len(views)) for sample in range(n)]
    positives = torch.zeros(len(anchors), cols.shape[1], dtype=torch.bool)
    repel = positives.clone()
    of_sample = list(range(n)) if ids is None else ids.tolist()
    of_label = list(range(n)) if labels is None else labels.tolist()
    of_key = {} if key_ids is None else dict(enumerate(key_ids.tolist()))
    for r, (view, sample) in enumerate(anchors):
        for c, (other_view, other) in enumerate(identity[r]):
            if other_view == QUEUE:
                repel[r, c] = of_key.get(other) != of_sample[sample] if of_key else True
                continue
            same_label = of_label[sample] == of_label[other]
            wanted = other == sample or (attract and labels is not None and same_label)
            alike = same_label or of_sample[sample] == of_sample[other]
            positives[r, c] = wanted and (view, sample) != (other_view, other)
            repel[r, c] = other != sample and not alike and not (across_views and view == other_view)
    if mask is not None:
        repel &= ~mask
    row_view = torch.tensor([view for view, _ in anchors])
    col_view = torch.tensor([[view for view, _ in row] for row in identity])
    return World(rows, cols, row_view, col_view, positives, repel & ~positives)


Identity: TypeAlias = list[list[tuple[int, int]]]


def _columns(
    views: Sequence[Tensor], keys: Tensor | None, negatives: Tensor | None, normalize: bool
) -> tuple[Tensor, Tensor, Identity]:
    """Anchors, the candidates of each, and (view, sample) of each candidate."""
    made = (lambda x: unit(x, dim=-1)) if normalize else (lambda x: x)
    n, z = len(views[0]), [made(v) for v in views]
    if negatives is not None:
        return _own_columns(z, made(negatives))
    names = [(view, sample) for view in range(len(z)) for sample in range(n)]
    shared = torch.cat(z if keys is None else [*z, made(keys)])
    names += [(QUEUE, k) for k in range(len(shared) - len(names))]
    rows = torch.cat(z)
    return rows, shared.expand(len(rows), *shared.shape), [names] * len(rows)


def _own_columns(z: list[Tensor], negatives: Tensor) -> tuple[Tensor, Tensor, Identity]:
    cols, names = [], []
    for a in range(len(z)):
        others = [b for b in range(len(z)) if b != a]
        for i in range(len(negatives)):
            cols.append(torch.cat([torch.stack([z[b][i] for b in others]), negatives[i]]))
            names.append([(b, i) for b in others] + [(QUEUE, k) for k in range(negatives.shape[1])])
    return torch.cat(z), torch.stack(cols), names


def guide(views: Sequence[Tensor], margin: float = 0.0) -> Tensor:
    """Pairs that a guide forbids: more alike than the closest positive, less a margin."""
    w = world(views)
    closest = torch.where(w.positives, w.s, -torch.inf).amax(1)
    return w.s > (closest - margin)[:, None]


# Averages, log-sums, plans


def mean_over_positives(w: World, values: Tensor) -> Tensor:
    """mean_i mean_p."""
    return (torch.where(w.positives, values, 0.0).sum(1) / w.positives.sum(1)).mean()


def log_sum(x: Tensor, where: Tensor) -> Tensor:
    """log sum_j e^x over the pairs that are meant, (N,)."""
    return torch.where(where, x, -torch.inf).logsumexp(1)


def sum_over(values: Tensor, where: Tensor) -> Tensor:
    """sum_j over the pairs that are meant, (N,)."""
    return torch.where(where, values, 0.0).sum(1)


def softmax_over(x: Tensor, where: Tensor) -> Tensor:
    """Row weights e^x / sum over the pairs that are meant, zero elsewhere."""
    return torch.where(where, x, -torch.inf).softmax(1)


HalfStep: TypeAlias = Callable[[Tensor, Tensor, float | Tensor], Tensor]


def entropic(x: Tensor, weights: Tensor, c: Temperature = 0.0) -> Tensor:
    """The f of c f + log sum_j w_j e^{f + x_ij} = 0."""
    return -(x + weights.log()).logsumexp(1) / (1 + c)


def quadratic(x: Tensor, weights: Tensor, c: Temperature = 0.0) -> Tensor:
    """The f of sum_j w_j [1 + f + x_ij]_+ = 1: sort, take the largest support whose last entry is positive."""
    seen = (x > -torch.inf) & (weights > 0)
    ranked, order = torch.where(seen, x, -torch.inf).sort(1, descending=True)
    real = ranked > -torch.inf
    finite, w = torch.where(real, ranked, 0.0), weights[order] * real
    f = (1 - (w * (1 + finite)).cumsum(1)) / w.cumsum(1)
    size = ((1 + f + finite > 0) & real).sum(1, keepdim=True)
    return f.gather(1, size - 1).squeeze(1)


def power(q: float) -> HalfStep:
    """The f of sum_j w_j (1 - (q - 1)(f + x_ij))^{-1/(q - 1)} = 1, by Brent's method and one implicit step."""

    def mass(f: Temperature, row: Tensor, weights: Tensor) -> Tensor:
        return (weights * (1 - (q - 1) * (f + row)) ** (-1 / (q - 1))).sum()

    def solve(x: Tensor, weights: Tensor, c: Temperature = 0.0) -> Tensor:
        result = []
        for row in x:
            seen, w = row[row > -torch.inf], weights[row > -torch.inf]
            fixed = seen.detach()
            pole = 1 / (q - 1) - float(fixed.max())
            root = brentq(lambda f, s=fixed, v=w: float(mass(f, s, v)) - 1, pole - 1e6, pole - 1e-13, xtol=1e-15)
            slope = (w * (1 - (q - 1) * (root + fixed)) ** (-q / (q - 1))).sum()
            result.append(root - (mass(root, seen, w) - 1) / slope)
        return torch.stack(result)

    return solve


def half_step(q: float) -> HalfStep:
    """Entropic for q = 1, quadratic for q = 0."""
    return {0.0: quadratic, 1.0: entropic}.get(q) or power(q)


def q_exp(x: Tensor, q: float) -> Tensor:
    """phi_q: exp for q = 1, [1 + x]_+ for q = 0."""
    return x.exp() if q == 1 else (1 - (q - 1) * x).clamp_min(0) ** (1 / (1 - q))


def q_exp_integral(x: Tensor, q: float) -> Tensor:
    """Phi with Phi' = phi_q; zero where phi_q is."""
    return x.exp() if q == 1 else (1 - (q - 1) * x).clamp_min(0) ** ((2 - q) / (1 - q)) / (2 - q)


def q_exp_conjugate(y: Tensor, q: float) -> Tensor:
    """sup_x x y - Phi(x)."""
    return y * y.log() - y if q == 1 else (y ** (2 - q) / (2 - q) - y) / (1 - q)


@dataclass(frozen=True, eq=False)
class Potentials:
    """f and g of P_ij = a_i b_j phi(f_i + g_j + x_ij)."""

    f: Tensor
    g: Tensor


def uniform(size: int) -> Tensor:
    """Weights 1 / size."""
    return torch.full((size,), 1.0 / size, dtype=torch.float64)


def sweep(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    sweeps: int,
    *,
    row_step: bool = False,
    c: tuple[Temperature, Temperature] = (0.0, 0.0),
    step: HalfStep = entropic,
) -> Potentials:
    """Rows, then columns, so many times."""
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(sweeps):
        f = step(x + g, b, c[0])
        g = step((x + f[:, None]).T, a, c[1])
    return Potentials(step(x + g, b, c[0]) if row_step else f, g)


def converged(x: Tensor, a: Tensor, b: Tensor, *, c: float = 0.0, step: HalfStep = entropic) -> Potentials:
    """Sweeps until g moves by a constant, which rows undo; c softens the columns."""
    g = torch.zeros_like(b)
    for _ in range(5_000):
        f = step(x + g, b, 0.0)
        new = step((x + f[:, None]).T, a, c)
        moved = (new - g).detach()[b > 0]
        g = new
        if float(moved.max() - moved.min()) < 1e-13:
            break
    return Potentials(step(x + g, b, 0.0), g)


def conditional(x: Tensor, b: Tensor, p: Potentials, rule: float = 1.0) -> Tensor:
    """P(j | i): rows of the plan, scaled to sum one."""
    plan = b * q_exp(p.f[:, None] + p.g + x, rule)
    return plan / plan.sum(1, keepdim=True)


# Match


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


# Match a plan to a target


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


def factor(temperature: Temperature, shift: float | None) -> Temperature:
    """e^{-shift/t}: what each kernel is multiplied by."""
    chosen = (0.0 if float(temperature) >= 0.1 else 1.0) if shift is None else shift
    return torch.exp(-torch.as_tensor(chosen, dtype=torch.float64) / temperature)


def rince(
    w: World, temperature: Temperature = 0.5, q: float = 0.5, lam: float = 0.025, shift: float | None = None
) -> Tensor:
    """(1/q) [(lam S_ip)^q - k_ip^q], S_ip = k_ip + sum_neg k_ij."""
    k = (w.s / temperature).exp() * factor(temperature, shift)
    total = k + sum_over(k, w.negatives)[:, None]
    return mean_over_positives(w, ((lam * total) ** q - k**q) / q)


def gca_ince(w: World, target: Tensor, temperature: Temperature = 0.2, sweeps: int = 5) -> Tensor:
    """KL(T, P) after T sweeps and a row step."""
    return divergence(target, matched(w, target, temperature, sweeps).log_plan)


def gca_rince(
    w: World,
    target: Tensor,
    temperature: Temperature = 0.5,
    q: float = 0.5,
    lam: float = 0.025,
    sweeps: int = 5,
    shift: float | None = None,
) -> Tensor:
    """mean_i (1/q) [(lam S_i)^q - E_{T(.|i)} k_ip^q], S_i = sum_j k_ij."""
    k = matched(w, target, temperature, sweeps).kernel * factor(temperature, shift)
    wanted = target / target.sum(1, keepdim=True)
    return (((lam * k.sum(1)) ** q - sum_over(wanted * torch.where(wanted > 0, k, 1.0) ** q, wanted > 0)) / q).mean()


def gca_uot(
    w: World,
    target: Tensor,
    temperature: Temperature = 0.5,
    rho1: Temperature = 0.2,
    rho2: Temperature = 0.2,
    r1: float = 1.0,
    r2: float = 0.2,
    q: float = 0.6,
    lam: float = 0.01,
    sweeps: int = 10,
    shift: float | None = None,
) -> Tensor:
    """r1 mean_i KL(T(.|i), P(.|i)) + r2 mean_i (1/q) [(lam M e^{-f_i})^q - E_T k_ij^q]."""
    m, scale = matched(w, target, temperature, sweeps, rho=(rho1, rho2)), factor(temperature, shift)
    log_rows = m.log_plan - m.log_plan.logsumexp(1, keepdim=True)
    wanted = target / target.sum(1, keepdim=True)
    total = m.x.shape[1] * (-m.p.f).exp() * scale
    held = sum_over(wanted * torch.where(wanted > 0, m.kernel * scale, 1.0) ** q, wanted > 0)
    return (r1 * divergence(wanted, log_rows) + r2 * ((lam * total) ** q - held).sum() / q) / len(w.rows)


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


# Sample negatives


def expected_loss(w: World, weights: Tensor, temperature: Temperature, tau_plus: float) -> Tensor:
    """-log k_p / (k_p + Ng), Ng = N' max((E_w[k] - tau_plus k_p) / (1 - tau_plus), e^{-1/t})."""
    k = (w.s / temperature).exp()
    expected = sum_over(weights * k, w.negatives)[:, None]
    debiased = (expected - tau_plus * k) / (1 - tau_plus)
    floor = torch.exp(-1 / torch.as_tensor(temperature, dtype=torch.float64))
    ng = w.negatives.sum(1, keepdim=True) * torch.maximum(debiased, floor)
    return mean_over_positives(w, ((k + ng) / k).log())


def hcl(
    w: World,
    temperature: Temperature = 0.5,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    detach_weights: bool = False,
) -> Tensor:
    """w_ij = softmax over the negatives of beta s_ij / t."""
    weights = softmax_over(beta * w.s / temperature, w.negatives)
    return expected_loss(w, weights.detach() if detach_weights else weights, temperature, tau_plus)


def debiased_infonce(w: World, temperature: Temperature = 0.5, tau_plus: float = 0.1) -> Tensor:
    """Negatives weighed alike."""
    return expected_loss(w, w.negatives.double() / w.negatives.sum(1, keepdim=True), temperature, tau_plus)


def hcl_ot(
    w: World,
    temperature: Temperature = 0.5,
    reg: float = 0.7,
    tau_plus: float = 0.0,
    cost: str = "sqeuclidean",
    kappa: float = 1.0,
    rule: float = 1.0,
    sweeps: int | None = None,
    detach_weights: bool = True,
    rho: float | None = None,
) -> Tensor:
    """Weights are the rows of a plan over the negatives: columns fixed, or softened by KL(rho).

    P(j | i) = phi(theta_i + gamma_j - C_ij / reg), so the plan against a x b has regularisation reg M^{q - 1}.
    """
    price = w.D if cost == "sqeuclidean" else (w.D - kappa).exp()
    n, m = price.shape
    x = torch.where(w.negatives, -price / (reg * m ** (rule - 1)), -torch.inf)
    c = 0.0 if rho is None else reg / rho
    step = half_step(rule)
    if sweeps is None:
        p = converged(x, uniform(n), uniform(m), c=c, step=step)
    else:
        p = sweep(x, uniform(n), uniform(m), sweeps, c=(0.0, c), step=step)
    weights = conditional(x, uniform(m), p, rule)
    return expected_loss(w, weights.detach() if detach_weights else weights, temperature, tau_plus)


def relaxed_hcl_ot(w: World, reg: float = 0.7, rho: float = 1.0, **others: Any) -> Tensor:
    """HCL-OT with columns KL(rho)."""
    return hcl_ot(w, reg=reg, rho=rho, **others)


# Weigh pairs: phi and psi


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


# Weigh pairs: alpha


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
