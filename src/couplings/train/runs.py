"""Which runs lie on the disk, and what they reached; no weights are read for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from couplings.train.checkpoint import checkpoints, read_json, saved_step
from couplings.train.errors import DataError
from couplings.train.evaluate import Evaluation, read_evaluation
from couplings.train.folder import CONFIG, EVALUATION, METRICS, WEIGHTS, writer
from couplings.train.records import read_records

__all__ = ["RunState", "RunSummary", "find_runs"]


class RunState(Enum):
    """How far a run is.

    A running one is held by a living process; an interrupted one has steps left, and the command that began it
    continues it; a finished one has all its steps, a measured one its accuracies too; of a damaged one a file cannot
    be read.
    """

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    MEASURED = "measured"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class RunSummary:
    """A run and what it reached; None is what cannot be known.

    Attributes:
        folder: of the run.
        state: how far it is.
        data: name of the data set.
        loss: name of the loss.
        seed: of weights, batches and views.
        step: the last step that is on the disk.
        steps: of the whole training.
        evaluation: of its features.
        when: of the newest file.
        seconds: of training, without what was stopped and done again.
        reason: why it is damaged.
    """

    folder: Path
    state: RunState
    data: str | None = None
    loss: str | None = None
    seed: int | None = None
    step: int = 0
    steps: int | None = None
    evaluation: Evaluation | None = None
    when: datetime | None = None
    seconds: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, numbers and words."""
        values = {key: value for key, value in asdict(self).items() if key != "evaluation"}
        return {
            **values,
            "folder": str(self.folder),
            "state": self.state.value,
            "when": None if self.when is None else self.when.isoformat(timespec="seconds"),
            "evaluation": None if self.evaluation is None else self.evaluation.to_json(),
        }


def find_runs(folders: Iterable[Path | str]) -> list[RunSummary]:
    """All runs below some folders, sorted by folder, each once.

    Raises:
        DataError: a folder is not there.

    Example:
        >>> from tempfile import mkdtemp
        >>> find_runs([mkdtemp()])
        []
    """
    places = [Path(folder) for folder in folders]
    for place in places:
        if not place.is_dir():
            raise DataError(f"{place} is no folder")
    found = {place.resolve(): place for top in places for place in _below(top)}
    return [_summary(place) for place in sorted(found.values(), key=_natural)]


def _natural(path: Path) -> list[tuple[str, int]]:
    """A key that sorts seed2 before seed10."""
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d*)", str(path))]


def _below(top: Path) -> Iterator[Path]:
    """Folders of runs; what lies inside of one, or is hidden, is not looked at."""
    for name, inside, files in os.walk(top):
        place = Path(name)
        if CONFIG in files and _may_be_run(place, files):
            inside.clear()
            yield place
        inside[:] = sorted(folder for folder in inside if not folder.startswith("."))


def _may_be_run(folder: Path, files: Iterable[str]) -> bool:
    """Whether a ``config.json`` is a run's: by its content, or if that is lost by the files beside it."""
    try:
        saved = read_json(folder / CONFIG)
    except DataError:
        saved = None
    if isinstance(saved, dict) and {"config", "image_shape"} <= set(saved):
        return True
    return bool({METRICS, WEIGHTS, EVALUATION} & set(files)) or bool(checkpoints(folder))


def _summary(folder: Path) -> RunSummary:
    when = _newest(folder)
    try:
        config = _config(folder)
    except DataError as error:
        return RunSummary(folder, RunState.DAMAGED, when=when, reason=str(error))
    known = {"data": config["data"]["name"], "loss": config["loss"]["name"], "seed": config["seed"]}
    known.update(steps=config["steps"], when=when)
    try:
        records, evaluation, saved = read_records(folder / METRICS), read_evaluation(folder), _saved_step(folder)
    except DataError as error:
        return RunSummary(folder, RunState.DAMAGED, reason=str(error), **known)
    step = max([saved, *(record["step"] for record in records[-1:])])
    return RunSummary(
        folder,
        _state(folder, saved >= config["steps"], evaluation),
        step=step,
        evaluation=evaluation,
        seconds=_seconds(records, config["batch_size"]),
        **known,
    )


def _config(folder: Path) -> Mapping[str, Any]:
    """The settings as they were saved; those of an older version are good enough for a list."""
    saved = read_json(folder / CONFIG)
    try:
        config = saved["config"]
        if not all(isinstance(config[key]["name"], str) for key in ("data", "loss")):
            raise TypeError("the names of data and loss must be words")
        if not all(isinstance(config[key], int) for key in ("steps", "batch_size", "seed")):
            raise TypeError("steps, batch_size and seed must be whole numbers")
        # The ceiling of a comparison is taught labels; the loss of its config is not used.
        config = {**config, "loss": {"name": "supervised"}} if "supervised" in saved else config
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / CONFIG} was not written by couplings ({error!r})") from None
    return config


def _newest(folder: Path) -> datetime | None:
    times = []
    for path in folder.iterdir():
        # A run may be writing: a file that was there can be gone.
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                times.append(path.stat().st_mtime)
    return datetime.fromtimestamp(max(times), timezone.utc).astimezone() if times else None


def _saved_step(folder: Path) -> int:
    """The step of the weights, or else of the newest checkpoint, by its name."""
    if (folder / WEIGHTS).is_file():
        return saved_step(folder / WEIGHTS)
    newest = next(iter(checkpoints(folder)), None)
    return 0 if newest is None else int(newest.stem.rpartition("-")[2])


def _state(folder: Path, finished: bool, evaluation: Evaluation | None) -> RunState:
    if writer(folder) is not None:
        return RunState.RUNNING
    if not finished:
        return RunState.INTERRUPTED
    return RunState.FINISHED if evaluation is None else RunState.MEASURED


def _seconds(records: list[dict[str, Any]], batch_size: int) -> float | None:
    """Each record tells how fast the steps since the one before were."""
    if not records:
        return None
    steps = [0, *(record["step"] for record in records)]
    speeds = [record.get("images_per_second") for record in records]
    parts = zip(steps[:-1], steps[1:], speeds, strict=True)
    return sum((new - old) * batch_size / speed for old, new, speed in parts if speed)
