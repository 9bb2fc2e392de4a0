"""Generalised contrastive alignment: plans with both marginals, matched to a target."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..basics import checks, looks
from ..basics.errors import InvalidInput
from ..pieces.marginals import Fixed
from ..pieces.masks import Mask
from ..pieces.rules import Rule, resolve_rule
from ..plans.coupling import Coupling
from ..plans.solve import couple
from ..plans.targets import Target
from .base import Couplings
from .batch import Batch
from .temperature import TemperedOptions
from .wanted import Domains, SameLabel, Targeted, Wanted, resolve_wanted

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Matched(Targeted):
    """A plan over positives and negatives together, and the target that it should be."""

    shares_columns = True

    def __init__(
        self, temperature: float | Tensor, sweeps: int, target: str | Wanted, **options: Unpack[TemperedOptions]
    ) -> None:
        super().__init__(temperature, **options)
        checks.count("sweeps", sweeps)
        self.sweeps, self.target = sweeps, resolve_wanted(target)
        self.takes_domains = isinstance(self.target, Domains)
        self.labels_attract = isinstance(self.target, SameLabel)

    def aim(self, batch: Batch) -> Target:
        """Made of positives, labels or domains."""
        return self.target.of(batch)

    def candidates(self, batch: Batch) -> Mask:
        """Positives, all of a class if labels attract, and negatives."""
        return batch.all_but_kin(batch.kin if self.labels_attract else batch.sample)

    def _balanced(
        self,
        batch: Batch,
        *,
        row_step: bool = True,
        temperature: float | Tensor | None = None,
        rule: Rule | None = None,
    ) -> Coupling:
        """The plan with the target's own marginals."""
        rows, cols = batch.wanted.marginals(batch.gram.shape[1])
        if cols is not None and checks.checks_enabled():
            looks.expect_finite(cols.amin().log(), partial(_no_empty_column, cols))
        scores = batch.scores(self.temperature if temperature is None else temperature, self.candidates(batch))
        return couple(scores, Fixed(rows), Fixed(cols), sweeps=self.sweeps, row_step=row_step, rule=rule)


def _no_empty_column(mass: Tensor) -> None:
    empty = mass <= 0
    if empty.any():
        raise InvalidInput(
            f"the target puts no mass on column {int(empty.nonzero()[0])}, which a balanced plan would have to leave "
            "empty: columns without positives (keys=) need GCAUOT, which relaxes them, or a loss that leaves them "
            "free, such as InfoNCE, HCL or CACR"
        )


class GCAINCE(Matched):
    """GCA-INCE: InfoNCE with a balanced plan, Sinkhorn's sweeps before the row step.

        P = T sweeps of (rows, columns), one more row step;  loss = KL(T, P)
          = mean_i mean_p  -log P(p | i) - log(views - 1)

    As a coupling: rows Fixed, columns Fixed, at the target's own marginals.

    Args:
        temperature: entropic regularisation > 0; a tensor or `nn.Parameter` carries gradient.
        sweeps: T >= 0; the gradient is the exact one of T sweeps.
        target: "positives", "labels" (classes attract) or `Domains(within, across)`.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Takes `target=` (N, M) or a `Coupling` (a teacher's plan) in place of it.

    Raises:
        InvalidInput: with columns that hold no target mass (`keys`), where a balanced plan must put some, and with
            `negatives`, whose columns no two anchors share.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        sweeps = 0, two views: InfoNCE. At sweeps = 0 and at convergence dL/ds = (P - T) / temperature; in between the
        gradient is another one, that of the sweeps.

    Source:
        Chen et al. 2024 (generalised contrastive alignment).

    Example:
        >>> import torch
        >>> from couplings import GCAINCE
        >>> z = torch.eye(4)
        >>> round(GCAINCE(temperature=0.5, sweeps=5)(z, z).item(), 4)
        0.5944
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.2,
        sweeps: int = 5,
        target: str | Wanted = "positives",
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, sweeps, target, **options)

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced "plan" over positives and negatives."""
        return {"plan": self._balanced(batch)}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """KL(T, P)."""
        return batch.wanted.divergence(couplings["plan"])


