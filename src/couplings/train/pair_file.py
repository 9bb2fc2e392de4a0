"""Pairs of images in a file: ``.csv`` with a header, or ``.parquet``; by ids, or by numbers."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from couplings.system.cells import cell, encodable
from couplings.train.errors import ConfigError, DataError
from couplings.train.extras import imported

__all__ = ["FORMATS", "Pairs", "checksum", "read_pairs"]

_KEY = "pairs.exclude"
_NUMBERS, _IDS, _GROUP = ("a", "b"), ("id_a", "id_b"), "group"
_REMEDY = "write it again, with columns a and b of row numbers, or id_a and id_b"
_SEVERAL, _SHOWN = -1, 200
"""Stands for the images of an id that is not that of one; characters of an id that a message has."""


class Pairs(NamedTuple):
    """What a file lists.

    Attributes:
        rows: int64 (p, 2), the numbers of the images of each pair.
        groups: int64 (p,), equal for pairs whose images are all alike; -1 for a pair on its own.
        by_id: whether the file names images by their ids.
    """

    rows: Tensor
    groups: Tensor
    by_id: bool


class _Table(NamedTuple):
    """Two columns of ids or of numbers, and that of groups, empty words for none."""

    by_id: bool
    ends: Sequence[tuple[Any, Any]] | np.ndarray
    groups: Sequence[str]


def read_pairs(path: Path, images: int, ids: Sequence[str] = ()) -> Pairs:
    r"""The pairs of a file, as they are listed: by its columns ``id_a`` and ``id_b``, without these by ``a`` and ``b``.

    A column ``group`` says that all images in the pairs of one group are alike. Other columns are not looked at.

    Args:
        path: ``.csv`` in UTF-8 with a header, or ``.parquet``.
        images: how many rows there are; a and b count them from 0.
        ids: of the rows, and after them those of further images that a pair may name.

    Returns:
        The pairs. Those of an image with itself, which its id may stand for twice, are left out.

    Raises:
        DataError: the file is missing or damaged, lacks a column, or names a number that is no row, an id of no image
            or of several, or a row with itself by number; the message names the place.
        ConfigError: another suffix, or pyarrow is missing.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "pairs.csv"
        >>> _ = file.write_text("a,b,score\n0,7,0.9\n3,2,0.8\n")
        >>> read_pairs(file, images=8).rows.tolist()
        [[0, 7], [3, 2]]
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"{_KEY}: {path} ends in '{path.suffix}'; {' and '.join(FORMATS)} are read")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise DataError(f"{_KEY}: {path} {what}; name a {' or '.join(FORMATS)} file of pairs")
    table = FORMATS[path.suffix](path)
    rows = torch.from_numpy(_places(path, table.ends, ids) if table.by_id else np.asarray(table.ends, dtype=np.int64))
    rows, groups = rows.reshape(-1, 2), _numbered(table.groups)
    if table.by_id:
        other = rows[:, 0] != rows[:, 1]
        return Pairs(rows[other], groups[other], by_id=True)
    _check(path, rows, images)
    return Pairs(rows, groups, by_id=False)


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


def _places(path: Path, ends: Iterable[tuple[str, str]], ids: Sequence[str]) -> np.ndarray:
    """The numbers of the images that ids name."""
    known: dict[str, int] = {}
    for number, one in enumerate(ids):
        # As it is, and as tables have it.
        for form in {one, encodable(one), cell(one)}:
            known[form] = number if form not in known else _SEVERAL
    pairs = list(ends)
    strange = [(place, one) for place, pair in enumerate(pairs) for one in pair if known.get(one, _SEVERAL) < 0]
    if strange:
        place, one = strange[0]
        count = len({where for where, _ in strange})
        name = cell(one)[:_SHOWN]
        what = f"several images are called '{name}'" if one in known else f"no image of the data is called '{name}'"
        remedy = "give each a name of its own" if one in known else "inspect the images that are trained on"
        raise DataError(
            f"{_KEY}: {path}, pair {place + 1}: {what} ({count:,} of {len(pairs):,} pairs name such); {remedy}, or drop"
            " the columns id_a and id_b if a and b are rows of the training images"
        )
    return np.array([(known[a], known[b]) for a, b in pairs], dtype=np.int64)


def _numbered(words: Sequence[str]) -> Tensor:
    """A number for each word, -1 for an empty one."""
    known: dict[str, int] = {"": -1}
    return torch.tensor([known.setdefault(word, len(known)) for word in words], dtype=torch.int64)


