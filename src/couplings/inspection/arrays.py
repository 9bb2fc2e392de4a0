"""Embeddings that came from anywhere: npz and parquet files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from couplings.basics.errors import InvalidInput, did_you_mean
from couplings.inspection.columns import Table, UnreadableFile, read_npz, read_parquet
from couplings.inspection.subject import Pictures, Subject
from couplings.train.errors import DataError
from couplings.train.plain import column, entries, numbered

__all__ = ["Keys", "UnreadableFile", "pictures_of", "read_arrays"]


@dataclass(frozen=True)
class Keys:
    """Which array or column holds what; None takes the first of a usual name whose shape and type fit.

    Attributes:
        embeddings: (n, d) numbers. Usually embeddings, features, z, ...
        positives: another view of each row, (n, d).
        labels: of the rows, numbers or words, or one-hot rows (n, c); nulls, NaN, empty words and negative whole
            numbers are no label.
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
_NUMBER = re.compile(r"(u?int\d+|float\d*|halffloat|double)(\[\d+\])?")
"""A column of one number a row, as numpy and arrow call it."""
_JOIN = (
    "where each dimension is a column of its own, join them: numpy.savez(file, embeddings=numpy.stack([table[name] for "
    "name in names], 1))"
)
_SMALL, _LARGE = 1e-11, 1e15
"""Between these a row's squares fit into single precision."""


def read_arrays(path: Path, keys: Keys) -> Subject:
    """The embeddings of a file, by its suffix ``.npz`` or ``.parquet`` (which needs pyarrow).

    Raises:
        UnreadableFile: missing, damaged, without embeddings, with a wrong shape or type, with pickled objects in what
            is read, with NaN, infinity or a zero row in the embeddings.
        ModuleNotFoundError: parquet without pyarrow.
    """
    if not path.is_file():
        missing = "is no file (a folder, a pipe or a device)" if path.exists() else "is missing"
        raise UnreadableFile(f"{path} {missing}; look at the path")
    try:
        table = _table(path, keys)
        chosen = _chosen(table, keys, path)
        found = {name: table.arrays[key] for name, key in chosen.items()}
        return _subject(path, found, table, _unused(table, keys, chosen))
    except InvalidInput as error:
        raise UnreadableFile(f"{path}: {error}") from None
    except DataError as error:
        raise UnreadableFile(str(error)) from None


def _table(path: Path, keys: Keys) -> Table:
    if path.suffix.lower() == _NPZ:
        return read_npz(path)
    if path.suffix.lower() != _PARQUET:
        raise UnreadableFile(f"{path} ends in '{path.suffix}'; embeddings come as {_NPZ} or {_PARQUET}, or name a run")
    if keys.thumbnails is not None:
        raise UnreadableFile(f"{path}: thumbnails are read from {_NPZ} only; leave --thumbnails out")
    guessed = {name for what in _USUAL if what != "thumbnails" for name in _USUAL[what]}
    return read_parquet(path, guessed | {_INDEX, _PART, *_named(keys).values()})


def _named(keys: Keys) -> dict[str, str]:
    found = {field.name: getattr(keys, field.name) for field in fields(Keys)}
    return {what: key for what, key in found.items() if key is not None}


def _chosen(table: Table, keys: Keys, path: Path) -> dict[str, str]:
    """The name of what each thing is read from: as the user says, else the first of a usual name that fits."""
    chosen = _named(keys)
    for what, key in chosen.items():
        if key not in table.kinds:
            raise UnreadableFile(f"{path} has no '{key}' (--{what}); {did_you_mean(key, list(table.kinds))}")
    chosen.setdefault("embeddings", _usual_embeddings(table, keys, path))
    embeddings = table.get(chosen["embeddings"])
    for what, key in chosen.items():
        misfit = _misfit(what, table, key, embeddings)
        if misfit:
            raise UnreadableFile(f"{path}: {what if key not in table.flaws else repr(key)} {misfit}")
    for what in _USUAL:
        fits = [name for name in _USUAL[what] if name in table.kinds and _fits(what, table, name, chosen)]
        if what not in chosen and fits:
            chosen[what] = fits[0]
    return chosen


def _fits(what: str, table: Table, name: str, chosen: Mapping[str, str]) -> bool:
    embeddings = table.get(chosen["embeddings"])
    return not _misfit(what, table, name, embeddings) and not (what == "positives" and name == chosen["embeddings"])


def _usual_embeddings(table: Table, keys: Keys, path: Path) -> str:
    if keys.embeddings is not None:
        return keys.embeddings
    there = [name for name in _USUAL["embeddings"] if name in table.kinds and name != keys.positives]
    if there:
        return next((name for name in there if not _misfit("embeddings", table, name, None)), there[0])
    held = ", ".join(f"{name} {kind}" for name, kind in list(table.kinds.items())[:20]) or "nothing"
    one_each = sum(_NUMBER.fullmatch(kind) is not None for kind in table.kinds.values()) > 1
    raise UnreadableFile(
        f"{path} has no embeddings: it holds {held}; name the one that does with --embeddings"
        + (f"; {_JOIN}" if one_each else "")
    )


def _unused(table: Table, keys: Keys, chosen: Mapping[str, str]) -> Iterator[str]:
    """Of each array of a usual name that is not used: why."""
    embeddings = table.get(chosen["embeddings"])
    for what, names in _USUAL.items():
        for name in names if what not in _named(keys) else ():
            if name in table.kinds and name not in chosen.values():
                reason = _misfit(what, table, name, embeddings)
                yield f"'{name}' {reason}" if reason else f"'{name}': the {what} are those of '{chosen[what]}'"


