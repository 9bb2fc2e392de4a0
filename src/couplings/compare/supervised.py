"""The supervised ceiling: the same encoder taught the labels.

Everything but the loss is that of a contrastive run of the same seed: the encoder and its random start, the batches,
the views and their number, the steps, the optimiser and its schedule, the precision. In place of the projector there is
one linear layer from the features to the classes, and in place of the loss the mean cross-entropy of all views with
their image's label. Its features are then measured like any other's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from couplings.train.checkpoint import append_line, save_weights
from couplings.train.config import LossConfig, PairsConfig, ProjectorConfig, RunConfig
from couplings.train.data import Dataset
from couplings.train.errors import ConfigError, DataError
from couplings.train.folder import METRICS, WEIGHTS, forget_measurements, run_folder
from couplings.train.optimisers import rate
from couplings.train.processes import opened_fabric
from couplings.train.records import StepRecord
from couplings.train.run import Run, describe_run, weight_parts
from couplings.train.trainer import Trainer, prepare

__all__ = ["UNUSED", "train_supervised"]

UNUSED = ("loss.", "projector.", "predictor", "momentum", "pairs.", "micro_batch")
"""Settings that teaching labels has no use for."""

Tick = Callable[[int], None]


def train_supervised(config: RunConfig, folder: Path, data: Dataset, tick: Tick = lambda _: None) -> Run:
    """Train the encoder of a config on labels and leave a run folder.

    It has no checkpoints: a run of the same settings and images that lies there, stopped or not, begins anew.

    Args:
        config: that of the contrastive runs; `UNUSED` says what of it plays no part.
        folder: as of :func:`couplings.train.train`; its ``config.json`` says that it is supervised.
        data: unlabelled images are left out.
        tick: told of every step.

    Raises:
        DataError: no labels.
        ConfigError: the training diverges, the batch is larger than the labelled images, or the folder holds another
            run or is being written.
    """
    known = _labelled(data)
    if config.batch_size > len(known.train_images):
        raise ConfigError(f"batch_size: {config.batch_size} is more than {len(known.train_images)} labelled images")
    headed = _headed(config, len(data.classes))
    described = {**describe_run(headed, data), "supervised": "cross-entropy on the labels"}
    with run_folder(folder, described, overwrite=False):
        _begin_anew(folder)
        _train(headed, known, folder, tick)
        return replace(Run.load(folder), dataset=data)


def _begin_anew(folder: Path) -> None:
    forget_measurements(folder)
    for name in (METRICS, WEIGHTS):
        (folder / name).unlink(missing_ok=True)


def _train(headed: RunConfig, known: Dataset, folder: Path, tick: Tick) -> None:
    with torch.random.fork_rng(range(torch.cuda.device_count())), opened_fabric(headed.precision, 1) as fabric:
        trainer = prepare(headed, known, fabric)
        trainer.learner.loss = _CrossEntropy()  # type: ignore[assignment]
        for step in range(headed.steps):
            _step(trainer, folder)
            tick(step + 1)
    save_weights(folder / WEIGHTS, weight_parts(trainer.learner.model.module, headed.loss.build()), headed.steps)


def _labelled(data: Dataset) -> Dataset:
    """The images with a label; the very same data where all have one, so that the batches are those of other runs."""
    if data.train_labels is None or not (data.train_labels >= 0).any():
        raise DataError(f"{data.name}: the supervised ceiling needs labels of training images")
    known = data.train_labels >= 0
    return data if known.all() else data.keeping(known.nonzero().flatten())


def _headed(config: RunConfig, classes: int) -> RunConfig:
    """A linear layer to the classes in place of all that stands on the encoder; what is unused is the same for all."""
    head, pairs = ProjectorConfig(hidden=None, dim=classes), PairsConfig(labels=True)
    plain = {"predictor": None, "momentum": None, "micro_batch": None, "loss": LossConfig()}
    return config.model_copy(update={"projector": head, "pairs": pairs, **plain})


class _CrossEntropy(nn.Module):
    """Of the scores of every view with its image's label; called as a loss is."""

    gather = False

    def forward(self, *views: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(torch.cat(views).float(), labels.repeat(len(views)))


def _step(trainer: Trainer, folder: Path) -> None:
    config, step = trainer.config, trainer.done
    lr = rate(config.optimiser, step, config.steps)
    value = trainer.step(lr).value
    if step % config.log_every == 0 or step == config.steps - 1:
        if not value.isfinite():
            raise ConfigError(f"training diverged at step {step + 1} (the loss is {value.item()}); lower optimiser.lr")
        record = StepRecord(step + 1, step // trainer.sampler.per_epoch, lr, value.item())
        append_line(folder / METRICS, record.line())
