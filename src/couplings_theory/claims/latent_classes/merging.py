"""When all classes but the most frequent one merge: a rule against the solver."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise, product

import torch
from torch import Tensor

from couplings_theory.claim import Claim, Finding, Paper, Picture, Standing, at_least, at_most, equal
from couplings_theory.figures.latent_classes.merging import Border, draw_merging
from couplings_theory.latent_classes import OptimalGram, critical_scale, merging_balance, optimal_gram

_SHARES = (0.6, 0.85, 0.97)
_KS = (1, 2, 4, 8, 16, 64, 256, 4096)


def merging(
    solve: Callable[..., OptimalGram] = optimal_gram,
    balance: Callable[..., float] = merging_balance,
    border: Callable[..., float] = critical_scale,
    problems: int = 60,
) -> Finding:
    """The rule against the convex program on random problems, and its closed forms."""
    found = [
        (balance(float(p[0]), k=k, scale=s) >= 0, _merged(solve(p, k=k, scale=s))) for p, k, s in _random(problems)
    ]
    scales = {share: [border(share, k=k) for k in _KS] for share in _SHARES}
    rises = [later - sooner for each in scales.values() for sooner, later in pairwise(each)]
    first = max(abs(each[0] - _one_negative(share)) for share, each in scales.items())
    last = max(abs(_many_negatives(share, each[-1])) for share, each in scales.items())
    tiny = [balance(share, k=k, scale=1e-4) for share, k in product((0.499, 0.501), (1, 64))]
    checks = (
        equal(f"problems on which rule and solver disagree, of {problems}", sum(a != b for a, b in found), 0.0, 0.0),
        at_least(
            "problems among them whose rare classes merge, a tenth or more", sum(b for _, b in found), problems / 10
        ),
        equal("k = 1: distance of the critical scale from its closed form, three shares", first, 0.0, 1e-9),
        equal("k = 4096: imbalance of the rule for k to infinity there, three shares", last, 0.0, 2e-3),
        at_most("largest rise of the critical scale with k", max(rises), 0.0, 1e-9),
        at_most("s = 0.0001, share .499: largest balance, parted for every k", max(tiny[:2]), 0.0),
        at_least("s = 0.0001, share .501: smallest balance, merged for every k", min(tiny[2:]), 0.0),
    )
    borders = [
        Border(f"{share:.0%}".replace("%", " %"), _KS[:-1], each[:-1], each[-1]) for share, each in scales.items()
    ]
    caption = (
        "For each share of the most frequent class: below the line all other classes have one vector at the optimum, "
        "above it they part. Dotted: the limit of many negatives. How the rest is split among classes does not matter."
    )
    title = "Below a critical scale all classes but the largest share one vector"
    return Finding(checks, Picture(partial(draw_merging, borders=borders), (9, 4.8), title, caption))


def _random(problems: int) -> Iterator[tuple[Tensor, int, float]]:
    """Skewed priors of three to five classes, with k and s in turn."""
    generator = torch.Generator().manual_seed(0)
    for number in range(problems):
        weights = torch.rand(3 + number % 3, generator=generator, dtype=torch.float64).square() + 0.01
        weights[0] *= 10 * float(torch.rand(1, generator=generator))
        k, scale = (1, 2, 4, 8, 32)[number % 5], (0.05, 0.3, 1.0, 2.0, 5.0)[number // 5 % 5]
        yield (weights / weights.sum()).sort(descending=True).values, k, scale


def _merged(best: OptimalGram) -> bool:
    """Whether all classes but the first share one vector."""
    return float(best.gram[1:, 1:].min()) > 1 - 1e-5


def _one_negative(share: float) -> float:
    """The critical scale for k = 1."""
    return math.log((3 * share - 1) / (1 - share)) / 2


def _many_negatives(share: float, scale: float) -> float:
    """For k to infinity the critical scale makes this zero: rho_1 e (1 + z / z_1) - 2 (1 - rho_1), e = e^(-2 s)."""
    e, rest = math.exp(-2 * scale), 1 - share
    return share * e * (1 + (rest + share * e) / (share + rest * e)) - 2 * rest


MERGING = (
    Claim(
        "latent-classes/merging",
        "When rare classes merge",
        "All classes but the most frequent one share one vector at the optimum when rho_1 a >= (1 - rho_1) b, with a "
        "and b two derivatives of the loss that depend on rho_1, k and s alone. For all shares and k tried it holds "
        "below a critical scale, which falls with k; for k = 1 that is log((3 rho_1 - 1) / (1 - rho_1)) / 2. Near "
        "s = 0 the condition is rho_1 >= 1/2.",
        Paper.NEGATIVES,
        Standing.DERIVED,
        merging,
    ),
)
