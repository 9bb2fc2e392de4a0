"""Named arrays out of npz and parquet files that may hold anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from couplings.errors import UserError

__all__ = ["Table", "UnreadableFile", "read_npz", "read_parquet"]


class UnreadableFile(UserError):
    """A file that holds no embeddings, or not as it should."""


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        arrays: those that were read, by name.
        kinds: type and shape of all there are, by name, for people.
    """

    arrays: Mapping[str, np.ndarray]
    kinds: Mapping[str, str]


def read_npz(path: Path) -> Table:
    """All arrays; pickled objects are never loaded.

    Raises:
        UnreadableFile: no .npz file, a damaged one, or one with pickled objects.
        OSError: a file that may not be read.
    """
    with path.open("rb") as file:
        if not is_zipfile(file):
            raise UnreadableFile(
                f"{path} is no .npz file, or was cut short; write it with numpy.savez(file, embeddings=...)"
            )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: _array(archive, name, path) for name in archive.files}
    except UnreadableFile:
        raise
    except Exception as error:  # numpy, zlib and zipfile raise nearly anything on damaged bytes
        raise UnreadableFile(f"{path} is damaged or no .npz file ({_first_line(error)}); write it again") from None
    arrays = {name: array for name, array in found.items() if isinstance(array, np.ndarray)}
    return Table(arrays, {name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()})


def _array(archive: Any, name: str, path: Path) -> Any:
    try:
        return archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UnreadableFile(
            f"{path}: '{name}' holds pickled Python objects, which are never loaded; save numbers, or strings as "
            "numpy.array(words, dtype=str)"
        ) from None


def read_parquet(path: Path, guessed: Collection[str], named: Collection[str]) -> Table:
    """The named columns that are there, and of the guessed ones those that arrays can be made of.

    Raises:
        UnreadableFile: no parquet file, a damaged one; of a named column lists that differ in length, or two columns.
        OSError: a file that may not be read.
    """
    import pyarrow
    import pyarrow.parquet

    path.open("rb").close()
    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        names = [name for name in schema.names if name in {*guessed, *named}]
        table = file.read(columns=list(dict.fromkeys(names)))
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableFile(f"{path} is damaged or no parquet file ({_first_line(error)}); write it again") from None
    arrays = {}
    for name in dict.fromkeys(names):
        try:
            if names.count(name) > 1:
                raise UnreadableFile(f"{path} has more than one column '{name}'; rename one")
            arrays[name] = _column(table.column(name).combine_chunks(), name, path)
        except UnreadableFile:
            if name in named:
                raise
    return Table(arrays, {one.name: str(one.type) for one in schema})


def _column(column: Any, name: str, path: Path) -> np.ndarray:
    """Lists of one length become a matrix; words, and what has nulls, Python objects with None for null."""
    from pyarrow import types

    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(column, name, path)
    if types.is_nested(kind):
        raise UnreadableFile(f"{path}: column '{name}' is {kind}; numbers, words or lists of numbers are needed")
    if types.is_dictionary(kind):
        return _column(column.dictionary_decode(), name, path)
    if types.is_string(kind) or types.is_large_string(kind):
        # Words that are no UTF-8 would raise; bytes are read leniently.
        column = column.cast("large_binary")
    if column.null_count or not (types.is_integer(kind) or types.is_floating(kind)):
        found = np.empty(len(column), dtype=object)
        found[:] = column.to_pylist()
        return found
    plain: np.ndarray = column.to_numpy(zero_copy_only=False)
    return plain


def _lists(column: Any, name: str, path: Path) -> np.ndarray:
    from pyarrow.compute import list_value_length, unique

    values, lengths = column.flatten(), unique(list_value_length(column))
    if column.null_count or values.null_count or len(lengths) > 1:
        raise UnreadableFile(
            f"{path}: the lists of '{name}' differ in length or have holes; every row needs one vector"
        )
    array: np.ndarray = values.to_numpy(zero_copy_only=False)
    return array.reshape(len(column), lengths[0].as_py() if len(lengths) else 0)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
