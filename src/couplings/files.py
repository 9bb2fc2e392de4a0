"""Files written whole or not at all, and errors that name them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

__all__ = ["folder_for", "half_written", "named", "remove_leftovers", "replacing", "write_bytes"]

_UNFINISHED = ".part"


@contextmanager
def folder_for(path: Path) -> Iterator[None]:
    """Make a folder before the work that fills it, so that one that cannot be written is told first.

    If the work fails, folders that were made for it are gone again.

    Raises:
        OSError: it cannot be made or written.
    """
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

    Raises:
        OSError: it cannot be written; ``filename`` is the path.
    """
    with named(path):
        handle, temporary = mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                # A machine that loses power must not find a whole name with half of the bytes.
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def half_written(path: Path) -> bool:
    """Whether :func:`replacing` left this file when its process was killed."""
    return path.name.startswith(".") and path.suffix == _UNFINISHED


def remove_leftovers(folder: Path) -> None:
    """Remove what :func:`replacing` left in a folder when its process was killed."""
    for path in folder.iterdir():
        if half_written(path):
            path.unlink(missing_ok=True)
