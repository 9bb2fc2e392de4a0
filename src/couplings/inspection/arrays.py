"""Embeddings that came from anywhere: npz and parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from couplings.errors import InvalidInput, did_you_mean
from couplings.inspection.columns import Table, UnreadableFile, read_npz, read_parquet
from couplings.inspection.subject import Pictures, Subject

__all__ = ["Keys", "UnreadableFile", "pictures_of", "read_arrays"]


@dataclass(frozen=True)
class Keys:
    """Which array or column holds what; None takes the first usual name that is there.

    Attributes:
        embeddings: (n, d) numbers. Usually embeddings, features, z, ...
        positives: another view of each row, (n, d).
        labels: of the rows, numbers or words; nulls, NaN, empty words and negative whole numbers are no label.
        groups: equal for rows of one sample, which never repel each other; nulls are in no group.
        ids: what the rows are called.
        texts: of the rows.
        thumbnails: uint8 (n, h, w) or (n, h, w, 3), npz only; arrays of usual names count where they are such.
    """

    embeddings: str | None = None
    positives: str | None = None
    labels: str | None = None
    groups: str | None = None
    ids: str | None = None
    texts: str | None = None
    thumbnails: str | None = None


_USUAL: dict[str, Sequence[str]] = {
    "embeddings": ("embeddings", "embedding", "features", "feature", "z", "vectors", "vector"),
    "positives": ("positives", "positive", "partners", "embeddings_b", "z_b", "view_b"),
    "labels": ("labels", "class", "label", "y", "target"),
    "groups": ("groups", "group", "sample", "sample_id"),
    "ids": ("ids", "id", "name", "path"),
    "texts": ("texts", "text", "caption", "captions"),
    "thumbnails": ("thumbnails", "thumbnail", "images"),
}
"""Names by which each thing is known, the first that is there counts."""

_NPZ, _PARQUET = ".npz", ".parquet"


def read_arrays(path: Path, keys: Keys) -> Subject:
    """The embeddings of a file, by its suffix ``.npz`` or ``.parquet`` (which needs pyarrow).

    Raises:
        UnreadableFile: missing, damaged, with pickled objects, without embeddings, with a wrong shape or type, with
            NaN, infinity or a zero row in the embeddings.
        ModuleNotFoundError: parquet without pyarrow.
    """
    if not path.is_file():
        raise UnreadableFile(f"{path} is missing; look at the path")
    table = _table(path, keys)
    chosen = {field.name: _chosen(table, field.name, getattr(keys, field.name), path) for field in fields(Keys)}
    if chosen["embeddings"] is None:
        held = ", ".join(f"{name} {kind}" for name, kind in list(table.kinds.items())[:20]) or "nothing"
        raise UnreadableFile(f"{path} has no embeddings: it holds {held}; name the one that does with --embeddings")
    found = {name: table.arrays[key] for name, key in chosen.items() if key is not None}
    try:
        return _subject(path, found, table.arrays.get("classes"))
    except InvalidInput as error:
        raise UnreadableFile(f"{path}: {error}") from None


def _table(path: Path, keys: Keys) -> Table:
    if path.suffix.lower() == _NPZ:
        return read_npz(path)
    if path.suffix.lower() != _PARQUET:
        raise UnreadableFile(f"{path} ends in '{path.suffix}'; embeddings come as {_NPZ} or {_PARQUET}, or name a run")
    if keys.thumbnails is not None:
        raise UnreadableFile(f"{path}: thumbnails are read from {_NPZ} only; leave --thumbnails out")
    named = {getattr(keys, field.name) for field in fields(Keys)}
    return read_parquet(path, {name for what in _USUAL if what != "thumbnails" for name in _USUAL[what]} | named)


def _chosen(table: Table, what: str, key: str | None, path: Path) -> str | None:
    if key is None:
        return next((name for name in _USUAL[what] if name in table.arrays and _fits(what, table.arrays[name])), None)
    if key not in table.kinds:
        raise UnreadableFile(f"{path} has no '{key}' (--{what}); {did_you_mean(key, list(table.kinds))}")
    return key


def _fits(what: str, array: np.ndarray) -> bool:
    """Images that a network takes are often no pictures to be shown."""
    return what != "thumbnails" or _is_pictures(array)


def _subject(path: Path, found: dict[str, np.ndarray], names: np.ndarray | None) -> Subject:
    _check_lengths(path, found)
    labels, classes = (None, ()) if "labels" not in found else _labels(found["labels"], names)
    return Subject(
        name=path.name,
        embeddings=_matrix(path, "embeddings", found["embeddings"]),
        positives=None if "positives" not in found else _matrix(path, "positives", found["positives"]),
        labels=labels,
        classes=classes,
        groups=None if "groups" not in found else _groups(found["groups"]),
        ids=_words(found.get("ids")),
        texts=_words(found.get("texts")),
        pictures=None if "thumbnails" not in found else pictures_of(_thumbnails(path, found["thumbnails"])),
    )


def _check_lengths(path: Path, found: dict[str, np.ndarray]) -> None:
    n = len(found["embeddings"]) if found["embeddings"].ndim else 1
    if n == 0:
        raise UnreadableFile(f"{path} holds no rows; there is nothing to inspect")
    for name, array in found.items():
        if name != "embeddings" and (array.ndim == 0 or len(array) != n):
            raise UnreadableFile(f"{path}: {name} has shape {list(array.shape)} for {n} embeddings; one entry a row")
        if name in ("labels", "groups", "ids", "texts") and array.ndim > 1:
            raise UnreadableFile(f"{path}: {name} has shape {list(array.shape)}; one number or word a row is needed")


def _matrix(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UnreadableFile(
            f"{path}: {name} is {array.dtype}{list(array.shape)}; a matrix of numbers (n, d) is needed"
        )
    # What is too large for single precision becomes infinite, which is refused by its row.
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.require(array, np.float32, ["C", "W"]))


def _labels(array: np.ndarray, names: np.ndarray | None) -> tuple[Tensor, tuple[str, ...]]:
    """Numbers and names; whole numbers with an array of names beside them are taken as they are."""
    values = [None if _missing(value) or _negative(value) else value for value in _entries(array)]
    known = sorted({value for value in values if value is not None})
    whole = all(isinstance(value, int) for value in known)
    if (
        whole
        and names is not None
        and names.dtype.kind == "U"
        and names.ndim == 1
        and len(names) > max(known, default=-1)
    ):
        return torch.tensor([-1 if value is None else value for value in values]), tuple(names.tolist())
    place = {value: number for number, value in enumerate(known)}
    return torch.tensor([-1 if value is None else place[value] for value in values]), tuple(map(str, known))


def _groups(array: np.ndarray) -> Tensor:
    """Numbers of groups; a row without one is a group of its own."""
    alone = object()
    values = [(alone, row) if _missing(value) else value for row, value in enumerate(_entries(array))]
    place = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return torch.tensor([place[value] for value in values])


def _words(array: np.ndarray | None) -> tuple[str, ...] | None:
    return None if array is None else tuple("" if _missing(value) else str(value) for value in _entries(array))


def _entries(array: np.ndarray) -> list[Any]:
    """As Python has them; bytes are UTF-8."""
    return [value.decode(errors="replace") if isinstance(value, bytes) else value for value in array.tolist()]


def _missing(value: Any) -> bool:
    """Null, NaN or an empty word."""
    return value is None or value == "" or bool(value != value)


def _negative(value: Any) -> bool:
    return isinstance(value, int) and value < 0


def _is_pictures(array: np.ndarray) -> bool:
    """Bytes (n, h, w), (n, h, w, c) or (n, c, h, w) with c of 1 or 3."""
    fits = array.ndim == 3 or (array.ndim == 4 and (array.shape[3] in (1, 3) or array.shape[1] in (1, 3)))
    return bool(array.dtype == np.uint8 and fits and 0 not in array.shape[1:])


def _thumbnails(path: Path, array: np.ndarray) -> np.ndarray:
    """(n, h, w) or (n, h, w, c)."""
    if not _is_pictures(array):
        raise UnreadableFile(
            f"{path}: thumbnails are {array.dtype}{list(array.shape)}; uint8 of shape (n, h, w) or (n, h, w, 3) is "
            "needed"
        )
    return array if array.ndim == 3 or array.shape[3] in (1, 3) else array.transpose(0, 2, 3, 1)


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
