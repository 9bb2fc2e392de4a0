"""Robust members: a q-power divergence in place of KL, on row-normalised, balanced and unbalanced plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks
from ..pieces.marginals import KL
from ..plans.coupling import Coupling
from ..plans.solve import couple
from ..plans.targets import Pairs, Part, Target
from .base import Couplings
from .batch import Batch
from .gca import Matched
from .match import one_against_negatives
from .temperature import Tempered, TemperedOptions
from .wanted import Wanted

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _QPower(Tempered):
    """mean_i (1 / q) [ (lam S_i)^q - E_{T(.|i)} k_ij^q ] for kernels k = exp((s - shift) / tau) with row sums S."""

    q: float
    lam: float
    shift: float | None

    def _set_divergence(self, q: float, lam: float, shift: float | None) -> None:
        checks.finite_positive("q", q)
        checks.require(q <= 1, f"q must be in (0, 1], got {q:g}: q -> 0 is InfoNCE, q = 1 the linear loss")
        checks.finite_positive("lam", lam)
        if shift is not None:
            checks.finite("shift", shift)
        self.q, self.lam, self.shift = q, lam, shift

    def _matches(self, batch: Batch, couplings: Couplings) -> list[tuple[Coupling, Target]]:
        """Plans and what they should be."""
        return [(couplings["plan"], batch.wanted)]

    def _divergence(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean over plans, in logs: k_ij = M P_ij / (a_i e^f_i), S_i = M e^-f_i, each less shift / tau."""
        matches = self._matches(batch, couplings)
        lower = (self._standing(matches) if self.shift is None else self.shift) / self.temperature

        def excess(plan: Coupling, part: Part, lower: float | Tensor) -> Tensor:
            sums, wanted = (logs - lower for logs in _log_kernels(plan, part))
            return part.expect(_difference(self.q * (math.log(self.lam) + sums), self.q * wanted))

        return torch.stack([target.each_row(plan, excess, lower).sum() for plan, target in matches]).mean() / self.q

    @torch.no_grad()
    def _standing(self, matches: Sequence[tuple[Coupling, Target]]) -> Tensor:
        """The shift at which the mean of max(k_ip, S_i / m_i)^q is one, for m_i candidates."""

        def log_mean(plan: Coupling, part: Part) -> Tensor:
            sums, wanted = _log_kernels(plan, part)
            return part.log_mean_exp(self.q * torch.maximum(wanted, sums - _log_candidates(plan)))

        rows = [target.each_row(plan, log_mean) + torch.log(target.row_mass(plan.f)) for plan, target in matches]
        return self.temperature * (torch.logsumexp(torch.cat(rows), 0) - math.log(len(rows))) / self.q


def _log_kernels(plan: Coupling, part: Part) -> tuple[Tensor, Tensor]:
    """log S_i, (n, 1), and log k_ij where the target has mass."""
    sums = math.log(len(plan.b)) - plan.f[:, None]
    return sums, sums + part.log_entries(plan) - torch.log(plan.a)[:, None]


def _log_candidates(plan: Coupling) -> Tensor:
    """log m_i, the pairs that the mask leaves each row, (n, 1)."""
    masked = 0 if plan.scores.mask is None else plan.scores.mask.row_counts()
    return torch.log(plan.f.new_full((len(plan.f),), len(plan.b)) - masked)[:, None]


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """exp(a) - exp(b), without cancellation where they are near and without overflow where they are not."""
    gap = a - b
    above, below = torch.exp(a) * -torch.expm1(-gap.clamp_min(0)), torch.exp(b) * torch.expm1(gap.clamp_max(0))
    return torch.where(gap > 0, above, below)


class RINCE(_QPower):
    """Robust InfoNCE: a q-power divergence that wrong positives cannot dominate.

        loss = mean_i mean_p (1 / q) [ (lam S_ip)^q - k_ip^q ],   k = exp((s - shift) / tau),   S_ip = k_ip + sum_j k_ij

    with j over the negatives. As a coupling: the row-normalised plan of InfoNCE, whose potential is minus log S. It
    pays where few pairs, many of them wrong, are seen often enough to be memorised and classes are the goal; so does
    stopping early. Not for retrieval of near neighbours by a low temperature, where it fell below InfoNCE.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        q: in (0, 1]; near 0 it is InfoNCE, 1 is linear and symmetric: robust to wrong positives, slow to learn.
        lam: weight > 0 of the denominator. It is a share of a row's mass, whatever the batch size: an anchor whose
            positive has the share k / S = lam is pulled as much as it is pushed, above it more, below it less.
        shift: subtracted from every score, which multiplies the loss by exp(-q shift / tau); 0 is the published form,
            which explodes at low temperatures. By default the score where the batch's positives stand: the one at which
            mean max(k_ip, S_ip / m_i)^q = 1, m_i candidates, a constant to the gradient. Then positives are pulled by
            1 / tau on average, as InfoNCE's are at first, at every temperature, batch size and q.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        q -> 0: InfoNCE + log(lam). shift = 0, q = 1: mean of lam S - k. Embeddings and temperature are moved by a
        multiple of the published form that is the same for all anchors of a call; where all rows look alike the
        temperature moves as InfoNCE's does, times (lam S / k)^q.

    Source:
        Chuang et al. 2022.

    Example:
        >>> import torch
        >>> from couplings import RINCE
        >>> z = torch.eye(4)
        >>> round(RINCE(temperature=0.5, q=0.5, lam=0.025)(z, z).item(), 4)
        -1.5743
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.2,
        q: float = 0.3,
        lam: float = 0.1,
        *,
        shift: float | None = None,
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, **options)
        self._set_divergence(q, lam, shift)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """One row-normalised plan a positive: "plan" for two views, "positive 1", ... for more."""
        return one_against_negatives(batch, self.temperature)

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean over positives of the divergence."""
        return self._divergence(batch, couplings)

    def _matches(self, batch: Batch, couplings: Couplings) -> list[tuple[Coupling, Target]]:
        columns = batch.positives.T[:, :, None]
        return [(plan, Pairs(column)) for plan, column in zip(couplings.values(), columns, strict=True)]


