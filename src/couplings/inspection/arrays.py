"""Embeddings that came from anywhere: npz and parquet files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from couplings.errors import UserError, did_you_mean
from couplings.inspection.subject import Pictures, Subject, numbered

__all__ = ["Keys", "UnreadableFile", "pictures_of", "read_arrays"]


class UnreadableFile(UserError):
    """A file that holds no embeddings, or not as it should."""


@dataclass(frozen=True)
class Keys:
    """Which array or column holds what; None takes the first usual name that is there.

    Attributes:
        embeddings: (n, d) numbers. Usually embeddings, features, z, ...
        positives: another view of each row, (n, d).
        labels: of the rows, numbers or words.
        groups: equal for rows of one sample, which never repel each other.
        ids: what the rows are called.
        texts: of the rows.
        thumbnails: uint8 (n, h, w) or (n, h, w, 3), npz only.
    """

    embeddings: str | None = None
    positives: str | None = None
    labels: str | None = None
    groups: str | None = None
    ids: str | None = None
    texts: str | None = None
    thumbnails: str | None = None


_USUAL: Mapping[str, Sequence[str]] = {
    "embeddings": ("embeddings", "embedding", "features", "feature", "z", "vectors", "vector"),
    "positives": ("positives", "positive", "partners", "embeddings_b", "z_b", "view_b"),
    "labels": ("labels", "label", "class", "y", "target"),
    "groups": ("groups", "group", "sample", "sample_id"),
    "ids": ("ids", "id", "name", "path"),
    "texts": ("texts", "text", "caption", "captions"),
    "thumbnails": ("thumbnails", "thumbnail", "images"),
}
"""Names by which each thing is known, the first that is there counts."""

Columns = Mapping[str, np.ndarray]


def read_arrays(path: Path, keys: Keys) -> Subject:
    """The embeddings of a file, by its suffix ``.npz`` or ``.parquet`` (which needs pyarrow).

    Raises:
        UnreadableFile: missing, damaged, with pickled objects, without embeddings, or with a wrong shape or type.
        InvalidInput: NaN, infinity or a zero row in the embeddings.
        ModuleNotFoundError: parquet without pyarrow.
    """
    readers: dict[str, Callable[[Path, Keys], Columns]] = {".npz": _npz, ".parquet": _parquet}
    if path.suffix not in readers:
        raise UnreadableFile(
            f"{path} ends in '{path.suffix}'; embeddings come as {' or '.join(readers)}, or name a run"
        )
    if not path.is_file():
        raise UnreadableFile(f"{path} is missing; look at the path")
    columns = readers[path.suffix](path, keys)
    chosen = {field.name: _chosen(columns, field.name, getattr(keys, field.name), path) for field in fields(Keys)}
    if chosen["embeddings"] is None:
        raise UnreadableFile(
            f"{path} has no embeddings: it holds {_listed(columns)}; name the one that does with --embeddings"
        )
    found = {name: columns[key] for name, key in chosen.items() if key is not None}
    return _subject(path, found, columns)


def _listed(columns: Columns) -> str:
    return ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in columns.items()) or "nothing"


def _chosen(columns: Columns, what: str, key: str | None, path: Path) -> str | None:
    if key is None:
        return next((name for name in _USUAL[what] if name in columns), None)
    if key not in columns:
        raise UnreadableFile(f"{path} has no '{key}' (--{what}); {did_you_mean(key, list(columns))}")
    return key


def _npz(path: Path, keys: Keys) -> Columns:
    """All arrays; numpy refuses pickled objects."""
    columns: dict[str, np.ndarray] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise UnreadableFile(
                    f"{path} is a single array, not an .npz file; save it with numpy.savez(embeddings=...)"
                )
            for name in file.files:
                columns[name] = _array(file, name, path)
    except (BadZipFile, EOFError, OSError, ValueError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        raise UnreadableFile(f"{path} is damaged or no .npz file ({error}); write it again") from None
    return columns


def _array(file: Any, name: str, path: Path) -> np.ndarray:
    try:
        found: np.ndarray = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UnreadableFile(
            f"{path}: '{name}' holds pickled Python objects, which are never loaded; save numbers, or strings as "
            "numpy.array(words, dtype=str)"
        ) from None
    return found


def _parquet(path: Path, keys: Keys) -> Columns:
    """The columns that may be of use."""
    import pyarrow.parquet

    wanted = {name for names in _USUAL.values() for name in names} | {
        str(getattr(keys, one.name)) for one in fields(Keys)
    }
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name in wanted]
        table = file.read(columns=names)
    except (pyarrow.ArrowException, OSError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise UnreadableFile(f"{path} is damaged or no parquet file ({first}); write it again") from None
    if not names:
        raise UnreadableFile(
            f"{path} has none of the usual columns; it holds {', '.join(file.schema_arrow.names[:20])}; "
            "name the one with lists of numbers with --embeddings"
        )
    return {name: _column(table.column(name).combine_chunks(), name, path) for name in names}


def _column(column: Any, name: str, path: Path) -> np.ndarray:
    """Lists of one length become a matrix; nulls become -1 in whole numbers and empty words elsewhere."""
    import pyarrow

    kind = column.type
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind):
        return _lists(column, name, path)
    if pyarrow.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if column.null_count:
        column = column.fill_null(-1 if pyarrow.types.is_integer(column.type) else "")
    values = column.to_numpy(zero_copy_only=False)
    plain: np.ndarray = values.astype(str) if values.dtype == object else values
    return plain


def _lists(column: Any, name: str, path: Path) -> np.ndarray:
    n = len(column)
    values = column.flatten()
    lengths = {len(column[row]) if column[row].is_valid else -1 for row in (0, n - 1)} if n else set()
    if column.null_count or values.null_count or (n and (len(lengths) > 1 or len(values) != n * next(iter(lengths)))):
        raise UnreadableFile(
            f"{path}: the lists of '{name}' differ in length or have holes; every row needs one vector"
        )
    array: np.ndarray = values.to_numpy(zero_copy_only=False)
    return array.reshape(n, -1) if n else array.reshape(0, 0)


def _subject(path: Path, found: Columns, columns: Columns) -> Subject:
    n = len(found["embeddings"])
    if n == 0:
        raise UnreadableFile(f"{path} holds no rows; there is nothing to inspect")
    for name, array in found.items():
        if array.ndim == 0 or len(array) != n:
            raise UnreadableFile(f"{path}: {name} has shape {list(array.shape)} for {n} embeddings; one entry a row")
    labels, classes = _labels(found.get("labels"), columns.get("classes"))
    positives = found.get("positives")
    groups = found.get("groups")
    return Subject(
        name=path.name,
        embeddings=_matrix(path, "embeddings", found["embeddings"]),
        positives=None if positives is None else _matrix(path, "positives", positives),
        labels=labels,
        classes=classes,
        groups=None if groups is None else numbered(groups.tolist())[0],
        ids=_words(found.get("ids")),
        texts=_words(found.get("texts")),
        pictures=None if "thumbnails" not in found else pictures_of(_thumbnails(path, found["thumbnails"])),
    )


def _matrix(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UnreadableFile(
            f"{path}: {name} is {array.dtype}{list(array.shape)}; a matrix of numbers (n, d) is needed"
        )
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _labels(array: np.ndarray | None, names: np.ndarray | None) -> tuple[Tensor | None, tuple[str, ...]]:
    """Numbers and names; whole numbers with an array of names beside them are taken as they are."""
    if array is None:
        return None, ()
    whole = array.dtype.kind in "iu"
    if whole and names is not None and names.dtype.kind == "U" and len(names) > int(array.max(initial=-1)):
        return torch.from_numpy(array.astype(np.int64)), tuple(names.tolist())
    if whole:
        known = np.unique(array[array >= 0])
        place = np.where(array >= 0, np.searchsorted(known, array), -1)
        return torch.from_numpy(place.astype(np.int64)), tuple(map(str, known.tolist()))
    return numbered(array.tolist())


def _words(array: np.ndarray | None) -> tuple[str, ...] | None:
    return None if array is None else tuple(map(str, array.tolist()))


def _thumbnails(path: Path, array: np.ndarray) -> np.ndarray:
    """(n, h, w) or (n, h, w, 3), bytes."""
    if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))):
        return array
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[1] in (1, 3):
        return array.transpose(0, 2, 3, 1)
    raise UnreadableFile(
        f"{path}: thumbnails are {array.dtype}{list(array.shape)}; uint8 of shape (n, h, w) or (n, h, w, 3) is needed"
    )


def pictures_of(images: np.ndarray) -> Pictures:
    """PNG files of uint8 images (n, h, w) or (n, h, w, c), no side longer than 96 pixels."""

    def pictures(rows: Sequence[int]) -> list[bytes]:
        return [_png(images[row]) for row in rows]

    return pictures


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    picture = Image.fromarray(image.squeeze(-1) if image.ndim == 3 and image.shape[-1] == 1 else image)
    picture.thumbnail((96, 96))
    file = BytesIO()
    picture.save(file, "png")
    return file.getvalue()
