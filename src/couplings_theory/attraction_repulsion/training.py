"""A small encoder under attraction and repulsion, and how concentrated the weights are meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from couplings import CACR
from couplings.basics import checks

__all__ = ["Entropies", "Images", "weight_entropies"]


@dataclass(frozen=True)
class Images:
    """A small data set: points in 16 dimensions that come in groups, seen through noise.

    Attributes:
        count: M >= 2 images; image i is of group i mod `groups`.
        groups: >= 1; centres are standard Gaussian, images lie around them with deviation 0.5.
        noise: standard deviation of a view around its image, >= 0.
        seed: of centres and images.

    Raises:
        InvalidInput: a number out of range.

    Example:
        >>> from couplings_theory.attraction_repulsion import Images
        >>> Images(count=8).views(5, seed=0).shape
        torch.Size([5, 8, 16])
    """

    count: int = 32
    groups: int = 4
    noise: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("count", self.count, 2)
        _at_least("groups", self.groups, 1)
        checks.finite_nonnegative("noise", self.noise)
        checks.count("seed", self.seed)

    def views(self, count: int, seed: int) -> Tensor:
        """`count` views of every image, (count, M, 16) in float64, with noise drawn from `seed`."""
        draw = torch.Generator().manual_seed(self.seed)
        centres = _normal(draw, self.groups, _WIDTH)[torch.arange(self.count) % self.groups]
        images = centres + 0.5 * _normal(draw, self.count, _WIDTH)
        return images + self.noise * _normal(torch.Generator().manual_seed(seed), count, self.count, _WIDTH)


_WIDTH = 16


@dataclass(frozen=True)
class Entropies:
    """Mean entropies of weights along a training, in nats, one entry a record.

    Attributes:
        steps: how many steps had been taken, (records,).
        attraction: of a view's weights over its image's other views, at most log(V - 1), (records,).
        repulsion: of a view's weights over the other images, at most log(M - 1), (records,).
        values: the watched loss, (records,).
    """

    steps: Tensor
    attraction: Tensor
    repulsion: Tensor
    values: Tensor


def weight_entropies(
    trained: CACR,
    watched: CACR,
    seed: int,
    *,
    images: Images | None = None,
    views: int = 5,
    steps: int = 60,
    every: int = 5,
    rate: float = 1e-2,
) -> Entropies:
    """Train a small encoder with one loss and record how concentrated the weights of another are.

    The encoder is 16 -> 64 -> 32 with a ReLU, under Adam; each step sees new views of all images, each record the same
    views, which no step sees.

    Args:
        trained: the loss that the encoder is trained with.
        watched: the loss whose weights are recorded; often the same.
        seed: of the encoder and of the noise in the views.
        images: what is encoded; `Images(seed=seed)` when None.
        views: V >= 3 of each image, so that there are weights to choose: a query and V - 1 positives.
        steps: of Adam, >= 0.
        every: steps between records, >= 1.
        rate: Adam's learning rate > 0.

    Raises:
        InvalidInput: a number out of range.

    Cost:
        O(steps V^2 M^2), about 25 ms a step by default.

    Source:
        The measurement of conditional entropies in arXiv 2105.03746, in small.

    Example:
        >>> from couplings import CACR
        >>> from couplings_theory.attraction_repulsion import Images, weight_entropies
        >>> records = weight_entropies(CACR(), CACR(), 0, images=Images(8), views=3, steps=2, every=1)
        >>> records.steps.tolist()
        [0, 1, 2]
    """
    checks.count("seed", seed)
    _at_least("views", views, 3)
    _at_least("every", every, 1)
    checks.count("steps", steps)
    checks.finite_positive("rate", rate)
    images = Images(seed=seed) if images is None else images
    encoder = _encoder(seed)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=rate)
    shown = images.views(views, _noise_seed(seed, steps))
    records = []
    for step in range(steps + 1):
        if step % every == 0:
            records.append((torch.tensor(step), *_entropies(watched, encoder(shown))))
        if step < steps:
            optimiser.zero_grad()
            trained(*encoder(images.views(views, _noise_seed(seed, step)))).backward()
            optimiser.step()
    return Entropies(*(torch.stack(part) for part in zip(*records, strict=True)))


@torch.no_grad()
def _entropies(loss: CACR, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of attraction and of repulsion, and the value."""
    batch = loss.batch(*views)
    couplings = loss.couplings(batch)
    entropies = {name: coupling.row_entropy().mean() for name, coupling in couplings.items()}
    attraction = entropies.pop("attraction")
    return attraction, torch.stack(list(entropies.values())).mean(), loss.value(batch, couplings)


def _encoder(seed: int, hidden: int = 64, out: int = 32) -> nn.Module:
    """Weights and biases Gaussian, of variance one over the inputs."""
    draw = torch.Generator().manual_seed(seed)
    layers = nn.Linear(_WIDTH, hidden), nn.Linear(hidden, out)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=layer.in_features**-0.5, generator=draw)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1]).double()


def _noise_seed(seed: int, step: int) -> int:
    return 100_000 * (seed + 1) + step


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _at_least(name: str, value: int, least: int) -> None:
    checks.count(name, value)
    checks.require(value >= least, f"{name} must be {least} or more, got {value}")
