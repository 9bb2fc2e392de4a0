"""Random views of a whole batch at once, drawn for each image on its own, on the device of the images.

Crop, aspect, rotation and flip are one affine map an image, so a view costs a single ``grid_sample``: side by
side on two CPU cores, 5 to 7 times as many images a second as kornia's modules for the same operations.
Colour operations that take more than a line come from kornia with a factor an image; kornia is imported only if
a config asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from couplings.train.config import ViewsConfig
from couplings.train.data import to_float
from couplings.train.errors import ConfigError

__all__ = ["Views"]

Draw = Callable[[float, float], Tensor]
"""Uniform numbers ``(n,)`` between two bounds, one an image."""


class Views:
    """Draws random views of a batch.

    Args:
        config: the ranges of the augmentation.
        channels: of the images; colour operations want three.

    Raises:
        ConfigError: a colour operation on images without colour.

    Example:
        >>> views = Views(ViewsConfig(count=2, rotation=15), channels=1)
        >>> batch = torch.randint(256, (4, 1, 8, 8), dtype=torch.uint8)
        >>> a, b = views(batch, torch.Generator().manual_seed(0))
        >>> a.shape, a.dtype
        (torch.Size([4, 1, 8, 8]), torch.float32)
    """

    def __init__(self, config: ViewsConfig, channels: int) -> None:
        asked = [name for name in ("saturation", "hue", "grayscale") if getattr(config, name)]
        if asked and channels != 3:
            raise ConfigError(f"views.{asked[0]}: the images have {channels} channel and no colour; set it to 0")
        self.config = config
        self._operations = _photometry(config)

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """``config.count`` views ``(n, c, h, w)`` in [0, 1] of uint8 or float images ``(n, c, h, w)``."""
        whole = to_float(images)
        return tuple(self._view(whole, generator) for _ in range(self.config.count))

    def _view(self, images: Tensor, generator: torch.Generator) -> Tensor:
        draw = partial(_uniform, len(images), generator)
        theta = affine_maps(self.config, draw, images.shape[2] / images.shape[3])
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        view = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        for operation in self._operations:
            view = operation(view, draw)
        return view.clamp(0, 1) if self._operations else view


def _uniform(count: int, generator: torch.Generator, low: float, high: float) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low


def affine_maps(config: ViewsConfig, draw: Draw, tallness: float) -> Tensor:
    """Maps ``(n, 2, 3)`` from a view's coordinates to the image's, both from -1 to 1.

    ``tallness`` is the height over the width, so that a rotation stays one in pixels.
    """
    area = draw(*config.crop)
    aspect = draw(math.log(config.aspect[0]), math.log(config.aspect[1])).exp()
    width, height = (area * aspect).sqrt().clamp_max(1), (area / aspect).sqrt().clamp_max(1)
    x, y = draw(-1, 1) * (1 - width), draw(-1, 1) * (1 - height)
    mirror = torch.where(draw(0, 1) < config.flip, -1.0, 1.0)
    angle = draw(-math.radians(config.rotation), math.radians(config.rotation))
    cos, sin = angle.cos(), angle.sin()
    top = torch.stack([cos * width * mirror, -sin * height * tallness, x], 1)
    bottom = torch.stack([sin * width * mirror / tallness, cos * height, y], 1)
    return torch.stack([top, bottom], 1)


Operation = Callable[[Tensor, Draw], Tensor]


def _photometry(config: ViewsConfig) -> list[Operation]:
    """The operations that a config asks for, in their order."""
    asked: list[tuple[float, Callable[..., Tensor]]] = [
        (config.hue, _hue),
        (config.saturation, _saturation),
        (config.gamma, _gamma),
        (config.contrast, _contrast),
        (config.brightness, _brightness),
        (config.grayscale, _grayscale),
        (config.blur, _blur),
    ]
    return [partial(operation, strength) for strength, operation in asked if strength]


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _gamma(strength: float, images: Tensor, draw: Draw) -> Tensor:
    return images.clamp(0, 1).pow(_column(draw(-strength, strength).exp()))


def _contrast(strength: float, images: Tensor, draw: Draw) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, _column(draw(1 - strength, 1 + strength)))


def _brightness(strength: float, images: Tensor, draw: Draw) -> Tensor:
    return images + _column(draw(-strength, strength))


def _hue(strength: float, images: Tensor, draw: Draw) -> Tensor:
    from kornia.enhance import adjust_hue

    return adjust_hue(images.clamp(0, 1), draw(-strength, strength) * (2 * math.pi))


def _saturation(strength: float, images: Tensor, draw: Draw) -> Tensor:
    from kornia.color import rgb_to_grayscale

    return torch.lerp(rgb_to_grayscale(images), images, _column(draw(1 - strength, 1 + strength)))


def _grayscale(probability: float, images: Tensor, draw: Draw) -> Tensor:
    from kornia.color import rgb_to_grayscale

    return torch.where(_column(draw(0, 1) < probability), rgb_to_grayscale(images), images)


def _blur(probability: float, images: Tensor, draw: Draw) -> Tensor:
    from kornia.filters import gaussian_blur2d

    # A tenth of the image, as in SimCLR, and an odd number of pixels.
    size = max(3, min(images.shape[2:]) // 20 * 2 + 1)
    sigma = draw(0.1, 2)[:, None].expand(-1, 2)
    return torch.where(_column(draw(0, 1) < probability), gaussian_blur2d(images, size, sigma), images)
