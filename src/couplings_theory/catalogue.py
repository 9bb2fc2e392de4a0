"""All claims, by family and by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

from couplings.basics.errors import InvalidInput, did_you_mean
from couplings_theory.claim import Claim

__all__ = ["FAMILIES", "Family", "claim_named", "family_named", "selected"]


@dataclass(frozen=True)
class Family:
    """Claims about one model.

    Attributes:
        name: the module of its claims, with hyphens.
        title: what people call it.
    """

    name: str
    title: str

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Its claims, in the order in which they build on each other."""
        module = import_module(f"couplings_theory.claims.{self.name.replace('-', '_')}")
        claims: tuple[Claim, ...] = module.CLAIMS
        return claims


FAMILIES = (
    Family("minmax", "Hard negatives as a min-max problem"),
    Family("hard-negatives", "Hard negatives: tilting and transport"),
    Family("pair-importance", "Pair importance: the other player"),
    Family("linear-networks", "Deep linear networks: contrastive learning as PCA"),
    Family("relu-networks", "Two-layer ReLU networks"),
    Family("latent-classes", "The number of negatives in the latent-class model"),
    Family("alignment", "Alignment of plans by projections"),
    Family("attraction-repulsion", "Contrastive attraction and repulsion"),
)


def family_named(name: str) -> Family:
    """The family of that name.

    Raises:
        InvalidInput: there is none.
    """
    for family in FAMILIES:
        if family.name == name:
            return family
    raise InvalidInput(f"'{name}' is no family of claims: {did_you_mean(name, [each.name for each in FAMILIES])}")


def claim_named(name: str) -> Claim:
    """The claim FAMILY/NAME.

    Raises:
        InvalidInput: there is none.
    """
    claims = family_named(name.partition("/")[0]).claims
    for claim in claims:
        if claim.name == name:
            return claim
    raise InvalidInput(f"'{name}' is no claim: {did_you_mean(name, [each.name for each in claims])}")


def selected(names: Iterable[str]) -> list[Claim]:
    """The claims of these families and of these names, each once, in the order of the catalogue; all without names.

    Raises:
        InvalidInput: a name of neither.

    Example:
        >>> [claim.name for claim in selected(["latent-classes/simplex"])]
        ['latent-classes/simplex']
    """
    wanted: set[str] = set()
    for name in names:
        wanted |= {claim_named(name).name} if "/" in name else {claim.name for claim in family_named(name).claims}
    every = [claim for family in FAMILIES for claim in family.claims]
    return [claim for claim in every if claim.name in wanted] if wanted else every
