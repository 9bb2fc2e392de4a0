"""Steps of a run on Lightning Fabric, which places the model, sets the precision, scales and averages gradients."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from couplings.basics.errors import InvalidInput
from couplings.batches.distributed import gathered
from couplings.diagnostics import alignment, effective_rank, uniformity
from couplings.losses import Loss, Sides
from couplings.train.config import ConfigError, RunConfig
from couplings.train.data import Dataset
from couplings.train.exclusions import Exclusions
from couplings.train.fits import check_encoder_fits
from couplings.train.learner import Learner, Outcome, Seen, build_learner
from couplings.train.optimisers import build_optimiser, rate
from couplings.train.processes import part_of, synchronised
from couplings.train.records import StepRecord
from couplings.train.run import build_model
from couplings.train.sampling import Drawn, Sampler
from couplings.train.seeds import Purpose, generator, seed_of
from couplings.train.state import State, restore, state_of
from couplings.train.views import Views

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Trainer", "diverged", "prepare"]


@dataclass
class Trainer:
    """The moving parts of one run; ``done`` steps are behind it.

    ``whole`` is False in the middle of a step, when the state is of no use to anyone.
    """

    config: RunConfig
    fabric: Fabric
    learner: Learner
    optimiser: Any  # Fabric's wrapper
    sampler: Sampler
    views: Views
    images: Tensor
    labels: Tensor | None
    domains: Tensor | None
    done: int = 0
    whole: bool = True
    _clock: float = field(default_factory=time.perf_counter)
    _clocked: int = 0

    def steps(self) -> Iterator[StepRecord]:
        """Train to the end, one step a record."""
        self._clock, self._clocked = time.perf_counter(), self.done
        while self.done < self.config.steps:
            lr = rate(self.config.optimiser, self.done, self.config.steps)
            outcome = self._guarded_step(lr)
            yield self._record(lr, outcome)

    def state(self) -> State:
        """All that the next step depends on; not a copy."""
        return state_of(self.learner, self.optimiser.optimizer, self.fabric._precision)

    def restore(self, state: State, done: int) -> None:
        """Go back, or on, to a state after that many steps."""
        self.whole = False
        restore(state, self.learner, self.optimiser.optimizer, self.fabric._precision)
        self.done, self.whole = done, True

    def seconds_per_step(self) -> float:
        """Time of a step, from a few that are undone again."""
        before, done, times = self.state().copy(), self.done, list[float]()
        # The first step allocates; a slow model is judged by it all the same.
        while len(times) < 4 and sum(times) < 5:
            start = time.perf_counter()
            self.step(rate(self.config.optimiser, done, self.config.steps)).value.item()
            times.append(self.fabric.broadcast(time.perf_counter() - start))
            self.restore(before, done)
        return min(times)

    def _guarded_step(self, lr: float) -> Outcome:
        try:
            return self.step(lr)
        except InvalidInput as error:
            if self.done == 0:
                raise
            raise diverged(self.done + 1, str(error)) from None

    def step(self, lr: float) -> Outcome:
        """One update."""
        self.whole = False
        # What networks draw themselves (dropout) differs from process to process.
        torch.manual_seed(seed_of(self.config.seed, Purpose.NETWORK, self.done) ^ self.fabric.global_rank)
        seen = self._seen(self.sampler.draw(self.done))
        # Fabric hands embeddings over in the default precision.
        with self.fabric._precision.tensor_init_context():
            outcome = self._outcome(seen)
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(outcome.value)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        # The queue writes over the keys that this step was compared with.
        outcome = outcome.detach(own_keys=self._diagnosed(self.done + 1))
        self.learner.follow(self.done)
        self.done += 1
        self.whole = True
        return outcome

    def _outcome(self, seen: Seen) -> Outcome:
        try:
            return self.learner.outcome(seen)
        except InvalidInput as error:
            if self.learner.exclusions is not None and "left no negative" in str(error):
                raise _lonely(self.done + 1) from None
            raise

    def _diagnosed(self, step: int) -> bool:
        return step in (1, self.config.steps) or step % self.config.diagnose_every == 0

    def _seen(self, drawn: Drawn) -> Seen:
        """This process's part of the samples, augmented."""
        random = generator(self.config.seed, Purpose.VIEWS, self.done, self.images.device)
        part = part_of(drawn.images.shape[1], self.fabric)
        images = drawn.images.to(self.images.device)
        views = self.views.of(self.images, images, random, part)
        shown = images[:, part]
        together = images if self.learner.loss.gather else shown
        return Seen(views, *self._negatives(drawn, random, part), self._sides(shown[0]), shown, together)

    def _negatives(self, drawn: Drawn, random: torch.Generator, part: slice) -> tuple[Tensor | None, Tensor | None]:
        """The images that the negatives of this process's samples show, and which of them are each sample's."""
        if drawn.negatives is None or drawn.chosen is None:
            return None, None
        chosen = drawn.chosen[part]
        needed = slice(int(chosen.min()), int(chosen.max()) + 1)
        images = self.views.singles(self.images, drawn.negatives, random, needed)
        return images, (chosen - needed.start).to(images.device)

    def _sides(self, anchors: Tensor) -> Sides:
        sides = Sides()
        if self.labels is not None:
            sides["labels"] = self.labels[anchors]
        if self.domains is not None:
            sides["domains"] = self.domains[anchors]
        return sides

    def _record(self, lr: float, outcome: Outcome) -> StepRecord:
        step, diagnosed = self.done, self._diagnosed(self.done)
        epoch = (step - 1) // self.sampler.per_epoch
        if not (diagnosed or step % self.config.log_every == 0):
            return StepRecord(step, epoch, lr)
        known = _diagnose(self.learner.loss, outcome) if diagnosed else {}
        return StepRecord(step, epoch, lr, _finite(outcome.value, step), self._speed(), **known)

    def _speed(self) -> float:
        """Images a second since it was last asked."""
        now, images = time.perf_counter(), (self.done - self._clocked) * self.config.batch_size
        elapsed, self._clock, self._clocked = now - self._clock, now, self.done
        return images / elapsed


