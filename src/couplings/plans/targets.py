"""The plan we want, T, of total mass one: on listed pairs, so that comparing costs O(pairs d), or on a matrix of pairs.

A matrix is looked at panel by panel, some rows against all columns, wherever the scores are too many to be one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..basics import checks
from ..basics.errors import InvalidInput
from ..basics.precision import at_least_single
from ..basics.sizes import is_large, row_parts
from ..engine.grams import SharedKeys, pick
from ..engine.terms import Term
from ..pieces.costs import InnerProduct
from ..pieces.groups import product
from ..pieces.masks import Mask
from ..pieces.rules import Entropic
from .coupling import Coupling


class Part(ABC):
    """Some rows of a target, beside the plan of these rows. Values on its support have one row for each of them."""

    @abstractmethod
    def log_entries(self, plan: Coupling) -> Tensor:
        """log P_ij on the support (zero off it)."""

    @abstractmethod
    def logits(self, plan: Coupling) -> Tensor:
        """h_ij = s_ij / temperature on the support (zero off it)."""

    @abstractmethod
    def densities(self, plan: Coupling) -> Tensor:
        """T_ij / (a_i b_j) on the support (one off it)."""

    @abstractmethod
    def expect(self, values: Tensor) -> Tensor:
        """sum_j T_ij values_ij of each row."""

    @abstractmethod
    def log_mean_exp(self, values: Tensor) -> Tensor:
        """log E_{T(.|i)}[exp values_ij] of each row."""


class Target(ABC):
    """A plan to be matched. Its support is where it puts mass."""

    @abstractmethod
    def each_row(self, coupling: Coupling, fn: Callable[..., Tensor], *parts: object) -> Tensor:
        """fn(plan, target, *parts), a number for each row, (n,); by panels where pairs are too many."""

    def marginals(self, m: int) -> tuple[Tensor | None, Tensor | None]:
        """Mass of the rows and of m columns, None where it is uniform: what a plan needs to be able to equal T."""
        return self.row_marginal, self.column_marginal(m)

    @property
    def row_marginal(self) -> Tensor | None:
        """Mass of the rows; None where it is 1/n each."""
        return None

    @abstractmethod
    def column_marginal(self, m: int) -> Tensor | None:
        """Mass of m columns; None where it is 1/m each."""

    @abstractmethod
    def entropy(self) -> float | Tensor:
        """-sum T log T."""

    @abstractmethod
    def row_mass(self, like: Tensor) -> Tensor:
        """T 1, (n,), in the dtype of `like`."""

    def cross_entropy(self, coupling: Coupling) -> Tensor:
        """-sum_ij T_ij log P_ij, 0-dim."""
        return -self.each_row(coupling, lambda plan, part: part.expect(part.log_entries(plan))).sum()

    def expected_logit(self, coupling: Coupling) -> Tensor:
        """<T, h>, 0-dim."""
        return self.each_row(coupling, lambda plan, part: part.expect(part.logits(plan))).sum()

    def divergence(self, coupling: Coupling) -> Tensor:
        """KL(T, P) = sum_ij T_ij log(T_ij / P_ij), 0-dim, for a plan whose mass is that of T."""
        return self.cross_entropy(coupling) - _as(self.entropy(), coupling.f)

    def conditional_divergence(self, coupling: Coupling) -> Tensor:
        """The mean over T's rows of KL(T(.|i), P(.|i)), 0-dim: what is left of the KL when row masses are ignored."""
        rows = self.row_mass(coupling.f)
        log_ratio = torch.log(rows) - torch.log(coupling.row_mass())
        return self.divergence(coupling) - (rows * log_ratio).sum()

    def primal(self, coupling: Coupling) -> Tensor:
        """<T, h> - Omega(T), 0-dim: what the coupling's problem maximises, at T."""

        def penalty(plan: Coupling, part: Part) -> Tensor:
            density = part.densities(plan)
            return part.expect(plan.rule.penalty(density) / density)

        with torch.no_grad():
            omega = self.each_row(coupling, penalty).sum()
        return self.expected_logit(coupling) - omega

    @abstractmethod
    def check(self, shape: tuple[int, int]) -> None:
        """Raise unless T is a plan between so many rows and columns."""

    @abstractmethod
    def masked(self, mask: Mask) -> Tensor:
        """The pairs (i, j) of the support that the mask forbids, (k, 2)."""

    def admitted_by(self, mask: Mask) -> None:
        """Raise when T puts mass on a pair that the mask forbids."""
        if checks.checks_enabled() and len(bad := self.masked(mask)):
            i, j = bad[0].tolist()
            raise InvalidInput(
                f"target puts mass on the pair ({i}, {j}), which is masked ({len(bad)} such pairs): self pairs, equal "
                "ids and masked pairs carry none in any plan; take those pairs out of the target"
            )


