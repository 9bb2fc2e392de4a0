"""Embeddings that came from anywhere: npz and parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Which array or column holds what; None takes the first of a usual name whose shape and type fit.

    Attributes:
        embeddings: (n, d) numbers. Usually embeddings, features, z, ...
        positives: another view of each row, (n, d).
        labels: of the rows, numbers or words; nulls, NaN, empty words and negative whole numbers are no label.
        groups: equal for rows of one sample, which never repel each other; nulls are in no group.
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


_USUAL: dict[str, Sequence[str]] = {
    "embeddings": ("embeddings", "embedding", "features", "feature", "z", "vectors", "vector"),
    "positives": ("positives", "positive", "partners", "embeddings_b", "z_b", "view_b"),
    "labels": ("labels", "class", "label", "y", "target"),
    "groups": ("groups", "group", "sample", "sample_id"),
    "ids": ("ids", "id", "name", "path"),
    "texts": ("texts", "text", "caption", "captions"),
    "thumbnails": ("thumbnails", "thumbnail", "images"),
}
"""Names by which each thing is known, the first that fits counts."""

_NPZ, _PARQUET = ".npz", ".parquet"
_INDEX, _PART, _TRAIN, _PARTS = "index", "part", "train", {"train", "test"}
"""Which image of which part a row is, as `couplings embed` writes it."""
_WORDS = ("labels", "groups", "ids", "texts")
_SMALL, _LARGE = 1e-11, 1e15
"""Between these a row's squares fit into single precision."""


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
    chosen = _chosen(table, keys, path)
    found = {name: table.arrays[key] for name, key in chosen.items() if key is not None}
    try:
        return _subject(path, found, table.arrays)
    except InvalidInput as error:
        raise UnreadableFile(f"{path}: {error}") from None


def _table(path: Path, keys: Keys) -> Table:
    if path.suffix.lower() == _NPZ:
        return read_npz(path)
    if path.suffix.lower() != _PARQUET:
        raise UnreadableFile(f"{path} ends in '{path.suffix}'; embeddings come as {_NPZ} or {_PARQUET}, or name a run")
    if keys.thumbnails is not None:
        raise UnreadableFile(f"{path}: thumbnails are read from {_NPZ} only; leave --thumbnails out")
    guessed = {name for what in _USUAL if what != "thumbnails" for name in _USUAL[what]}
    return read_parquet(path, guessed | {_INDEX, _PART}, {*_named(keys).values(), *_USUAL["embeddings"]})


def _named(keys: Keys) -> dict[str, str]:
    found = {field.name: getattr(keys, field.name) for field in fields(Keys)}
    return {what: key for what, key in found.items() if key is not None}


def _chosen(table: Table, keys: Keys, path: Path) -> dict[str, str]:
    """The name of what each thing is read from."""
    chosen = _named(keys)
    for what, key in chosen.items():
        if key not in table.kinds:
            raise UnreadableFile(f"{path} has no '{key}' (--{what}); {did_you_mean(key, list(table.kinds))}")
    if keys.embeddings is None:
        usual = [name for name in _USUAL["embeddings"] if name in table.arrays and name != keys.positives]
        if not usual:
            held = ", ".join(f"{name} {kind}" for name, kind in list(table.kinds.items())[:20]) or "nothing"
            raise UnreadableFile(f"{path} has no embeddings: it holds {held}; name the one that does with --embeddings")
        chosen["embeddings"] = usual[0]
    embeddings = table.arrays[chosen["embeddings"]]
    guessed = {
        what: next((name for name in _USUAL[what] if _guess(what, table.arrays.get(name), embeddings)), None)
        for what in _USUAL
        if what not in chosen
    }
    return chosen | {what: name for what, name in guessed.items() if name is not None}


def _guess(what: str, array: np.ndarray | None, embeddings: np.ndarray) -> bool:
    """Whether an array of a usual name is what its name says; arrays of other things have such names too."""
    if array is None or array.ndim == 0 or len(array) != len(np.atleast_1d(embeddings)):
        return False
    if what == "positives":
        return array is not embeddings and array.shape == embeddings.shape and array.dtype.kind in "fiu"
    return _is_pictures(array) if what == "thumbnails" else array.ndim == 1 and _is_words(array)