def _misfit(what: str, table: Table, name: str, embeddings: np.ndarray | None) -> str:
    """Why an array is not what its name says, in words behind it; empty where it is."""
    if name in table.flaws:
        return table.flaws[name]
    array = table.arrays.get(name)
    if array is None:
        return f"is {table.kinds[name]}, which is not read"
    n = len(np.atleast_1d(array if embeddings is None else embeddings))
    if what == "embeddings" and n == 0:
        return "holds no rows; there is nothing to inspect"
    if what != "embeddings" and (array.ndim == 0 or len(array) != n):
        return f"has shape {list(array.shape)} for {n} embeddings; one entry a row"
    if what == "thumbnails":
        return (
            ""
            if _is_pictures(array)
            else f"is {array.dtype}{list(array.shape)}; uint8 of shape (n, h, w) or (n, h, w, 3) is needed"
        )
    if what in _WORDS:
        return _misfit_of_words(what, array)
    reason = _misfit_of_matrix(array, table.kinds[name])
    if not reason and embeddings is not None and array.shape != embeddings.shape:
        return f"has shape {array.shape} but embeddings has {embeddings.shape}; equal n and d are needed"
    return reason


def _misfit_of_words(what: str, array: np.ndarray) -> str:
    if column(array, one_hot=what == "labels").ndim > 1:
        return f"has shape {list(array.shape)}; one number or word a row is needed"
    # Complex numbers and structures have no order.
    return "" if array.dtype.kind in "biufSUOMm" else f"is {array.dtype}; numbers or words are needed"


def _misfit_of_matrix(array: np.ndarray, kind: str) -> str:
    if array.ndim == 2 and array.dtype.kind in "fiu":
        return ""
    reason = f"is {_kind(array, kind)}; a matrix of numbers (n, d) is needed"
    if array.ndim != 1:
        return reason
    if "binary" in kind:
        return f"{reason}; if the bytes are numbers, numpy.frombuffer(bytes, dtype) reads a row of a known type"
    if array.dtype.kind in "OSU":
        return f"{reason}; if the words are numbers (JSON), json.loads(word) reads a row"
    return f"{reason}; {_JOIN}" if array.dtype.kind in "fiu" else reason


def _kind(array: np.ndarray, kind: str) -> str:
    return kind if array.dtype == object else f"{array.dtype}{list(array.shape)}"


def _subject(path: Path, found: Mapping[str, np.ndarray], table: Table, unused: Iterable[str]) -> Subject:
    labels, classes = (None, ()) if "labels" not in found else _labels(found["labels"], table.get("classes"))
    return Subject(
        name=path.name,
        embeddings=_matrix(found["embeddings"]),
        positives=None if "positives" not in found else _matrix(found["positives"]),
        labels=labels,
        classes=classes,
        groups=None if "groups" not in found else _groups(found["groups"]),
        training=None if "ids" in found else _training(table, len(found["embeddings"])),
        ids=_words(found.get("ids")),
        texts=_words(found.get("texts")),
        pictures=None if "thumbnails" not in found else pictures_of(_thumbnails(found["thumbnails"])),
        unused=tuple(unused),
    )


def _training(table: Table, n: int) -> Tensor | None:
    """The rows' numbers in the training part, -1 in another; None where the file is not of `couplings embed`."""
    index, part = table.get(_INDEX), table.get(_PART)
    if index is None or part is None or index.shape != (n,) or part.shape != (n,) or index.dtype.kind not in "iu":
        return None
    parts = entries(part)
    if not _PARTS.issuperset(parts) or (index < 0).any() or (index > np.iinfo(np.int64).max).any():
        return None
    places = torch.from_numpy(np.require(index, np.int64, ["C", "W"]))
    return places.where(torch.tensor([word == _TRAIN for word in parts]), -1)


def _matrix(array: np.ndarray) -> Tensor:
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
    values = [None if _negative(value) else value for value in entries(column(array, one_hot=True))]
    known = {value for value in values if value is not None}
    whole = all(isinstance(value, int) for value in known)
    if (
        whole
        and names is not None
        and names.dtype.kind == "U"
        and names.ndim == 1
        and len(names) > max(known, default=-1)
    ):
        return torch.tensor([-1 if value is None else value for value in values]), tuple(
            "" if name is None else name for name in entries(names)
        )
    (numbers,), classes = numbered([values])
    assert numbers is not None
    return numbers, classes


def _groups(array: np.ndarray) -> Tensor:
    """Numbers of groups; a row without one is a group of its own."""
    alone = object()
    values = [(alone, row) if value is None else value for row, value in enumerate(entries(column(array)))]
    place = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return torch.tensor([place[value] for value in values])


def _words(array: np.ndarray | None) -> tuple[str, ...] | None:
    if array is None:
        return None
    return tuple("" if value is None else str(value) for value in entries(column(array)))


def _negative(value: Any) -> bool:
    return isinstance(value, int) and value < 0


def _is_pictures(array: np.ndarray) -> bool:
    """Bytes (n, h, w), (n, h, w, c) or (n, c, h, w) with c of 1 or 3."""
    fits = array.ndim == 3 or (array.ndim == 4 and (array.shape[3] in (1, 3) or array.shape[1] in (1, 3)))
    return bool(array.dtype == np.uint8 and fits and 0 not in array.shape[1:])


def _thumbnails(array: np.ndarray) -> np.ndarray:
    """(n, h, w) or (n, h, w, c)."""
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
