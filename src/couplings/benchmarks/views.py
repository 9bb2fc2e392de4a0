"""Batched geometric views (crop, flip) of images: ours beside kornia's modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .work import Call, Contender, Role, Size, Work

__all__ = ["works"]

_CROP, _FLIP = (0.4, 1.0), 0.5


@dataclass(frozen=True)
class _Ours:
    channels: int
    side: int

    def __call__(self, size: Size, device: torch.device) -> Call:
        from couplings.train.config import ViewsConfig
        from couplings.train.views import Views

        images = torch.rand(size.rows // 2, self.channels, self.side, self.side, device=device)
        generator = torch.Generator().manual_seed(0)
        make = Views(ViewsConfig(count=2, crop=_CROP, flip=_FLIP), self.channels)
        return lambda: tuple(make(images, generator))


@dataclass(frozen=True)
class _Kornia:
    channels: int
    side: int

    def __call__(self, size: Size, device: torch.device) -> Call:
        import kornia.augmentation as kornia

        images = torch.rand(size.rows // 2, self.channels, self.side, self.side, device=device)
        make = kornia.AugmentationSequential(
            kornia.RandomResizedCrop((self.side, self.side), scale=_CROP),
            kornia.RandomHorizontalFlip(p=_FLIP),
            same_on_batch=False,
        )
        return lambda: (make(images), make(images))


def works() -> Sequence[Work]:
    """Grey and coloured images. The random numbers differ, so the views do."""
    return [
        Work(
            f"{channels}x{side}x{side}",
            f"two views of images, {channels} x {side} x {side}",
            (Size(512, channels * side * side),),
            Contender("ours", _Ours(channels, side)),
            (Contender("kornia", _Kornia(channels, side), role=Role.YARDSTICK, package="kornia"),),
            unit="images/s",
            units=lambda size: float(size.rows),
        )
        for channels, side in ((1, 28), (3, 32))
    ]
