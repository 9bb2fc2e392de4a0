"""Where RINCE's power and the price of unbalanced marginals lead at their two ends."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from couplings import GCAINCE, GCARINCE, GCAUOT, RINCE, Free, InfoNCE, Scores, couple

from ...alignment import Reference, balanced, released_rince, rince, unbalanced
from ...claim import Claim, Finding, Paper, Picture, Standing, at_least, equal
from ...figures.alignment import draw_prices, draw_rince
from .settings import F64, POSITIVES, TEMPERATURE, UNIFORM, N, cosines, noisy_views, random

Power = Callable[[Tensor, Tensor, float, float], Tensor]
Unbalanced = Callable[..., Tensor]

LAM = 0.3
PRICES = tuple(10 ** (k / 2) for k in range(-8, 5))
"""Of row and of column mass, rising."""


def rince_limits(power: Power = rince) -> Finding:
    """The formula against the library's losses, and both ends."""
    views = noisy_views(0)
    kernel = torch.exp(cosines(views) / TEMPERATURE)
    positive, total = kernel[POSITIVES > 0], kernel.sum(1)
    low, middle, high = (power(positive, total, q, LAM) for q in (1e-4, 0.5, 1.0))
    slope = (torch.log(LAM * total) ** 2 - torch.log(positive) ** 2).mean() / 2
    per_q = (low - torch.log(LAM * total / positive)).mean() / 1e-4
    losses = InfoNCE(TEMPERATURE), GCAINCE(TEMPERATURE, sweeps=5), GCARINCE(TEMPERATURE, 1e-4, LAM, sweeps=5)
    infonce, gca_ince, gca_rince = (float(loss(*views)) for loss in losses)
    library = float(RINCE(TEMPERATURE, 0.5, LAM, shift=0.0)(*views))
    checks = (
        equal("library's RINCE, q = 0.5, against the formula", library, float(middle.mean()), 1e-12),
        equal("formula at q = 1e-4 against InfoNCE + log lam", float(low.mean()), infonce + math.log(LAM), 1e-3),
        equal("its error there, divided by q, against the first-order term", float(per_q), float(slope), 1e-2),
        equal("largest distance at q = 1 from lam S - p, relative", _relative(high, LAM * total - positive), 0, 1e-12),
        equal("library's GCA-RINCE at q = 1e-4 against GCA-INCE + log lam", gca_rince, gca_ince + math.log(LAM), 1e-3),
        equal(
            "q = 1, lam = 1 / 15: mean over 15 equally likely positives", _any_positive(power, kernel, 1.0), 0, 1e-12
        ),
        at_least("the same mean at q = 0.1: wrong positives cost", _any_positive(power, kernel, 0.1), 0.1),
        equal("positive divided by n against n^-q RINCE with lam n", *_released(power, positive, total), 1e-12),
    )
    picture = Picture(
        partial(draw_rince, **_curves(power, positive, total)),
        (12, 4.8),
        "RINCE runs from the logarithm (q → 0) to the linear loss (q = 1)",
        "Left, what one anchor pays, by the odds of its positive: the smaller q, the more hopeless positives cost. "
        "Right, how fast the lower end is reached; a positive left divided by n = 16 ends elsewhere.",
    )
    remark = "With the positive divided by n = 1024, a published lam of 0.01 acts as one of 10.24."
    return Finding(checks, picture, (remark,))


def _relative(some: Tensor, other: Tensor) -> float:
    return float((some - other).abs().max() / other.abs().max())


def _any_positive(power: Power, kernel: Tensor, q: float) -> float:
    """Mean loss when each of the other rows is as likely the positive: what uniform label noise adds."""
    candidates = kernel[kernel > 0].reshape(N, N - 1)
    total = candidates.sum(1, keepdim=True).expand_as(candidates)
    return float(power(candidates, total, q, 1 / (N - 1)).mean())


def _released(power: Power, positive: Tensor, total: Tensor) -> tuple[float, float]:
    q = 0.6
    theirs = released_rince(positive, total, q, LAM, N).mean()
    return float(theirs), float(N**-q * power(positive, total, q, LAM * N).mean())


def _curves(power: Power, positive: Tensor, total: Tensor) -> dict[str, Any]:
    """Loss over the positive's probability, S = 1; distance from InfoNCE + log lam over q, right and released."""
    chance = torch.logspace(-3, 0, 61, dtype=F64)
    one, qs = torch.ones_like(chance), [10 ** (k / 4) for k in range(-20, 1)]
    end = torch.log(LAM * total / positive).mean()
    theirs = [float((released_rince(positive, total, q, LAM, N).mean() - end).abs()) for q in qs]
    return {
        "chance": chance.tolist(),
        "by_q": {q: power(chance, one, q, 1.0).tolist() for q in (0.0, 0.25, 0.5, 0.75, 1.0)},
        "qs": qs,
        "ours": [float((power(positive, total, q, LAM).mean() - end).abs()) for q in qs],
        "theirs": theirs,
    }


@dataclass(frozen=True)
class _Prices:
    """Masses of plans at rising prices, against both references, and L1 distances of the library's."""

    rhos: Sequence[float]
    mass: list[float]
    counting: list[float]
    from_kernel: list[float]
    from_balanced: list[float]
    from_marginals: list[float]

    def picture(self) -> Picture:
        """Both, over the price."""
        masses = {"reference a × b (the library's)": self.mass, "counting reference": self.counting}
        ends = {"kernel": self.from_kernel, "balanced plan": self.from_balanced, "marginals": self.from_marginals}
        return Picture(
            partial(draw_prices, rhos=self.rhos, masses=masses, distances=ends),
            (12, 4.8),
            "The price of mass leads from the bare kernel to the balanced plan",
            "Left, the mass of a 16 x 16 plan over rho, for both references of the regulariser. Right, its L1 distance "
            "from the kernel, from the balanced plan and from the marginals: proportional to rho, and to 1 / rho.",
        )

    def remark(self) -> str:
        """What the counting reference means for a setting of rho."""
        middle = len(self.rhos) // 2
        return (
            f"The counting reference pulls each entry toward one: at rho = {self.rhos[middle]:.2g} the plan carries "
            f"mass {self.counting[middle]:.3g}, so that a published setting of rho does not mean the same here."
        )


