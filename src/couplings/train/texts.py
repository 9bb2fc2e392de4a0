"""Text that people name: regular files of a size that such a text has, so that reading ends and memory lasts."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["read_text"]


def read_text(path: Path, largest: int) -> str:
    """The text of a file.

    Args:
        path: of the file.
        largest: size in bytes.

    Raises:
        OSError: it cannot be read, is no regular file (a device or a pipe has no end), or is larger; ``filename`` is
            the path.
        UnicodeDecodeError: it is no text in UTF-8.
    """
    # Before it is opened: a pipe would wait for someone who writes.
    about = os.stat(path)
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    if about.st_size > largest:
        raise OSError(errno.EFBIG, f"{about.st_size:,} bytes, where {largest:,} are allowed", str(path))
    with path.open("rb") as file:
        # Files of /proc have no size until they are read.
        data = file.read(largest + 1)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"more than {largest:,} bytes", str(path))
    return data.decode()
