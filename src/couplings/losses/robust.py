"""Robust members: a q-power divergence in place of KL, on row-normalised, balanced and unbalanced plans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import checks
from ..coupling import Coupling
from ..marginals import KL
from ..solve import couple
from ..targets import Pairs, Part, Target
from .base import Couplings, Loss, Options
from .batch import Batch
from .gca import Matched
from .match import one_against_negatives
from .wanted import Wanted

if TYPE_CHECKING:
    from typing_extensions import Unpack

_HOT = 0.1
"""From this temperature on exp(1 / temperature) is a harmless number and kernels need no shift."""


class _QPower(Loss):
    """mean_i (1 / q) [ (lam S_i)^q - E_{T(.|i)} k_ij^q ] for kernels k = exp((s - shift) / tau) with row sums S."""

    temperature: float | Tensor
    q: float
    lam: float
    shift: float

    def _set_divergence(self, q: float, lam: float, shift: float | None) -> None:
        checks.finite_positive("q", q)
        checks.require(q <= 1, f"q must be in (0, 1], got {q:g}: q -> 0 is InfoNCE, q = 1 the linear loss")
        checks.finite_positive("lam", lam)
        if shift is not None:
            checks.finite("shift", shift)
        hot = float(torch.as_tensor(self.temperature).detach()) >= _HOT
        self.q, self.lam, self.shift = q, lam, (0.0 if hot else 1.0) if shift is None else shift

    def _divergence(self, plan: Coupling, target: Target) -> Tensor:
        """In logs: k_ij = M P_ij / (a_i e^f_i), S_i = M e^-f_i, each less shift / tau."""
        level = math.log(len(plan.b)) - self.shift / self.temperature

        def excess(plan: Coupling, part: Part, level: float | Tensor) -> Tensor:
            scale = level - plan.f[:, None]
            wanted = scale + part.log_entries(plan) - torch.log(plan.a)[:, None]
            return part.expect(_difference(self.q * (math.log(self.lam) + scale), self.q * wanted))

        return target.each_row(plan, excess, level).sum() / self.q


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """exp(a) - exp(b), without cancellation where they are near and without overflow where they are not."""
    gap = a - b
    above, below = torch.exp(a) * -torch.expm1(-gap.clamp_min(0)), torch.exp(b) * torch.expm1(gap.clamp_max(0))
    return torch.where(gap > 0, above, below)


class RINCE(_QPower):
    """Robust InfoNCE: a q-power divergence that wrong positives cannot dominate.

        loss = mean_i mean_p (1 / q) [ (lam S_ip)^q - k_ip^q ],   k = exp((s - shift) / tau),   S_ip = k_ip + sum_j k_ij

    with j over the negatives. As a coupling: the row-normalised plan of InfoNCE, whose potential is minus log S.

    Args:
        temperature: tau > 0; a tensor or `nn.Parameter` carries gradient.
        q: in (0, 1]; near 0 it is InfoNCE, 1 is linear and symmetric: robust to wrong positives, slow to learn.
        lam: weight > 0 of the denominator, the assumed density of negatives.
        shift: subtracted from every score, which multiplies the loss by exp(-q shift / tau). By default 0, the
            published form, for temperatures of 0.1 and more, and 1 below, where exp(1 / tau) overflows or explodes.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        q -> 0: InfoNCE + log(lam). q = 1: mean of lam S - k.

    Cost:
        Small, one N x M matrix up to 256 x 256 pairs: 1 matrix product forward, 2 backward; kept for the gradient
        1.25 P N M + (2 P + 2) N d + (15 P + 2) N numbers (P = views - 1).
        Large, by tiles: 0.5 and 1.5 products for two views, 1 and 3 a positive for more; kept
        (2 P + 2) N d + (2 P + 12) P N + N numbers.

    Source:
        Chuang et al. 2022.

    Example:
        >>> import torch
        >>> from couplings import RINCE
        >>> z = torch.eye(4)
        >>> round(RINCE(temperature=0.5, q=0.5, lam=0.025)(z, z).item(), 4)
        -4.2795
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        q: float = 0.5,
        lam: float = 0.025,
        *,
        shift: float | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(**options)
        checks.temperature(temperature)
        self.temperature = temperature
        self._set_divergence(q, lam, shift)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """One row-normalised plan a positive: "plan" for two views, "positive 1", ... for more."""
        return one_against_negatives(batch, self.temperature)

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The mean over positives of the divergence."""
        pairs = zip(batch.positives.T, couplings.values(), strict=True)
        return torch.stack([self._divergence(plan, Pairs(column[:, None])) for column, plan in pairs]).mean()


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
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        sweeps = 0, two views: RINCE. q -> 0: GCA-INCE + log(lam) for two views. The released half-step form leaves the
        positive divided by n: it is n^-q times this loss with lam n.

    Cost:
        Small, one N x M matrix up to 1024 x 1024 pairs: 1 matrix product forward, 2 backward, and 2 T passes each way;
        kept for the gradient 1.25 N M + (P + 3) N d + 2 N T + (8 P + 8) N numbers (P = views - 1).
        Large, by panels: 1 and 3 products where the kernel fits the memory budget, T + 1 and T + 3 where it does not;
        kept (P + 3) N d + 2 N T + (8 P + 8) N numbers.

    Source:
        Chen et al. 2024.

    Example:
        >>> import torch
        >>> from couplings import GCARINCE
        >>> z = torch.eye(4)
        >>> round(GCARINCE(temperature=0.5, sweeps=5)(z, z).item(), 4)
        -4.2795
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        q: float = 0.5,
        lam: float = 0.025,
        sweeps: int = 5,
        target: str | Wanted = "positives",
        *,
        shift: float | None = None,
        **options: Unpack[Options],
    ) -> None:
        Matched.__init__(self, temperature, sweeps, target, **options)
        self._set_divergence(q, lam, shift)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced "plan" over positives and negatives."""
        return {"plan": self._balanced(batch)}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The q-power divergence."""
        return self._divergence(couplings["plan"], batch.wanted)


class GCAUOT(_QPower, Matched):
    """GCA-UOT: an unbalanced plan, matched by KL and by RINCE's divergence.

        P = T sweeps and a row step under  rho1 KL(P 1, a) + rho2 KL(P^T 1, b)
        loss = r1 mean_i KL(T(.|i), P(.|i)) + r2 mean_i (1 / q) [ (lam S_i)^q - E_{T(.|i)} k_ij^q ]

    with S_i = M exp(-f_i - shift / tau) and k_ij = M P_ij / (a_i exp(f_i + shift / tau)). Samples that fit nowhere may
    carry less mass. As a coupling: rows KL(rho1), columns KL(rho2), around the target's marginals (uniform ones where
    the target leaves columns empty, as in a queue).

    Args:
        temperature: entropic regularisation > 0; a tensor or `nn.Parameter` carries gradient.
        rho1: price of row mass > 0, in units of a score; a tensor carries gradient.
        rho2: price of column mass > 0.
        r1: weight >= 0 of the KL term.
        r2: weight >= 0 of the RINCE term.
        q: see `RINCE`.
        lam: see `RINCE`. The released code's lam is ours divided by the number of columns.
        sweeps: T >= 0.
        target: see `GCAINCE`.
        shift: see `RINCE`.
        options: `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        rho1, rho2 -> infinity: r1 GCA-INCE + r2 GCA-RINCE. rho1, rho2 -> 0: potentials vanish, r1 weighs InfoNCE. The
        reference measure is a x b; against the counting measure every score has temperature log(N M) more.

    Cost:
        Small, one N x M matrix up to 1024 x 1024 pairs: 1 matrix product forward, 2 backward, and 2 T passes each way;
        kept for the gradient 2.25 N M + (2 P + 4) N d + 2 N T + (8 P + 12) N numbers (P = views - 1).
        Large, by panels: 2 and 6 products where the kernel fits the memory budget, T + 2 and T + 6 where it does not;
        kept (2 P + 4) N d + 2 N T + (8 P + 14) N numbers.

    Source:
        Chen et al. 2024.

    Example:
        >>> import torch
        >>> from couplings import GCAUOT
        >>> z = torch.eye(4)
        >>> round(GCAUOT(r2=0.0)(z, z).item(), 4)
        0.5944
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        rho1: float | Tensor = 0.2,
        rho2: float | Tensor = 0.2,
        r1: float = 1.0,
        r2: float = 0.2,
        q: float = 0.6,
        lam: float = 0.01,
        sweeps: int = 10,
        target: str | Wanted = "positives",
        *,
        shift: float | None = None,
        **options: Unpack[Options],
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
        if cols is not None and not bool((cols > 0).all()):
            cols = None
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
        plan, target = couplings["plan"], batch.wanted
        return self.r1 * target.conditional_divergence(plan) + self.r2 * self._divergence(plan, target)
