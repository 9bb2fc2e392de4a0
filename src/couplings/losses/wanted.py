"""From a batch to the plan we want: positives, one class, domains; or the plan that the call gives."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from .. import checks
from ..errors import InvalidInput, did_you_mean
from ..graded import Graded
from ..masks import Mask
from ..targets import Pairs, Target
from .batch import Batch
from .build import Sides
from .temperature import Tempered

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Targeted(Tempered):
    """A loss with a target: the call's own, or made of the batch; once a call."""

    takes_target = True

    @abstractmethod
    def aim(self, batch: Batch) -> Target:
        """The target where the call gives none."""

    @abstractmethod
    def candidates(self, batch: Batch) -> Mask:
        """The mask of the plan: positives and negatives are left."""

    def batch(self, *views: Tensor, **sides: Unpack[Sides]) -> Batch:
        """The validated batch of a call, with its target."""
        batch = super().batch(*views, **sides)
        if batch.target is None:
            return replace(batch, target=self.aim(batch))
        checks.require(batch.domains is None, "target= replaces the domains' target: drop domains= or target=")
        batch.target.admitted_by(self.candidates(batch))
        return batch


class Wanted(Protocol):
    """How a target is made of a batch."""

    def of(self, batch: Batch) -> Target:
        """The target of a batch."""
        ...


@dataclass(frozen=True)
class Positives:
    """Each anchor's mass on its positives, in equal parts."""

    def of(self, batch: Batch) -> Target:
        """Mass 1/N a row."""
        square = batch.gram.shape[0] == batch.gram.shape[1] and not batch.gram.own_columns
        return Pairs(batch.positives, balanced=square)


@dataclass(frozen=True)
class SameLabel:
    """Each anchor's mass on all samples of its class, its other views among them, in equal parts."""

    def of(self, batch: Batch) -> Target:
        """Mass 1/N a row."""
        checks.require(batch.labels is not None, "target='labels' needs labels=, class ids of the samples (n,)")
        return Graded(((batch.kin, 1.0),), 0.0, batch.itself, batch.gram.like)


@dataclass(frozen=True)
class Domains:
    """Weight 1 on positives, `within` on other samples of the anchor's domain, `across` on those of other domains.

    Rows are then scaled to mass 1/N, and a balanced plan takes the target's own column sums: domains of unequal size
    attract unequal mass. `within` < `across` pulls domains together, `within` > `across` keeps them apart.

    Args:
        within: >= 0, of a pair, relative to a positive's 1. Its size depends on the batch: with m other rows of its
            domain, and none of others wanted, an anchor puts the share s on them by s (views - 1) / ((1 - s) m).
        across: >= 0, likewise, of a pair of two domains.

    Source:
        Chen et al. 2024, domain generalisation.

    Example:
        >>> import torch
        >>> from couplings import Domains, GCAINCE
        >>> z = torch.eye(4)
        >>> loss = GCAINCE(temperature=0.5, target=Domains(within=0.0, across=0.5))
        >>> round(loss(z, z, domains=torch.tensor([0, 0, 1, 1])).item(), 4)
        0.3671
    """

    within: float
    across: float

    def __post_init__(self) -> None:
        checks.finite_nonnegative("within", self.within)
        checks.finite_nonnegative("across", self.across)

    def of(self, batch: Batch) -> Target:
        """Mass 1/N a row."""
        domains = batch.domains
        if domains is None:
            raise InvalidInput("target=Domains(...) needs domains=, domain ids of the samples (n,)")
        shared = batch.gram.shape[0] == batch.gram.shape[1]
        checks.require(shared, "the keys of a queue have no domain: drop keys= or use target='positives'")
        levels = ((domains, self.within), (batch.sample, 1.0))
        return Graded(levels, self.across, batch.all_but_kin(batch.sample), batch.gram.like)


def resolve_wanted(target: str | Wanted) -> Wanted:
    """The target of that name, or the object itself when it can make one of a batch."""
    known: dict[str, Wanted] = {"positives": Positives(), "labels": SameLabel()}
    if isinstance(target, str):
        hint = did_you_mean(target, known)
        checks.require(target in known, f"unknown target {target!r}: {hint} (or pass Domains(within, across))")
        return known[target]
    usable = not isinstance(target, type) and callable(getattr(target, "of", None))
    checks.require(usable, f"target must be one of {sorted(known)} or Domains(within, across), got {target!r}")
    return target
