"""The worst coupling at a price for leaving independence, solved by the library's own `couple`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.basics.errors import CouplingWarning
from couplings.pieces.costs import Cost
from couplings.pieces.marginals import Fixed
from couplings.pieces.rules import Entropic, Quadratic, Rule
from couplings.plans.coupling import Coupling
from couplings.plans.scores import Scores
from couplings.plans.solve import couple

from .game import F64, Positives, Psi, gains


@dataclass(frozen=True, eq=False)
class RegularisedCoupling:
    """P = argmax <P, gains> - reg R(P), a solved `Coupling`, and what it is worth.

    R(P) is KL(P, w x p) for `Entropic()` and half the chi-squared divergence of P from w x p for `Quadratic()`, where
    w x p is the independent coupling of positive pairs and negatives.
    """

    gains: Tensor
    coupling: Coupling
    reg: float

    @cached_property
    def plan(self) -> Tensor:
        """The plan, (K, N)."""
        return self.coupling.plan()

    @property
    def expected(self) -> float:
        """E psi under the plan: what the loss shows."""
        return float((self.plan * self.gains).sum())

    @property
    def divergence(self) -> float:
        """R(P)."""
        reference = self.coupling.a[:, None] * self.coupling.b
        rule = self.coupling.rule
        return float(
            (reference * (rule.penalty(self.plan / reference) - rule.penalty(torch.ones_like(reference)))).sum()
        )

    @property
    def value(self) -> float:
        """E psi - reg R(P): what the adversary maximises."""
        return self.expected - self.reg * self.divergence

    @property
    def gap(self) -> float:
        """Dual minus primal value: the certificate, zero up to rounding."""
        offset = float(self.coupling.rule.penalty(torch.ones((), dtype=F64)))
        return self.reg * (float(self.coupling.dual()) + offset) - self.value


def regularised_plan(
    values: Tensor,
    positives: Positives,
    reg: float,
    rule: Rule | None = None,
    *,
    sweeps: int = 20_000,
    tol: float = 1e-8,
) -> RegularisedCoupling:
    """The regularised worst coupling for given gains (K, N); see `regularised_coupling`."""
    checks.finite_positive("reg", reg)
    checks.finite_positive("tol", tol)
    rule = rule or Entropic()
    known = isinstance(rule, Entropic | Quadratic)
    checks.require(known, f"rule must be Entropic() or Quadratic(), got {rule!r}: others have no R(P) here")
    checks.require(values.dim() == 2, "the regularised coupling is that of one negative: pass gains of negatives=1")
    scores = Scores.given(values.detach(), temperature=reg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CouplingWarning)  # check() says it with a remedy
        coupling = couple(
            scores, Fixed(positives.weights), Fixed(positives.mass), sweeps=sweeps, tol=tol / 10, rule=rule
        )
    return RegularisedCoupling(values.detach(), coupling.check(tol), reg)


def regularised_coupling(
    embeddings: Tensor,
    positives: Positives,
    psi: Psi | None = None,
    *,
    reg: float,
    rule: Rule | None = None,
    cost: Cost | None = None,
    sweeps: int = 20_000,
    tol: float = 1e-8,
) -> RegularisedCoupling:
    """The worst coupling at a price: P = argmax E_P psi - reg R(P), marginals fixed, one negative.

    Args:
        embeddings: f, shape (N, d).
        positives: the law of (x, x+).
        psi: `Logistic()` by default.
        reg: price > 0 of leaving independence, in units of psi. -> 0: `worst_coupling`; -> infinity: independent.
        rule: `Entropic()` (default) or `Quadratic()`; the reference is the independent coupling.
        cost: what f(x).f(y) is; the cosine by default.
        sweeps: at most so many of `couple`.
        tol: by how much the marginals may be off together (L1).

    Raises:
        InvalidInput: see `gains`; reg that is no positive number.
        NotConverged: the marginals are off by more than tol after the last sweep: raise reg or sweeps.

    Cost:
        Two passes over a (K, N) matrix a sweep; more sweeps at smaller reg.

    Source:
        Jiang, Ishwar, Aeron, arXiv 2111.03169 (entropic); the quadratic one is ours.

    Example:
        >>> import torch
        >>> from couplings_theory.minmax import Positives, regularised_coupling
        >>> apart, pairs = torch.eye(2).repeat_interleave(2, 0), Positives.of_groups(torch.tensor([0, 0, 1, 1]))
        >>> round(regularised_coupling(apart, pairs, reg=0.5).expected, 4)
        0.5552
    """
    values = gains(embeddings, positives, psi, cost=cost)
    return regularised_plan(values, positives, reg, rule, sweeps=sweeps, tol=tol)
