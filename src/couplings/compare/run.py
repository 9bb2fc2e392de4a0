"""Making the runs of a comparison: those that are done are left alone, the rest goes to the workers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from couplings.compare.plan import Comparison, Trial
from couplings.compare.standing import Standing, free, images_described, measured, standing
from couplings.compare.work import Job, Outcome, Reference, make, reference_of
from couplings.system.files import write_bytes
from couplings.system.workers import Workers, WorkerStopped, open_workers
from couplings.train.errors import ConfigError
from couplings.train.folder import CONFIG, WEIGHTS, make_folders, remove_empty, remove_run, writer

__all__ = ["Watcher", "compare", "remove_stopped"]


_ROOM = 2**16


class Watcher:
    """Told how a comparison goes on; this one says nothing."""

    def on_begin(self, done: Sequence[Outcome], left: Sequence[Trial]) -> None:
        """Called once it is known what is done already and what is left."""

    def on_baselines(self, count: int) -> None:
        """Called before raw pixels and untrained encoders are measured."""

    def on_training(self, seconds: float | None) -> None:
        """Called before the first run, with an estimate of the time from here where there is one."""

    def on_steps(self, steps: int) -> None:
        """Called a few times a second with the steps done by all runs."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Called as a run ends."""


def compare(comparison: Comparison, watcher: Watcher | None = None) -> list[Outcome]:
    """Make the runs that are missing; all outcomes in the order of the trials.

    A run that fails is an outcome with a message, and the others go on.

    Raises:
        ConfigError: a folder holds a run with other settings or of other images, or another process is writing it,
            and nothing is begun; or the system stopped a worker.
        DataError: the images of a run that lies there cannot be had.
        OSError: the disk is full; finished runs are kept, and the same comparison goes on.
        KeyboardInterrupt: Ctrl-C; finished runs are kept.
    """
    told = watcher or Watcher()
    found = _standings(comparison)
    done = [_known(trial) for trial, how in zip(comparison.trials, found, strict=True) if how is Standing.MEASURED]
    left = [trial for trial, how in zip(comparison.trials, found, strict=True) if how is not Standing.MEASURED]
    told.on_begin(done, left)
    if not left:
        return done
    made = make_folders(comparison.runs)
    try:
        _check_room(comparison.runs)
        with open_workers(min(comparison.workers, len(left)), len(left)) as workers:
            fresh = _make(workers, comparison, left, done, told)
    except BaseException as error:
        remove_stopped(comparison)
        remove_empty(made)
        if isinstance(error, WorkerStopped):
            # With --overwrite it may be that nothing was replaced yet.
            rest = "" if comparison.overwrite else "; the same command continues with what is left"
            raise ConfigError(f"{error}{rest}") from None
        raise
    by_folder = {outcome.trial.folder: outcome for outcome in (*done, *fresh)}
    return [by_folder[trial.folder] for trial in comparison.trials]


def _check_room(folder: Path) -> None:
    """Let a full disk be told before minutes of measuring: a run begins with files of a few kilobytes."""
    trial = folder / ".room"
    try:
        write_bytes(trial, bytes(_ROOM))
    finally:
        trial.unlink(missing_ok=True)


def _standings(comparison: Comparison) -> list[Standing]:
    if comparison.overwrite:
        for trial in comparison.trials:
            free(trial)
        return [Standing.OPEN for _ in comparison.trials]
    described = images_described()
    return [standing(trial, described) for trial in comparison.trials]


def _known(trial: Trial) -> Outcome:
    return Outcome(trial, measured(trial))


def _make(
    workers: Workers, comparison: Comparison, left: Sequence[Trial], done: Iterable[Outcome], told: Watcher
) -> list[Outcome]:
    known = {_key(each.trial): Reference.of(each.evaluation) for each in done if each.evaluation is not None}
    missing = {_key(trial): trial.config for trial in left if _key(trial) not in known}
    if missing:
        told.on_baselines(len(missing))
    fresh = workers.run(reference_of, list(missing.values()))
    if not known and all(reference.baselines is None for reference in fresh):
        raise ConfigError(fresh[0].message)
    known |= dict(zip(missing, fresh, strict=True))
    jobs = [Job(trial, known[_key(trial)]) for trial in left]
    if comparison.overwrite:
        # Not before their images are known to be there. All at once: then what lies there is of this comparison.
        _remove(job.trial for job in jobs if job.reference.baselines is not None)
    told.on_training(_seconds(left, fresh, comparison.workers))
    return workers.run(make, jobs, told.on_steps, lambda _, outcome: told.on_outcome(outcome))


def _seconds(left: Sequence[Trial], references: Sequence[Reference], workers: int) -> float | None:
    """Estimated time of the runs, each trained and measured, several at a time."""
    timed = [reference for reference in references if reference.seconds_a_step]
    if not timed:
        return None
    step = statistics.fmean(reference.seconds_a_step for reference in timed)
    probe = statistics.fmean(reference.seconds_a_probe for reference in timed)
    return (step * sum(trial.config.steps for trial in left) + probe * len(left)) / workers


def _key(trial: Trial) -> str:
    """What the baselines depend on."""
    config = trial.config
    parts = (config.data, config.encoder, config.evaluation)
    return " ".join([str(config.seed), *map(repr, parts)])


def _remove(trials: Iterable[Trial]) -> None:
    """Remove the runs of an earlier comparison."""
    for trial in trials:
        if (trial.folder / CONFIG).is_file():
            free(trial)
            remove_run(trial.folder)


def remove_stopped(comparison: Comparison, resumable: bool = True) -> None:
    """Remove runs that were stopped, but for those that can continue where ``resumable`` asks for them."""
    for trial in comparison.trials:
        saved = (trial.folder / WEIGHTS).is_file() or (resumable and any(trial.folder.glob("checkpoint-*")))
        # A living writer is another comparison in the same folder.
        if trial.folder.is_dir() and not saved and writer(trial.folder) is None:
            remove_run(trial.folder)