def _as(value: float | Tensor, like: Tensor) -> float | Tensor:
    return value.to(like) if isinstance(value, Tensor) else value


@dataclass(frozen=True, eq=False)
class Pairs(Target, Part):
    """A target plan with mass on listed pairs: row i puts mass 1/n, in equal parts, on its columns.

    Args:
        columns: the wanted columns of each row, integer, shape (n, p).
        balanced: every column is wanted equally often, as positives within a batch are; known, not checked.

    Example:
        >>> import torch
        >>> from couplings import Pairs, Scores, couple
        >>> target = Pairs(torch.tensor([[1], [0]]))
        >>> round(target.divergence(couple(Scores.given(torch.zeros(2, 2)))).item(), 4)
        0.6931
    """

    columns: Tensor
    balanced: bool = False

    def __post_init__(self) -> None:
        checks.tensor("columns", self.columns)

    @property
    def rows(self) -> Tensor:
        """Row indices, (n, 1), to broadcast with `columns`."""
        return torch.arange(len(self.columns), device=self.columns.device)[:, None]

    def check(self, shape: tuple[int, int]) -> None:
        """One row of columns for each anchor, all of them in range."""
        (n, m), columns = shape, self.columns
        whole = not columns.is_floating_point()
        fits = whole and columns.dim() == 2 and columns.shape[0] == n and columns.shape[1] > 0
        got = f"({n}, p), got {columns.dtype} {tuple(columns.shape)}"
        checks.require(fits, f"target must list the columns of {n} anchors as integers of shape {got}")
        if checks.checks_enabled():
            low, high = (int(v) for v in columns.aminmax())
            inside = low >= 0 and high < m
            checks.require(inside, f"target lists columns {low} to {high}, but candidates are 0 to {m - 1}")

    def masked(self, mask: Mask) -> Tensor:
        """Looked up in the mask."""
        pairs = torch.stack([self.rows.expand_as(self.columns), self.columns], dim=-1)
        return pairs[mask.at(self.rows, self.columns)]

    def each_row(self, coupling: Coupling, fn: Callable[..., Tensor], *parts: object) -> Tensor:
        """All at once: pairs are few."""
        return fn(coupling, self, *parts)

    def column_marginal(self, m: int) -> Tensor | None:
        """By how often they are wanted."""
        if self.balanced:
            return None
        flat = self.columns.flatten()
        share = torch.ones_like(flat, dtype=torch.float64) / flat.numel()
        return share.new_zeros(m).index_add_(0, flat, share)

    def row_mass(self, like: Tensor) -> Tensor:
        """1/n each."""
        return like.new_full((len(self.columns),), 1 / len(self.columns))

    def log_entries(self, plan: Coupling) -> Tensor:
        """log P at the pairs, (n, p)."""
        return plan.log_along(self.columns)

    def logits(self, plan: Coupling) -> Tensor:
        """Logits at the pairs, (n, p)."""
        return plan.scores.along(self.columns)

    def densities(self, plan: Coupling) -> Tensor:
        """T / (a b) at the pairs, (n, p)."""
        return 1 / (self.columns.numel() * pick(plan.a, self.rows) * pick(plan.b, self.columns))

    def expect(self, values: Tensor) -> Tensor:
        """The mean over each row's pairs, over n."""
        return values.mean(1) / len(self.columns)

    def log_mean_exp(self, values: Tensor) -> Tensor:
        """Of each row, (n,)."""
        return torch.logsumexp(values, 1) - math.log(values.shape[1])

    def entropy(self) -> float:
        """log(n p)."""
        return math.log(self.columns.numel())


