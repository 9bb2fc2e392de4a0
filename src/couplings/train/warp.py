"""Crop, aspect, rotation and flip of a batch as one affine map an image, read by one ``grid_sample``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from couplings.train.config import ViewsConfig

__all__ = ["MAP_DRAWS", "Draw", "Frame", "affine_maps", "draws", "frames", "sample", "samples_per_side", "warp"]

Draw = Callable[[float, float], Tensor]
"""Uniform numbers ``(views * n,)`` between two bounds, one an image of every view."""

MAP_DRAWS = 6
"""How often :func:`affine_maps` draws."""


class Frame(NamedTuple):
    """How a kind of views is cut: the range of its area as a share of the image, its height and width in pixels."""

    crop: tuple[float, float]
    size: tuple[int, int]


def frames(config: ViewsConfig, images: Tensor) -> tuple[Frame, Frame | None]:
    """The frames of the global and of the local views of images ``(n, c, h, w)``."""
    local, size = config.local, (images.shape[2], images.shape[3])
    return Frame(config.crop, size), None if local is None else Frame(local.crop, (local.size, local.size))


def draws(
    views: int,
    each: int,
    images: int,
    generator: torch.Generator,
    part: slice = slice(None),
    device: torch.device | None = None,
) -> Draw:
    """Uniform numbers, ``each`` times one an image of every view; a view's own follow one another in the generator.

    All images' are drawn, and those of a ``part`` of them given.
    """
    numbers = torch.rand(views, each, images, generator=generator, device=generator.device)[:, :, part]
    columns = iter(numbers.to(device).transpose(0, 1).flatten(1))
    return lambda low, high: next(columns) * (high - low) + low


def affine_maps(config: ViewsConfig, frame: Frame, draw: Draw, tallness: float) -> Tensor:
    """Maps ``(n, 2, 3)`` from a view's coordinates to its image's, both from -1 to 1.

    ``tallness`` is the height of the images over their width.
    """
    # A square view of a wide image shows a square of it.
    stretch = tallness * (frame.size[1] / frame.size[0])
    area = draw(*frame.crop)
    aspect = draw(math.log(config.aspect[0]), math.log(config.aspect[1])).exp() * stretch
    width, height = (area * aspect).sqrt().clamp_max(1), (area / aspect).sqrt().clamp_max(1)
    x, y = draw(-1, 1) * (1 - width), draw(-1, 1) * (1 - height)
    mirror = torch.where(draw(0, 1) < config.flip, -1.0, 1.0)
    angle = draw(-math.radians(config.rotation), math.radians(config.rotation))
    cos, sin = angle.cos(), angle.sin()
    # With the tallness a rotation is one in pixels.
    top = torch.stack([cos * width * mirror, -sin * height * tallness, x], 1)
    bottom = torch.stack([sin * width * mirror / tallness, cos * height, y], 1)
    return torch.stack([top, bottom], 1)


def warp(images: Tensor, theta: Tensor, frame: Frame) -> Tensor:
    """The views of float images that the maps describe, antialiased where a frame may shrink its image."""
    return sample(images, theta, frame.size, samples_per_side(frame, images.shape[2:]))


def sample(images: Tensor, theta: Tensor, size: tuple[int, int], each: int) -> Tensor:
    """Views of a height and width, each of their pixels the mean of ``each`` x ``each`` bilinear samples."""
    grid = _grid(theta, each * size[0], each * size[1])
    seen = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(seen, each) if each > 1 else seen


def samples_per_side(frame: Frame, size: torch.Size) -> int:
    """So many that samples of a view's pixel lie at most 1.5 of the image's pixels apart.

    One sample reads two pixels along each side; two apart, they would still see one phase of the finest stripes.
    """
    share = math.sqrt(frame.crop[1])
    shrink = max(share * whole / side for whole, side in zip(size, frame.size, strict=True))
    return max(1, math.ceil(shrink / 1.5))


def _grid(theta: Tensor, height: int, width: int) -> Tensor:
    """``affine_grid`` by one matrix product, each coordinate in one piece: what ``grid_sample`` reads fastest."""
    y, x = (_centres(side, theta.device) for side in (height, width))
    places = torch.stack([x.repeat(height), y.repeat_interleave(width), torch.ones_like(x).repeat(height)])
    return (theta.reshape(-1, 3) @ places).reshape(len(theta), 2, height, width).permute(0, 2, 3, 1)


def _centres(side: int, device: torch.device) -> Tensor:
    """Centres of the pixels of a side, whose borders are -1 and 1."""
    return (2 * torch.arange(side, device=device) + 1) / side - 1
