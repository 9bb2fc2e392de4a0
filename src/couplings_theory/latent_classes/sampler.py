"""Draws of the latent-class model: k independent negatives for every anchor, never those of a batch.

An anchor's negatives are drawn independently of it, of each other and of every other anchor's, with replacement: they
may repeat, and may be of its own class. The number k is theirs; the size of a batch has no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.losses.build import id_vector

from .prior import negatives, probabilities


@dataclass(frozen=True, eq=False)
class ClassDraw:
    """Classes of n anchors and of the k negatives of each.

    Attributes:
        anchors: class of the anchor and of its positive, (n,), long.
        negatives: classes of its negatives, (n, k), long.
    """

    anchors: Tensor
    negatives: Tensor

    @property
    def collisions(self) -> Tensor:
        """How many of each anchor's negatives are of its own class, (n,)."""
        return (self.negatives == self.anchors[:, None]).sum(dim=1)


class LatentClasses:
    """Classes with their probabilities, as something to draw from.

    Args:
        prior: rho, C numbers above zero with sum one.

    Raises:
        InvalidInput: a prior that is none.

    Example:
        >>> from couplings_theory.latent_classes import LatentClasses
        >>> drawn = LatentClasses([0.7, 0.2, 0.1]).draw(1000, k=4, seed=0)
        >>> drawn.anchors.shape, drawn.negatives.shape, bool(drawn.collisions.max() <= 4)
        (torch.Size([1000]), torch.Size([1000, 4]), True)
    """

    def __init__(self, prior: Sequence[float] | Tensor) -> None:
        self.prior = probabilities(prior)

    def draw(self, n: int, *, k: int, seed: int) -> ClassDraw:
        """n anchors with k negatives each, the same for the same seed."""
        return next(self.stream(n, k=k, seed=seed))

    def stream(self, n: int, *, k: int, seed: int) -> Iterator[ClassDraw]:
        """Draws without end, for training: all of one seed, each independent of those before."""
        return self.drawn_by(torch.Generator().manual_seed(seed), n, k)

    def drawn_by(self, generator: torch.Generator, n: int, k: int) -> Iterator[ClassDraw]:
        """`stream` from a generator that others draw from too.

        Raises:
            InvalidInput: n or k that is no integer >= 1.
        """
        checks.count("n", n)
        checks.require(n >= 1, f"n must be at least 1, got {n}: how many anchors to draw")
        total = n * (negatives(k) + 1)
        while True:
            classes = torch.multinomial(self.prior, total, replacement=True, generator=generator)
            yield ClassDraw(classes[:n], classes[n:].reshape(n, k))


@dataclass(frozen=True, eq=False)
class SampleDraw:
    """Indices into a labelled data set.

    Attributes:
        anchors: (n,), long.
        positives: another sample of the anchor's class, (n,).
        negatives: k samples whatever their class, (n, k); the anchor and its positive are not left out.
    """

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


class LabelledSamples:
    """A labelled data set as a latent-class model: first a class is drawn, then a sample of it, all alike.

    Args:
        labels: class ids (N,), integers; at least two samples of each class, as the positive is another one.
        prior: probability of each class, in increasing order of its id; by default how often it comes, which
            makes all samples equally likely.

    Raises:
        InvalidInput: labels that are no vector of integers, a class of one sample, a prior that is none or of
            another number of classes.

    Example:
        >>> import torch
        >>> from couplings_theory.latent_classes import LabelledSamples
        >>> labels = torch.tensor([0, 1, 0, 1, 1])
        >>> drawn = LabelledSamples(labels).draw(100, k=3, seed=0)
        >>> bool((labels[drawn.anchors] == labels[drawn.positives]).all()), drawn.negatives.shape
        (True, torch.Size([100, 3]))
    """

    def __init__(self, labels: Tensor, prior: Sequence[float] | Tensor | None = None) -> None:
        checks.tensor("labels", labels)
        labels = id_vector("labels", labels, labels.numel()).cpu()
        names, self._counts = torch.unique(labels, return_counts=True)
        alone = names[self._counts < 2].tolist()
        checks.require(not alone, f"classes {alone} have one sample, so no positive: drop them, or add samples")
        share = probabilities(self._counts.double() / len(labels) if prior is None else prior)
        fits = len(share) == len(names)
        checks.require(fits, f"prior has {len(share)} entries but the labels have {len(names)} classes: one a class")
        self._classes = LatentClasses(share)
        self._starts = self._counts.cumsum(0) - self._counts
        self._order = labels.argsort(stable=True)

    def draw(self, n: int, *, k: int, seed: int) -> SampleDraw:
        """n anchors with a positive and k negatives each, the same for the same seed."""
        return next(self.stream(n, k=k, seed=seed))

    def stream(self, n: int, *, k: int, seed: int) -> Iterator[SampleDraw]:
        """Draws without end, for training: all of one seed, each independent of those before."""
        generator = torch.Generator().manual_seed(seed)
        for drawn in self._classes.drawn_by(generator, n, k):
            counts = self._counts[drawn.anchors]
            place = _below(counts, generator)
            another = (place + 1 + _below(counts - 1, generator)) % counts
            others = self._index(drawn.negatives, _below(self._counts[drawn.negatives], generator))
            yield SampleDraw(self._index(drawn.anchors, place), self._index(drawn.anchors, another), others)

    def _index(self, classes: Tensor, places: Tensor) -> Tensor:
        return self._order[self._starts[classes] + places]


def _below(bounds: Tensor, generator: torch.Generator) -> Tensor:
    """A number 0 .. bound - 1 for each, all alike; double precision keeps the bias below 1e-16 bound."""
    return (torch.rand(bounds.shape, generator=generator, dtype=torch.float64) * bounds).long()
