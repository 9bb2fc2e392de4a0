"""Arrays of numbers and columns of words as other libraries write them: pandas, FITS, Keras, tables with holes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from couplings.train.errors import DataError

__all__ = ["column", "entries", "numbered", "plain"]


def plain(array: np.ndarray) -> np.ndarray:
    """In the byte order of this machine, and no longer than double precision.

    Example:
        >>> plain(np.ones(2, dtype=">f4")).dtype, plain(np.ones(2, dtype=np.longdouble)).dtype
        (dtype('float32'), dtype('float64'))
    """
    kind = array.dtype.newbyteorder("=")
    if kind.kind in "fc" and kind.itemsize > {"f": 8, "c": 16}[kind.kind]:
        kind = np.dtype({"f": np.float64, "c": np.complex128}[kind.kind])
    return array.astype(kind, copy=False)


def column(array: np.ndarray, *, one_hot: bool = False) -> np.ndarray:
    """One entry a row, ``(n,)``, out of ``(n,)`` or ``(n, 1)``; with ``one_hot`` also the place of the one in each row.

    Other shapes come back as they are.

    Example:
        >>> column(np.eye(3)[[2, 0]], one_hot=True).tolist(), column(np.array([[5], [6]])).tolist()
        ([2, 0], [5, 6])
    """
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if not one_hot or array.ndim != 2 or array.dtype.kind not in "biuf" or array.shape[1] < 2:
        return array
    ones = np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()
    return array.argmax(1) if ones else array


def entries(array: np.ndarray) -> list[Any]:
    r"""Values ``(n,)`` as Python has them, None where there is none: null, NaN, no time, an empty word.

    Whole numbers that a hole made floats are whole numbers again. Times and durations are words, of any year. Bytes are
    UTF-8; what is none is written as \xe9, so that words that differ stay different.

    Raises:
        DataError: objects that are no numbers, words or times.

    Example:
        >>> entries(np.array([1.0, np.nan])), entries(np.array(["12026-01-01", "NaT"], dtype="datetime64[D]"))
        ([1, None], ['12026-01-01', None])
    """
    times = array.dtype.kind in "mM"
    found: list[Any] = (
        [None if np.isnat(one) else str(one) for one in array] if times else list(map(_value, array.tolist()))
    )
    numbers = [value for value in found if isinstance(value, float)]
    if numbers and all(value.is_integer() for value in numbers):
        return [int(value) if isinstance(value, float) else value for value in found]
    return found


def _value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = str(value) if value.dtype.kind in "mM" else value.item()
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode() or None
    if value is None or _is_hole(value):
        return None
    if not isinstance(value, Hashable) or isinstance(value, tuple):
        raise DataError(f"an entry is a {type(value).__name__}; a number or a word a row is needed")
    return value


def _is_hole(value: Any) -> bool:
    """NaN and NaT differ from themselves; of pandas' NA nobody can say."""
    try:
        return bool(value != value)
    except TypeError:
        return True


def numbered(columns: Sequence[Sequence[Any] | None]) -> tuple[list[Tensor | None], tuple[str, ...]]:
    """Numbers from 0 of the values of all columns, -1 for None, and what the numbers stand for, in order.

    Example:
        >>> numbered([["b", None, "a"], None])
        ([tensor([ 1, -1,  0]), None], ('a', 'b'))
    """
    known = {value for column in columns if column is not None for value in column if value is not None}
    try:
        names = sorted(known)
    except TypeError:
        names = sorted(known, key=str)
    place = {value: number for number, value in enumerate(names)} | {None: -1}
    found = [
        None if column is None else torch.tensor([place[value] for value in column], dtype=torch.int64)
        for column in columns
    ]
    return found, tuple(map(str, names))