def _finite(value: Tensor, step: int) -> float:
    number = value.item()
    if not math.isfinite(number):
        raise diverged(step, f"the loss is {number}")
    return number


def _lonely(step: int) -> ConfigError:
    return ConfigError(
        f"pairs.exclude: at step {step} an image is left no negative, because the others of its batch are excluded with"
        " it, or are of its class; raise batch_size, or exclude fewer pairs"
    )


def diverged(step: int, reason: str) -> ConfigError:
    """What a training ends in whose numbers are none any more."""
    return ConfigError(f"training diverged at step {step} ({reason}); lower optimiser.lr")


@torch.no_grad()
def _diagnose(loss: Loss, outcome: Outcome) -> dict[str, Any]:
    couplings = loss.coupling(*outcome.call.views, **outcome.call.sides)
    projections = [gathered(view) for view in outcome.projections]
    features = torch.cat([gathered(view) for view in outcome.features])
    return {
        "plan_entropy": {name: coupling.entropy().item() for name, coupling in couplings.items()},
        "alignment": alignment(*projections).item(),
        "uniformity": uniformity(torch.cat(projections)).item(),
        "effective_rank": effective_rank(features).item(),
    }


def prepare(config: RunConfig, data: Dataset, fabric: Fabric, exclusions: Exclusions | None = None) -> Trainer:
    """A run before its first step; ``exclusions`` are those of its ``pairs.exclude``."""
    if config.batch_size < fabric.world_size:
        few = f"{config.batch_size} images leave some of {fabric.world_size} processes without any"
        raise ConfigError(f"batch_size: {few}; take more of them, or fewer processes")
    torch.manual_seed(config.seed)
    plain = build_model(config, data.shape)
    check_encoder_fits(config, plain.encoder)
    plain.encoder.standardise_by(data.train_images)
    loss = fabric._precision.convert_module(config.loss.build()).to(fabric.device)
    network = synchronised(plain, fabric)
    model, optimiser = fabric.setup(network, build_optimiser(network, loss, config.optimiser))
    pairs, device = config.pairs, fabric.device
    return Trainer(
        config=config,
        fabric=fabric,
        learner=build_learner(config, fabric, model, loss, exclusions),
        optimiser=optimiser,
        sampler=Sampler(config, data),
        views=Views(config.views, data.shape.channels),
        images=data.train_images.to(device),
        labels=data.train_labels.to(device) if pairs.labels and data.train_labels is not None else None,
        domains=data.train_domains.to(device) if pairs.domains and data.train_domains is not None else None,
    )