class IOT(Matched):
    """Inverse optimal transport: the similarity whose balanced plan is the target, and evenly spread besides.

        P = T sweeps of (rows, columns);  loss = KL(T, P) + uniformity KL(P, U)

    with U constant over the admissible pairs. As a coupling: rows Fixed, columns Fixed.

    Args:
        temperature: entropic regularisation > 0; a tensor or `nn.Parameter` carries gradient.
        uniformity: weight >= 0 of the pull towards the constant plan.
        sweeps: T >= 1.
        target: see `GCAINCE`.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        uniformity = 0, converged: GCA-INCE.

    Source:
        Shi et al. 2023 (IOT-CL, IOT-CL-uni).

    Example:
        >>> import torch
        >>> from couplings import IOT
        >>> z = torch.eye(4)
        >>> round(IOT(temperature=0.5)(z, z).item(), 4)
        0.5944
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        uniformity: float = 0.0,
        sweeps: int = 10,
        target: str | Wanted = "positives",
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, sweeps, target, **options)
        checks.require(sweeps >= 1, "sweeps must be >= 1: without one there is no plan to match")
        checks.finite_nonnegative("uniformity", uniformity)
        self.uniformity = uniformity

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced "plan" over positives and negatives."""
        return {"plan": self._balanced(batch, row_step=False)}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """KL(T, P) + uniformity KL(P, U)."""
        plan = couplings["plan"]
        loss = batch.wanted.divergence(plan)
        if not self.uniformity:
            return loss
        return loss + self.uniformity * (torch.log(plan.support_size()) - plan.entropy())


class SparseGCA(Matched):
    """Sparse GCA: a balanced plan most of whose entries are exactly zero, matched as a Fenchel-Young loss. Ours.

        loss = eps [ sum_ij a_i b_j Phi(f_i + g_j + h_ij) - sum_i a_i f_i - sum_j b_j g_j - <T, h> + Omega(T) ]

    with h = s / eps, Phi' = phi, Omega its conjugate and f, g the potentials of T sweeps and a row step. KL(T, P) is
    infinite once the plan has a zero where the target has mass; this loss is finite and convex in the scores instead,
    >= 0, zero where P = T, and its gradient in the scores is P - T once the sweeps have converged. Negatives outside of
    the support get no gradient at all. With uniform columns rows are sparsemax-like,
    P(j | i) = [theta_i + gamma_j + s_ij / temperature]_+.

    Args:
        temperature: > 0, in units of a score: a row whose positive leads all others by `temperature` is done. A
            tensor or `nn.Parameter` carries gradient.
        sweeps: T >= 0.
        rule: "quadratic", "entropic" or a `Rule` with q < 2.
        target: see `GCAINCE`.
        options: `learnable`, `normalize`, `across_views`, `gather`; see `Loss`.

    Shape:
        Views (n, d), two or more; returns a 0-dim tensor. N = views n anchors, M candidates.

    Relations:
        rule = "entropic", converged: temperature times GCA-INCE.

    Source:
        This library; Blondel et al. 2020 for Fenchel-Young losses and 2018 for quadratic transport.

    Example:
        >>> import torch
        >>> from couplings import SparseGCA
        >>> z = torch.eye(4)
        >>> abs(round(SparseGCA(temperature=0.5)(z, z).item(), 4))
        0.0
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        sweeps: int = 20,
        rule: str | Rule = "quadratic",
        target: str | Wanted = "positives",
        **options: Unpack[TemperedOptions],
    ) -> None:
        super().__init__(temperature, sweeps, target, **options)
        self.rule = resolve_rule(rule)
        checks.require(self.rule.q < 2, f"rule must have q < 2, got {self.rule!r}: the dual of others is not finite")

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """The balanced, sparse "plan" over positives and negatives."""
        temperature = self.rule.per_column(self.temperature, batch.gram.shape[1])
        return {"plan": self._balanced(batch, temperature=temperature, rule=self.rule)}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """The dual objective at the potentials, less the primal one at the target."""
        plan, target = couplings["plan"], batch.wanted
        return plan.scores.temperature * (plan.dual() - target.primal(plan))
