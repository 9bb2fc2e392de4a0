"""The training loop, on Lightning Fabric: it places the model, sets the precision and scales the gradients."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from couplings.diagnostics import alignment, effective_rank, uniformity
from couplings.errors import InvalidInput
from couplings.train.checkpoint import append_line, save_weights
from couplings.train.config import ConfigError, OptimiserConfig, RunConfig
from couplings.train.data import Dataset, batches
from couplings.train.encoders import Model
from couplings.train.errors import Interrupted
from couplings.train.folder import METRICS, WEIGHTS, run_folder
from couplings.train.records import Observer, Plan, Silent, StepRecord
from couplings.train.run import Run, build_model, describe_run
from couplings.train.sources import load
from couplings.train.views import Views
from couplings.two_pass import TwoPass

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from couplings.losses import Loss

__all__ = ["Observer", "Plan", "Silent", "StepRecord", "train"]


_Encode = Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]
"""From views of the same images to their features and their projections, view by view."""


@dataclass
class _Trainer:
    """The moving parts of one run."""

    config: RunConfig
    fabric: Fabric
    model: Any  # Fabric's wrapper of a Model
    encode: _Encode
    optimiser: Any
    schedule: LRScheduler
    loss: Loss
    views: Views
    images: Tensor
    generator: torch.Generator
    done: int = 0
    clock: float = field(default_factory=time.perf_counter)
    clocked: int = 0

    def steps(self) -> Iterator[StepRecord]:
        """Train to the end, one step a record."""
        order = batches(len(self.images), self.config.batch_size, self.generator)
        for _, chosen in zip(range(self.config.steps), order, strict=False):
            lr = float(self.schedule.get_last_lr()[0])
            value, features, projections = self._guarded_step(chosen)
            self.schedule.step()
            self.done += 1
            yield self._record(lr, value, features, projections)

    def _guarded_step(self, chosen: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        try:
            return self.step(self.encode, self.optimiser, chosen)
        except InvalidInput as error:
            if self.done == 0:
                raise
            raise _diverged(self.done + 1, str(error)) from None

    def step(self, encode: _Encode, optimiser: Any, chosen: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """One update; returns the loss, the features and the projections of each view."""
        # Views are small beside activations: drawn at once, they do not depend on the micro-batch.
        features, projections = encode(*self.views(self.images.index_select(0, chosen), self.generator))
        value = self.loss(*projections)
        optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(value)
        optimiser.step()
        return value.detach(), torch.cat(features).detach(), tuple(part.detach() for part in projections)

    def _record(self, lr: float, value: Tensor, features: Tensor, projections: tuple[Tensor, ...]) -> StepRecord:
        step, last = self.done, self.done == self.config.steps
        epoch = (step - 1) // (len(self.images) // self.config.batch_size)
        if not (last or step == 1 or step % self.config.log_every == 0 or step % self.config.diagnose_every == 0):
            return StepRecord(step, epoch, lr)
        diagnosed = last or step == 1 or step % self.config.diagnose_every == 0
        known = _diagnose(self.loss, features, projections) if diagnosed else {}
        return StepRecord(step, epoch, lr, _finite(value, step), self._speed(), **known)

    def _speed(self) -> float:
        """Images a second since it was last asked."""
        now, images = time.perf_counter(), (self.done - self.clocked) * self.config.batch_size
        elapsed, self.clock, self.clocked = now - self.clock, now, self.done
        return images / elapsed


def _encoder_of(model: Any, config: RunConfig) -> _Encode:
    encode = partial(_encode, model)
    return encode if config.micro_batch is None else TwoPass(encode, config.micro_batch)


def _encode(model: Any, *views: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    features, projected = model(torch.cat(views))
    return features.chunk(len(views)), projected.chunk(len(views))


def _finite(value: Tensor, step: int) -> float:
    number = value.item()
    if not math.isfinite(number):
        raise _diverged(step, f"the loss is {number}")
    return number


def _diverged(step: int, reason: str) -> ConfigError:
    return ConfigError(f"training diverged at step {step} ({reason}); lower optimiser.lr")


@torch.no_grad()
def _diagnose(loss: Loss, features: Tensor, projections: tuple[Tensor, ...]) -> dict[str, Any]:
    couplings = loss.coupling(*projections)
    return {
        "plan_entropy": {name: coupling.entropy().item() for name, coupling in couplings.items()},
        "alignment": alignment(*projections).item(),
        "uniformity": uniformity(torch.cat(projections)).item(),
        "effective_rank": effective_rank(features).item(),
    }


def _schedule(optimiser: Optimizer, config: OptimiserConfig, steps: int) -> LRScheduler:
    warmup = min(config.warmup_steps, steps // 2)
    cosine = CosineAnnealingLR(optimiser, steps - warmup)
    if warmup == 0:
        return cosine
    rise = LinearLR(optimiser, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimiser, [rise, cosine], milestones=[warmup])


def _adamw(model: nn.Module, loss: Loss, config: OptimiserConfig) -> AdamW:
    """All weights of the model, and what the loss learns (a temperature), which does not decay."""
    groups: list[dict[str, Any]] = [
        {"params": list(model.parameters())},
        {"params": list(loss.parameters()), "weight_decay": 0.0},
    ]
    used = [group for group in groups if group["params"]]
    # Fused: one call for all parameters; on CPU half the time, equal to rounding.
    return AdamW(used, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def _prepare(config: RunConfig, data: Dataset) -> _Trainer:
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
    torch.manual_seed(config.seed)
    plain = build_model(config, data.shape)
    plain.encoder.standardise_by(data.train_images)
    loss = config.loss.build().to(fabric.device)
    model, optimiser = fabric.setup(plain, _adamw(plain, loss, config.optimiser))
    return _Trainer(
        config=config,
        fabric=fabric,
        model=model,
        encode=_encoder_of(model, config),
        optimiser=optimiser,
        schedule=_schedule(optimiser, config.optimiser, config.steps),
        loss=loss,
        views=Views(config.views, data.shape.channels),
        images=data.train_images.to(fabric.device),
        generator=torch.Generator(fabric.device).manual_seed(config.seed),
    )


def _seconds_per_step(trainer: _Trainer) -> float:
    """Time of a step on a copy of the model, so that the run itself is not touched."""
    rehearsal = copy.copy(trainer)
    rehearsal.generator = torch.Generator(trainer.fabric.device).manual_seed(0)
    plain: Model = copy.deepcopy(trainer.model.module)
    # Without a learning rate the weights stay put, however large the real one.
    model, optimiser = trainer.fabric.setup(plain, AdamW(plain.parameters(), lr=0.0))
    encode = _encoder_of(model, trainer.config)
    order = batches(len(trainer.images), trainer.config.batch_size, rehearsal.generator)
    times: list[float] = []
    # The first step allocates; a slow model is judged by it all the same.
    while len(times) < 4 and sum(times) < 5:
        start = time.perf_counter()
        rehearsal.step(encode, optimiser, next(order))[0].item()
        times.append(time.perf_counter() - start)
    return min(times)


def _plan(trainer: _Trainer) -> Plan:
    config = trainer.config
    return Plan(
        steps=config.steps,
        images_per_step=config.batch_size,
        seconds=_seconds_per_step(trainer) * config.steps,
        device=str(trainer.fabric.device),
        parameters=sum(part.numel() for part in trainer.model.parameters()),
        train_images=len(trainer.images),
        loss=config.loss.name,
    )


def _run(trainer: _Trainer, folder: Path, observer: Observer) -> None:
    """Train, write the metrics, and leave the weights behind even when interrupted."""
    model = trainer.model.module
    try:
        observer.on_start(_plan(trainer))
        trainer.clock = time.perf_counter()
        for record in trainer.steps():
            if record.loss is not None:
                append_line(folder / METRICS, record.line())
            observer.on_step(record)
    except KeyboardInterrupt:
        save_weights(folder / WEIGHTS, model, trainer.done)
        raise Interrupted(folder, trainer.done) from None
    save_weights(folder / WEIGHTS, model, trainer.done)


def train(
    config: RunConfig,
    folder: Path | str,
    observer: Observer | None = None,
    dataset: Dataset | None = None,
    *,
    overwrite: bool = False,
) -> Run:
    """Train an encoder and leave a run folder behind.

    Args:
        config: all settings.
        folder: where ``config.json``, ``metrics.jsonl`` and ``weights.safetensors`` go.
        observer: is told of the plan, of each step and of messages.
        dataset: the images, if they are in memory already; else ``config.data`` is loaded.
        overwrite: replace a run that lies in ``folder``.

    Raises:
        ConfigError: settings that do not fit the data, a folder that holds a run or is being written, or a
            training that diverges; nothing of the run is left then.
        DataError: the images cannot be had.
        OSError: a file cannot be written; nothing of the run is left.
        Interrupted: Ctrl-C; the weights so far are saved.

    The global random state of torch is left as it was.
    """
    data = load(config.data) if dataset is None else dataset
    if config.batch_size > len(data.train_images):
        raise ConfigError(f"batch_size: {config.batch_size} is more than the {len(data.train_images)} training images")
    place = Path(folder)
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        trainer = _prepare(config, data)
        with run_folder(place, describe_run(config, data.shape), overwrite):
            _run(trainer, place, observer or Silent())
    model = trainer.model.module.cpu().eval()
    return Run(place, config, model, trainer.done, data.shape, data)
