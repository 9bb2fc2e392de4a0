r"""Which negatives the couplings of HCL and HCL-OT take, on given embeddings.

Views of n samples, N = n V unit rows z; a pair of the same sample carries no mass. With squared distances
C_ij = 2 - 2 s_ij and a price reg (in units of C),

    uniform      P_ij = 1 / (N M)                             M = N - V negatives a row
    tilted       P_ij = e^(2 s_ij / reg) / (N sum_j ...)      rows 1 / N: HCL at beta = 2 tau / reg
    transported  P_ij = e^(f_i + g_j + 2 s_ij / reg) / N^2    rows and columns 1 / N: HCL-OT

All three are made by the library's own losses. They differ in who may be a hub: `shares` says how much mass each
candidate attracts, `hardness` how similar an anchor's negatives are to it, `Similarities` their whole distribution.

Source: Robinson et al. 2021 (tilting); Jiang, Ishwar, Aeron, arXiv 2111.03169 (transport).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.basics.errors import CouplingWarning
from couplings.losses.sample import HCL, HCLOT, DebiasedInfoNCE
from couplings.pieces.costs import Cost, SquaredEuclidean
from couplings.pieces.masks import SameId
from couplings.pieces.rules import Entropic, Rule
from couplings.plans.coupling import Coupling
from couplings.plans.scores import Scores

__all__ = [
    "Similarities",
    "best_assignment",
    "clustered_views",
    "hardness",
    "row_gap",
    "shares",
    "similarities",
    "tilted",
    "transported",
    "uniform",
]

F64 = torch.float64
_TAU = 0.5
"""The tilt depends on beta / tau alone."""


def uniform(views: Sequence[Tensor]) -> Coupling:
    """Every negative alike: the plan of `DebiasedInfoNCE`, and of HCL at beta = 0.

    Args:
        views: two or more (n, d) of the same samples.

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import uniform
        >>> uniform([torch.eye(3), torch.eye(3)]).conditional()[0].round(decimals=6).tolist()
        [0.0, 0.25, 0.25, 0.0, 0.25, 0.25]
    """
    return DebiasedInfoNCE(_TAU).coupling(*_double(views))["negatives"].detach()


def tilted(views: Sequence[Tensor], reg: float) -> Coupling:
    """Rows tilted by e^(2 s / reg): the plan of `HCL` at beta = 2 tau / reg.

    Args:
        views: two or more (n, d) of the same samples.
        reg: price > 0 of leaving the uniform plan, in units of squared distance.

    Raises:
        InvalidInput: reg that is no positive number; views that `HCL` refuses.

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import tilted
        >>> round(tilted([torch.eye(3), torch.eye(3)], 1.0).column_mass().sum().item(), 6)
        1.0
    """
    checks.finite_positive("reg", reg)
    return HCL(_TAU, beta=2 * _TAU / reg).coupling(*_double(views))["negatives"].detach()


def transported(
    views: Sequence[Tensor],
    reg: float,
    cost: Cost | None = None,
    *,
    rule: Rule | None = None,
    sweeps: int | None = None,
    tol: float = 1e-6,
) -> Coupling:
    """Rows and columns in balance: the plan of `HCLOT` at reg.

    Args:
        views: two or more (n, d) of the same samples.
        reg: price > 0 of leaving the uniform plan, in units of the cost.
        cost: what is transported over; squared distance by default.
        rule: `Entropic()` by default.
        sweeps: exactly so many; by default those of `HCLOT`, until its tolerance or 1,000.
        tol: by how much the marginals may be off together (L1).

    Raises:
        NotConverged: they are off by more: ask for more sweeps or a larger reg.
        InvalidInput: reg that is no positive number; views that `HCLOT` refuses.

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import shares, transported
        >>> shares(transported([torch.eye(3), torch.eye(3)], 0.5)).round(decimals=6).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    loss = HCLOT(_TAU, reg, cost=SquaredEuclidean() if cost is None else cost, rule=rule or Entropic(), sweeps=sweeps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CouplingWarning)  # check() says it with a remedy
        coupling = loss.coupling(*_double(views))["negatives"]
    return coupling.check(tol)


