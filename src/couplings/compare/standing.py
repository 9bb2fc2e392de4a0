"""What lies in a run's folder already."""

from __future__ import annotations

from enum import Enum

from couplings.compare.plan import Trial
from couplings.compare.supervised import UNUSED
from couplings.compare.variants import Objective
from couplings.train.checkpoint import read_json
from couplings.train.config import RunConfig, differences
from couplings.train.errors import ConfigError, DataError
from couplings.train.evaluate import Evaluation
from couplings.train.folder import CONFIG, EVALUATION, FREE, WEIGHTS, writer

__all__ = ["Standing", "measured", "standing"]


class Standing(Enum):
    """How far a run is."""

    OPEN = "not begun, or not finished"
    TRAINED = "trained, but not measured"
    MEASURED = "measured"


def standing(trial: Trial) -> Standing:
    """How far the run is that lies in a trial's folder.

    Raises:
        ConfigError: a run with other settings lies there (it names them), or another process is writing it.
    """
    if not (trial.folder / CONFIG).is_file():
        return Standing.OPEN
    busy = writer(trial.folder)
    if busy is not None:
        raise ConfigError(f"{trial.folder}: process {busy} is writing this run; wait for it, or name another --output")
    _refuse_others(trial)
    if not _finished(trial):
        return Standing.OPEN
    return Standing.MEASURED if measured(trial) is not None else Standing.TRAINED


def measured(trial: Trial) -> Evaluation | None:
    """What was measured; None if nothing was, or the file is damaged."""
    try:
        return Evaluation.from_json(read_json(trial.folder / EVALUATION))
    except (DataError, KeyError, TypeError):
        return None


def _finished(trial: Trial) -> bool:
    """Whether the weights are those of the last step."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(trial.folder / WEIGHTS), "pt") as file:
            return int((file.metadata() or {}).get("step", 0)) >= trial.config.steps
    except (OSError, SafetensorError):
        return False


def _refuse_others(trial: Trial) -> None:
    path = trial.folder / CONFIG
    try:
        saved = RunConfig(**read_json(path)["config"])
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
