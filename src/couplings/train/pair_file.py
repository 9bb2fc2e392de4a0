"""Pairs of images in a file: ``.csv`` with a header, or ``.parquet``."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from couplings.train.errors import ConfigError, DataError
from couplings.train.extras import imported

__all__ = ["FORMATS", "checksum", "read_pairs"]

_KEY = "pairs.exclude"
_COLUMNS = ("a", "b")
_REMEDY = "write it again, with columns a and b of row numbers"


def read_pairs(path: Path, images: int) -> Tensor:
    r"""The columns ``a`` and ``b`` of a file, int64 (p, 2), as they are listed; other columns are not looked at.

    Args:
        path: ``.csv`` in UTF-8 with a header, or ``.parquet``.
        images: how many rows there are; a and b count them from 0.

    Raises:
        DataError: the file is missing or damaged, lacks a column, or holds a number that is no row, or a row with
            itself; the message names the place.
        ConfigError: another suffix, or pyarrow is missing.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "pairs.csv"
        >>> _ = file.write_text("a,b,score\n0,7,0.9\n3,2,0.8\n")
        >>> read_pairs(file, images=8).tolist()
        [[0, 7], [3, 2]]
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"{_KEY}: {path} ends in '{path.suffix}'; {' and '.join(FORMATS)} are read")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{_KEY}: {path} {what}; name a {' or '.join(FORMATS)} file of pairs")
    pairs = torch.from_numpy(FORMATS[path.suffix](path))
    _check(path, pairs, images)
    return pairs


def checksum(path: Path) -> str:
    """What tells another file.

    Raises:
        DataError: it cannot be read.
    """
    found = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                found = zlib.crc32(chunk, found)
    except OSError as error:
        raise DataError(f"{_KEY}: {path} cannot be read ({error.strerror}); name the file of pairs") from None
    return f"{found:08x}"


def _check(path: Path, pairs: Tensor, images: int) -> None:
    outside = ((pairs < 0) | (pairs >= images)).any(1)
    for wrong, what in (
        (outside, f"the training images are 0 to {images - 1}; number them as they come, before data.limit"),
        (pairs[:, 0] == pairs[:, 1], "an image never repels itself; leave the pair out"),
    ):
        if wrong.any():
            place = int(wrong.nonzero()[0])
            raise DataError(f"{_KEY}: {path}, pair {place + 1}: a {pairs[place, 0]}, b {pairs[place, 1]}; {what}")


def _read_csv(path: Path) -> np.ndarray:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            found = _rows_of(path, lines, [name.strip() for name in next(lines, [])])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{_KEY}: {path} is no text of commas and lines ({error}); {_REMEDY}") from None
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _rows_of(path: Path, lines: Any, header: Sequence[str]) -> list[tuple[int, int]]:
    a, b = _columns(path, header)
    found: list[tuple[int, int]] = []
    for line in lines:
        # A blank line ends many a file.
        if not line:
            continue
        try:
            if len(line) != len(header):
                raise ValueError(f"{len(line)} of {len(header)} values")
            found.append((_whole(line[a]), _whole(line[b])))
        except ValueError as error:
            raise DataError(f"{_KEY}: {path}, line {lines.line_num}: {error}; {_REMEDY}") from None
    return found


_LARGEST = 2**63 - 1


def _whole(word: str) -> int:
    try:
        number = int(word)
    except ValueError:
        raise ValueError(f"'{word}' is no whole number") from None
    if abs(number) > _LARGEST:
        raise ValueError(f"{word} is no row of anything")
    return number


def _columns(path: Path, names: Sequence[str]) -> tuple[int, int]:
    """Where a and b are."""
    for column in _COLUMNS:
        if list(names).count(column) != 1:
            came = ", ".join(map(repr, names)) or "nothing"
            raise DataError(f"{_KEY}: {path} needs one column '{column}'; its header is {came}: {_REMEDY}")
    a, b = (list(names).index(column) for column in _COLUMNS)
    return a, b


def _read_parquet(path: Path) -> np.ndarray:
    parquet = imported("pyarrow.parquet", "a .parquet file", "'couplings[parquet]'")
    arrow = imported("pyarrow", "a .parquet file", "'couplings[parquet]'")
    try:
        with parquet.ParquetFile(path) as file:
            _columns(path, file.schema_arrow.names)
            table = file.read(columns=list(_COLUMNS))
        parts = [_numbers(path, name, table.column(name), arrow) for name in _COLUMNS]
    except (OSError, arrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{_KEY}: {path} is no whole .parquet file ({reason}); {_REMEDY}") from None
    return np.stack(parts, axis=1)


def _numbers(path: Path, name: str, column: Any, arrow: Any) -> np.ndarray:
    if not arrow.types.is_integer(column.type):
        raise DataError(f"{_KEY}: {path}, column '{name}' is of {column.type}, no whole numbers; {_REMEDY}")
    if column.null_count:
        raise DataError(f"{_KEY}: {path}, column '{name}' has {column.null_count} empty places; {_REMEDY}")
    return np.asarray(column.cast(arrow.int64()).to_numpy())


FORMATS: dict[str, Callable[[Path], np.ndarray]] = {".csv": _read_csv, ".parquet": _read_parquet}
"""How a file is read, by its suffix."""
