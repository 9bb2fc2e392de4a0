"""The plan we want, T, of total mass one: on listed pairs, so that comparing costs O(pairs d), or as a matrix."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from . import checks
from ._storage.grams import pick
from .coupling import Coupling
from .errors import InvalidInput
from .masks import Mask
from .precision import at_least_single


class Target(ABC):
    """A plan to be matched. Its support is where it puts mass; values on it have one row for each of T's rows."""

    @abstractmethod
    def marginals(self, m: int) -> tuple[Tensor | None, Tensor | None]:
        """Mass of the rows and of m columns, None where it is uniform: what a plan needs to be able to equal T."""

    @abstractmethod
    def log_entries(self, coupling: Coupling) -> Tensor:
        """log P_ij on the support (zero off it), rows first."""

    @abstractmethod
    def logits(self, coupling: Coupling) -> Tensor:
        """h_ij = s_ij / temperature on the support (zero off it), rows first."""

    @abstractmethod
    def densities(self, coupling: Coupling) -> Tensor:
        """T_ij / (a_i b_j) on the support (one off it), rows first."""

    @abstractmethod
    def expect(self, values: Tensor) -> Tensor:
        """sum_ij T_ij values_ij, 0-dim, for values on the support."""

    @abstractmethod
    def log_mean_exp(self, values: Tensor) -> Tensor:
        """log E_{T(.|i)}[exp values_ij] of each row, (n,)."""

    @abstractmethod
    def entropy(self) -> float | Tensor:
        """-sum T log T."""

    @abstractmethod
    def row_mass(self, like: Tensor) -> Tensor:
        """T 1, (n,), in the dtype of `like`."""

    def divergence(self, coupling: Coupling) -> Tensor:
        """KL(T, P) = sum_ij T_ij log(T_ij / P_ij), 0-dim, for a plan whose mass is that of T."""
        return -self.entropy() - self.expect(self.log_entries(coupling))

    def conditional_divergence(self, coupling: Coupling) -> Tensor:
        """The mean over T's rows of KL(T(.|i), P(.|i)), 0-dim: what is left of the KL when row masses are ignored."""
        rows = self.row_mass(coupling.f)
        log_ratio = torch.log(rows) - torch.log(coupling.row_mass())
        return self.divergence(coupling) - (rows * log_ratio).sum()

    def primal(self, coupling: Coupling) -> Tensor:
        """<T, h> - Omega(T), 0-dim: what the coupling's problem maximises, at T."""
        density = self.densities(coupling)
        return self.expect(self.logits(coupling) - coupling.rule.penalty(density) / density)

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


