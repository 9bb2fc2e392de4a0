"""What lies in a run's folder already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from couplings.compare.plan import Trial
from couplings.compare.supervised import UNUSED
from couplings.compare.variants import Objective
from couplings.train.checkpoint import read_json, saved_step
from couplings.train.config import RunConfig, differences
from couplings.train.errors import ConfigError, DataError
from couplings.train.evaluate import Evaluation, read_evaluation
from couplings.train.folder import CONFIG, EXCLUDED, FREE, WEIGHTS, writer
from couplings.train.run import describe_run
from couplings.train.sources import load

__all__ = ["Described", "Standing", "free", "images_described", "measured", "standing"]

Described = Callable[[RunConfig], Mapping[str, Any]]
"""From a config to what ``config.json`` holds of it and its images, as of ``describe_run``."""


class Standing(Enum):
    """How far a run is."""

    OPEN = "not begun, or not finished"
    TRAINED = "trained, but not measured"
    MEASURED = "measured"


def images_described() -> Described:
    """Loads each data set once, keeps what tells its images and its pairs from others, and lets them go."""
    known: dict[str, Mapping[str, Any]] = {}

    def described(config: RunConfig) -> Mapping[str, Any]:
        key = f"{config.data!r} {config.pairs.exclude}"
        if key not in known:
            known[key] = describe_run(config, load(config.data))
        return known[key]

    return described


def standing(trial: Trial, described: Described) -> Standing:
    """How far the run is that lies in a trial's folder; only where one lies are its images looked at.

    Raises:
        ConfigError: a run with other settings (it names them) or of other images lies there, or another process is
            writing it.
        DataError: the images cannot be had.
    """
    if not (trial.folder / CONFIG).is_file():
        return Standing.OPEN
    free(trial)
    _refuse_others(trial, described)
    if not _finished(trial):
        return Standing.OPEN
    return Standing.MEASURED if measured(trial) is not None else Standing.TRAINED


def free(trial: Trial) -> None:
    """Refuse a folder that another process is writing.

    Raises:
        ConfigError: names the process.
    """
    busy = writer(trial.folder)
    if busy is not None:
        raise ConfigError(f"{trial.folder}: process {busy} is writing this run; wait for it, or name another --output")


def measured(trial: Trial) -> Evaluation | None:
    """What was measured; None if nothing was, or the file is damaged."""
    try:
        return read_evaluation(trial.folder)
    except DataError:
        return None


def _finished(trial: Trial) -> bool:
    """Whether the weights are those of the last step."""
    try:
        return saved_step(trial.folder / WEIGHTS) >= trial.config.steps
    except DataError:
        return False


def _refuse_others(trial: Trial, described: Described) -> None:
    path = trial.folder / CONFIG
    try:
        found = read_json(path)
        saved = RunConfig(**found["config"])
    except (ConfigError, DataError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} was not written by this version of couplings ({error}); remove {trial.folder}"
        ) from None
    ignored = (*FREE, *(UNUSED if trial.variant.objective is Objective.LABELS else ()))
    keys = {key: both for key, both in differences(saved, trial.config).items() if not key.startswith(ignored)}
    if keys:
        words = ", ".join(f"{key} (there {there}, here {here})" for key, (there, here) in keys.items())
        raise ConfigError(
            f"{trial.folder} holds a run with other settings: {words}; name another --output, repeat those settings,"
            " or replace the runs with --overwrite"
        )
    # A file's name stays while its images change, and a folder's name is no setting.
    here = described(trial.config)
    if any(found.get(key) != here[key] for key in ("image_shape", "images")):
        raise ConfigError(
            f"{trial.folder} holds a run of other images than those of {_place(trial.config)}; name another --output,"
            " give its images, or replace the runs with --overwrite"
        )
    if found.get(EXCLUDED) != here.get(EXCLUDED):
        raise ConfigError(
            f"{trial.folder} holds a run without the pairs that {trial.config.pairs.exclude} lists now; name another"
            " --output, give that file, or replace the runs with --overwrite"
        )


def _place(config: RunConfig) -> str:
    return config.data.name if config.data.folder is None else str(config.data.folder)
