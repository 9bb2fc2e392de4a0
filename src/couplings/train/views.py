"""Random views of a whole batch at once, drawn for each image on its own, on the device of the images.

Crop, aspect, rotation and flip are one affine map an image, so all views cost a single ``grid_sample``: side by
side on two CPU cores, 5 to 7 times as many images a second as kornia's modules for the same operations.
Colour operations that take more than a line come from kornia with a factor an image; kornia is imported only if
a config asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from couplings.train.config import ViewsConfig
from couplings.train.data import to_float
from couplings.train.errors import ConfigError

__all__ = ["Views"]

Draw = Callable[[float, float], Tensor]
"""Uniform numbers ``(views * n,)`` between two bounds, one an image of every view."""


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
        # All views in one tensor: on small images every operation costs more to start than to do.
        whole = to_float(images).repeat(self.config.count, 1, 1, 1)
        each = _MAP_DRAWS + sum(operation.draws for operation in self._operations)
        draw = draws(self.config.count, each, len(images), generator)
        theta = affine_maps(self.config, draw, images.shape[2] / images.shape[3])
        seen = F.grid_sample(whole, _grid(theta, whole), padding_mode="reflection", align_corners=False)
        for operation in self._operations:
            seen = operation.apply(operation.strength, seen, draw)
        return (seen.clamp_(0, 1) if self._operations else seen).split(len(images))


def draws(views: int, each: int, images: int, generator: torch.Generator) -> Draw:
    """Uniform numbers, ``each`` times one an image of every view; a view's own follow one another in the generator."""
    numbers = torch.rand(views, each, images, generator=generator, device=generator.device)
    columns = iter(numbers.transpose(0, 1).reshape(each, views * images))
    return lambda low, high: next(columns) * (high - low) + low


_MAP_DRAWS = 6
"""How often :func:`affine_maps` draws."""


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


def _grid(theta: Tensor, images: Tensor) -> Tensor:
    """``affine_grid`` by one matrix product, each coordinate in one piece: what ``grid_sample`` reads fastest."""
    height, width = images.shape[2:]
    y, x = (_centres(side, theta.device) for side in (height, width))
    places = torch.stack([x.repeat(height), y.repeat_interleave(width), torch.ones_like(x).repeat(height)])
    return (theta.reshape(-1, 3) @ places).reshape(-1, 2, height, width).permute(0, 2, 3, 1)


def _centres(side: int, device: torch.device) -> Tensor:
    """Centres of the pixels of a side, whose borders are -1 and 1."""
    return (2 * torch.arange(side, device=device) + 1) / side - 1


class _Operation(NamedTuple):
    """A change of the pixels, which may overwrite its input: how strong, and how often it draws."""

    strength: float
    apply: Callable[[float, Tensor, Draw], Tensor]
    draws: int = 1


def _photometry(config: ViewsConfig) -> list[_Operation]:
    """The operations that a config asks for, in their order."""
    all_of_them = [
        _Operation(config.hue, _hue),
        _Operation(config.saturation, _saturation),
        _Operation(config.gamma, _gamma),
        _Operation(config.contrast, _contrast),
        _Operation(config.brightness, _brightness),
        _Operation(config.grayscale, _grayscale),
        _Operation(config.blur, _blur, draws=2),
    ]
    return [operation for operation in all_of_them if operation.strength]


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _gamma(strength: float, images: Tensor, draw: Draw) -> Tensor:
    # Not exp of a logarithm, which is fast only where no pixel is black.
    return images.clamp_(0, 1).pow_(_column(draw(-strength, strength).exp()))


def _contrast(strength: float, images: Tensor, draw: Draw) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    # In place, half of what lerp takes.
    return images.sub_(mean).mul_(_column(draw(1 - strength, 1 + strength))).add_(mean)


def _brightness(strength: float, images: Tensor, draw: Draw) -> Tensor:
    return images.add_(_column(draw(-strength, strength)))


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
