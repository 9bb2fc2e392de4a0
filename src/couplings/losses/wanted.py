"""From a batch to the plan we want: positives, one class, domains; or the plan that the call gives."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from ..basics import checks
from ..basics.errors import InvalidInput, did_you_mean
from ..pieces.masks import Mask
from ..plans.graded import Graded, Mixed
from ..plans.targets import Pairs, Target
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
    """Mass on other samples of the anchor's domain, and on those of other domains, beside the positives.

        weights of a pair:  T_ij = w_ij / (N sum_j w_ij),   w = 1 on positives, `within` or `across` elsewhere
        shares of mass:     T_ij = (1 - within - across) / (N P)  for each of the P positives,
                                   within / (N m_i) and across / (N l_i)  for the m_i and l_i others

    A balanced plan takes the target's own column sums: domains of unequal size attract unequal mass. `within` <
    `across` pulls domains together, `within` > `across` keeps them apart.

    Args:
        within: >= 0, on others of the anchor's domain.
        across: >= 0, on those of other domains.
        shares: whether both are shares of an anchor's mass, together less than one, which mean the same in a batch of
            any size; the share of an empty set goes to the positives. By default they are weights of a pair, relative
            to a positive's 1, and what they come to grows with the batch.

    Source:
        Chen et al. 2024, domain generalisation; the shares are ours.

    Example:
        >>> import torch
        >>> from couplings import Domains, GCAINCE
        >>> z = torch.eye(4)
        >>> loss = GCAINCE(temperature=0.5, target=Domains(within=0.0, across=0.5))
        >>> round(loss(z, z, domains=torch.tensor([0, 0, 1, 1])).item(), 4)
        0.3671
        >>> loss = GCAINCE(temperature=0.5, target=Domains(within=0.0, across=0.2, shares=True))
        >>> round(loss(z, z, domains=torch.tensor([0, 0, 1, 1])).item(), 4)
        0.2168
    """

    within: float
    across: float
    shares: bool = False

    def __post_init__(self) -> None:
        checks.finite_nonnegative("within", self.within)
        checks.finite_nonnegative("across", self.across)
        checks.flag("shares", self.shares)
        together = self.within + self.across
        fits = not self.shares or together < 1
        checks.require(fits, f"within and across are {together:g} of the mass: leave a share to the positives")

    def of(self, batch: Batch) -> Target:
        """Mass 1/N a row."""
        domains = batch.domains
        if domains is None:
            raise InvalidInput("target=Domains(...) needs domains=, domain ids of the samples (n,)")
        square = batch.gram.shape[0] == batch.gram.shape[1]
        checks.require(square, "the keys of a queue have no domain: drop keys= or use target='positives'")
        nowhere, like = batch.all_but_kin(batch.sample), batch.gram.like

        def graded(within: float, across: float, positive: float) -> Graded:
            return Graded(((domains, within), (batch.sample, positive)), across, nowhere, like)

        if not self.shares:
            return graded(self.within, self.across, 1.0)
        parts = graded(1.0, 0.0, 0.0), graded(0.0, 1.0, 0.0)
        shares = [x * part.filled.to(like) for x, part in zip((self.within, self.across), parts, strict=True)]
        return Mixed((graded(0.0, 0.0, 1.0), *parts), (1 - shares[0] - shares[1], *shares))


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
