"""The training loop beside lightly's: the same images, encoder, projector, optimiser and loss.

Both train on Fashion-MNIST with our recipe; images a second count samples, each of which gives two views. Theirs is
written as lightly's documentation writes SimCLR: its transform on PIL images in torch's loader, the model called once
a view, its NTXentLoss. What its transform cannot do as ours does: brightness is a factor instead of a shift, there is
no gamma, and crops are resampled in eight bits. Normalisation is left out, because the encoder has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from couplings.train.config import DataConfig, RunConfig, ViewsConfig, with_overrides
from couplings.train.data import Dataset
from couplings.train.errors import DataError
from couplings.train.presets import preset
from couplings.train.sources import load

from .work import Call, Contender, Goal, NotComparable, Quantity, Role, Size, Work

__all__ = ["Lightly", "Ours", "Setting", "works"]

_STEPS = 40
"""Steps of a call: a loader with workers starts anew in each, and this many hide the wait for its first batch."""
_WORKERS = (0, 1, 2)
_FOREVER = 10**6


def _fashion_mnist() -> Dataset:
    return load(DataConfig(name="fashion-mnist"))


@dataclass(frozen=True, eq=False)  # works are told apart by hash, which a config has none of
class Setting:
    """What both sides share.

    Attributes:
        config: the recipe; a size's rows are its batch times its views.
        source: gives the images.
        steps: of one call.
    """

    config: RunConfig
    source: Callable[[], Dataset]
    steps: int = _STEPS

    def images(self) -> Dataset:
        """The images; `NotComparable` if they are not there."""
        try:
            return self.source()
        except DataError as error:
            raise NotComparable(str(error)) from None

    def sized(self, size: Size) -> RunConfig:
        """The recipe with that many rows a batch, and a schedule that does not end while we measure."""
        return with_overrides(self.config, {"batch_size": _batch(size), "steps": _FOREVER})

    def units(self, size: Size) -> float:
        """Images that a call trains on."""
        return float(self.steps * _batch(size))


def _batch(size: Size) -> int:
    return size.rows // 2


@dataclass(frozen=True)
class Ours:
    """The loop of `couplings train`, with what it logs and diagnoses."""

    setting: Setting

    def __call__(self, size: Size, device: torch.device) -> Call:
        """Prepare a run; a call goes on with it and returns the last loss that was logged."""
        from lightning_fabric import Fabric

        from couplings.train.trainer import prepare

        config = self.setting.sized(size)
        fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
        trainer = prepare(config, self.setting.images(), fabric)
        if trainer.fabric.device.type != device.type:
            raise NotComparable(f"couplings train takes {trainer.fabric.device.type} here")
        records = trainer.steps()

        def call() -> tuple[Tensor]:
            losses = [record.loss for record in islice(records, self.setting.steps) if record.loss is not None]
            return (torch.tensor(losses[-1]),)

        return call


class _Pictures(torch.utils.data.Dataset[Any]):
    """PIL images through a transform, as torchvision's data sets give them."""

    def __init__(self, images: Tensor, transform: Callable[[Any], Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        from PIL import Image

        pixels = self.images[place].permute(1, 2, 0).squeeze(2).numpy()
        return self.transform(Image.fromarray(pixels)), 0


def _transform(views: ViewsConfig, side: int) -> Any:
    """SimCLR's transform of lightly with our ranges."""
    from lightly.transforms import SimCLRTransform

    assert isinstance(views.blur, float)
    return SimCLRTransform(
        input_size=side,
        cj_prob=views.jitter,
        cj_bright=views.brightness,
        cj_contrast=views.contrast,
        cj_sat=views.saturation,
        cj_hue=views.hue,
        min_scale=views.crop[0],
        random_gray_scale=views.grayscale,
        gaussian_blur=views.blur,
        hf_prob=views.flip,
        normalize=None,
    )


@dataclass(frozen=True)
class Lightly:
    """SimCLR by lightly, with so many worker processes."""

    setting: Setting
    workers: int

    def __call__(self, size: Size, device: torch.device) -> Call:
        """Prepare loader, model, loss and optimiser; a call trains on and returns the last loss."""
        from lightly.loss import NTXentLoss

        from couplings.train.run import build_model

        config, data = self.setting.sized(size), self.setting.images()
        loader = self._loader(data, config)
        model = build_model(config, data.shape).to(device)
        model.encoder.standardise_by(data.train_images)
        criterion = NTXentLoss(temperature=config.loss.params["temperature"])
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=config.optimiser.lr, weight_decay=config.optimiser.weight_decay, fused=True
        )
        return lambda: (_epoch(loader, model, criterion, optimiser, device),)

    def _loader(self, data: Dataset, config: RunConfig) -> Any:
        """Batches of one call: none is made before it or left after it, so that workers rest while others run."""
        pictures = _Pictures(data.train_images, _transform(config.views, data.shape.height))
        chosen = torch.utils.data.RandomSampler(pictures, num_samples=self.setting.steps * config.batch_size)
        return torch.utils.data.DataLoader(
            pictures,
            batch_size=config.batch_size,
            sampler=chosen,
            drop_last=True,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )


def _epoch(loader: Any, model: nn.Module, criterion: nn.Module, optimiser: Any, device: torch.device) -> Tensor:
    for first, second in _pairs(loader):
        loss = criterion(model(first.to(device))[1], model(second.to(device))[1])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return loss.detach()


def _pairs(loader: Any) -> Iterator[tuple[Tensor, Tensor]]:
    return (pair for pair, _ in loader)


def _name(workers: int) -> str:
    return f"lightly, {workers} worker{'s' * (workers != 1)}"


def works() -> Sequence[Work]:
    """Fashion-MNIST by our recipe, lightly with each number of workers; the fastest of them is the one to beat."""
    setting = Setting(preset("fashion-mnist"), _fashion_mnist)
    peers = [
        Contender(_name(workers), Lightly(setting, workers), role=Role.YARDSTICK, package="lightly")
        for workers in _WORKERS
    ]
    return [
        Work(
            "fashion-mnist",
            f"{_STEPS} steps of training, small CNN, two views",
            (Size(256, setting.config.projector.dim),),
            Contender("couplings train", Ours(setting)),
            tuple(peers),
            tuple(Goal(Quantity.TIME, 1 / 3, peer.name) for peer in peers),
            unit="images/s",
            units=setting.units,
            memory=False,
        )
    ]
