"""What the two tables of docs/equivalences.md share: random batches, rows by id, and the comparison that a row runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from helpers import F64, gradients

DOC = Path(__file__).parents[2] / "docs" / "equivalences.md"
SEEDS = (0, 1, 2)
TEMPERATURES = (0.07, 0.3, 1.0)
N, D = 7, 5

Function: TypeAlias = Callable[..., Tensor]
"""Of the views, and of the scalars that a row asks for."""
Sides: TypeAlias = tuple[Function, Function]
"""Ours and theirs."""


@dataclass(frozen=True, eq=False)
class Draw:
    """What a row may use beside the views that its functions are called with."""

    t: float
    generator: torch.Generator
    n: int = N
    d: int = D

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float64."""
        return torch.randn(*shape, generator=self.generator, dtype=F64)

    @property
    def samples(self) -> Tensor:
        """The samples' own ids."""
        return torch.arange(self.n)

    @property
    def classes(self) -> Tensor:
        """Three classes of unequal sizes."""
        return torch.tensor([0, 0, 0, 1, 1, 2, 2])[: self.n]


@dataclass(frozen=True)
class Row:
    """One row of a table: `sides(draw)` gives two functions of the inputs that must agree."""

    sides: Callable[[Draw], Sides]
    views: int
    scalars: int
    value: bool
    gradient: bool

    def inputs(self, draw: Draw) -> list[Tensor]:
        """Views of the same samples with rows of many lengths, then the scalars."""
        base = draw.normal(draw.n, draw.d)
        views = [base + draw.normal(draw.n, draw.d) for _ in range(self.views)]
        lengths = [torch.exp(draw.normal(draw.n, 1) / 4) for _ in views]
        return [v * r for v, r in zip(views, lengths, strict=True)] + list(draw.normal(self.scalars) / 10)

    def check(self, seed: int, t: float, within: float) -> None:
        """Both functions agree in value and gradient, relatively to what is compared once that exceeds one."""
        draw = Draw(t, torch.Generator().manual_seed(seed))
        inputs = self.inputs(draw)
        ours, theirs = self.sides(draw)
        if self.value:
            _near("value", [ours(*inputs)], [theirs(*inputs)], within)
        if self.gradient:
            wanted = gradients(theirs, inputs)
            assert torch.cat([g.flatten() for g in wanted]).norm() > 1e-6, "nothing to compare"
            _near("gradient", gradients(ours, inputs), wanted, within)


class Table(dict[str, Row]):
    """Rows by id; calling a table gives the decorator that adds one."""

    def __call__(
        self, name: str, *, views: int = 2, scalars: int = 0, value: bool = True, gradient: bool = True
    ) -> Callable[[Callable[[Draw], Sides]], None]:
        def add(sides: Callable[[Draw], Sides]) -> None:
            assert name not in self, f"two tests of row {name}"
            self[name] = Row(sides, views, scalars, value, gradient)

        return add


def documented(letter: str) -> dict[str, float]:
    """The rows of the document whose id starts with that letter, and the tolerance in their last column."""
    found = re.findall(rf"^\| ({letter}\d+) \|.*\| (?:[^|]* )?(\d+e-\d+) \|$", DOC.read_text(), re.MULTILINE)
    names = re.findall(rf"^\| ({letter}\d+) \|", DOC.read_text(), re.MULTILINE)
    assert names == [name for name, _ in found], "each row ends on its tolerance, such as 1e-12"
    assert len(set(names)) == len(names), "an id stands in two rows"
    return {name: float(within) for name, within in found}


def _near(what: str, ours: Sequence[Tensor], theirs: Sequence[Tensor], within: float) -> None:
    a, b = (torch.cat([x.detach().flatten() for x in side]) for side in (ours, theirs))
    gap = float((a - b).norm() / max(1.0, float(b.norm())))
    assert gap <= within, f"{what}: {gap:.2e} apart, {within:.0e} documented"


# What written-out equations are made of


class TwoViews:
    """Unit rows of two views, cosines, each anchor's positive, who may repel."""

    def __init__(self, *views: Tensor) -> None:
        self.z = torch.cat([torch.nn.functional.normalize(v, dim=1) for v in views])
        n = len(views[0])
        self.s = self.z @ self.z.T
        self.positive = self.s[torch.arange(2 * n), torch.arange(2 * n).roll(n)]
        sample = torch.arange(n).repeat(2)
        self.repels = sample[:, None] != sample
        self.count = 2 * n - 2

    def over_negatives(self, values: Tensor) -> Tensor:
        """Sums over each anchor's negatives."""
        return torch.where(self.repels, values, 0.0).sum(1)


def log_ratio(rows: TwoViews, negative: Tensor, t: float, tau_plus: float) -> Tensor:
    """-log pos / (pos + Ng), Ng debiased and floored; `negative` is the mean negative kernel of each anchor."""
    positive = torch.exp(rows.positive / t)
    debiased = (negative - tau_plus * positive) / (1 - tau_plus)
    total = rows.count * debiased.clamp_min(math.exp(-1 / t))
    return -torch.log(positive / (positive + total)).mean()
