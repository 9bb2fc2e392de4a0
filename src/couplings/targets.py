"""The plan we want, kept as pairs so that comparing it costs O(pairs d)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .coupling import Coupling
from .errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Pairs:
    """A target plan with mass on listed pairs: row i puts mass 1/n, in equal parts, on its columns.

    Args:
        columns: the wanted columns of each row, integer, shape (n, p).

    Example:
        >>> import torch
        >>> from couplings import Pairs, Scores, couple
        >>> target = Pairs(torch.tensor([[1], [0]]))
        >>> target.divergence(couple(Scores.given(torch.zeros(2, 2)))).item()
        0.6931471824645996
    """

    columns: Tensor

    @property
    def rows(self) -> Tensor:
        """Row indices, (n, 1), to broadcast with `columns`."""
        return torch.arange(len(self.columns), device=self.columns.device)[:, None]

    def column_mass(self, m: int) -> Tensor:
        """Mass that the target puts on each of m columns."""
        flat = self.columns.flatten()
        return torch.bincount(flat, minlength=m).double() / flat.numel()

    def require_column_mass(self, weights: Tensor) -> None:
        """Raise unless a plan with these column weights can meet the target."""
        asked = self.column_mass(len(weights)).to(weights)
        off = (asked - weights / weights.sum()).abs()
        if (off > 1e-5).any():
            first = int(off.argmax())
            raise InvalidInput(
                f"the target puts mass {float(asked[first]):.3g} on column {first} but the balanced plan must carry "
                f"{float(weights[first]):.3g} there: columns without positives (a queue) need Free or KL columns"
            )

    def divergence(self, coupling: Coupling) -> Tensor:
        """KL(T, P) = sum_ij T_ij log(T_ij / P_ij), 0-dim, for a plan whose mass is that of T."""
        n, p = self.columns.shape
        log_plan = coupling.log_at(self.rows, self.columns)
        return -torch.log(log_plan.new_tensor(float(n * p))) - log_plan.mean()
