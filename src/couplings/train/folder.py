"""The folder of a run: written by one run at a time, never over another unasked, gone if the run fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from couplings.files import named
from couplings.train.checkpoint import write_json
from couplings.train.errors import ConfigError

__all__ = ["CONFIG", "EVALUATION", "METRICS", "WEIGHTS", "remove_run", "run_folder", "writer"]

CONFIG, METRICS, WEIGHTS, EVALUATION = "config.json", "metrics.jsonl", "weights.safetensors", "evaluation.json"
_PICTURES = ("curves.png", "coupling.png")
_LOCK = ".lock"


@contextmanager
def run_folder(folder: Path, config: Any, overwrite: bool) -> Iterator[None]:
    """Hold the folder of a run while it is written; it begins with its ``config.json``.

    What the run wrote is removed if the block fails, and kept on Ctrl-C.

    Raises:
        ConfigError: the folder holds a run (unless ``overwrite``) or something that is no run, or another run
            is writing into it.
    """
    _refuse_foreign(folder)
    made = make_folders(folder)
    try:
        with _locked(folder):
            _refuse_run(folder, overwrite)
            _unlink(folder)
            try:
                write_json(folder / CONFIG, config)
                yield
            except Exception:
                _unlink(folder)
                raise
    except Exception:
        remove_empty(made)
        raise


def writer(folder: Path) -> int | None:
    """The process that is writing a run into the folder; None if there is none (any more)."""
    try:
        # 0 stands for one that has not written its number yet.
        pid = int((folder / _LOCK).read_text() or 0)
        # Signal 0 asks whether the process is there, except on Windows, where it would stop it.
        if os.name == "posix":
            os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return None
    return pid


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
    foreign = not folder.is_dir() or {path.name for path in folder.iterdir()} - {_LOCK}
    if foreign and not (folder / CONFIG).is_file():
        raise ConfigError(f"folder: {folder} exists and is no run; name another folder")


def _refuse_run(folder: Path, overwrite: bool) -> None:
    if (folder / CONFIG).is_file() and not overwrite:
        raise ConfigError(
            f"folder: {folder} holds a run already; name another folder, or replace it with --overwrite"
            " (overwrite=True in Python)"
        )


def _unlink(folder: Path) -> None:
    for name in (WEIGHTS, METRICS, EVALUATION, *_PICTURES, CONFIG):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = folder / _LOCK
    if lock.exists() and writer(folder) is None:
        lock.unlink(missing_ok=True)
    try:
        with named(lock), lock.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        raise ConfigError(
            f"folder: process {writer(folder)} is writing a run into {folder}; wait for it, or name another folder"
            f" (if that is no run of yours, remove {lock})"
        ) from None
    except OSError:
        lock.unlink(missing_ok=True)
        raise
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
