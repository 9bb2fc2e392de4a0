"""The embeddings of a run, of an exported encoder, of a folder of images."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor

from couplings.inspection.arrays import pictures_of
from couplings.inspection.subject import Pictures, Subject, numbered
from couplings.system.image_files import MOST_PIXELS
from couplings.train.config import DataConfig, RunConfig
from couplings.train.data import Dataset, Part, to_float
from couplings.train.encoders import ImageShape, Model
from couplings.train.errors import ConfigError, DataError
from couplings.train.export import image_shape, is_export, load_encoder
from couplings.train.image_folder import read_images
from couplings.train.run import Run, fastest_device
from couplings.train.seeds import Purpose, generator
from couplings.train.sources import load
from couplings.train.views import Views

__all__ = ["Where", "folder_subject", "is_run", "run_subject"]

_CHUNK = 1024

Progress = Callable[[float], None]


class Where(Enum):
    """Which vectors of a network."""

    PROJECTIONS = "projections"
    """Where the loss acts."""
    FEATURES = "features"
    """What is kept after training."""


def is_run(path: Path) -> bool:
    """Whether a folder is a run's."""
    return (path / "config.json").is_file() and (path / "metrics.jsonl").is_file()


def run_subject(
    run: Run,
    where: Where = Where.PROJECTIONS,
    images: DataConfig | None = None,
    progress: Progress = lambda share: None,
) -> Subject:
    """The training images of a run, in two fresh views each and as they are, embedded by its network.

    Args:
        run: a trained run.
        where: which vectors.
        images: where the images are now; those of the run's config otherwise.
        progress: told the share that is done.

    Raises:
        ConfigError: a run on images that were given in Python.
        DataError: images that are missing, or of another shape.
    """
    data = load(images or _images(run.config))
    run.check_shape(data.shape)
    first, second, still = _views(run, data, where, progress)
    return Subject(
        name=f"{run.folder.name} on {data.name}",
        embeddings=first,
        positives=second,
        still=still,
        labels=data.train_labels,
        classes=data.classes,
        groups=_kin(data.train_labels) if run.config.pairs.labels else None,
        numbers=None if data.kept is None else data.kept.rows,
        ids=data.ids(Part.TRAIN),
        pictures=_pictures(data.train_images),
        history=tuple(run.metrics()),
    )


def _kin(labels: Tensor | None) -> Tensor | None:
    """Groups of images that the run was told never repel each other: those of a label, and each without one alone."""
    if labels is None:
        return None
    alone = labels.max().clamp_min(0) + 1 + torch.arange(len(labels))
    return torch.where(labels >= 0, labels, alone)


def folder_subject(
    folder: Path,
    encoder: Path,
    size: int | None = None,
    progress: Progress = lambda share: None,
    most_pixels: int = MOST_PIXELS,
) -> Subject:
    """All images below a folder, those of all its parts, embedded by the encoder of a run or of an export.

    Args:
        folder: as :func:`couplings.train.image_folder.read_images` takes.
        encoder: the folder of a run or of an export.
        size: to bring the images to, in pixels; None takes that of the encoder's images.
        progress: told the share that is done.
        most_pixels: of the largest image that is decoded.

    Raises:
        ConfigError: an encoder that is neither run nor export.
        DataError: images that cannot be read, or of another shape than the encoder's.
    """
    embed, shape = _encoder(encoder)
    found, parts = read_images(folder, size or shape.height, most_pixels=most_pixels), list[Tensor]()
    for chunk in torch.split(_of_channels(found.images, shape.channels), _CHUNK):
        parts.append(embed(chunk))
        progress(sum(map(len, parts)) / len(found.images))
    labels, classes = (None, ()) if found.classes is None else numbered(found.classes)
    return Subject(
        name=folder.name,
        embeddings=torch.cat(parts),
        labels=labels,
        classes=classes,
        ids=found.ids,
        pictures=_pictures(found.images),
    )


def _of_channels(images: Tensor, channels: int) -> Tensor:
    """Grey images as an encoder of coloured ones takes them."""
    if images.shape[1] > channels:
        raise DataError(
            "encoder: it was trained on grey images, and these have colours; take another, or make them grey"
        )
    return images.expand(-1, channels, -1, -1)


def _images(config: RunConfig) -> DataConfig:
    if config.data.name == "arrays":
        raise ConfigError(
            "this run was trained on images given in Python; write its features with Run.embed to an .npz"
        )
    return config.data


@torch.no_grad()
def _views(run: Run, data: Dataset, where: Where, progress: Progress) -> list[Tensor]:
    """Two global views of every training image, and the image itself."""
    settings = run.config.views.model_copy(update={"local": None, "count": 2})
    views, device = Views(settings, data.shape.channels), fastest_device()
    network = run.model.to(device).eval()
    random = generator(run.config.seed, Purpose.VIEWS, run.config.steps)
    sides: tuple[list[Tensor], ...] = ([], [], [])
    for chunk in torch.split(torch.arange(len(data.train_images)), _CHUNK):
        images = data.train_images[chunk]
        for side, seen in zip(sides, (*views(images, random), to_float(images)), strict=True):
            side.append(_vectors(network, seen.to(device), where))
        progress(int(chunk[-1] + 1) / len(data.train_images))
    return [torch.cat(side) for side in sides]


def _vectors(network: Model, seen: Tensor, where: Where) -> Tensor:
    found = network(seen)
    vectors: Tensor = found.projections if where is Where.PROJECTIONS else found.features
    return vectors.float().cpu()


def _encoder(folder: Path) -> tuple[Callable[[Tensor], Tensor], ImageShape]:
    """Images (n, c, h, w), uint8, to features; and the shape of those that it was trained on."""
    if is_run(folder):
        run = Run.load(folder)
        return run.embed, run.shape
    if not is_export(folder):
        raise ConfigError(
            f"encoder: {folder} is neither a run nor an export; name what 'couplings train' or 'export' wrote"
        )
    encoder = load_encoder(folder)

    @torch.no_grad()
    def embed(images: Tensor) -> Tensor:
        return torch.cat([encoder(to_float(part)).float() for part in torch.split(images, 256)])

    return embed, image_shape(folder)


def _pictures(images: Tensor) -> Pictures:
    return pictures_of(images.permute(0, 2, 3, 1).numpy())
