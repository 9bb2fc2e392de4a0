"""Changes of the pixels of a batch, each image by its own amount.

Operations that take more than a line come from kornia with a factor an image; kornia is imported only if a config asks
for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from couplings.train.config import ViewsConfig
from couplings.train.warp import Draw

__all__ = ["Operation", "photometry"]


class Operation(NamedTuple):
    """A change of the pixels, which may overwrite its input: how strong, and how often it draws.

    A tuple of strengths has one for each view, and its last for all that follow.
    """

    strength: float | tuple[float, ...]
    apply: Callable[[Any, Tensor, Draw], Tensor]
    draws: int = 1

    def of_views(self, first: int, count: int, each: int, device: torch.device) -> float | Tensor:
        """The strength for ``each`` images of ``count`` views from the ``first`` on: one number, or one an image."""
        if not isinstance(self.strength, tuple):
            return self.strength
        last = len(self.strength) - 1
        strengths = [self.strength[min(view, last)] for view in range(first, first + count)]
        return torch.tensor(strengths, device=device).repeat_interleave(each)


def photometry(config: ViewsConfig) -> list[Operation]:
    """The operations that a config asks for, in their order."""
    return _used(
        *_jitter(config),
        Operation(config.grayscale, _grayscale),
        Operation(config.blur, _blur, draws=2),
        Operation(config.solarise, _solarise),
        Operation(config.erase, partial(_erase, config.erase_area), draws=5),
    )


def _used(*operations: Operation) -> list[Operation]:
    return [each for each in operations if (max(each.strength) if isinstance(each.strength, tuple) else each.strength)]


def _jitter(config: ViewsConfig) -> list[Operation]:
    """The changes of light and colour; as one operation where some views have none of them."""
    parts = _used(
        Operation(config.hue, _hue),
        Operation(config.saturation, _saturation),
        Operation(config.gamma, _gamma),
        Operation(config.contrast, _contrast),
        Operation(config.exposure, _exposure),
        Operation(config.brightness, _brightness),
    )
    if config.jitter == 1:
        return parts
    return [Operation(config.jitter, partial(_sometimes, parts), draws=1 + sum(part.draws for part in parts))]


def _sometimes(parts: list[Operation], probability: float, images: Tensor, draw: Draw) -> Tensor:
    changed = images.clone()
    for part in parts:
        changed = part.apply(part.strength, changed, draw)
    return torch.where(_column(draw(0, 1) < probability), changed, images)


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


def _exposure(strength: float, images: Tensor, draw: Draw) -> Tensor:
    return images.mul_(_column(draw(1 - strength, 1 + strength))).clamp_(0, 1)


def _hue(strength: float, images: Tensor, draw: Draw) -> Tensor:
    from kornia.enhance import adjust_hue

    return adjust_hue(images.clamp(0, 1), draw(-strength, strength) * (2 * math.pi))


def _saturation(strength: float, images: Tensor, draw: Draw) -> Tensor:
    from kornia.color import rgb_to_grayscale

    return torch.lerp(rgb_to_grayscale(images), images, _column(draw(1 - strength, 1 + strength)))


def _grayscale(probability: float, images: Tensor, draw: Draw) -> Tensor:
    from kornia.color import rgb_to_grayscale

    return torch.where(_column(draw(0, 1) < probability), rgb_to_grayscale(images), images)


def _blur(probability: float | Tensor, images: Tensor, draw: Draw) -> Tensor:
    from kornia.filters import gaussian_blur2d

    # A tenth of the image, as in SimCLR, and an odd number of pixels.
    size = max(3, min(images.shape[2:]) // 20 * 2 + 1)
    sigma = draw(0.1, 2)[:, None].expand(-1, 2)
    return torch.where(_column(draw(0, 1) < probability), gaussian_blur2d(images, size, sigma), images)


def _solarise(probability: float | Tensor, images: Tensor, draw: Draw) -> Tensor:
    # From 128 of 255 on, as Pillow has it.
    return torch.where(_column(draw(0, 1) < probability) & (images > 127.5 / 255), 1 - images, images)


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