@dataclass(frozen=True, eq=False)
class Panel(Part):
    """Rows of a target as a matrix: mass of some rows against all columns."""

    mass: Tensor

    def log_entries(self, plan: Coupling) -> Tensor:
        """log P, zero where T is."""
        return torch.where(self.mass > 0, plan.log_plan(), 0.0)

    def logits(self, plan: Coupling) -> Tensor:
        """Logits, zero where T is."""
        return torch.where(self.mass > 0, plan.scores.unmasked(), 0.0)

    def densities(self, plan: Coupling) -> Tensor:
        """T / (a b), one where T is zero."""
        mass = self.mass.to(plan.a)
        return torch.where(mass > 0, mass / (plan.a[:, None] * plan.b), 1.0)

    def expect(self, values: Tensor) -> Tensor:
        """sum_j T_ij values_ij."""
        return (self.mass.to(values) * values).sum(1)

    def log_mean_exp(self, values: Tensor) -> Tensor:
        """Of each row."""
        return torch.logsumexp(values + torch.log(self.mass).to(values), 1) - torch.log(self.mass.sum(1).to(values))


class Spread(Target):
    """A target on a matrix of pairs, which is kept only while it is small: otherwise its panels are made again."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @abstractmethod
    def _panel(self, rows: slice) -> Tensor:
        """T_ij of some rows against all columns."""

    @property
    @abstractmethod
    def _device(self) -> torch.device:
        """Where panels are made."""

    def mass(self, rows: slice) -> Tensor:
        """T_ij of some rows against all columns, (k, m)."""
        whole = rows == slice(0, self.shape[0])
        return self._whole if whole and not self._large else self._panel(rows)

    @cached_property
    def _whole(self) -> Tensor:
        return self._panel(slice(0, self.shape[0]))

    @property
    def _large(self) -> bool:
        return is_large(*self.shape, self._device)

    def _panels(self) -> Iterator[slice]:
        n, m = self.shape
        return row_parts(n, m, self._device) if self._large else iter([slice(0, n)])

    def each_row(self, coupling: Coupling, fn: Callable[..., Tensor], *parts: object) -> Tensor:
        """By panels wherever the coupling's scores are."""
        return coupling.per_row(lambda plan, rows, *rest: fn(plan, Panel(self.mass(rows)), *rest), *parts)

    def cross_entropy(self, coupling: Coupling) -> Tensor:
        """-sum T log P; of an entropic plan without a matrix -<T, h> - <T 1, f + log a> - <T^T 1, g + log b>."""
        if coupling.scores.whole or not isinstance(coupling.rule, Entropic):
            return super().cross_entropy(coupling)
        total = -self.expected_logit(coupling)
        sides = ((coupling.f, coupling.a), (coupling.g, coupling.b))
        for (potential, weights), mass in zip(sides, self._marginal_masses(coupling.f), strict=True):
            total = total - (mass * torch.where(mass > 0, potential + torch.log(weights), 0.0)).sum()
        return total

    def _marginal_masses(self, like: Tensor) -> tuple[Tensor, Tensor]:
        rows, cols = self.marginals(self.shape[1])
        uniform = (like.new_full((size,), 1 / size) for size in self.shape)
        first, second = (u if mass is None else mass.to(like) for u, mass in zip(uniform, (rows, cols), strict=True))
        return first, second

    def expected_logit(self, coupling: Coupling) -> Tensor:
        """<T, h>; of inner products without a matrix sum_i <q_i, (T k)_i>, which needs no logits."""
        terms = coupling.scores.terms
        if coupling.scores.whole or not all(isinstance(term.cost, InnerProduct) for term in terms):
            return super().expected_logit(coupling)
        return torch.stack([self._weighed(term) for term in terms]).sum()

    def _weighed(self, term: Term) -> Tensor:
        gram = term.gram
        assert isinstance(gram, SharedKeys)
        return term.scale * (gram.q * product(self, gram.k)).sum()

    def times(self, x: Tensor) -> Tensor:
        """T x for x of shape (m, ...)."""
        return torch.cat([self.mass(rows).to(x) @ x for rows in self._panels()])

    def transposed_times(self, y: Tensor) -> Tensor:
        """T^T y for y of shape (n, ...)."""
        total = y.new_zeros((self.shape[1], *y.shape[1:]))
        for rows in self._panels():
            total += self.mass(rows).to(y).T @ y[rows]
        return total

    def check(self, shape: tuple[int, int]) -> None:
        """Anchors by candidates."""
        checks.require(self.shape == shape, f"target must have shape {shape}, anchors by candidates, got {self.shape}")

    def masked(self, mask: Mask) -> Tensor:
        """Where both are."""
        found = []
        for rows in self._panels():
            both = (self.mass(rows) > 0) & mask.block(rows, slice(None)).forbidden()
            found.append(both.nonzero() + both.new_tensor([rows.start, 0], dtype=torch.long))
        return torch.cat(found)

    def entropy(self) -> Tensor:
        """-sum T log T."""
        masses = (self.mass(rows) for rows in self._panels())
        return -torch.stack([torch.special.xlogy(mass, mass).sum() for mass in masses]).sum()


