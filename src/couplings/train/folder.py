"""The folder of a run: written by one run at a time, never over another unasked, continued by the same command."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from couplings.system.files import half_written, named, remove_leftovers
from couplings.train.checkpoint import checkpoints, newest_checkpoint, read_json, remove_checkpoints, write_json
from couplings.train.config import RunConfig, differences
from couplings.train.errors import ConfigError, DataError

__all__ = [
    "CONFIG",
    "EVALUATION",
    "EXCLUDED",
    "FREE",
    "METRICS",
    "WEIGHTS",
    "forget_measurements",
    "remove_run",
    "run_folder",
    "writer",
]

ENCODER_FORMAT = "couplings-encoder"
"""What the config of an export says that it is."""
CONFIG, METRICS, WEIGHTS, EVALUATION = "config.json", "metrics.jsonl", "weights.safetensors", "evaluation.json"
_PICTURES = ("curves.png", "coupling.png")
_VIEWERS, _TENSORBOARD = ("wandb.json", "trackio.json"), "tensorboard"
_LOCK = ".lock"
FREE = ("data.folder", "data.download", "data.max_pixels", "checkpoint_every")
"""Settings that change nothing about what a run computes."""
_STEPS = "steps"
_LONGER = (
    ", and more steps go on from those there with optimiser.schedule=constant alone, whose rate does not depend on"
    " their number, and from the last checkpoint"
)
EXCLUDED, _PAIRS = "excluded_pairs", "pairs.exclude"
"""What tells another file of excluded pairs, and the setting that names it: a file may move."""


@contextmanager
def run_folder(folder: Path, described: Mapping[str, Any], overwrite: bool) -> Iterator[None]:
    """Hold the folder of a run while it is written; it begins with its ``config.json``.

    A folder that holds this very run is left as it is, so that the run can go on. A run that fails before its first
    checkpoint takes its files along.

    Raises:
        ConfigError: the folder holds another run (unless ``overwrite``), a damaged one or something that is no run, or
            another process is writing into it.
    """
    _refuse_foreign(folder)
    made = make_folders(folder)
    try:
        with _locked(folder):
            if overwrite:
                _unlink(folder)
            _refuse_another(folder, described)
            _lengthen(folder, described)
            remove_leftovers(folder)
            try:
                _begin(folder, described)
                yield
            except Exception:
                if not (checkpoints(folder) or (folder / WEIGHTS).is_file()):
                    _unlink(folder)
                raise
    except Exception:
        if made:
            (folder / _LOCK).unlink(missing_ok=True)
        remove_empty(made)
        raise


def _begin(folder: Path, described: Mapping[str, Any]) -> None:
    if not (folder / CONFIG).is_file():
        write_json(folder / CONFIG, described)


def _lengthen(folder: Path, described: Mapping[str, Any]) -> None:
    """Let a run that is asked for more steps go on from its last checkpoint, which holds all of it."""
    if (folder / CONFIG).is_file() and read_json(folder / CONFIG)["config"]["steps"] != described["config"]["steps"]:
        # In this order: whatever stops us, what lies there is a run that is not finished.
        (folder / WEIGHTS).unlink(missing_ok=True)
        write_json(folder / CONFIG, described)


def writer(folder: Path) -> int | None:
    """The process that is writing a run into the folder (0 if it has not said which); None if there is none."""
    from filelock import FileLock, Timeout

    if not (folder / _LOCK).is_file():
        return None
    try:
        with FileLock(folder / _LOCK, timeout=0):
            return None
    except Timeout:
        return _said(folder)
    except OSError:
        # A folder that we may not write into.
        return None


def _said(folder: Path) -> int:
    try:
        return int((folder / _LOCK).read_text() or 0)
    except (OSError, ValueError):
        return 0


def remove_run(folder: Path) -> None:
    """Remove a run's files, and the folder if nothing else lies in it."""
    _unlink(folder)
    (folder / _LOCK).unlink(missing_ok=True)
    remove_empty([folder])


def make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the new ones, innermost first."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return new


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, up to the first that is not empty."""
    for path in folders:
        if not path.is_dir() or any(path.iterdir()):
            return
        path.rmdir()


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    foreign = not folder.is_dir() or {path.name for path in folder.iterdir() if not half_written(path)} - {_LOCK}
    if foreign and not (folder / CONFIG).is_file():
        raise ConfigError(f"folder: {folder} exists and is no run; name another folder")


def _refuse_another(folder: Path, described: Mapping[str, Any]) -> None:
    if not (folder / CONFIG).is_file():
        return
    try:
        changed = _changed(folder, read_json(folder / CONFIG), described)
    except DataError as error:
        raise ConfigError(f"folder: {error}; name another folder, or replace the run with --overwrite") from None
    if changed:
        raise ConfigError(
            f"folder: {folder} holds a run with other settings ({'; '.join(changed)}); name another folder, give its"
            " settings to continue it, or replace it with --overwrite (overwrite=True in Python)"
        )


def _changed(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What keeps a run from being continued, a phrase each."""
    try:
        before, after = (RunConfig(**described["config"]) for described in (old, new))
    except (KeyError, TypeError):
        return [f"its {CONFIG} was not written by couplings"]
    except ConfigError as error:
        return [f"its {CONFIG} has other keys: {error}"]
    longer = _STEPS if before.begins(after) and _can_go_on(folder, before.steps) else None
    found = [
        f"{key} is {was!r} there, {now!r} here{_LONGER if key == _STEPS and now > was else ''}"
        for key, (was, now) in differences(before, after).items()
        if key not in (*FREE, longer) and not (key == _PAIRS and was and now)
    ]
    if not found and old.get(EXCLUDED) != new.get(EXCLUDED):
        found = [f"{_PAIRS} lists other pairs there"]
    # Arrays given in Python have no name to be told by, and files change.
    same_images = all(old.get(key) == new.get(key) for key in ("image_shape", "images"))
    return found if found or same_images else ["its training images are others, or their labels, or the test images"]


def _can_go_on(folder: Path, steps: int) -> bool:
    """Whether there is a checkpoint of the weights, or none are there yet."""
    if not (folder / WEIGHTS).is_file():
        return True
    found = newest_checkpoint(folder, steps)
    return found is not None and found.step == steps


def forget_measurements(folder: Path) -> None:
    """Remove what was measured and drawn of a run that goes on."""
    for name in (EVALUATION, *_PICTURES):
        (folder / name).unlink(missing_ok=True)


def _unlink(folder: Path) -> None:
    remove_checkpoints(folder)
    shutil.rmtree(folder / _TENSORBOARD, ignore_errors=True)
    forget_measurements(folder)
    for name in (WEIGHTS, METRICS, *_VIEWERS, CONFIG):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let no other process write into the folder; the system lifts the lock of one that was killed."""
    from filelock import FileLock, Timeout

    # Somebody who only asks whether it is held holds it for a moment.
    lock = FileLock(folder / _LOCK, timeout=1)
    try:
        with named(folder / _LOCK):
            lock.acquire()
            (folder / _LOCK).write_text(str(os.getpid()))
    except Timeout:
        raise ConfigError(
            f"folder: process {_said(folder)} is writing a run into {folder}; wait for it, or name another folder"
        ) from None
    try:
        yield
    finally:
        # While it is still held, so that nobody else's is removed.
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
