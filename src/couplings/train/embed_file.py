"""The features of a data set as a file: ``.npz`` for numpy, ``.parquet`` for tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from couplings.system.files import replacing
from couplings.train.data import Dataset, Part
from couplings.train.errors import ConfigError, DataError
from couplings.train.extras import imported
from couplings.train.folder import make_folders, remove_empty
from couplings.train.run import Run

__all__ = ["FORMATS", "Embeddings", "Part", "check_output", "embed_dataset", "write_embeddings"]

_CHUNK = 2048


@dataclass(frozen=True)
class Embeddings:
    """Features of images, and which images they are.

    Attributes:
        features: float32 ``(n, dim)``.
        labels: int64 ``(n,)``, numbers of ``classes``; -1 where there is no label.
        index: int64 ``(n,)``, the place of the image in its part, before images were left out of it.
        part: words ``(n,)``, ``train`` or ``test``.
        classes: names; empty without labels.
        ids: words ``(n,)``, as :meth:`couplings.train.Dataset.ids` has them.
    """

    features: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    part: np.ndarray
    classes: tuple[str, ...]
    ids: np.ndarray


def embed_dataset(
    run: Run,
    data: Dataset,
    parts: Sequence[Part] = tuple(Part),
    progress: Callable[[int], None] = lambda done: None,
) -> Embeddings:
    """The features of some parts of a data set; ``progress`` is told how many images are done.

    Raises:
        DataError: images of another shape than the encoder was trained on, or none at all.

    Example:
        >>> from couplings.train import Silent, fit
        >>> run = fit(torch.randint(256, (64, 8, 8)), batch_size=32, steps=2, observer=Silent())
        >>> found = embed_dataset(run, run.dataset)
        >>> found.features.shape, found.part[0], found.labels[0]
        ((64, 128), np.str_('train'), np.int64(-1))
    """
    chosen = [(part, *_of(data, part)) for part in parts]
    total = count(data, parts)
    if total == 0:
        raise DataError(f"{data.name}: no image in part {' or '.join(part.value for part in parts)}; take another part")
    features: list[Tensor] = []
    for _, images, _ in chosen:
        for chunk in images.split(_CHUNK) if len(images) else ():
            features.append(run.embed(chunk))
            progress(sum(map(len, features)))
    return Embeddings(
        features=torch.cat(features).numpy(),
        labels=np.concatenate([_numbers(images, labels) for _, images, labels in chosen]),
        index=np.concatenate([_places(data, part) for part in parts]),
        part=np.concatenate([np.full(len(images), part.value, dtype="<U5") for part, images, _ in chosen]),
        classes=data.classes,
        ids=np.concatenate([np.array(data.ids(part), dtype=str) for part in parts]),
    )


def count(data: Dataset, parts: Sequence[Part]) -> int:
    """How many images there are in some parts."""
    return sum(len(_of(data, part)[0]) for part in parts)


def _of(data: Dataset, part: Part) -> tuple[Tensor, Tensor | None]:
    if part is Part.TRAIN:
        return data.train_images, data.train_labels
    return data.test_images, data.test_labels


def _places(data: Dataset, part: Part) -> np.ndarray:
    return data.places.rows.numpy() if part is Part.TRAIN else np.arange(len(data.test_images))


def _numbers(images: Tensor, labels: Tensor | None) -> np.ndarray:
    return np.full(len(images), -1) if labels is None else labels.numpy().astype(np.int64)


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse a file before anything is computed for it.

    Raises:
        ConfigError: an unknown suffix, a file that exists (unless ``overwrite``), or a missing library.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"output: {path} ends in '{path.suffix}'; write {' or '.join(FORMATS)}")
    if path.is_dir():
        raise ConfigError(f"output: {path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise ConfigError(f"output: {path} exists; name another file, or replace it with --overwrite")
    if path.suffix == ".parquet":
        _arrow()


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write a file whole or not at all, in the format of its suffix; folders are made.

    ``.npz``: arrays ``features``, ``labels``, ``ids``, ``index``, ``part`` and ``classes``, without pickles.
    ``.parquet``: a row an image, with the columns id, part, index, label and class (null where there is none) and
    features, a list of fixed size.

    Raises:
        ConfigError: an unknown suffix or a missing library.
        OSError: the file cannot be written.
    """
    check_output(path, overwrite=True)
    made = make_folders(path.parent)
    try:
        with replacing(path) as file:
            FORMATS[path.suffix](file, embeddings)
    except BaseException:
        remove_empty(made)
        raise


def _write_npz(file: BinaryIO, found: Embeddings) -> None:
    np.savez(
        file,
        features=found.features,
        labels=found.labels,
        ids=found.ids,
        index=found.index,
        part=found.part,
        classes=np.array(found.classes, dtype=str),
    )


def _arrow() -> Any:
    imported("pyarrow.parquet", "a .parquet file", "'couplings[parquet]'")
    return imported("pyarrow", "a .parquet file", "'couplings[parquet]'")


def _write_parquet(file: BinaryIO, found: Embeddings) -> None:
    arrow = _arrow()
    names = np.array([*found.classes, None], dtype=object)
    unknown = found.labels < 0
    columns = {
        "id": arrow.array(found.ids),
        "part": arrow.array(found.part).dictionary_encode(),
        "index": arrow.array(found.index),
        "label": arrow.array(found.labels, mask=unknown),
        "class": arrow.array(names[found.labels], type=arrow.string()).dictionary_encode(),
        "features": arrow.FixedSizeListArray.from_arrays(arrow.array(found.features.ravel()), found.features.shape[1]),
    }
    table = arrow.table(columns).replace_schema_metadata({"classes": json.dumps(found.classes)})
    arrow.parquet.write_table(table, file)


FORMATS: dict[str, Callable[[BinaryIO, Embeddings], None]] = {".npz": _write_npz, ".parquet": _write_parquet}
"""How a file is written, by its suffix."""
