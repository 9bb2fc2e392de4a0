"""The inspection of embeddings under a loss: everything that page, JSON and tables show."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.diagnostics import (
    Duplicates,
    Neighbours,
    Survey,
    alignment,
    collapsed_dimensions,
    duplicates,
    effective_rank,
    failing_positives,
    hubs,
    nearest,
    pushes,
    spectrum,
    survey,
    uniformity,
)
from couplings.inspection.batch import BatchView, Response, batch_view, responses
from couplings.inspection.gallery import Exhibit, gallery
from couplings.inspection.plane import Plane, Projection, project
from couplings.inspection.subject import Subject
from couplings.inspection.truth import Truth, truth_of
from couplings.losses import Loss

__all__ = ["Candidates", "Inspection", "Settings", "Space", "inspect"]

_SURROUNDINGS = 16
"""Neighbours of each row: what duplicates are judged by."""
_CLOSE = 8
"""Of these, those that can be false negatives."""
_UNIFORMITY_ROWS = 8192
_PAIRS = 16384
"""At a time in double precision."""

Stage = Callable[[str, float], None]
"""Told what is being done, and the share of it that is done."""


@dataclass(frozen=True)
class Settings:
    """How to inspect.

    Attributes:
        batch_size: samples a batch, as in training, 4 to 2^17; what a loss does depends on it.
        rounds: batches that each row is in, 1 to 1,000.
        pairs: how many pairs to name as possible false negatives, 10^9 at most [default: as many as rows].
        shown: samples of the batch that is shown as a heat map, 2 to 2,000.
        plane: how rows are laid out in two dimensions.
        seed: of batches, 0 to 2^32 - 1.

    Raises:
        InvalidInput: a number out of range.
    """

    batch_size: int = 256
    rounds: int = 4
    pairs: int | None = None
    shown: int = 96
    plane: Plane = Plane.PCA
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("batch_size", self.batch_size, 4, 2**17),
            ("rounds", self.rounds, 1, 1000),
            ("shown", self.shown, 2, 2000),
            ("pairs", self.pairs or 0, 0, 10**9),
            ("seed", self.seed, 0, 2**32 - 1),
        ):
            checks.count(name, value)
            checks.require(value >= least, f"{name} must be at least {least}, got {value}")
            checks.require(value <= most, f"{name} must be at most {most:,}, got {_short(value)}")


def _short(value: int) -> str:
    """A number that may have thousands of digits."""
    return str(value) if value < 10**12 else "more than 10^12"


@dataclass(frozen=True)
class Space:
    """How the space is filled; see :mod:`couplings.diagnostics`."""

    alignment: float | None
    uniformity: float
    effective_rank: float
    spectrum: Tensor
    collapsed_dimensions: Tensor


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be false negatives, the most similar first.

    Attributes:
        pairs: int64 (p, 2), i < j.
        similarity: cosines (p,).
        push: (p,), how hard the loss pushes the pair apart when a batch holds both, in units of the average pair.
    """

    pairs: Tensor
    similarity: Tensor
    push: Tensor


@dataclass(frozen=True)
class Inspection:
    """What was found. All rows are named by their number."""

    subject: Subject
    loss_name: str
    settings: Settings
    space: Space
    neighbours: Neighbours = field(repr=False)
    survey: Survey = field(repr=False)
    duplicates: Duplicates = field(repr=False)
    candidates: Candidates = field(repr=False)
    failing_positives: Tensor = field(repr=False)
    hubs: Tensor = field(repr=False)
    batch: BatchView = field(repr=False)
    responses: Mapping[str, Response] = field(repr=False)
    gallery: tuple[Exhibit, ...] = field(repr=False)
    projection: Projection = field(repr=False)
    truth: Truth | None
    seconds: float

    @property
    def suspicion(self) -> Tensor:
        """Of each row the hardest push on one of its candidate pairs, (n,); 0 without one."""
        found = torch.zeros(len(self.subject), dtype=torch.float64)
        for column in range(2):
            found.scatter_reduce_(0, self.candidates.pairs[:, column], self.candidates.push, "amax")
        return found