class GCARINCE(_QPower, Matched):
    """GCA-RINCE: RINCE's divergence on the balanced plan.

        k_ij = M b_j exp((s_ij - shift) / tau + g_j),  S_i = sum_j k_ij = M exp(-f_i - shift / tau)
        loss = mean_i (1 / q) [ (lam S_i)^q - E_{T(.|i)} k_ij^q ]

    with f, g the potentials of T sweeps and a row step, M columns of weight b_j (1 / M in a batch). As a coupling: rows
    Fixed, columns Fixed.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        q: see `RINCE`.
        lam: see `RINCE`; it means the same there and here.
        sweeps: T >= 0.
        target: see `GCAINCE`.
        shift: see `RINCE`.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        sweeps = 0, two views: RINCE. q -> 0: GCA-INCE + log(lam) for two views. The released half-step form leaves the
        positive divided by n: it is n^-q times this loss with lam n.

    Source:
        Chen et al. 2024.

    Example:
        >>> import torch
        >>> from couplings import GCARINCE
        >>> z = torch.eye(4)
        >>> round(GCARINCE(temperature=0.5, q=0.5, lam=0.025)(z, z).item(), 4)
        -1.5743
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.2,
        q: float = 0.3,
        lam: float = 0.1,
        sweeps: int = 5,
        target: str | Wanted = "positives",
        *,
        shift: float | None = None,
        **options: Unpack[TemperedOptions],
    ) -> None:
        Matched.__init__(self, temperature, sweeps, target, **options)
        self._set_divergence(q, lam, shift)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced "plan" over positives and negatives."""
        return {"plan": self._balanced(batch)}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The q-power divergence."""
        return self._divergence(batch, couplings)


class GCAUOT(_QPower, Matched):
    """GCA-UOT: an unbalanced plan, matched by KL and by RINCE's divergence.

        P = T sweeps and a row step under  rho1 KL(P 1, a) + rho2 KL(P^T 1, b)
        loss = r1 mean_i KL(T(.|i), P(.|i)) + r2 mean_i (1 / q) [ (lam S_i)^q - E_{T(.|i)} k_ij^q ]

    with S_i = M exp(-f_i - shift / tau) and k_ij = M P_ij / (a_i exp(f_i + shift / tau)). Samples that fit nowhere may
    carry less mass. No data was found where it led; for wrong pairs see `RINCE`. As a coupling: rows KL(rho1), columns
    KL(rho2), around the target's marginals (uniform ones where the target leaves columns empty, as in a queue).

    Args:
        temperature: entropic regularisation > 0; a tensor or `nn.Parameter` carries gradient.
        rho1: price of row mass > 0, in units of a score; a tensor carries gradient.
        rho2: price of column mass > 0.
        r1: weight >= 0 of the KL term.
        r2: weight >= 0 of the RINCE term. For an untrained encoder its gradient is about as large as that of the KL
            term, at every temperature and batch size.
        q: see `RINCE`.
        lam: see `RINCE`.
        sweeps: T >= 0.
        target: see `GCAINCE`.
        shift: see `RINCE`.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        rho1, rho2 -> infinity: r1 GCA-INCE + r2 GCA-RINCE. rho1, rho2 -> 0: potentials vanish, r1 weighs InfoNCE. The
        reference measure is a x b; against the counting measure, that of the released code for CIFAR, every score has
        temperature log(N M) more. With shift = 1, equal prices, l = rho / (rho + temperature) and
        c = (exp(1 / temperature) / (N M))^(l / (1 + l)) its r2 is ours at r2 c^q, its lam ours at
        lam exp(1 / temperature) / (N c^2).

    Source:
        Chen et al. 2024.

    Example:
        >>> import torch
        >>> from couplings import GCAUOT
        >>> z = torch.eye(4)
        >>> round(GCAUOT(temperature=0.5, r2=0.0)(z, z).item(), 4)
        0.5944
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.2,
        rho1: float | Tensor = 0.2,
        rho2: float | Tensor = 0.2,
        r1: float = 1.0,
        r2: float = 0.2,
        q: float = 0.3,
        lam: float = 0.1,
        sweeps: int = 10,
        target: str | Wanted = "positives",
        *,
        shift: float | None = None,
        **options: Unpack[TemperedOptions],
    ) -> None:
        Matched.__init__(self, temperature, sweeps, target, **options)
        for name, price in (("rho1", rho1), ("rho2", rho2)):
            checks.positive(name, price)
        for name, weight in (("r1", r1), ("r2", r2)):
            checks.finite_nonnegative(name, weight)
        self.rho1, self.rho2, self.r1, self.r2 = rho1, rho2, r1, r2
        self._set_divergence(q, lam, shift)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The unbalanced "plan" over positives and negatives."""
        rows, cols = batch.wanted.marginals(batch.gram.shape[1])
        if cols is not None:  # equal where some column has none, without asking which
            cols = torch.where((cols > 0).all(), cols, 1 / len(cols))
        plan = couple(
            batch.scores(self.temperature, self.candidates(batch)),
            KL(self.rho1, rows),
            KL(self.rho2, cols),
            sweeps=self.sweeps,
            row_step=True,
        )
        return {"plan": plan}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """r1 KL + r2 RINCE."""
        matched = batch.wanted.conditional_divergence(couplings["plan"])
        return self.r1 * matched + self.r2 * self._divergence(batch, couplings)
