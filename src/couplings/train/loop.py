"""The life of a run: begun or continued, checkpoints on the way, weights at the end."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from couplings.batches.distributed import gathered
from couplings.system.interrupts import stoppable
from couplings.system.rank import first_process
from couplings.train.checkpoint import (
    Checkpoint,
    append_line,
    first_not_finite,
    newest_checkpoint,
    remove_checkpoints,
    save_checkpoint,
    save_weights,
    settle,
    write_bytes,
)
from couplings.train.config import RunConfig
from couplings.train.data import Dataset
from couplings.train.errors import ConfigError, Interrupted
from couplings.train.exclusions import read_exclusions
from couplings.train.fits import check_fits
from couplings.train.folder import METRICS, WEIGHTS, forget_measurements, run_folder
from couplings.train.processes import TIMEOUT, check_devices, hidden_statistics, opened_fabric
from couplings.train.records import Observer, Plan, Silent, StepRecord
from couplings.train.run import Run, build_model, describe_run, weight_parts
from couplings.train.sources import load
from couplings.train.state import State
from couplings.train.trainer import Trainer, diverged, prepare

__all__ = ["train"]


def train(
    config: RunConfig,
    folder: Path | str,
    observer: Observer | None = None,
    dataset: Dataset | None = None,
    *,
    overwrite: bool = False,
    devices: int = 1,
    timeout: float = TIMEOUT,
) -> Run:
    """Train an encoder and leave a run folder behind.

    A run that was stopped, by whatever, is continued by the same call, and ends with the weights of a run that never
    was: every ``checkpoint_every`` steps all that the next step depends on is written. A finished run is returned as
    it is; asked for more ``steps`` it goes on, where those it has are those of the longer run: at a constant rate.

    Args:
        config: all settings.
        folder: where ``config.json``, ``metrics.jsonl`` and ``weights.safetensors`` go.
        observer: is told of the plan, of each step and of messages.
        dataset: the images, if they are in memory already; else ``config.data`` is loaded.
        overwrite: replace a run that lies in ``folder``.
        devices: processes on this machine that share each batch; started by torchrun, those it has started.
        timeout: minutes that a process waits for the others, at the start and in each step.

    Raises:
        ConfigError: settings that do not fit the data, a folder that holds another run (the message names the settings
            that differ) or is being written, a training that diverges, or a process that does not answer.
        DataError: the images, or the pairs of ``pairs.exclude``, cannot be had.
        OSError: a file cannot be written. Nothing of the run is left if it has no checkpoint yet.
        Interrupted: Ctrl-C; the same call continues.

    The global random state of torch is left as it was.
    """
    data = load(config.data) if dataset is None else dataset
    check_fits(config, data)
    excluded = None if config.pairs.exclude is None else read_exclusions(config.pairs.exclude, data)
    place, first = Path(folder), first_process()
    listener = observer if observer is not None and first else Silent()
    with torch.random.fork_rng(range(torch.cuda.device_count())), ExitStack() as held:
        check_devices(config.precision, devices)
        if overwrite:
            # A network that cannot be built must not cost the run that is there.
            build_model(config, data.shape)
        if first:
            # Before other processes are there: what is wrong with the folder is said once.
            held.enter_context(run_folder(place, describe_run(config, data), overwrite))
        fabric = held.enter_context(opened_fabric(config.precision, devices, timeout))
        if fabric.broadcast((place / WEIGHTS).is_file()):
            listener.on_message(f"{place} holds this run, finished: nothing is left to train.")
            if first:
                remove_checkpoints(place, _kept(config))
        else:
            if excluded is not None:
                listener.on_message(str(excluded))
            pairs = None if excluded is None else excluded.exclusions
            _Training(prepare(config, data, fabric, pairs), place, listener).run()
        run = Run.load(place)
    return Run(place, config, run.model, run.loss, run.step, data.shape, data)


def _kept(config: RunConfig) -> int:
    """How many checkpoints a finished run keeps: the last, where it can be trained longer."""
    return int(config.begins(config.model_copy(update={"steps": config.steps + 1})))


@dataclass(frozen=True)
class _Training:
    """A trainer, the folder it writes and who listens."""

    trainer: Trainer
    folder: Path
    observer: Observer

    def run(self) -> None:
        """Go on from the newest checkpoint, and leave the weights behind."""
        trainer = self.trainer
        self._continue()
        with stoppable(_SIGNALS) as stop:
            try:
                self._start()
                for record in trainer.steps():
                    self._tell(record)
                    if self._agreed(stop.asked):
                        self._save()
                        # A process that is gone takes those that are still writing along.
                        trainer.fabric.barrier()
                        raise Interrupted(self.folder, trainer.done)
            except Interrupted:
                raise
            except KeyboardInterrupt:
                if trainer.whole:
                    self._save()
                raise Interrupted(self.folder, trainer.done) from None
        network = trainer.learner.model.module
        broken = first_not_finite(network)
        if broken is not None:
            raise diverged(trainer.done, f"{broken} holds NaN or infinity")
        if trainer.fabric.is_global_zero:
            # In this order: with its weights the run is finished, whatever else is left.
            parts = weight_parts(network, trainer.learner.loss)
            keep = _kept(trainer.config)
            if keep:
                self._save()
            save_weights(self.folder / WEIGHTS, parts, trainer.done)
            remove_checkpoints(self.folder, keep)
        trainer.fabric.barrier()

    def _continue(self) -> None:
        trainer = self.trainer
        found = newest_checkpoint(self.folder, trainer.config.steps, self.observer.on_message)
        self._same_everywhere(0 if found is None else found.step)
        if found is not None:
            trainer.restore(State(found.tensors, found.about), found.step)
            self.observer.on_message(f"Continuing after step {found.step} of {trainer.config.steps}.")
        if trainer.fabric.is_global_zero:
            self._cut_metrics(0 if found is None else found.about["metrics"])
            # They may be of a step that the run has passed when it ends.
            forget_measurements(self.folder)
        trainer.fabric.barrier()

    def _same_everywhere(self, step: int) -> None:
        steps = gathered(torch.tensor([step], device=self.trainer.fabric.device)).tolist()
        if len(set(steps)) > 1:
            raise ConfigError(
                f"folder: processes find checkpoints of different steps {sorted(set(steps))} in {self.folder}; it must"
                " lie on a file system that all of them share"
            )

    def _cut_metrics(self, length: int) -> None:
        """Forget the records of steps that will be done again, and half of a line that a power cut left."""
        path = self.folder / METRICS
        if not path.is_file():
            return
        known = path.read_bytes()
        kept = known[:length]
        kept = kept[: kept.rfind(b"\n") + 1]
        if kept != known:
            write_bytes(path, kept)

    def _start(self) -> None:
        trainer = self.trainer
        warning = hidden_statistics(trainer.learner.model.module, trainer.fabric)
        if warning is not None:
            self.observer.on_message(warning)
        self.observer.on_start(_plan(trainer))

    def _tell(self, record: StepRecord) -> None:
        if self.trainer.fabric.is_global_zero and record.loss is not None:
            append_line(self.folder / METRICS, record.line())
        self.observer.on_step(record)
        if record.step % self.trainer.config.checkpoint_every == 0 and record.step < self.trainer.config.steps:
            self._save()

    def _save(self) -> None:
        if not self.trainer.fabric.is_global_zero:
            return
        state, metrics = self.trainer.state(), self.folder / METRICS
        settle(metrics)
        about: dict[str, Any] = {**state.numbers, "metrics": metrics.stat().st_size if metrics.is_file() else 0}
        save_checkpoint(self.folder, Checkpoint(self.trainer.done, state.tensors, about))

    def _agreed(self, asked: bool) -> bool:
        """Whether to stop: all processes at the same step, which they compare every few steps."""
        fabric = self.trainer.fabric
        if fabric.world_size == 1:
            return asked
        if self.trainer.done % _COMPARED_EVERY:
            return False
        return bool(fabric.all_reduce(torch.tensor(float(asked), device=fabric.device), reduce_op="sum") > 0)


_COMPARED_EVERY = 10
# A batch system ends a process by the second.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _plan(trainer: Trainer) -> Plan:
    config = trainer.config
    return Plan(
        steps=config.steps,
        images_per_step=config.batch_size,
        seconds=trainer.seconds_per_step() * (config.steps - trainer.done),
        device=str(trainer.fabric.device),
        parameters=sum(part.numel() for part in trainer.learner.model.parameters()),
        train_images=len(trainer.images),
        loss=config.loss.name,
    )