@dataclass(frozen=True, eq=False)
class Given(Spread):
    """A target plan given as a matrix: a teacher's plan, or whatever else says who belongs together; a constant.

    Args:
        matrix: mass of each pair, non-negative, shape (n, m); every row holds some. It is rescaled to total mass one.
            It is not copied: one that was written to since is refused (`Overwritten`), make a target of it anew.

    Raises:
        InvalidInput: negative, NaN or infinite mass, or an empty row.

    Cost:
        The matrix itself; what is computed with it takes panels of it.

    Example:
        >>> import torch
        >>> from couplings import Given, Scores, couple
        >>> target = Given(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
        >>> round(target.divergence(couple(Scores.given(torch.zeros(2, 2)))).item(), 4)
        0.3466
    """

    matrix: Tensor
    _version: int | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        checks.matrix("target", self.matrix)
        object.__setattr__(self, "matrix", at_least_single(self.matrix.detach()))
        object.__setattr__(self, "_version", checks.version(self.matrix))
        if checks.checks_enabled():
            low, high = self.matrix.aminmax()
            sound = bool(low >= 0) and bool(high < torch.inf)
            checks.require(sound, "target holds negative, NaN or infinite mass: a plan's entries are numbers >= 0")
            empty = self._sums[0] <= 0
            if empty.any():
                raise InvalidInput(
                    f"row {int(empty.nonzero()[0])} of target is empty ({int(empty.sum())} such rows): every anchor "
                    "needs something to match; drop those samples or give them their positives"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @property
    def _device(self) -> torch.device:
        return self.matrix.device

    @cached_property
    def _sums(self) -> tuple[Tensor, Tensor]:
        return self.matrix.sum(1), self.matrix.sum(0)

    def mass(self, rows: slice) -> Tensor:
        """T_ij of some rows against all columns, (k, m)."""
        checks.unchanged("target", self.matrix, self._version)
        return super().mass(rows)

    def _panel(self, rows: slice) -> Tensor:
        return self.matrix[rows] / self._sums[0].sum()

    @property
    def row_marginal(self) -> Tensor:
        """Its own row sums."""
        return self._sums[0] / self._sums[0].sum()

    def column_marginal(self, m: int) -> Tensor:
        """Its own column sums."""
        return self._sums[1] / self._sums[0].sum()

    def row_mass(self, like: Tensor) -> Tensor:
        """Row sums."""
        return (self._sums[0] / self._sums[0].sum()).to(like)
