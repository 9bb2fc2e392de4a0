"""A run is a folder; :class:`Run` reads it."""

from __future__ import annotations

import platform
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from couplings.losses import Batch, Couplings, Loss, losses_by_name
from couplings.plans.coupling import Coupling
from couplings.train.checkpoint import fill, load_weights, newest_checkpoint, read_json
from couplings.train.config import LossConfig, RunConfig
from couplings.train.data import Dataset, to_float, to_images
from couplings.train.encoders import Encoder, ImageShape, Model, build_encoder, head
from couplings.train.errors import ConfigError, DataError
from couplings.train.folder import CONFIG, ENCODER_FORMAT, EXCLUDED, METRICS, WEIGHTS
from couplings.train.neighbours import leave_one_out_accuracy
from couplings.train.pair_file import checksum
from couplings.train.records import read_records

__all__ = ["AbsentLoss", "Run", "build_model", "describe_run", "weight_parts"]

PACKAGES = ("couplings", "torch", "torchvision", "lightning-fabric", "scikit-learn")


class AbsentLoss(Loss):
    """Stands for the loss of a run that is not known here; who calls it is told how to make it known."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def couplings(self, batch: Batch) -> dict[str, Coupling]:
        """There are none.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"loss.name: '{self.name}' is no loss of couplings; put its class into couplings.losses.LOSSES under this"
            " name, and read the run again"
        )

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """Not reached: couplings come first."""
        raise NotImplementedError

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """What the loss had learnt is left alone."""


def _known(loss: object) -> bool:
    return loss in losses_by_name()


def _config(saved: Mapping[str, Any]) -> RunConfig:
    """Settings as they were saved; those of a loss that is not known here are not looked at."""
    loss = saved.get("loss")
    if not isinstance(loss, dict) or not isinstance(loss.get("name"), str) or _known(loss["name"]):
        return RunConfig(**saved)
    rest = RunConfig(**{key: value for key, value in saved.items() if key != "loss"})
    unread = LossConfig.model_construct(name=loss["name"], params=loss.get("params", {}))
    return rest.model_copy(update={"loss": unread})


@dataclass(frozen=True)
class Run:
    """A trained encoder and the folder it lies in.

    Attributes:
        folder: holds ``config.json``, ``metrics.jsonl``, ``weights.safetensors`` and, once evaluated,
            ``evaluation.json``.
        config: all settings.
        model: encoder and projector, in eval mode.
        loss: with what it has learnt (a temperature). A loss of one's own that is not in ``couplings.losses.LOSSES``
            when the run is read is an :class:`AbsentLoss`: all but the loss can be used.
        step: steps that the weights have seen.
        shape: of the images.
        dataset: the images it was trained on, if they are still in memory.
    """

    folder: Path
    config: RunConfig
    model: Model
    loss: Loss
    step: int
    shape: ImageShape
    dataset: Dataset | None = field(default=None, repr=False)

    @classmethod
    def load(cls, folder: Path | str) -> Run:
        """Read a run folder: its weights, or its newest checkpoint where it is not finished.

        Raises:
            DataError: a file is missing or damaged.
        """
        place = Path(folder)
        if not (place / CONFIG).is_file():
            raise DataError(f"{place} is not a run folder: it has no {CONFIG}; name one that 'couplings train' wrote")
        saved = read_json(place / CONFIG)
        if isinstance(saved, dict) and saved.get("format") == ENCODER_FORMAT:
            raise DataError(
                f"{place} is an export, which knows its encoder alone; name the folder of the run, or read the encoder "
                "in Python with couplings.train.load_encoder"
            )
        try:
            config, shape = _config(saved["config"]), ImageShape(*saved["image_shape"])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{place / CONFIG} was not written by couplings ({error!r}); restore it") from None
        except ConfigError as error:
            raise ConfigError(f"{place / CONFIG}: {error}") from None
        model = build_model(without_fetching(config), shape)
        loss = config.loss.build() if _known(config.loss.name) else AbsentLoss(config.loss.name)
        step = _load(place, model, loss, config.steps)
        return cls(place, config, model.eval(), loss, step, shape)

    @property
    def encoder(self) -> Encoder:
        """The encoder without its projector, in eval mode."""
        return self.model.encoder

    @property
    def finished(self) -> bool:
        """Whether training went to its last step."""
        return self.step >= self.config.steps

    def embed(self, images: Any, batch_size: int = 512) -> Tensor:
        """Features ``(n, dim)``, float32 on the CPU, of images as :func:`couplings.train.data.to_images` takes.

        Raises:
            DataError: images of other channels or another size than those it was trained on.
        """
        pixels = to_images(images)
        self.check_shape(pixels.shape[1:])
        return embed(self.encoder, pixels, batch_size)

    def check_shape(self, came: Sequence[int]) -> None:
        """Refuse images of another shape (channels, height, width) than those the encoder was trained on.

        Raises:
            DataError: names both shapes.
        """
        if tuple(came) != tuple(self.shape):
            raise DataError(
                f"images: {tuple(came)} came, the encoder was trained on {tuple(self.shape)} (channels, height, width);"
                " resize them"
            )

    def metrics(self) -> list[dict[str, Any]]:
        """The records of the training, one a logged step."""
        return read_records(self.folder / METRICS)

    def knn_accuracy(self, images: Any, labels: Any, neighbours: int = 20) -> float:
        """Share of ``images`` whose nearest others (cosine, weighted vote) name their class: leave one out."""
        return leave_one_out_accuracy(self.embed(images), labels, neighbours)

    def picture(self, path: Path | str, images: Any = None, labels: Any = None, limit: int = 2000) -> Path:
        """Draw the features in two dimensions, coloured by label; by default of the training images.

        Returns the path of the picture.
        """
        from couplings.report import embedding_map

        if images is None:
            if self.dataset is None:
                raise DataError("images: this run was loaded from its folder; pass the images to draw")
            part = self.dataset.limited(limit)
            images, labels = part.train_images, part.train_labels
        embedding_map(self.embed(images), labels, Path(path))
        return Path(path)


