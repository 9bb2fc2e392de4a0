"""Losses that are right, and losses each of which is wrong in one way, by the check that must see it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from couplings import KL, Coupling, Fixed, Loss, couple
from couplings.basics.sizes import limits
from couplings.losses import Batch, Couplings


class Mine(Loss):
    """A stranger's: positives attract, negatives repel under a balanced plan that is a constant."""

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        return {"negatives": couple(batch.detach().scores(0.5, batch.same), Fixed(), KL(0.5))}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        cosines = batch.scores(1.0, batch.same)
        return couplings["negatives"].expect(cosines).mean() - cosines.at(batch.rows, batch.positives).mean()


class Soft(Loss):
    """A softmax of a stranger's own, with a temperature that is learnt."""

    def __init__(self, temperature: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.temperature = temperature
        self.log_scale = nn.Parameter(torch.tensor(0.25))

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        scores = batch.scores(torch.exp(-self.log_scale) * self.temperature, batch.all_but(batch.partners[0]))
        return {"plan": couple(scores, Fixed())}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        return -couplings["plan"].log_conditional_at(batch.rows, batch.positives[:, :1]).mean()


def _cosines(batch: Batch) -> Tensor:
    """All of them, zero for what may not repel."""
    return batch.embeddings @ batch.embeddings.T * ~batch.same.forbidden()[:, : len(batch.embeddings)]


class Drawn(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        return super().value(batch, couplings) + 1e-3 * torch.rand(())


class Counting(Mine):
    calls = 0

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        self.calls += 1
        return super().value(batch, couplings) + 1e-3 * self.calls


class NoPlan(Mine):
    def coupling(self, *views: Tensor, **sides: Any) -> dict[str, Coupling]:
        return {}


class HalfGradient(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        right = super().value(batch, couplings)
        return (right + right.detach()) / 2


class DetachedInside(Mine):
    """A weight that is no coupling, and a constant."""

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        right = super().value(batch, couplings)
        return right * torch.exp(right).detach()


class _Square(torch.autograd.Function):
    """Its derivative is right, the derivative of that is not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0].detach() * cotangent


class WrongSecond(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        return _Square.apply(super().value(batch, couplings))  # type: ignore[no-any-return]


class BesideScores(Mine):
    """Moved by rows, which no score tells."""

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        return super().value(batch, couplings) + _cosines(batch).square().mean()


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.x = x.detach()
        return x.square().mean()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        return 2 * ctx.x * cotangent / ctx.x.numel()


class KeepsViews(Mine):
    def forward(self, *views: Tensor, **sides: Any) -> Tensor:
        return super().forward(*views, **sides) + _Kept.apply(views[0])


class ByPlace(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        at = batch.scores(1.0, batch.same).at(batch.rows, batch.positives)
        weights = torch.linspace(1, 2, batch.n, dtype=at.dtype).repeat(batch.views)
        return super().value(batch, couplings) - (weights[:, None] * at).mean()


class ByPlaceOfKeys(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        first = batch.scores(1.0, batch.same).at(batch.rows, batch.rows * 0 + batch.gram.shape[1] - 1)
        return super().value(batch, couplings) + first.square().mean() * (batch.gram.shape[1] > len(batch.rows))


class OneDirection(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        at = batch.scores(1.0, batch.same).at(batch.rows, batch.positives)
        return super().value(batch, couplings) - at[: batch.n].exp().mean()


class Coordinates(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        return super().value(batch, couplings) + batch.embeddings[:, 0].square().mean()


class Norms(Mine):
    def forward(self, *views: Tensor, **sides: Any) -> Tensor:
        return super().forward(*views, **sides) + 0.1 * torch.stack([v.norm(dim=1).mean() for v in views]).mean()


class WrongTiles(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        far = limits(torch.device("cpu"))
        return super().value(batch, couplings) * (1.001 if far.tiled == 0 and far.dense > 0 else 1.0)


class WrongPanels(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        return super().value(batch, couplings) * (1.001 if limits(torch.device("cpu")).dense == 0 else 1.0)


class HalfInside(Mine):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        exact = super().value(batch, couplings)
        return exact if exact.dtype == torch.float64 else exact.bfloat16().float()


class Autocast(Mine):
    def forward(self, *views: Tensor, **sides: Any) -> Tensor:
        aside = torch.stack([(v @ v.T).float().mean() for v in views]).mean()
        return super().forward(*views, **sides) + 0.1 * aside


class Overflowing(Soft):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        cosines = batch.scores(1.0, batch.same).at(batch.rows, batch.positives[:, :1])
        return super().value(batch, couplings) + torch.exp(-cosines / self.temperature).mean()


class AtZero(Mine):
    """The root of a distance that may be zero."""

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        cosines = batch.scores(1.0, batch.same).at(batch.rows, batch.positives)
        return super().value(batch, couplings) + (1 - cosines).clamp_min(0).sqrt().mean()


class IgnoresIds(Mine):
    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        return {"negatives": couple(batch.detach().scores(0.5, batch.sample), Fixed(), KL(0.5))}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        cosines = batch.scores(1.0, batch.sample)
        return couplings["negatives"].expect(cosines).mean() - cosines.at(batch.rows, batch.positives).mean()


class IgnoresLabels(Mine):
    labels_attract = True


class IgnoresKeys(Mine):
    def _own(self, batch: Batch) -> Batch:
        return batch.with_gram(batch.gram.block(slice(0, len(batch.rows)), slice(0, len(batch.rows))))

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        whole = slice(0, len(batch.rows))
        if batch.gram.own_columns or batch.gram.shape[1] == len(batch.rows):
            return super().couplings(batch)
        scores = self._own(batch).detach().scores(0.5, batch.same.block(whole, whole))
        return {"negatives": couple(scores, Fixed(), KL(0.5))}

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        if batch.gram.own_columns or batch.gram.shape[1] == len(batch.rows):
            return super().value(batch, couplings)
        cosines = self._own(batch).scores(1.0, batch.same.block(slice(0, len(batch.rows)), slice(0, len(batch.rows))))
        return couplings["negatives"].expect(cosines).mean() - cosines.at(batch.rows, batch.positives).mean()


class IgnoresNegatives(Soft):
    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        if not batch.gram.own_columns:
            return super().value(batch, couplings)
        return -batch.scores(1.0, batch.same).at(batch.rows, batch.positives).mean()


class IgnoresTarget(Mine):
    takes_target = True


class OwnBatch(Mine):
    """Each process's samples alone."""

    def batch(self, *views: Tensor, **sides: Any) -> Batch:
        return Loss.batch(self.apart(), *views, **sides)


class TwiceOverProcesses(Mine):
    """A gradient that does not know that it is averaged."""

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        right = super().value(batch, couplings)
        return 2 * right - right.detach() if torch.distributed.is_initialized() else right


class CopiesBadly(Soft):
    def __deepcopy__(self, memo: Mapping[int, Any]) -> CopiesBadly:
        return type(self)(2 * self.temperature)


class Locked(Mine):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lock = threading.Lock()


class HoldsLambda(Mine):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.transform = lambda x: x


class Forgets(Soft):
    """What it has learnt is in no file."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        return {name: torch.zeros_like(x) for name, x in super().state_dict(*args, **kwargs).items()}


FAULTS: list[tuple[type[Loss], str, str]] = [
    (Drawn, "value", "two views, and one matrix in double precision: off by"),
    (Counting, "value", "off by"),
    (NoPlan, "couplings", "coupling() shows nothing"),
    (HalfGradient, "gradient", "gradient and central differences"),
    (DetachedInside, "gradient", "gradient and central differences"),
    (WrongSecond, "second-derivative", "second derivatives and differences of gradients"),
    (BesideScores, "pair-weights", "the gradient and that of sum_ij w_ij s_ij: gradient at view 1: off by"),
    (KeepsViews, "refilled", "view 1 written to before backward(): off by"),
    (ByPlace, "permutation", "samples in another order: value: off by"),
    (ByPlaceOfKeys, "permutation", "keys in another order: value: off by"),
    (OneDirection, "views-exchanged", "the views in another order: value: off by"),
    (Coordinates, "rotation", "embeddings rotated: value: off by"),
    (Norms, "scale", "rows of other norms: value: off by"),
    (WrongTiles, "tiles", "by tiles and on one matrix: value: off by"),
    (WrongPanels, "panels", "by panels and on one matrix: value: off by"),
    (HalfInside, "half-precision", "value beside double precision: off by"),
    (Autocast, "half-precision", "under autocast and outside: off by"),
    (Overflowing, "hard-batches", "value or gradient is not finite"),
    (AtZero, "hard-batches", "each view twice in torch.bfloat16: value beside double precision: off by"),
    (IgnoresIds, "ids", "pair weights of samples with equal ids= are up to"),
    (IgnoresIds, "labels", "pair weights of samples with equal labels= are up to"),
    (IgnoresLabels, "labels", "labels_attract says that they attract"),
    (IgnoresKeys, "keys", "keys= repel with 0.000e+00 in all"),
    (IgnoresNegatives, "negatives", "negatives= repel with 0.000e+00 in all"),
    (IgnoresTarget, "target", "another target= leaves the value as it is"),
    (OwnBatch, "gather", "two views, process 0 with 5 samples and one process with all 7: value: off by"),
    (TwiceOverProcesses, "gather", "process 0 with 5 samples and one process with all 7: gradient at view 1: off by"),
    (CopiesBadly, "deepcopy", "a deep copy, and the loss: value: off by"),
    (Locked, "deepcopy", "TypeError: cannot pickle '_thread.lock' object"),
    (HoldsLambda, "pickle", "Can't pickle"),
    (HoldsLambda, "gather", "what other processes are to run cannot be pickled"),
    (Forgets, "state-dict", "after load_state_dict(), and before it was moved: value: off by"),
]
"""What is wrong, the check that sees it, and what that says."""