def inspect(
    subject: Subject,
    losses: Mapping[str, Loss],
    settings: Settings | None = None,
    stage: Stage = lambda what, share: None,
) -> Inspection:
    """Inspect embeddings under a loss.

    Args:
        subject: what is inspected.
        losses: by name; the first is the one in question, the others are shown beside it.
        settings: how.
        stage: told what is being done.

    Raises:
        InvalidInput: what the loss refuses; a loss that repels nothing.

    Cost:
        One product of all rows with all others (the neighbours); all else is linear in the number of rows.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> z = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
        >>> z[9] = z[4]
        >>> found = inspect(Subject("example", z), {"infonce": InfoNCE(0.2)})
        >>> found.duplicates.pairs.tolist()
        [[4, 9]]
    """
    start, how = time.perf_counter(), settings or Settings()
    name, loss = next(iter(losses.items()))
    checks.require(loss.repels, f"loss: {name} repels nothing, so there are no negatives to inspect; take another loss")
    samples = subject.samples
    near = nearest(samples, _SURROUNDINGS, lambda share: stage("nearest neighbours", share))
    found = _apart(subject, duplicates(samples, near))
    seen = survey(
        loss,
        subject.embeddings,
        subject.positives,
        ids=subject.groups,
        batch_size=how.batch_size,
        rounds=how.rounds,
        seed=how.seed,
        progress=lambda share: stage("batches", share),
    )
    candidates = _candidates(subject, near, loss, how, lambda share: stage("likely false negatives", share))
    stage("the page's pictures", 0.0)
    return Inspection(
        subject=subject,
        loss_name=name,
        settings=how,
        space=_space(subject),
        neighbours=near,
        survey=seen,
        duplicates=found,
        candidates=candidates,
        failing_positives=failing_positives(seen.positive_rank),
        hubs=hubs(seen.mass),
        batch=batch_view(subject, loss, how.shown, how.seed),
        responses=responses(subject, losses, how.batch_size, how.seed),
        gallery=gallery(subject, loss, found, candidates.pairs, candidates.push, how.batch_size, how.seed),
        projection=project(samples, how.plane, how.seed),
        truth=truth_of(
            subject, loss, candidates.pairs, candidates.similarity, candidates.push, how.batch_size, how.seed
        ),
        seconds=time.perf_counter() - start,
    )


def _apart(subject: Subject, found: Duplicates) -> Duplicates:
    """Rows of one group are one sample, and known to be; copies of which all are of one sample are left out."""
    kept = torch.isin(found.groups, found.groups[subject.apart(found.pairs)])
    return Duplicates(found.pairs[kept], found.score[kept], found.similarity[kept])


def _candidates(
    subject: Subject, near: Neighbours, loss: Loss, how: Settings, progress: Callable[[float], None]
) -> Candidates:
    """The most similar pairs that the loss would push apart, with the push on each."""
    close = Neighbours(near.index[:, :_CLOSE], near.similarity[:, :_CLOSE])
    pairs = close.pairs()
    pairs = pairs[subject.apart(pairs)]
    similarity = torch.cat([_cosines(subject.samples, part) for part in torch.split(pairs, _PAIRS)])
    kept = similarity.argsort(descending=True, stable=True)[: len(subject) if how.pairs is None else how.pairs]
    push = pushes(
        loss,
        subject.embeddings,
        pairs[kept],
        subject.positives,
        ids=subject.groups,
        batch_size=how.batch_size,
        seed=how.seed,
        progress=progress,
    )
    return Candidates(pairs[kept], similarity[kept], push)


def _cosines(z: Tensor, pairs: Tensor) -> Tensor:
    """By differences in double precision: those of close pairs differ in digits that products do not have."""
    one, other = (torch.nn.functional.normalize(z[ends].double(), dim=1) for ends in pairs.T)
    return 1 - (one - other).square().sum(1) / 2


def _space(subject: Subject) -> Space:
    z, other = subject.embeddings, subject.positives
    some = z[:: max(1, len(z) // _UNIFORMITY_ROWS)]
    return Space(
        alignment=None if other is None else alignment(z, other).item(),
        uniformity=uniformity(some).item(),
        effective_rank=effective_rank(some).item(),
        spectrum=spectrum(z),
        collapsed_dimensions=collapsed_dimensions(z),
    )