@dataclass(frozen=True, eq=False)
class Pairs(Target):
    """A target plan with mass on listed pairs: row i puts mass 1/n, in equal parts, on its columns.

    Args:
        columns: the wanted columns of each row, integer, shape (n, p).
        balanced: every column is wanted equally often, as positives within a batch are; known, not checked.

    Example:
        >>> import torch
        >>> from couplings import Pairs, Scores, couple
        >>> target = Pairs(torch.tensor([[1], [0]]))
        >>> target.divergence(couple(Scores.given(torch.zeros(2, 2)))).item()
        0.6931471824645996
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
        return pairs[mask.forbidden()[self.rows, self.columns]]

    def marginals(self, m: int) -> tuple[Tensor | None, Tensor | None]:
        """Uniform rows; columns by how often they are wanted."""
        if self.balanced:
            return None, None
        flat = self.columns.flatten()
        return None, torch.bincount(flat, minlength=m).double() / flat.numel()

    def row_mass(self, like: Tensor) -> Tensor:
        """1/n each."""
        return like.new_full((len(self.columns),), 1 / len(self.columns))

    def log_entries(self, coupling: Coupling) -> Tensor:
        """log P at the pairs, (n, p)."""
        return coupling.log_at(self.rows, self.columns)

    def logits(self, coupling: Coupling) -> Tensor:
        """Logits at the pairs, (n, p)."""
        return coupling.scores.at(self.rows, self.columns)

    def densities(self, coupling: Coupling) -> Tensor:
        """T / (a b) at the pairs, (n, p)."""
        return 1 / (self.columns.numel() * pick(coupling.a, self.rows) * pick(coupling.b, self.columns))

    def expect(self, values: Tensor) -> Tensor:
        """The mean."""
        return values.mean()

    def log_mean_exp(self, values: Tensor) -> Tensor:
        """Of each row, (n,)."""
        return torch.logsumexp(values, 1) - math.log(values.shape[1])

    def entropy(self) -> float:
        """log(n p)."""
        return math.log(self.columns.numel())


@dataclass(frozen=True, eq=False)
class Given(Target):
    """A target plan given as a matrix: a teacher's plan, labels, domains; rescaled to total mass one, a constant.

    Args:
        matrix: mass of each pair, non-negative, shape (n, m); every row holds some.

    Raises:
        InvalidInput: negative, NaN or infinite mass, or an empty row.

    Cost:
        O(n m) memory.

    Example:
        >>> import torch
        >>> from couplings import Given, Scores, couple
        >>> target = Given(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
        >>> round(target.divergence(couple(Scores.given(torch.zeros(2, 2)))).item(), 4)
        0.3466
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        checks.matrix("target", self.matrix)
        matrix = at_least_single(self.matrix.detach())
        if checks.checks_enabled():
            sound = bool(matrix.isfinite().all()) and bool((matrix >= 0).all())
            checks.require(sound, "target holds negative, NaN or infinite mass: a plan's entries are numbers >= 0")
            empty = matrix.sum(1) <= 0
            if empty.any():
                raise InvalidInput(
                    f"row {int(empty.nonzero()[0])} of target is empty ({int(empty.sum())} such rows): every anchor "
                    "needs something to match; drop those samples or give them their positives"
                )
        object.__setattr__(self, "matrix", matrix / matrix.sum())

    def check(self, shape: tuple[int, int]) -> None:
        """Anchors by candidates."""
        got = tuple(self.matrix.shape)
        checks.require(got == shape, f"target must have shape {shape}, anchors by candidates, got {got}")

    def masked(self, mask: Mask) -> Tensor:
        """Where both are."""
        return ((self.matrix > 0) & mask.forbidden()).nonzero()

    def marginals(self, m: int) -> tuple[Tensor | None, Tensor | None]:
        """Its own row and column sums."""
        return self.matrix.sum(1), self.matrix.sum(0)

    def row_mass(self, like: Tensor) -> Tensor:
        """Row sums."""
        return self.matrix.sum(1).to(like)

    def log_entries(self, coupling: Coupling) -> Tensor:
        """log P, (n, m), zero where T is."""
        return torch.where(self.matrix > 0, coupling.log_plan(), 0.0)

    def logits(self, coupling: Coupling) -> Tensor:
        """Logits, (n, m), zero where T is."""
        return torch.where(self.matrix > 0, coupling.scores.unmasked(), 0.0)

    def densities(self, coupling: Coupling) -> Tensor:
        """T / (a b), (n, m), one where T is zero."""
        matrix = self.matrix.to(coupling.a)
        return torch.where(matrix > 0, matrix / (coupling.a[:, None] * coupling.b), 1.0)

    def expect(self, values: Tensor) -> Tensor:
        """sum_ij T_ij values_ij."""
        return (self.matrix.to(values) * values).sum()

    def log_mean_exp(self, values: Tensor) -> Tensor:
        """Of each row, (n,)."""
        return torch.logsumexp(values + torch.log(self.matrix).to(values), 1) - torch.log(self.row_mass(values))

    def entropy(self) -> Tensor:
        """-sum T log T."""
        total: Tensor = torch.special.xlogy(self.matrix, self.matrix).sum()
        return -total


def graded(levels: list[tuple[Mask, float]], rest: float, nowhere: Mask, like: Tensor) -> Given:
    """The target whose pairs weigh as the last level that names them, else `rest`; none `nowhere`; rows of mass 1/n."""
    weights = like.new_full(nowhere.shape, rest)
    for mask, weight in levels:
        weights = weights.masked_fill(mask.forbidden(), weight)
    weights = weights.masked_fill(nowhere.forbidden(), 0.0)
    return Given(weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(like.dtype).tiny))
