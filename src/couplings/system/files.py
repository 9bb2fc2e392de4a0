"""Files written whole or not at all, and errors that name them."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from couplings.basics.errors import UserError

__all__ = [
    "folder_for",
    "half_written",
    "named",
    "refuse_foreign",
    "remove_leftovers",
    "replacing",
    "write_bytes",
]

# Not on Windows, which neither removes nor renames a file that is open.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
_UNFINISHED = re.compile(r"\..+\.[0-9a-z_]{8}\.part")


@contextmanager
def folder_for(path: Path, names: Sequence[str]) -> Iterator[None]:
    """Make a folder before the work that fills it, so that one that cannot be written is told first.

    If the work fails, folders that were made for it are gone again.

    Args:
        path: the folder.
        names: of the files that go into it, as :func:`refuse_foreign` takes them.

    Raises:
        OSError: it cannot be made or written.
        UserError: a file of these names lies there that is not ours.
    """
    refuse_foreign(path, names)
    made = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    try:
        yield
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an ``OSError`` of the system (a full disk has no file name) say which file it is about."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that no reader sees half of it.

    Raises:
        OSError: it cannot be written; ``filename`` is the path.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file in the same folder, which gets the name when the block ends well and is gone otherwise.

    A process that is killed leaves it behind, and the next one that writes into the folder removes it.

    Raises:
        OSError: it cannot be written; ``filename`` is the path.
    """
    with named(path):
        remove_leftovers(path.parent)
        file = _begun(path)
        temporary = Path(file.name)
        try:
            with file:
                yield file
                file.flush()
                # A machine that loses power must not find a whole name with half of the bytes.
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()
                # While it is locked, so that nobody takes it for a leftover.
                os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _begun(path: Path) -> BinaryIO:
    """A new file beside the path, locked for as long as it is open: the system lifts the lock of a killed process."""
    while True:
        file = (path.parent / f".{path.name}.{secrets.token_hex(4)}.part").open("xb")
        with suppress(OSError):  # a file system without locks
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        # Between its making and its lock somebody may have taken it for a leftover.
        if Path(file.name).exists():
            return file
        file.close()


def half_written(path: Path) -> bool:
    """Whether :func:`replacing` left this file when its process was killed, or is writing it."""
    return _UNFINISHED.fullmatch(path.name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove what :func:`replacing` left in a folder when its process was killed; what one is writing stays.

    On a file system without locks all of it stays.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if half_written(path):
                _remove_unless_open(path)


def _remove_unless_open(path: Path) -> None:
    with suppress(OSError):
        if fcntl is None:
            path.unlink()
            return
        # For writing: a lock over a network asks for that.
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def refuse_foreign(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder where a file of these names lies that is not ours.

    Args:
        folder: that a command is about to write into.
        names: of its files; the first is a JSON object with the key ``couplings`` or ``machine`` and is written
            first, so that it tells whose the others are, also after a kill.

    Raises:
        UserError: it names the file.
    """
    if _is_ours(folder / names[0]):
        return
    for name in names:
        if (folder / name).exists():
            raise UserError(
                f"output: {folder / name} exists, and no {names[0]} beside it says that this command wrote it; name "
                "another folder, or move the file away"
            )


def _is_ours(marker: Path) -> bool:
    try:
        found = json.loads(marker.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and not found.keys().isdisjoint(("couplings", "machine"))