def _subject(path: Path, found: dict[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Subject:
    _check_shapes(path, found)
    labels, classes = (None, ()) if "labels" not in found else _labels(found["labels"], arrays.get("classes"))
    return Subject(
        name=path.name,
        embeddings=_matrix(path, "embeddings", found["embeddings"]),
        positives=None if "positives" not in found else _matrix(path, "positives", found["positives"]),
        labels=labels,
        classes=classes,
        groups=None if "groups" not in found else _groups(found["groups"]),
        training=None if "ids" in found else _training(arrays, len(found["embeddings"])),
        ids=_words(found.get("ids")),
        texts=_words(found.get("texts")),
        pictures=None if "thumbnails" not in found else pictures_of(_thumbnails(path, found["thumbnails"])),
    )


def _training(arrays: Mapping[str, np.ndarray], n: int) -> Tensor | None:
    """The rows' numbers in the training part, -1 in another; None where the file is not of `couplings embed`."""
    index, part = arrays.get(_INDEX), arrays.get(_PART)
    if index is None or part is None or index.shape != (n,) or part.shape != (n,) or index.dtype.kind not in "iu":
        return None
    parts = _entries(part)
    if not _PARTS.issuperset(parts) or (index < 0).any() or (index > np.iinfo(np.int64).max).any():
        return None
    places = torch.from_numpy(np.require(index, np.int64, ["C", "W"]))
    return places.where(torch.tensor([word == _TRAIN for word in parts]), -1)


def _check_shapes(path: Path, found: dict[str, np.ndarray]) -> None:
    n = len(found["embeddings"]) if found["embeddings"].ndim else 1
    if n == 0:
        raise UnreadableFile(f"{path} holds no rows; there is nothing to inspect")
    for name, array in found.items():
        if name != "embeddings" and (array.ndim == 0 or len(array) != n):
            raise UnreadableFile(f"{path}: {name} has shape {list(array.shape)} for {n} embeddings; one entry a row")
        if name in _WORDS and array.ndim > 1:
            raise UnreadableFile(f"{path}: {name} has shape {list(array.shape)}; one number or word a row is needed")
        if name in _WORDS and not _is_words(array):
            raise UnreadableFile(f"{path}: {name} is {array.dtype}; numbers or words are needed")


def _matrix(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UnreadableFile(
            f"{path}: {name} is {array.dtype}{list(array.shape)}; a matrix of numbers (n, d) is needed"
        )
    return torch.from_numpy(np.require(_scaled(array), np.float32, ["C", "W"]))


def _scaled(array: np.ndarray) -> np.ndarray:
    """Rows whose squares single precision does not hold are divided by their largest entry: a direction is kept."""
    if array.dtype.kind != "f" or not array.size:
        return array
    double = np.promote_types(array.dtype, np.float64)
    largest = np.maximum(array.max(1), -array.min(1)).astype(double)
    outside = ((largest > 0) & (largest < _SMALL)) | ((largest > _LARGE) & (largest < np.inf))
    if not outside.any():
        return array
    scaled = array.astype(double)
    scaled[outside] /= largest[outside, None]
    return scaled


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
        return torch.tensor([-1 if value is None else value for value in values]), tuple(_entries(names))
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
    """As Python has them; bytes are UTF-8, and of words halves of characters, which have none, are replaced."""
    return [_whole(value) for value in array.tolist()]


def _whole(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _missing(value: Any) -> bool:
    """Null, NaN or an empty word."""
    return value is None or value == "" or bool(value != value)


def _negative(value: Any) -> bool:
    return isinstance(value, int) and value < 0


def _is_words(array: np.ndarray) -> bool:
    """Numbers, words, dates or what a column with holes is; complex numbers and structures have no order."""
    return array.dtype.kind in "biufSUOMm"


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