def _check(path: Path, pairs: Tensor, images: int) -> None:
    outside = ((pairs < 0) | (pairs >= images)).any(1)
    for wrong, what in (
        (outside, f"the training images are 0 to {images - 1}; number them as they come, before data.limit"),
        (pairs[:, 0] == pairs[:, 1], "an image never repels itself; leave the pair out"),
    ):
        if wrong.any():
            place = int(wrong.nonzero()[0])
            raise DataError(f"{_KEY}: {path}, pair {place + 1}: a {pairs[place, 0]}, b {pairs[place, 1]}; {what}")


def _read_csv(path: Path) -> _Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            return _rows_of(path, lines, [name.strip() for name in next(lines, [])])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{_KEY}: {path} is no text of commas and lines ({error}); {_REMEDY}") from None


def _rows_of(path: Path, lines: Any, header: Sequence[str]) -> _Table:
    by_id, (a, b), group = _columns(path, header)
    found: list[tuple[Any, Any]] = []
    groups: list[str] = []
    for line in lines:
        # A blank line ends many a file.
        if not line:
            continue
        try:
            if len(line) != len(header):
                raise ValueError(f"{len(line)} of {len(header)} values")
            found.append((line[a], line[b]) if by_id else (_whole(line[a]), _whole(line[b])))
            groups.append("" if group is None else line[group].strip())
        except ValueError as error:
            raise DataError(f"{_KEY}: {path}, line {lines.line_num}: {error}; {_REMEDY}") from None
    return _Table(by_id, found, groups)


_LARGEST = 2**63 - 1


def _whole(word: str) -> int:
    try:
        number = int(word)
    except ValueError:
        raise ValueError(f"'{word}' is no whole number") from None
    if abs(number) > _LARGEST:
        raise ValueError(f"{word} is no row of anything")
    return number


def _columns(path: Path, names: Sequence[str]) -> tuple[bool, tuple[int, int], int | None]:
    """Whether pairs are named by id; where the two ends are, and where the group is."""
    header, by_id = list(names), any(name in names for name in _IDS)
    wanted = _IDS if by_id else _NUMBERS
    for column in (*wanted, *([_GROUP] if _GROUP in header else [])):
        if header.count(column) != 1:
            came = ", ".join(map(repr, names)) or "nothing"
            raise DataError(f"{_KEY}: {path} needs one column '{column}'; its header is {came}: {_REMEDY}")
    a, b = map(header.index, wanted)
    return by_id, (a, b), header.index(_GROUP) if _GROUP in header else None


def _read_parquet(path: Path) -> _Table:
    parquet = imported("pyarrow.parquet", "a .parquet file", "'couplings[parquet]'")
    arrow = imported("pyarrow", "a .parquet file", "'couplings[parquet]'")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            by_id, ends, group = _columns(path, names)
            table = file.read(columns=[names[place] for place in (*ends, *(() if group is None else (group,)))])
        read = _words if by_id else _numbers
        one, other = (read(path, names[end], table.column(names[end]), arrow) for end in ends)
        groups = [""] * len(table) if group is None else _groups(table.column(_GROUP).to_pylist())
    except (OSError, arrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{_KEY}: {path} is no whole .parquet file ({reason}); {_REMEDY}") from None
    return _Table(by_id, list(zip(one, other, strict=True)) if by_id else np.stack([one, other], axis=1), groups)


def _words(path: Path, name: str, column: Any, arrow: Any) -> Sequence[str]:
    if column.null_count:
        raise DataError(f"{_KEY}: {path}, column '{name}' has {column.null_count} empty places; {_REMEDY}")
    return [str(value) for value in column.to_pylist()]


def _groups(values: Sequence[Any]) -> Sequence[str]:
    """NaN is what pandas has for none."""
    return ["" if value is None or value != value else str(value) for value in values]


def _numbers(path: Path, name: str, column: Any, arrow: Any) -> np.ndarray:
    if not arrow.types.is_integer(column.type):
        raise DataError(f"{_KEY}: {path}, column '{name}' is of {column.type}, no whole numbers; {_REMEDY}")
    if column.null_count:
        raise DataError(f"{_KEY}: {path}, column '{name}' has {column.null_count} empty places; {_REMEDY}")
    return np.asarray(column.cast(arrow.int64()).to_numpy())


FORMATS: dict[str, Callable[[Path], _Table]] = {".csv": _read_csv, ".parquet": _read_parquet}
"""How a file is read, by its suffix."""
