"""What a loss sees of a call: one gram of anchors against candidates, who is whose positive, and who may repel.

Rows are the anchors in block order: view 1's samples, then view 2's. Columns are the same rows (self pairs
masked), followed by the keys of a queue; or, with `negatives=`, each row's positives followed by its own
negatives. Losses never see the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..basics import checks
from ..basics.sizes import Index
from ..engine.grams import GivenDots, Gram
from ..pieces.costs import Cost
from ..pieces.masks import Mask, SameId
from ..plans.scores import Scores
from ..plans.targets import Target


@dataclass(frozen=True, eq=False)
class Block:
    """A sub-matrix of the batch: one view's anchors against one view's samples, and the keys of the queue.

    Attributes:
        name: how a coupling over it is called.
        rows: anchors; `cols`: candidates, by index in the batch.
        positives: where in `cols` each anchor's positive is, (n, 1); (n, 0) within one view.
    """

    name: str
    rows: slice
    cols: Index
    positives: Tensor

    @property
    def anchors(self) -> Tensor:
        """Row indices within the block (n, 1), to broadcast with `positives`."""
        return torch.arange(len(self.positives), device=self.positives.device)[:, None]


@dataclass(frozen=True, eq=False)
class Batch:
    """Anchors, candidates and their relations.

    Attributes:
        gram: dot products of the N anchors with the M candidates.
        embeddings: the anchors themselves, (N, d), as scores see them: unit rows when the loss normalises.
        n: samples; `views`: views of each; N = n * views.
        positives: columns of each anchor's positives, (N, views - 1).
        itself: each anchor's own column.
        sample: pairs of one sample, itself included.
        same: pairs that may not repel: one sample, equal ids or labels, given masks.
        partners: one mask for each positive, naming its pairs.
        labels, domains: pairs of one class and of one domain, where they were passed.
        target: the plan to match, of a loss that has one.
    """

    gram: Gram
    embeddings: Tensor
    n: int
    views: int
    positives: Tensor
    itself: Mask
    sample: Mask
    same: Mask
    partners: tuple[Mask, ...]
    labels: SameId | None = None
    domains: SameId | None = None
    target: Target | None = None
    _blocks: dict[str, Gram] = field(default_factory=dict)

    @property
    def rows(self) -> Tensor:
        """Row indices (N, 1), to broadcast with `positives`."""
        return torch.arange(self.n * self.views, device=self.positives.device)[:, None]

    @property
    def kin(self) -> Mask:
        """Pairs of one sample or one class, itself included: what attracts when labels do."""
        return self.sample if self.labels is None else self.sample | self.labels

    @property
    def wanted(self) -> Target:
        """The target, of a loss that is known to have one."""
        if self.target is None:
            raise ValueError("the batch of this loss has no target")
        return self.target

    def scores(self, temperature: float | Tensor, mask: Mask, cost: Cost | None = None) -> Scores:
        """Scores of all anchors and candidates; the inner product unless a cost is given."""
        return Scores.from_gram(self.gram, temperature=temperature, cost=cost, mask=mask)

    def block_scores(self, block: Block, temperature: float | Tensor, mask: Mask, cost: Cost | None = None) -> Scores:
        """Scores of a block; the mask is the batch's."""
        if block.name not in self._blocks:  # one object a block: what is summed together is told by it
            self._blocks[block.name] = self.gram.block(block.rows, block.cols)
        gram = self._blocks[block.name]
        return Scores.from_gram(gram, temperature=temperature, cost=cost, mask=mask.block(block.rows, block.cols))

    def positive_scores(self, temperature: float | Tensor, cost: Cost) -> Scores:
        """Scores of each anchor and its positives alone, (N, views - 1)."""
        if "positives" not in self._blocks:
            self._blocks["positives"] = self.gram.gather(self.positives)
        return Scores.from_gram(self._blocks["positives"], temperature=temperature, cost=cost)

    def all_but(self, partner: Mask) -> Mask:
        """The mask that leaves the negatives and this positive."""
        return self.same - partner

    def all_but_kin(self, kin: Mask) -> Mask:
        """The mask that leaves the negatives and these positives."""
        return (self.same - kin) | self.itself

    def negative_count(self) -> Tensor:
        """How many negatives each anchor has, (N, 1)."""
        return self.gram.shape[1] - self.same.row_counts()[:, None]

    def detach(self) -> Batch:
        """The same batch as a constant."""
        return self.with_gram(self.gram.detach())

    def with_gram(self, gram: Gram) -> Batch:
        """The same relations over other dot products."""
        return replace(self, gram=gram, _blocks={})

    def view_pairs(self, one_order: bool = False) -> Iterator[Block]:
        """Each pair of views, in both orders or only with a before b.

        With own negatives a block is a view's anchors against one of their positives and their negatives.
        """
        checks.require(
            not (one_order and self.gram.own_columns),
            "ordered=True needs pairs of views, which negatives= replaces: drop one of them",
        )
        for a in range(self.views):
            for k in range(self.views - 1):
                b = (a + k + 1) % self.views
                if not one_order or a < b:
                    yield self._block(a, b)

    def opposite_blocks(self) -> Iterator[tuple[Block, Block]]:
        """Each pair of views once, as the blocks of both orders."""
        for a in range(self.views):
            for b in range(a + 1, self.views):
                yield self._block(a, b), self._block(b, a)

    def within_views(self) -> Iterator[Block]:
        """Each view against itself (or its own negatives)."""
        for a in range(self.views):
            cols: Index = self._own_from(self.views - 1) if self.gram.own_columns else self._with_queue(a)
            yield Block(f"view {a + 1}", self._view(a), cols, self._places[:, None][:, :0])

    def _block(self, a: int, b: int) -> Block:
        if self.gram.own_columns:
            return self._own_block(a, b, (b - a - 1) % self.views)
        return Block(f"view {a + 1} to view {b + 1}", self._view(a), self._with_queue(b), self._places[:, None])

    def _own_block(self, a: int, b: int, k: int) -> Block:
        cols = torch.cat([self.positives.new_tensor([k]), self._own_from(self.views - 1)])
        return Block(f"view {a + 1} to view {b + 1}", self._view(a), cols, cols.new_zeros(self.n, 1))

    def _with_queue(self, b: int) -> Index:
        queue = self._own_from(self.n * self.views)
        return torch.cat([self._places + b * self.n, queue]) if len(queue) else self._view(b)

    def _own_from(self, first: int) -> Tensor:
        return torch.arange(first, self.gram.shape[1], device=self.positives.device)

    def _view(self, a: int) -> slice:
        return slice(a * self.n, (a + 1) * self.n)

    @property
    def _places(self) -> Tensor:
        return torch.arange(self.n, device=self.positives.device)


def as_matrix(gram: Gram) -> tuple[Tensor, GivenDots]:
    """The dot products as a leaf with gradient, and the gram over it."""
    matrix = gram.dots.detach().requires_grad_()
    q_sq, k_sq = (v.detach() for v in gram.norms)
    return matrix, GivenDots(matrix, q_sq, k_sq, gram.own_columns)
