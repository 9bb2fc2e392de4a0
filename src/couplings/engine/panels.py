"""Panels: some rows (or columns) against all of the other side, kept as one matrix or made again at every visit.

A panel holds logits h, minus infinity where masked, or the kernel exp(h - centre), zero where masked. Where logits are
a line in the dot product a panel is one matrix product; else it is the scores' own block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..pieces.masks import Mask
from .line import Line, line_of
from .sides import COLS, ROWS
from .team import ALONE, Team
from .terms import Terms

Panel = tuple[slice, Tensor]


class Source(ABC):
    """An n x m matrix by panels. A panel lasts until the next one is asked for.

    Attributes:
        shape: rows and columns.
        team: who shares the panels: a process visits its own rows, or its own columns.
    """

    shape: tuple[int, int]
    team: Team

    @abstractmethod
    def panels(self, side: int) -> Iterator[Panel]:
        """Ranges of a side with the matrix's part seen from it, (range, other side); of a team, this process's."""

    def joined(self, side: int, own: Sequence[Tensor]) -> Tensor:
        """What was found panel by panel, for all of a side."""
        return self.team.joined(torch.cat(list(own)), self.shape[side])


@dataclass(frozen=True, eq=False)
class Kept(Source):
    """One matrix, visited by panels of about `size` entries; of a team's, this process keeps its rows.

    Attributes:
        remade: what a team's columns are made of, of which no process keeps any.
    """

    matrix: Tensor
    size: int
    remade: Remade | None = None

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """Rows and columns."""
        return (self.matrix.shape[0], self.matrix.shape[1]) if self.remade is None else self.remade.shape

    @property
    def team(self) -> Team:  # type: ignore[override]
        """Of what it was made of."""
        return ALONE if self.remade is None else self.remade.team

    def panels(self, side: int) -> Iterator[Panel]:
        """Views."""
        if side == COLS and self.remade is not None and self.team.size > 1:
            yield from self.remade.panels(COLS)
            return
        first = self.team.rows(self.shape[side]).start
        for part in self.team.panels(self.shape[side], _step(self.shape, side, self.size)):
            here = slice(part.start - first, part.stop - first)
            yield part, self.matrix[here] if side == ROWS else self.matrix[:, here].T


class Remade(Source):
    """A matrix that is never whole: a panel is made when it is visited.

    Args:
        scores: constants that the logits are made of.
        size: entries of a panel, about.
        centre: what is subtracted from the logits before their exponential; None for the logits themselves.
    """

    def __init__(self, scores: Terms, size: int, centre: float | None = None) -> None:
        self.scores, self.size, self.centre, self.shape, self.team = scores, size, centre, scores.shape, scores.team
        self._line = line_of(scores)
        self._makers: dict[int, Callable[[slice], Tensor]] = {}

    def panels(self, side: int) -> Iterator[Panel]:
        """Made one after the other; in the same memory where they are products."""
        own = self.team.rows(self.shape[side])
        step = min(own.stop - own.start, _step(self.shape, side, self.size))
        if side not in self._makers:
            self._makers[side] = (
                self._block_of(side) if self._line is None else self._product_of(side, self._line, step)
            )
        for part in self.team.panels(self.shape[side], step):
            yield part, self._makers[side](part)

    def kept(self, size: int) -> Kept:
        """All panels, kept in one matrix."""
        own = self.team.rows(self.shape[ROWS])
        matrix = self.scores.terms[0].gram.like.new_empty((own.stop - own.start, self.shape[COLS]))
        for part, panel in self.panels(ROWS):
            matrix[part.start - own.start : part.stop - own.start] = panel
        return Kept(matrix, size, self)

    def _block_of(self, side: int) -> Callable[[slice], Tensor]:
        every = slice(None)

        def make(part: slice) -> Tensor:
            with torch.no_grad():
                block = self.scores.block(part, every) if side == ROWS else self.scores.block(every, part)
                logits = block.matrix() if side == ROWS else block.matrix().T
                return logits if self.centre is None else logits.sub_(self.centre).exp_()

        return make

    def _product_of(self, side: int, line: Line, step: int) -> Callable[[slice], Tensor]:
        logits = self.centre is None
        offset = line.level if self.centre is None else line.level - self.centre
        left = (line.k if side == COLS else line.q) * line.slope
        right = (line.q if side == COLS else line.k).T.contiguous()  # a product a third faster than with the view
        scratch = left.new_empty((step, right.shape[1]))
        mask = None if self.scores.mask is None else filling(self.scores.mask, side, step, self.team)

        def make(part: slice) -> Tensor:
            out = torch.mm(left[part], right, out=scratch[: part.stop - part.start])
            out = out.add_(offset) if offset else out
            out = out if logits else out.exp_()
            if mask is not None:
                mask(out, part, -torch.inf if logits else 0.0)
            return out

        return make


def _step(shape: tuple[int, int], side: int, size: int) -> int:
    return min(shape[side], max(1, size // shape[1 - side]))


Fill = Callable[[Tensor, slice, float], None]


def filling(mask: Mask, side: int, step: int, team: Team = ALONE) -> Fill:
    """What sets the forbidden pairs of a panel, seen from a side, to a value; for panels of `step` of a team's rows."""
    listed = mask.few_pairs()  # not remembered: the graph holds the mask
    return (
        _compared(mask, side)
        if listed is None
        else _by_list(listed, mask.shape, side, step, team.rows(mask.shape[side]))
    )


def _compared(mask: Mask, side: int) -> Fill:
    every = slice(None)

    def fill(panel: Tensor, part: slice, value: float) -> None:
        forbidden = mask.block(part, every).forbidden() if side == ROWS else mask.block(every, part).forbidden().T
        panel.masked_fill_(forbidden, value)

    return fill


def _by_list(listed: tuple[Tensor, Tensor], shape: tuple[int, int], side: int, step: int, rows: slice) -> Fill:
    own, order = (listed[side] - rows.start).sort()
    where = (own % step) * shape[1 - side] + listed[1 - side][order]
    starts = torch.arange(0, rows.stop - rows.start + step, step, device=own.device).clamp_max(rows.stop - rows.start)
    bounds = torch.searchsorted(own, starts).tolist()

    def fill(panel: Tensor, part: slice, value: float) -> None:
        number = (part.start - rows.start) // step
        panel.view(-1).index_fill_(0, where[bounds[number] : bounds[number + 1]], value)

    return fill