def shares(coupling: Coupling) -> Tensor:
    """How much mass each candidate attracts, its column sum times their number, (N,): one is a fair share, more a hub.

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import shares, uniform
        >>> shares(uniform([torch.eye(3), torch.eye(3)])).round(decimals=6).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    mass = coupling.column_mass()
    return mass / mass.mean()


def hardness(coupling: Coupling, views: Sequence[Tensor]) -> float:
    """Expected cosine of an anchor and its negative under the plan, in [-1, 1].

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import hardness, uniform
        >>> hardness(uniform([torch.eye(3), torch.eye(3)]), [torch.eye(3), torch.eye(3)])
        0.0
    """
    return float((coupling.plan() * _cosines(views)).sum())


def row_gap(first: Coupling, second: Coupling) -> float:
    """Mean over anchors of |P(.|i) - Q(.|i)|_1, in [0, 2].

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import row_gap, uniform
        >>> plan = uniform([torch.eye(3), torch.eye(3)])
        >>> row_gap(plan, plan)
        0.0
    """
    return float((first.conditional() - second.conditional()).abs().sum(1).mean())


@dataclass(frozen=True, eq=False)
class Similarities:
    """The distribution of the cosine of an anchor and its negative under a plan.

    Attributes:
        values: the cosines that admissible pairs have, in ascending order, each once.
        mass: their mass under the plan, sum one, of the same shape.
    """

    values: Tensor
    mass: Tensor

    @property
    def mean(self) -> float:
        """Expected cosine."""
        return float(self.values @ self.mass)

    def tail(self, threshold: float) -> float:
        """Mass of negatives with a cosine above the threshold."""
        return float(self.mass[self.values > threshold].sum())

    def shortfall(self, other: Similarities) -> float:
        """The most by which its tail lies below the other's: zero where it is stochastically larger.

        Both must be of the same embeddings.
        """
        checks.require(torch.equal(self.values, other.values), "other must be of the same views")
        behind = torch.cumsum(self.mass, 0) - torch.cumsum(other.mass, 0)  # of the distribution functions
        return float(behind.clamp_min(0).max())


def similarities(coupling: Coupling, views: Sequence[Tensor]) -> Similarities:
    """The distribution of cosines under a plan of these views.

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import similarities, uniform
        >>> views = [torch.eye(3), torch.eye(3)]
        >>> similarities(uniform(views), views).tail(0.5)
        0.0
    """
    admissible = ~_same_sample(views)
    values, order = _cosines(views)[admissible].sort()
    last = torch.cat([values[1:] > values[:-1], torch.ones(1, dtype=torch.bool)])
    up_to = torch.cumsum(coupling.plan()[admissible][order], 0)[last]
    return Similarities(values[last], torch.diff(up_to, prepend=torch.zeros(1, dtype=F64)))


def best_assignment(views: Sequence[Tensor]) -> float:
    """The largest mean cosine of any one-to-one choice of negatives: hardness of transport as reg -> 0.

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import best_assignment
        >>> best_assignment([torch.eye(3), torch.eye(3)])
        0.0
    """
    from scipy.optimize import linear_sum_assignment

    cosines = _cosines(views).masked_fill(_same_sample(views), -1e3)
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    return float(cosines[rows, columns].mean())


def nearest_negatives(views: Sequence[Tensor]) -> float:
    """The mean cosine of each anchor's most similar negative: hardness of tilting as reg -> 0.

    Example:
        >>> import torch
        >>> from couplings_theory.hard_negatives import nearest_negatives
        >>> nearest_negatives([torch.eye(3), torch.eye(3)])
        0.0
    """
    return float(_cosines(views).masked_fill(_same_sample(views), -torch.inf).amax(1).mean())


def clustered_views(
    samples: int = 24, clusters: int = 4, dim: int = 8, *, spread: float = 0.6, noise: float = 0.3, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Two noisy views of samples around random centres on the unit sphere, and the cluster of each sample.

    Args:
        samples: n.
        clusters: how many centres; sample i belongs to centre i modulo their number.
        dim: d.
        spread: of samples around a centre, in units of its length, per dimension times sqrt(d).
        noise: of views around a sample, alike.
        seed: of everything.

    Returns:
        Both views (n, d), float64, and clusters (n,).

    Example:
        >>> from couplings_theory.hard_negatives import clustered_views
        >>> view, other, clusters = clustered_views(6, 2, 3)
        >>> tuple(view.shape), clusters.tolist()
        ((6, 3), [0, 1, 0, 1, 0, 1])
    """
    for name, count in {"samples": samples, "clusters": clusters, "dim": dim}.items():
        checks.count(name, count)
        checks.require(count >= 1, f"{name} must be 1 or more, got {count}")
    checks.require(samples >= 2, f"samples must be 2 or more for anyone to have a negative, got {samples}")
    checks.finite_nonnegative("spread", spread)
    checks.finite_nonnegative("noise", noise)
    generator = torch.Generator().manual_seed(seed)

    def drawn(rows: int) -> Tensor:
        return torch.randn(rows, dim, generator=generator, dtype=F64) / math.sqrt(dim)

    cluster = torch.arange(samples) % clusters
    base = _unit(drawn(clusters))[cluster] + spread * drawn(samples)
    return _unit(base + noise * drawn(samples)), _unit(base + noise * drawn(samples)), cluster


def _double(views: Sequence[Tensor]) -> list[Tensor]:
    for index, view in enumerate(views):
        checks.tensor(f"views[{index}]", view)
    return [view.to(F64) for view in views]


def _cosines(views: Sequence[Tensor]) -> Tensor:
    cosines = Scores(torch.cat(_double(views))).matrix()
    return (cosines + cosines.T) / 2  # (i, j) and (j, i) in the same bits: they are one value of the distribution


def _same_sample(views: Sequence[Tensor]) -> Tensor:
    sample = torch.arange(len(views[0])).repeat(len(views))
    return SameId(sample, sample).forbidden()


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1)
