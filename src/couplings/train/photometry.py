"""Changes of the pixels of a batch, each image by its own amount.

Operations that take more than a line come from kornia with a factor an image; kornia is imported only if a config asks
for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from couplings.train.config import ViewsConfig
from couplings.train.warp import Draw

__all__ = ["Operation", "photometry"]


class Operation(NamedTuple):
    """A change of the pixels, which may overwrite its input: how strong, and how often it draws."""

    strength: float
    apply: Callable[[float, Tensor, Draw], Tensor]
    draws: int = 1


def photometry(config: ViewsConfig) -> list[Operation]:
    """The operations that a config asks for, in their order."""
    all_of_them = [
        Operation(config.hue, _hue),
        Operation(config.saturation, _saturation),
        Operation(config.gamma, _gamma),
        Operation(config.contrast, _contrast),
        Operation(config.brightness, _brightness),
        Operation(config.grayscale, _grayscale),
        Operation(config.blur, _blur, draws=2),
        Operation(config.erase, partial(_erase, config.erase_area), draws=5),
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


_LONGEST = math.log(3.3)
"""Largest logarithm of an erased rectangle's width over its height, as in torchvision."""


def _erase(area: tuple[float, float], probability: float, images: Tensor, draw: Draw) -> Tensor:
    hit, share = draw(0, 1) < probability, draw(*area)
    # A rectangle of nearly the whole image is nearly as tall and wide as it: none has to be cut.
    aspect = (draw(-1, 1) * (-share.log()).clamp(0, _LONGEST)).exp()
    columns = _between((share * aspect).sqrt(), draw(0, 1), images.shape[3])
    rows = _between((share / aspect).sqrt(), draw(0, 1), images.shape[2]) & hit[:, None]
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(inside, images.mean((2, 3), keepdim=True), images)


def _between(length: Tensor, place: Tensor, pixels: int) -> Tensor:
    """Pixels ``(n, pixels)`` whose centre lies in a stretch of that length, both as shares of the side."""
    start = (place * (1 - length))[:, None]
    centres = (torch.arange(pixels, device=length.device) + 0.5) / pixels
    return (centres >= start) & (centres < start + length[:, None])
