"""Which runs the demo makes, and how."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from couplings.demo.result import DemoResult, Trained
from couplings.demo.workers import Tick, Workers, open_workers
from couplings.train.config import ConfigError, RunConfig, with_overrides
from couplings.train.evaluate import Baselines, baselines, evaluate
from couplings.train.folder import WEIGHTS, make_folders, remove_empty, remove_run, writer
from couplings.train.loop import Plan, Silent, StepRecord, train
from couplings.train.presets import preset
from couplings.train.sources import load

_DATA = "digits"
_LOSSES = ("infonce", "hcl", "hcl-ot", "gca-ince", "alpha-cl-direct", "cacr")
"""One or two of each role: match, sample, weigh."""

Progress = Callable[[int, str], None]
"""Told the steps done by all runs and a note."""


@dataclass(frozen=True)
class Demo:
    """The six losses, some seeds each, on digits.

    Example:
        >>> Demo.plan(Path("runs/demo"), seeds=2, steps=250).total_steps
        3000
    """

    folder: Path
    configs: tuple[RunConfig, ...]
    workers: int

    @classmethod
    def plan(cls, folder: Path, seeds: int = 2, steps: int | None = None) -> Demo:
        """Decide on the runs; nothing is written yet.

        Raises:
            ConfigError: no seed, no step, or a folder that is a file.
        """
        if seeds < 1:
            raise ConfigError(f"seeds: {seeds} came; at least one seed is needed")
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"output: {folder} is a file; name a folder")
        length = {} if steps is None else {"steps": steps}
        configs = tuple(
            with_overrides(preset(_DATA), {"loss.name": loss, "seed": seed, **length})
            for loss in _LOSSES
            for seed in range(seeds)
        )
        return cls(folder, configs, workers=min(_cores(), len(configs)))

    @property
    def total_steps(self) -> int:
        """Training steps of all runs."""
        return sum(config.steps for config in self.configs)

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder / "runs"

    def describe(self) -> str:
        """What is about to happen, in a line."""
        config = self.configs[0]
        return (
            f"{len(_LOSSES)} losses x {len(self.configs) // len(_LOSSES)} seeds of {config.steps} steps of "
            f"{config.batch_size} images, {self.workers} at a time."
        )

    def run(self, progress: Progress, say: Callable[[str], None]) -> DemoResult:
        """Make the runs and write the table, the pictures and the numbers into the folder.

        Args:
            progress: told of the steps.
            say: told, before the first step, how long it will take.
        """
        start = time.perf_counter()
        made = make_folders(self.runs)
        try:
            with open_workers(self.workers, len(self.configs)) as workers:
                trained = self._train(workers, progress, say)
        except BaseException:
            self._remove_unfinished()
            remove_empty(made)
            raise
        result = DemoResult(self.folder, tuple(trained), seconds=time.perf_counter() - start)
        result.write()
        return result

    def _train(self, workers: Workers, progress: Progress, say: Callable[[str], None]) -> list[Trained]:
        seeds = [config for config in self.configs if config.loss.name == self.configs[0].loss.name]
        say("Measuring raw pixels and untrained encoders first.")
        progress(0, "measuring raw pixels and untrained encoders")
        references = workers.run(_reference, seeds, lambda _: None)
        say(f"About {self._seconds(references):.0f} s from here.")
        by_seed = {config.seed: found for config, found in zip(seeds, references, strict=True)}
        jobs = [_Job(config, self._run_folder(config), by_seed[config.seed].baselines) for config in self.configs]
        return workers.run(_trained, jobs, lambda steps: progress(steps, "steps"))

    def _run_folder(self, config: RunConfig) -> Path:
        return self.runs / f"{config.loss.name}-seed{config.seed}"

    def _remove_unfinished(self) -> None:
        """Runs that were stopped before their weights were written are of no use to anyone."""
        for config in self.configs:
            folder = self._run_folder(config)
            # A living writer is another demo in the same folder.
            if folder.is_dir() and not (folder / WEIGHTS).is_file() and writer(folder) is None:
                remove_run(folder)

    def _seconds(self, references: Sequence[_Reference]) -> float:
        """Estimated time of all runs, each trained and probed, several at a time."""
        reference = references[0]
        probing = reference.seconds_a_probe * len(self.configs)
        return (reference.seconds_a_step * self.total_steps + probing) / self.workers


@dataclass(frozen=True)
class _Reference:
    """What a run of a seed is compared with, and how long its parts take."""

    baselines: Baselines
    seconds_a_probe: float
    seconds_a_step: float


@dataclass(frozen=True)
class _Job:
    config: RunConfig
    folder: Path
    reference: Baselines


@dataclass(frozen=True)
class _Ticker(Silent):
    """Tells the parent how far a run is."""

    tick: Tick

    def on_step(self, step: StepRecord) -> None:
        self.tick(step.step)


@dataclass
class _Stopwatch(Silent):
    """Keeps the estimate that a training makes before its first step."""

    seconds: float = 0.0

    def on_start(self, plan: Plan) -> None:
        self.seconds = plan.seconds / plan.steps


def _reference(config: RunConfig, tick: Tick) -> _Reference:
    data = load(config.data)
    start = time.perf_counter()
    found = baselines(data, config)
    probing = (time.perf_counter() - start) / len(found)
    watch = _Stopwatch()
    with TemporaryDirectory() as folder:
        train(with_overrides(config, {"steps": 1}), Path(folder), watch, data)
    return _Reference(found, probing, watch.seconds)


def _trained(job: _Job, tick: Tick) -> Trained:
    config = job.config
    data = load(config.data)
    run = train(config, job.folder, _Ticker(tick), data, overwrite=True)
    return Trained(config.loss.name, config.seed, job.folder, evaluate(run, data, job.reference))


def _cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
