"""A small encoder trained in the latent-class model with the library's InfoNCE, every anchor with its own negatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from couplings.basics import checks
from couplings.losses import InfoNCE

from .downstream import Scatter, class_means, scatter
from .prior import negatives as as_count
from .sampler import LatentClasses

HELD_OUT = 400
"""Samples of each class that a trained encoder is measured on."""


@dataclass(frozen=True)
class Prototypes:
    """The samples of a class: its basis vector plus noise that is uniform in a ball.

    Attributes:
        radius: of the ball, in [0, 0.7): basis vectors are sqrt(2) apart, so classes do not overlap, as the model asks.
    """

    radius: float = 0.4

    def __post_init__(self) -> None:
        checks.finite_nonnegative("radius", self.radius)
        checks.require(self.radius < 0.7, f"radius must be below 0.7, got {self.radius:g}: else classes would overlap")

    def samples(self, classes: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """One sample a class id: (..., count), double precision, of `count` classes in all."""
        way = torch.randn(*classes.shape, count, generator=generator, dtype=torch.float64)
        length = torch.rand(*classes.shape, 1, generator=generator, dtype=torch.float64).pow(1 / count)
        noise = nn.functional.normalize(way, dim=-1) * length
        return nn.functional.one_hot(classes, count).double() + self.radius * noise


@dataclass(frozen=True)
class Training:
    """How the encoder is trained: Adam, its rate falling to zero along a cosine.

    Attributes:
        steps: >= 1.
        batch: anchors a step, each with a positive and k negatives of its own; not related to k.
        rate: of Adam at the start, > 0.
        width: of the hidden layer.
    """

    steps: int = 800
    batch: int = 64
    rate: float = 2e-2
    width: int = 32

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "width"):
            checks.count(name, value := getattr(self, name))
            checks.require(value >= 1, f"{name} must be at least 1, got {value}")
        checks.finite_positive("rate", self.rate)


@dataclass(frozen=True, eq=False)
class TrainedEncoder:
    """An encoder, and what it makes of samples that it was not trained on.

    Attributes:
        network: from samples (n, C) to embeddings (n, C), which the loss scales to unit norm.
        gram: inner products of the mean unit embeddings of the classes, (C, C).
        scatter: of the unit embeddings, all classes alike.
        losses: of the training steps, (steps,).
    """

    network: nn.Module
    gram: Tensor
    scatter: Scatter
    losses: Tensor


def train_encoder(
    prior: Sequence[float] | Tensor,
    *,
    k: int,
    scale: float = 1.0,
    seed: int = 0,
    world: Prototypes | None = None,
    training: Training | None = None,
) -> TrainedEncoder:
    """Minimise L_k over a network of one hidden layer, from samples alone.

    Each step draws anchors, positives and k negatives for each anchor (`LatentClasses`), and descends
    ``InfoNCE(temperature=1 / scale)(x, positive, negatives=negatives)``, which is L_k of the paper in both directions.

    Args:
        prior: rho, C numbers above zero with sum one.
        k: negatives of each anchor, drawn independently; >= 1.
        scale: s > 0, one over the temperature.
        seed: of weights and draws.
        world: what samples look like; default `Prototypes()`.
        training: steps, batch, rate, width; default `Training()`.

    Raises:
        InvalidInput: a prior that is none, a k that is no integer >= 1, a scale that is not a finite number above zero.

    Cost:
        Some seconds with the default training and C, k <= 10; steps x batch x (k + 2) samples pass the network.

    Example:
        >>> from couplings_theory.latent_classes import Training, train_encoder
        >>> found = train_encoder([0.5, 0.5], k=2, seed=0, training=Training(steps=100, batch=64))
        >>> bool(found.gram[0, 1] < -0.9)
        True
    """
    checks.finite_positive("scale", scale)
    classes, world, training = LatentClasses(prior), world or Prototypes(), training or Training()
    generator = torch.Generator().manual_seed(seed)
    network = _network(len(classes.prior), training.width, generator)
    batches = _batches(classes, world, generator, (training.batch, as_count(k)))
    losses = _descend(network, InfoNCE(temperature=1 / scale), batches, training)
    gram, spread = _measured(network, world, len(classes.prior), generator)
    return TrainedEncoder(network, gram, spread, losses)


def _network(classes: int, width: int, generator: torch.Generator) -> nn.Sequential:
    """One hidden layer, weights from the generator: global random numbers are left alone."""
    network = nn.Sequential(nn.Linear(classes, width), nn.GELU(), nn.Linear(width, classes)).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=weight.shape[-1] ** -0.5, generator=generator)
    return network


def _batches(
    model: LatentClasses, world: Prototypes, generator: torch.Generator, size: tuple[int, int]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Anchors (n, C), positives (n, C), negatives (n, k, C)."""
    count = len(model.prior)
    for drawn in model.drawn_by(generator, *size):
        anchors, positives, others = (
            world.samples(classes, count, generator) for classes in (drawn.anchors, drawn.anchors, drawn.negatives)
        )
        yield anchors, positives, others


def _descend(
    network: nn.Module, loss: InfoNCE, batches: Iterator[tuple[Tensor, Tensor, Tensor]], training: Training
) -> Tensor:
    optimiser = torch.optim.Adam(network.parameters(), lr=training.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    losses = []
    for _, (anchors, positives, negatives) in zip(range(training.steps), batches, strict=False):
        value = loss(network(anchors), network(positives), negatives=network(negatives))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        losses.append(value.detach())
    return torch.stack(losses)


@torch.no_grad()
def _measured(network: nn.Module, world: Prototypes, count: int, generator: torch.Generator) -> tuple[Tensor, Scatter]:
    labels = torch.arange(count).repeat_interleave(HELD_OUT)
    z = nn.functional.normalize(network(world.samples(labels, count, generator)), dim=1)
    means = class_means(z, labels)
    return means @ means.T, scatter(z, labels)
