"""Making the runs of a comparison: those that are done are left alone, the rest goes to the workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from couplings.compare.plan import Comparison, Trial
from couplings.compare.standing import Standing, measured, standing
from couplings.compare.work import Job, Outcome, make, reference_of
from couplings.compare.workers import Workers, open_workers
from couplings.train.errors import ConfigError
from couplings.train.evaluate import Baselines
from couplings.train.folder import CONFIG, WEIGHTS, make_folders, remove_empty, remove_run, writer

__all__ = ["Watcher", "compare"]


class Watcher:
    """Told how a comparison goes on; this one says nothing."""

    def on_begin(self, done: Sequence[Outcome], left: Sequence[Trial]) -> None:
        """Called once it is known what is done already and what is left."""

    def on_baselines(self, count: int) -> None:
        """Called before raw pixels and untrained encoders are measured."""

    def on_training(self) -> None:
        """Called before the first run."""

    def on_steps(self, steps: int) -> None:
        """Called a few times a second with the steps done by all runs."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Called as a run ends."""


def compare(comparison: Comparison, watcher: Watcher | None = None) -> list[Outcome]:
    """Make the runs that are missing; all outcomes in the order of the trials.

    A run that fails is an outcome with a message, and the others go on.

    Raises:
        ConfigError: a folder holds a run with other settings, or another process is writing it; nothing is begun.
        KeyboardInterrupt: Ctrl-C; finished runs are kept.
    """
    told = watcher or Watcher()
    if comparison.overwrite:
        _remove(comparison.trials)
    found = [standing(trial) for trial in comparison.trials]
    done = [_known(trial) for trial, how in zip(comparison.trials, found, strict=True) if how is Standing.MEASURED]
    left = [trial for trial, how in zip(comparison.trials, found, strict=True) if how is not Standing.MEASURED]
    told.on_begin(done, left)
    if not left:
        return done
    made = make_folders(comparison.runs)
    try:
        with open_workers(min(comparison.workers, len(left)), len(left)) as workers:
            fresh = _make(workers, left, done, told)
    except BaseException:
        _remove_useless(comparison.trials)
        remove_empty(made)
        raise
    by_folder = {outcome.trial.folder: outcome for outcome in (*done, *fresh)}
    return [by_folder[trial.folder] for trial in comparison.trials]


def _known(trial: Trial) -> Outcome:
    return Outcome(trial, measured(trial))


def _make(workers: Workers, left: Sequence[Trial], done: Iterable[Outcome], told: Watcher) -> list[Outcome]:
    known = {_key(outcome.trial): outcome for outcome in done}
    references = {
        key: Baselines(outcome.evaluation.pixels, outcome.evaluation.untrained)
        for key, outcome in known.items()
        if outcome.evaluation is not None
    }
    missing = {_key(trial): trial.config for trial in left if _key(trial) not in references}
    if missing:
        told.on_baselines(len(missing))
        references |= dict(zip(missing, workers.run(reference_of, list(missing.values())), strict=True))
    told.on_training()
    jobs = [Job(trial, references[_key(trial)]) for trial in left]
    return workers.run(make, jobs, told.on_steps, lambda _, outcome: told.on_outcome(outcome))


def _key(trial: Trial) -> str:
    """What the baselines depend on."""
    config = trial.config
    parts = (config.data, config.encoder, config.evaluation)
    return " ".join([str(config.seed), *(part.model_dump_json() for part in parts)])


def _remove(trials: Iterable[Trial]) -> None:
    """Remove the runs of an earlier comparison."""
    for trial in trials:
        if (trial.folder / CONFIG).is_file():
            busy = writer(trial.folder)
            if busy is not None:
                raise ConfigError(f"{trial.folder}: process {busy} is writing this run; wait for it")
            remove_run(trial.folder)


def _remove_useless(trials: Iterable[Trial]) -> None:
    """Runs that were stopped before anything was saved that they could continue from."""
    for trial in trials:
        saved = any(trial.folder.glob("checkpoint-*")) or (trial.folder / WEIGHTS).is_file()
        # A living writer is another comparison in the same folder.
        if trial.folder.is_dir() and not saved and writer(trial.folder) is None:
            remove_run(trial.folder)
