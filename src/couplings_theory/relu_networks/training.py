"""Training of the same networks as in practice: InfoNCE, normalised outputs, fresh batches, SGD."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from couplings.basics import checks
from couplings.basics.errors import CouplingWarning
from couplings.losses import InfoNCE

from .inputs import at_least, generator_of
from .mixture import OneHotMixture, Views
from .network import Activation, TwoLayer


@dataclass(frozen=True)
class Training:
    """A recipe: fresh batches of a mixture, InfoNCE of normalised outputs, SGD with momentum and weight decay.

    Attributes:
        mixture: the data.
        hidden: number h of hidden neurons.
        outputs: number o of outputs.
        temperature: of InfoNCE, > 0.
        batch: samples a step, two views of each.
        steps: of SGD.
        rate: learning rate > 0.
        momentum: in [0, 1).
        decay: weight decay >= 0.
        clamped: whether negative entries of W1 are set to zero after each step and at the start.
        batch_norm: whether the hidden layer is normalised over the batch, after the activation.
        record_every: steps between two records of W1.

    Raises:
        InvalidInput: a number outside of its range.
    """

    mixture: OneHotMixture = field(default_factory=OneHotMixture)
    hidden: int = 10
    outputs: int = 20
    temperature: float = 0.1
    batch: int = 128
    steps: int = 1000
    rate: float = 0.05
    momentum: float = 0.9
    decay: float = 5e-3
    clamped: bool = False
    batch_norm: bool = False
    record_every: int = 10

    def __post_init__(self) -> None:
        for name, bound in (("hidden", 1), ("outputs", 1), ("batch", 2), ("steps", 1), ("record_every", 1)):
            at_least(name, getattr(self, name), bound)
        checks.temperature(self.temperature)
        checks.finite_positive("rate", self.rate)
        checks.fraction("momentum", self.momentum)
        checks.finite_nonnegative("decay", self.decay)
        checks.flag("clamped", self.clamped)
        checks.flag("batch_norm", self.batch_norm)


@dataclass(frozen=True)
class Trained:
    """A training run.

    Attributes:
        network: the weights at the end.
        steps: (r,), the steps at which W1 was recorded, the first 0 and the last the end.
        w1: (r, h, d), W1 at these steps.
        losses: (steps,), of the batch of each step, in nats.
    """

    network: TwoLayer
    steps: Tensor
    w1: Tensor
    losses: Tensor


def train(activation: Activation, recipe: Training | None = None, *, seed: int) -> Trained:
    """Train a two-layer network with the library's `InfoNCE`.

    Outputs are scaled to norm one before the loss; an output of zero, which a ReLU layer gives where no neuron is on,
    stays zero. Weights start uniform in +-1 / sqrt(inputs of the layer), as `torch.nn.Linear`'s.

    Args:
        activation: after the first layer.
        recipe: data and settings; by default the one with its defaults.
        seed: of weights and data, >= 0; the data are the same for both activations.

    Raises:
        InvalidInput: a negative seed, an activation that is no `Activation`.

    Source:
        Data, sizes, temperature, momentum and decay as in the code released with Tian 2022 (arXiv 2201.12680), which
        uses rate 0.01, 5000 steps, batch normalisation, clamped weights, and negatives of the first view alone.

    Example:
        >>> run = train(Activation.RELU, Training(batch=16, steps=20), seed=0)
        >>> run.w1.shape, run.steps.tolist()
        (torch.Size([3, 10, 10]), [0, 10, 20])
    """
    recipe = recipe or Training()
    generator = generator_of(seed)
    run = _Run(activation, recipe, generator)
    losses = torch.zeros(recipe.steps, dtype=torch.float64)
    records = {0: run.first()}
    for step in range(1, recipe.steps + 1):
        losses[step - 1] = run.step(recipe.mixture.draw(recipe.batch, generator))
        if step % recipe.record_every == 0 or step == recipe.steps:
            records[step] = run.first()
    return Trained(run.network(), torch.tensor(list(records)), torch.stack(list(records.values())), losses)


class _Run:
    """The weights of a run, its optimiser and its loss."""

    def __init__(self, activation: Activation, recipe: Training, generator: torch.Generator) -> None:
        self.activation, self.recipe = activation, recipe
        self.w1 = _uniform(recipe.hidden, recipe.mixture.dimensions, generator)
        self.w2 = _uniform(recipe.outputs, recipe.hidden, generator)
        self.scale = torch.ones(recipe.hidden, dtype=torch.float64, requires_grad=True)
        self.shift = torch.zeros(recipe.hidden, dtype=torch.float64, requires_grad=True)
        self.optimiser = torch.optim.SGD(
            [self.w1, self.w2, self.scale, self.shift], recipe.rate, recipe.momentum, weight_decay=recipe.decay
        )
        self.loss = InfoNCE(temperature=recipe.temperature, normalize=False)
        self._clamp()

    def network(self) -> TwoLayer:
        return TwoLayer(self.w1.detach().clone(), self.w2.detach().clone(), self.activation)

    def first(self) -> Tensor:
        return self.w1.detach().clone()

    def step(self, views: Views) -> float:
        with warnings.catch_warnings():  # a linear network gives samples of one coordinate the same output
            warnings.simplefilter("ignore", CouplingWarning)
            loss = self.loss(*self._outputs(torch.cat(views)).chunk(2))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self._clamp()
        return float(loss.detach())

    def _outputs(self, x: Tensor) -> Tensor:
        hidden = TwoLayer(self.w1, self.w2, self.activation).hidden(x)
        if self.recipe.batch_norm:
            hidden = functional.batch_norm(hidden, None, None, self.scale, self.shift, training=True)
        return functional.normalize(hidden @ self.w2.T, dim=1)

    def _clamp(self) -> None:
        if self.recipe.clamped:
            with torch.no_grad():
                self.w1.clamp_min_(0)


def _uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    entries = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return ((2 * entries - 1) / math.sqrt(columns)).requires_grad_()
