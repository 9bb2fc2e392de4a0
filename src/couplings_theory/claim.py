"""What a claim of the theory is: a statement, a program that examines it, and what the program found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Check", "Claim", "Finding", "Paper", "Picture", "Relation", "Standing", "at_least", "at_most", "equal"]


class Paper(Enum):
    """Where a statement comes from."""

    HCL_OT = "Jiang, Ishwar, Aeron: Hard Negative Sampling via Regularized Optimal Transport, arXiv 2111.03169"
    ALPHA_CL = "Tian: Understanding Deep Contrastive Learning via Coordinate-wise Optimization, arXiv 2201.12680"
    NEGATIVES = "Awasthi, Dikkala, Kamath: Do More Negative Samples Necessarily Hurt?, arXiv 2205.01789"
    GCA = "Chen, Lin, Liu, Xiao, Dyer: Generalized Contrastive Alignment, arXiv 2502.20141"
    CACR = "Zheng et al.: Contrastive Attraction and Contrastive Repulsion, arXiv 2105.03746"


class Standing(Enum):
    """How much is known of a statement; printed beside it."""

    DERIVED = "derived"
    """Follows from the definitions by the few lines that the documentation gives."""
    RESTATED = "restated"
    """The paper's statement in our words and under the conditions written here; not one of its numbered theorems."""
    MEASURED = "measured"
    """Seen in the setting written here. No theorem."""


class Relation(Enum):
    """How the number obtained must stand to the number expected."""

    EQUAL = "="
    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True)
class Check:
    """One number against what it should be.

    Attributes:
        what: the number, in words, with its unit or range where it has one.
        obtained: what came out.
        relation: how it must stand to `expected`.
        expected: what the claim says.
        tolerance: by how much it may miss, absolute, >= 0.

    Example:
        >>> Check("loss", 0.5, Relation.EQUAL, 0.5 + 1e-9, 1e-6).passed
        True
    """

    what: str
    obtained: float
    relation: Relation
    expected: float
    tolerance: float

    @property
    def gap(self) -> float:
        """By how much it misses; zero where an inequality holds, NaN where a number is NaN."""
        above = self.obtained - self.expected
        if self.relation is Relation.EQUAL or math.isnan(above):
            return abs(above)
        return max(0.0, -above if self.relation is Relation.AT_LEAST else above)

    @property
    def passed(self) -> bool:
        """Whether the gap is within the tolerance; NaN never is."""
        return self.gap <= self.tolerance


def equal(what: str, obtained: float, expected: float, tolerance: float) -> Check:
    """`obtained` = `expected`, up to `tolerance`."""
    return Check(what, float(obtained), Relation.EQUAL, float(expected), tolerance)


def at_least(what: str, obtained: float, bound: float, tolerance: float = 0.0) -> Check:
    """`obtained` >= `bound`, up to `tolerance`."""
    return Check(what, float(obtained), Relation.AT_LEAST, float(bound), tolerance)


def at_most(what: str, obtained: float, bound: float, tolerance: float = 0.0) -> Check:
    """`obtained` <= `bound`, up to `tolerance`."""
    return Check(what, float(obtained), Relation.AT_MOST, float(bound), tolerance)


@dataclass(frozen=True)
class Picture:
    """A figure to be drawn: who draws it, its size in inches, its title, and one sentence that says what to see."""

    draw: Callable[[Figure], None]
    size: tuple[float, float]
    title: str
    caption: str


@dataclass(frozen=True)
class Finding:
    """What examining a claim brought.

    Attributes:
        checks: the numbers; the claim holds when all pass. At least one.
        picture: what makes it visible.
        remarks: whole sentences about what was seen beside the claim, such as a negative result.
    """

    checks: tuple[Check, ...]
    picture: Picture
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all numbers are as the claim says."""
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Claim:
    """A statement of the theory with the program that examines it.

    Attributes:
        name: FAMILY/NAME, in lower case with hyphens; the name of its figure too.
        title: a few words.
        statement: what is claimed, in a sentence or two with its conditions and sizes.
        paper: where it comes from.
        standing: how much is known of it.
        examine: runs the program; without arguments in the setting of the statement. Its keyword arguments are the
            ingredients, so that a wrong one can be put in.
    """

    name: str
    title: str
    statement: str
    paper: Paper
    standing: Standing
    examine: Callable[..., Finding]

    @property
    def family(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]