def without_fetching(config: RunConfig) -> RunConfig:
    """The same network, whose weights are here already."""
    return config.model_copy(update={"encoder": config.encoder.from_scratch})


def _load(folder: Path, model: Model, loss: Loss, steps: int) -> int:
    weights = folder / WEIGHTS
    if weights.is_file():
        return load_weights(weights, weight_parts(model, loss))
    checkpoint = newest_checkpoint(folder, steps)
    if checkpoint is None:
        raise DataError(
            f"{weights} is missing, and there is no whole checkpoint; the command that began the run goes on with it"
        )
    fill(folder, {"model.": model, "loss.": loss}, checkpoint.tensors)
    return checkpoint.step


def weight_parts(model: Model, loss: Loss) -> dict[str, nn.Module]:
    """What the file of weights holds, by prefix."""
    return {"": model, "loss.": loss}


def build_model(config: RunConfig, shape: ImageShape) -> Model:
    """The network of a config, with random weights from torch's global generator."""
    encoder = build_encoder(config.encoder.name, shape, dict(config.encoder.params))
    size, predictor = config.projector.dim, config.predictor
    projector = head(encoder.dim, config.projector.hidden, size, config.projector.batch_norm)
    return Model(encoder, projector, None if predictor is None else head(size, predictor.hidden, size))


@torch.no_grad()
def embed(encoder: Encoder, images: Tensor, batch_size: int = 512) -> Tensor:
    """Features of images ``(n, c, h, w)``, computed on the fastest device, as float32 on the CPU."""
    home, training = encoder.mean.device, encoder.training
    device = fastest_device()
    encoder.to(device).eval()
    features = [encoder(to_float(chunk.to(device))).float().cpu() for chunk in images.split(batch_size)]
    encoder.to(home).train(training)
    return torch.cat(features)


def fastest_device() -> torch.device:
    """What Lightning Fabric picks on this machine."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    # Whatever starts processes here has no say in it.
    return Fabric(accelerator="auto", devices=1, plugins=[LightningEnvironment()]).device


def describe_run(config: RunConfig, data: Dataset) -> dict[str, Any]:
    """What ``config.json`` holds: enough to build the model again, and to tell other images or excluded pairs.

    Raises:
        DataError: the file of excluded pairs cannot be read.
    """
    pairs = config.pairs.exclude
    return {
        "config": config.model_dump(mode="json"),
        "image_shape": list(data.shape),
        "images": _fingerprint(data),
        **({} if pairs is None else {EXCLUDED: checksum(pairs)}),
        "versions": _versions(),
    }


_LOOKED_AT = 2000


def _fingerprint(data: Dataset) -> dict[str, Any]:
    """What tells other images, labels or domains."""
    return {
        "count": len(data.train_images),
        "checksum": _checksum(data.train_images),
        "labels": _checksum(data.train_labels, data.train_domains),
        "test": _checksum(data.test_images, data.test_labels),
    }


def _checksum(*parts: Tensor | None) -> str:
    """Of some of the rows, evenly chosen, of labels all."""
    found = 0
    for part in parts:
        if part is not None:
            some = part[:: max(1, len(part) // _LOOKED_AT)] if part.ndim > 1 else part
            found = zlib.crc32(some.contiguous().numpy().data, found)
    return f"{found:08x}"


def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