def _along(
    solve: Unbalanced, scores: Tensor, temperature: float, rhos: Sequence[float], kernel: Tensor, firm: Tensor
) -> _Prices:
    plans = [solve(scores, temperature, (rho, rho)) for rho in rhos]
    against_ones = [solve(scores, temperature, (rho, rho), Reference.COUNTING) for rho in rhos]
    return _Prices(
        rhos,
        mass=[float(plan.sum()) for plan in plans],
        counting=[float(plan.sum()) for plan in against_ones],
        from_kernel=[float((plan - kernel).abs().sum()) for plan in plans],
        from_balanced=[float((plan - firm).abs().sum()) for plan in plans],
        from_marginals=[sum(float((plan.sum(k) - UNIFORM).abs().sum()) for k in (0, 1)) for plan in plans],
    )


def unbalanced_limits(solve: Unbalanced = unbalanced, rhos: Sequence[float] = PRICES) -> Finding:
    """Both ends, another solver for both references, a closed form, and the loss."""
    scores, eps = random(0, N, N) / 2, 0.5
    kernel = couple(Scores.given(scores, temperature=eps), Free(), Free(), sweeps=0).plan()
    firm, views = balanced(scores, eps), noisy_views(0)
    far_from_kernel = _far(solve(scores, eps, (1e-9, 1e-9)), kernel)
    far_from_firm = _far(solve(scores, eps, (1e9, 1e9)), firm)
    product, counting = (_from_pot(solve, scores, eps, reference) for reference in Reference)
    mass = float(solve(torch.full((4, 4), 0.7, dtype=F64), eps, (0.2, 0.6)).sum())
    cheap, dear = (_gca_uot(views, price) for price in (1e-9, 1e9))
    infonce, gca_ince = float(InfoNCE(TEMPERATURE)(*views)), float(GCAINCE(TEMPERATURE, sweeps=7)(*views))
    seen = _along(solve, scores, eps, rhos, kernel, firm)
    rising, falling = _log_slope(rhos[:2], seen.from_kernel[:2]), _log_slope(rhos[-2:], seen.from_balanced[-2:])
    checks = (
        equal("rho = 1e9: largest distance from the balanced plan", far_from_firm, 0, 1e-6),
        equal("rho = 1e-9: largest distance from the kernel", far_from_kernel, 0, 1e-6),
        equal("largest distance from POT's plan, reference a x b", product, 0, 1e-6),
        equal("largest distance from POT's plan, counting reference", counting, 0, 1e-6),
        equal("equal scores 0.7: mass against exp(s / (eps + rho1 + rho2))", mass, math.exp(0.7 / 1.3), 1e-9),
        equal("GCA-UOT without RINCE's term, rho = 1e-9, against InfoNCE", cheap, infonce, 1e-6),
        equal("the same, rho = 1e9, against GCA-INCE", dear, gca_ince, 1e-6),
        equal("slope of the distance from the kernel as rho -> 0, log-log", rising, 1, 0.02),
        equal("slope of the distance from the balanced plan as rho -> inf", falling, -1, 0.03),
    )
    return Finding(checks, seen.picture(), (seen.remark(),))


def _far(some: Tensor, other: Tensor) -> float:
    return float((some - other).abs().max())


def _gca_uot(views: Tensor, price: float) -> float:
    return float(GCAUOT(TEMPERATURE, rho1=price, rho2=price, r1=1.0, r2=0.0, sweeps=7)(*views))


def _log_slope(x: Sequence[float], y: Sequence[float]) -> float:
    return math.log(y[1] / y[0]) / math.log(x[1] / x[0])


def _from_pot(solve: Unbalanced, scores: Tensor, temperature: float, reference: Reference) -> float:
    """Largest entry of the difference from POT's plan, for two pairs of prices."""
    import ot

    kind = "kl" if reference is Reference.PRODUCT else "entropy"
    uniform, worst = UNIFORM.numpy(), 0.0
    for rho in ((0.2, 0.2), (1.0, 0.3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that "entropy" replaces a reference which we do not pass
            theirs = ot.unbalanced.sinkhorn_unbalanced(
                uniform,
                uniform,
                -scores.numpy(),
                temperature,
                list(rho),
                reg_type=kind,
                stopThr=1e-14,
                numItermax=20000,
            )
        worst = max(worst, _far(solve(scores, temperature, rho, reference), torch.as_tensor(theirs)))
    return worst


CLAIMS = (
    Claim(
        "alignment/rince-limits",
        "The two ends of RINCE",
        "((lam S)^q - p^q) / q tends to InfoNCE + log lam as q -> 0, with an error proportional to q, and is lam S - p "
        "at q = 1, where uniform noise of the positives costs nothing if lam is one over their number; on balanced "
        "plans too.",
        Paper.GCA,
        Standing.DERIVED,
        rince_limits,
    ),
    Claim(
        "alignment/unbalanced-limits",
        "The two ends of unbalanced plans",
        "A plan whose marginals may be left at the price rho KL tends to the bare kernel as rho -> 0 and to the "
        "balanced plan as rho -> infinity, in proportion to rho and 1 / rho; GCA-UOT to InfoNCE and to GCA-INCE.",
        Paper.GCA,
        Standing.RESTATED,
        unbalanced_limits,
    ),
)
