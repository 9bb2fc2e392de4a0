"""The recipe of each data set: measured on two CPU cores for digits and Fashion-MNIST, customary for the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from couplings.train.config import (
    DATA_NAMES,
    DataConfig,
    EncoderConfig,
    LossConfig,
    OptimiserConfig,
    ProjectorConfig,
    RunConfig,
    ViewsConfig,
)
from couplings.train.errors import ConfigError, did_you_mean

__all__ = ["preset"]

_COLOUR: dict[str, Any] = {
    "contrast": 0.4,
    "brightness": 0.2,
    "gamma": 0.3,
    "saturation": 0.4,
    "hue": 0.1,
    "grayscale": 0.2,
}


def _digits() -> RunConfig:
    views = ViewsConfig(crop=(0.6, 1.0), rotation=15, contrast=0.3)
    return RunConfig(views=views, steps=250)


def _fashion_mnist() -> RunConfig:
    views = ViewsConfig(crop=(0.4, 1.0), flip=0.5, contrast=0.4, brightness=0.2, gamma=0.4)
    loss = LossConfig(name="infonce", params={"temperature": 0.2})
    return RunConfig(data=DataConfig(name="fashion-mnist"), views=views, loss=loss, steps=1000)


def _photographs(name: str, *, flip: float = 0.5, **settings: Any) -> RunConfig:
    """SimCLR's settings for CIFAR, which want a GPU."""
    views = ViewsConfig(crop=(0.2, 1.0), flip=flip, **_COLOUR)
    return RunConfig(
        data=DataConfig(name=name),
        views=views,
        encoder=EncoderConfig(name="resnet18"),
        projector=ProjectorConfig(hidden=512, dim=128),
        loss=LossConfig(name="infonce", params={"temperature": 0.2}),
        optimiser=OptimiserConfig(lr=1e-3, warmup_steps=1000),
        **{"batch_size": 256, "steps": 40_000, "log_every": 50, "diagnose_every": 500, **settings},
    )


def _own_images(name: str, folder: Path | None = None) -> RunConfig:
    """Cautious augmentation for images nobody has seen: no flip and no colour operation."""
    views = ViewsConfig(crop=(0.4, 1.0), contrast=0.3, brightness=0.15, gamma=0.3)
    loss = LossConfig(name="infonce", params={"temperature": 0.2})
    return RunConfig(data=DataConfig(name=name, folder=folder), views=views, loss=loss, steps=500)


_PRESETS: dict[str, Callable[[], RunConfig]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "cifar10": partial(_photographs, "cifar10"),
    "cifar100": partial(_photographs, "cifar100"),
    "stl10": partial(_photographs, "stl10"),
    # A mirrored house number is another one.
    "svhn": partial(_photographs, "svhn", flip=0.0),
    "images": partial(_own_images, "images", Path("images")),
    "npz": partial(_own_images, "npz", Path("images.npz")),
    "arrays": partial(_own_images, "arrays"),
}
assert set(_PRESETS) == set(DATA_NAMES)


def preset(data: str) -> RunConfig:
    """The recipe for a data set; ``images`` and ``npz`` want ``data.folder`` set afterwards.

    Raises:
        ConfigError: there is no such data set.

    Example:
        >>> preset("digits").steps
        250
    """
    if data not in _PRESETS:
        raise ConfigError(f"data.name: unknown name '{data}'; {did_you_mean(data, _PRESETS)}")
    return _PRESETS[data]()
