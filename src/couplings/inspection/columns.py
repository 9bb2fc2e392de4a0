"""Named arrays out of npz and parquet files that may hold anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from couplings.train.errors import DataError
from couplings.train.npz import Npz
from couplings.train.plain import plain

__all__ = ["Table", "UnreadableFile", "read_npz", "read_parquet"]


class UnreadableFile(DataError):
    """A file that holds no embeddings, or not as it should."""


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        arrays: those that were asked for, by name.
        kinds: type and shape of all there are, by name, for people.
        flaws: why an array that was asked for cannot be read, by name.
    """

    arrays: Mapping[str, np.ndarray]
    kinds: Mapping[str, str]
    flaws: Mapping[str, str]

    def get(self, name: str) -> np.ndarray | None:
        """An array; None where there is none that can be read."""
        return None if name in self.flaws else self.arrays.get(name)


def read_npz(path: Path) -> Table:
    """All arrays, each read when it is asked for; pickled objects are never loaded.

    Raises:
        DataError: no .npz file, or a damaged one.
        OSError: a file that may not be read.
    """
    file = Npz(path)
    kinds = {name: head.kind for name, head in file.heads.items()}
    return Table(file, kinds, {name: head.flaw for name, head in file.heads.items() if head.flaw})


def read_parquet(path: Path, wanted: Collection[str]) -> Table:
    """The wanted columns that are there.

    Raises:
        UnreadableFile: no parquet file, or a damaged one.
        OSError: a file that may not be read.
    """
    import pyarrow
    import pyarrow.parquet

    path.open("rb").close()
    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        names = [name for name in schema.names if name in wanted]
        table = file.read(columns=list(dict.fromkeys(names)))
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableFile(f"{path} is damaged or no parquet file ({_first_line(error)}); write it again") from None
    arrays, flaws = dict[str, np.ndarray](), dict[str, str]()
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            flaws[name] = "is the name of more than one column; rename one"
            continue
        try:
            arrays[name] = plain(_column(table.column(name).combine_chunks()))
        except (UnreadableFile, pyarrow.ArrowException) as error:
            flaws[name] = _first_line(error)
    return Table(arrays, {one.name: str(one.type) for one in schema}, flaws)


def _column(column: Any) -> np.ndarray:
    """Lists of one length become a matrix; words, and what has nulls, Python objects with None for null."""
    import pyarrow
    from pyarrow import types

    kind = column.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _column(column.storage)
    if types.is_dictionary(kind):
        return _column(column.dictionary_decode())
    if _is_list(kind):
        return _lists(column)
    if types.is_nested(kind):
        raise UnreadableFile(f"is {kind}; numbers, words or lists of numbers are needed")
    if types.is_time(kind):
        column = column.cast("string")
    elif types.is_date(kind) or types.is_timestamp(kind) or types.is_duration(kind):
        # Python has no years past 9999, and no billionths of a second.
        return np.asarray(column.to_numpy(zero_copy_only=False))
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        # Words that are no UTF-8 would raise; bytes are read leniently.
        column = column.cast("large_binary")
    if column.null_count or not (types.is_integer(kind) or types.is_floating(kind)):
        found = np.empty(len(column), dtype=object)
        found[:] = column.to_pylist()
        return found
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    known = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(one(kind) for one in known)


def _lists(column: Any) -> np.ndarray:
    from pyarrow import types
    from pyarrow.compute import list_value_length, unique

    values, lengths = column.flatten(), unique(list_value_length(column))
    if column.null_count or values.null_count or len(lengths) > 1:
        raise UnreadableFile("holds lists that differ in length or have holes; every row needs one vector")
    if types.is_decimal(values.type):
        values = values.cast("double")
    array = _column(values)
    return array.reshape(len(column), lengths[0].as_py() if len(lengths) else 0, *array.shape[1:])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
