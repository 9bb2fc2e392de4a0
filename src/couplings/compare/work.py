"""What a worker does: load, train, measure. A run that fails costs no other."""

from __future__ import annotations

import errno
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

from torch import random

from couplings.basics.errors import CouplingWarning, InvalidInput
from couplings.compare.plan import Trial
from couplings.compare.standing import Standing, measured, standing
from couplings.compare.supervised import train_supervised
from couplings.compare.variants import Objective
from couplings.system.workers import Tick
from couplings.train.config import DataConfig, RunConfig
from couplings.train.data import Dataset
from couplings.train.errors import ConfigError, DataError
from couplings.train.evaluate import Baselines, Evaluation, baselines, evaluate
from couplings.train.fits import check_fits
from couplings.train.loop import train
from couplings.train.processes import opened_fabric
from couplings.train.records import Silent, StepRecord
from couplings.train.run import Run, describe_run
from couplings.train.sources import load
from couplings.train.trainer import prepare

__all__ = ["Job", "Outcome", "Reference", "make", "reference_of"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Reference:
    """What the runs of a seed are measured beside, and how long their parts take.

    Attributes:
        baselines: None if they cannot be measured, and ``message`` says why.
        seconds_a_probe, seconds_a_step: 0 where nothing was timed.
    """

    baselines: Baselines | None
    seconds_a_probe: float = 0.0
    seconds_a_step: float = 0.0
    message: str = ""

    @classmethod
    def of(cls, evaluation: Evaluation) -> Reference:
        """That of a run which is done."""
        return cls(evaluation.baselines)


@dataclass(frozen=True)
class Job:
    """A run to make, and what it is measured beside."""

    trial: Trial
    reference: Reference


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        evaluation: None if it failed.
        message: why it failed, in a line.
        details: the traceback of a failure that is no user's mistake.
        warnings: of the library, each once.
        seconds: of training and measuring; 0 where it was done before.
    """

    trial: Trial
    evaluation: Evaluation | None
    message: str = ""
    details: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class _Ticker(Silent):
    """Tells the parent how far a run is."""

    tick: Tick

    def on_step(self, step: StepRecord) -> None:
        self.tick(step.step)


# A comparison goes through its data sets one after the other.
@lru_cache(maxsize=1)
def _loaded(settings: DataConfig) -> Dataset:
    return load(settings)


def _data(config: RunConfig) -> Dataset:
    return _loaded(config.data)


def reference_of(config: RunConfig, tick: Tick) -> Reference:
    """What a run is measured beside."""
    start = time.perf_counter()
    try:
        data = _data(config)
        found = baselines(data, config)
        probing = (time.perf_counter() - start) / len(found.rows())
        return Reference(found, probing, _seconds_a_step(config, data))
    except Exception as error:
        return Reference(None, message=_told(error)[0])


def _seconds_a_step(config: RunConfig, data: Dataset) -> float:
    try:
        check_fits(config, data)
        with random.fork_rng(), opened_fabric(config.precision, 1) as fabric:
            return prepare(config, data, fabric).seconds_per_step()
    except (ValueError, RuntimeError):
        # The run itself will say what is wrong with it.
        return 0.0


def make(job: Job, tick: Tick) -> Outcome:
    """Train what is not trained, measure what is not measured."""
    trial, start = job.trial, time.perf_counter()
    said: list[str] = []
    try:
        with _collected(said):
            evaluation = _made(job, tick)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            # No other run will find room.
            raise
        return Outcome(trial, None, *_told(error), warnings=tuple(said), seconds=time.perf_counter() - start)
    finally:
        # What was left out, or done before, is behind us for the bar.
        tick(trial.config.steps)
    return Outcome(trial, evaluation, warnings=tuple(said), seconds=time.perf_counter() - start)


def _made(job: Job, tick: Tick) -> Evaluation:
    trial = job.trial
    if job.reference.baselines is None:
        raise ConfigError(job.reference.message)
    data = _data(trial.config)
    found = standing(trial, partial(describe_run, data=data))
    if found is Standing.OPEN:
        run = _trained(trial, data, tick)
    else:
        done = measured(trial)
        if done is not None:
            return done
        run = Run.load(trial.folder)
    return evaluate(run, data, job.reference.baselines)


def _trained(trial: Trial, data: Dataset, tick: Tick) -> Run:
    if trial.variant.objective is Objective.LABELS:
        return train_supervised(trial.config, trial.folder, data, tick)
    return train(trial.config, trial.folder, _Ticker(tick), data)


def _told(error: Exception) -> tuple[str, str]:
    """A line about a failure, and its traceback where the line does not say it all."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", ""
    if isinstance(error, ConfigError | DataError | InvalidInput):
        return str(error), ""
    return f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))


@contextmanager
def _collected(said: list[str]) -> Iterator[None]:
    """Keep the library's warnings, each once, in place of printing them over the bar."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", CouplingWarning)
        try:
            yield
        finally:
            said += dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, CouplingWarning))
