"""Arrays out of .npz files that anybody may have written: nothing is unpickled, nor read before it is checked."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo, is_zipfile

import numpy as np

from couplings.train.errors import DataError
from couplings.train.plain import plain

__all__ = ["Head", "Npz"]

_LONGEST = 120
"""Characters of numpy's and zipfile's words in a message of ours."""
_MAGIC = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Head:
    """What a file says of one of its arrays.

    Attributes:
        kind: type and shape, for people.
        flaw: why it cannot be read; empty where it can.
    """

    kind: str
    flaw: str = ""


class Npz(Mapping[str, np.ndarray]):
    """The arrays of a file by name; each is read when it is asked for, so that what nobody needs does no harm.

    Args:
        path: the file.

    Attributes:
        heads: of all arrays, also of those that cannot be read.

    Raises:
        DataError: no .npz file; asked for an array that cannot be read: pickled, encrypted, damaged, larger than the
            memory of the machine, or with characters that Unicode does not have.
        OSError: a file that may not be read.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "file.npz"
        >>> np.savez(path, z=np.ones((2, 3), dtype=">f4"))
        >>> file = Npz(path)
        >>> file.heads["z"].kind, file["z"].dtype
        ('float32[2, 3]', dtype('float32'))
    """

    def __init__(self, path: Path) -> None:
        # A pipe would be waited for, a device read without end.
        if not path.is_file() or not _is_archive(path):
            raise DataError(f"{path} is no .npz file, or was cut short; numpy.savez(path, name=array) writes one")
        self._path = path
        try:
            with ZipFile(path) as archive:
                members = {one.filename.removesuffix(".npy"): one for one in archive.infolist() if _is_array(one)}
                self.heads = {name: _head(archive, one) for name, one in members.items()}
        except OSError:
            raise
        except Exception as error:  # zipfile raises nearly anything on damaged bytes
            raise DataError(f"{path} is damaged or no .npz file ({_words(error)}); write it again") from None
        self._members = members

    def __iter__(self) -> Iterator[str]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    def __contains__(self, name: object) -> bool:
        return name in self.heads

    def __getitem__(self, name: str) -> np.ndarray:
        if self.heads[name].flaw:
            raise DataError(f"{self._path}: '{name}' {self.heads[name].flaw}")
        try:
            with ZipFile(self._path) as archive, archive.open(self._members[name]) as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        except OSError:
            raise
        except Exception as error:  # as above
            raise DataError(f"{self._path}: '{name}' {_damaged(_words(error))}") from None
        if array.dtype.kind == "U" and array.size and array.view(_codes(array)).max() > 0x10FFFF:
            raise DataError(f"{self._path}: '{name}' {_damaged('it holds characters that Unicode does not have')}")
        return plain(array)


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return is_zipfile(file)


def _is_array(member: ZipInfo) -> bool:
    return member.filename.endswith(".npy")


def _codes(array: np.ndarray) -> np.dtype[Any]:
    return np.dtype((np.uint32, array.dtype.itemsize // 4)).newbyteorder(array.dtype.byteorder)


def _head(archive: ZipFile, member: ZipInfo) -> Head:
    if member.flag_bits & 1:
        return Head("encrypted", "is encrypted; write it without a password")
    try:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            shape, _, kind = _MAGIC[version](file)
            begin = file.tell()
    except Exception as error:  # numpy, zlib and zipfile raise nearly anything on damaged bytes
        return Head("damaged", _damaged(_words(error)))
    return Head(f"{kind.newbyteorder('=')}{list(shape)}", _flaw(member.file_size - begin, shape, kind))


def _flaw(held: int, shape: tuple[Any, ...], kind: np.dtype[Any]) -> str:
    if kind.hasobject:
        return (
            "holds pickled Python objects, which are never loaded; save numbers, or strings as "
            "numpy.array(words, dtype=str)"
        )
    if not all(type(side) is int and side >= 0 for side in shape):
        return _damaged(f"its shape is {shape}"[:_LONGEST])
    size = math.prod(shape) * kind.itemsize
    if size > held:
        return _damaged(f"its shape {list(shape)} takes {size:,} bytes, and {held:,} are there")
    if size > _memory():
        return f"takes {size / 2**30:,.1f} GB, more than this machine has; write fewer rows"
    return ""


def _damaged(reason: str) -> str:
    return f"is damaged ({reason}); write it again"


def _memory() -> float:
    """Bytes of the machine; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _words(error: Exception) -> str:
    """The first line of what went wrong, cut."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
