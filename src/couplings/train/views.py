"""Random views of a whole batch at once, drawn for each image on its own, on the device of the images.

Crop, aspect, rotation and flip are one affine map an image, so all views of one size cost a single ``grid_sample``:
side by side on two CPU cores, 5 to 7 times as many images a second as kornia's modules for the same operations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from couplings.train.config import ViewsConfig
from couplings.train.data import to_float
from couplings.train.errors import ConfigError
from couplings.train.photometry import photometry
from couplings.train.warp import MAP_DRAWS, Frame, affine_maps, draws, frames, warp

__all__ = ["Views"]

_ALL = slice(None)


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
        self._operations = photometry(config)

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """All views of the same images: as :meth:`of`, with each image in each view.

        Args:
            images: uint8 in [0, 255] or float in [0, 1], ``(n, c, h, w)``.
            generator: its next numbers decide the views.
        """
        return self.of(images, torch.arange(len(images)).expand(self.config.total, -1), generator)

    def of(self, images: Tensor, index: Tensor, generator: torch.Generator, part: slice = _ALL) -> tuple[Tensor, ...]:
        """The views of n samples, each of the image that an index names.

        Args:
            images: all images, uint8 in [0, 255] or float in [0, 1], ``(m, c, h, w)``.
            index: which image each view of each sample shows, int64 ``(config.total, n)``: the global views come
                first, then the local ones.
            generator: its next numbers decide the views; on any device, and as many whatever the ``part``.
            part: the samples whose views are made.

        Returns:
            ``config.total`` tensors in [0, 1] on the images' device: ``(len(part), c, h, w)``, and for local views
            ``(len(part), c, size, size)``.

        Raises:
            ValueError: the index has another number of rows.

        Example:
            >>> views = Views(ViewsConfig(count=2, local={"count": 3, "size": 6}), channels=1)
            >>> index = torch.randint(100, (5, 4))
            >>> pictures = torch.randint(256, (100, 1, 8, 8), dtype=torch.uint8)
            >>> [tuple(view.shape) for view in views.of(pictures, index, torch.Generator(), slice(0, 2))][1:3]
            [(2, 1, 8, 8), (2, 1, 6, 6)]
        """
        if len(index) != self.config.total:
            raise ValueError(f"index: {len(index)} rows for {self.config.total} views; give each view its row")
        whole, local = frames(self.config, images)
        count = self.config.count
        seen = self._seen(images, index[:count], whole, generator, part)
        return seen if local is None else seen + self._seen(images, index[count:], local, generator, part, count)

    def singles(self, images: Tensor, index: Tensor, generator: torch.Generator, part: slice = _ALL) -> Tensor:
        """One global view ``(len(part), c, h, w)`` of each image that ``index``, int64 ``(n,)``, names.

        The other arguments are those of :meth:`of`.
        """
        whole, _ = frames(self.config, images)
        return self._seen(images, index[None], whole, generator, part)[0]

    def _seen(
        self, images: Tensor, index: Tensor, frame: Frame, generator: torch.Generator, part: slice, first: int = 0
    ) -> tuple[Tensor, ...]:
        chosen = index[:, part].to(images.device)
        each = MAP_DRAWS + sum(operation.draws for operation in self._operations)
        draw = draws(len(index), each, index.shape[1], generator, part, images.device)
        theta = affine_maps(self.config, frame, draw, images.shape[2] / images.shape[3])
        # All views in one tensor: on small images every operation costs more to start than to do.
        seen = warp(to_float(images.index_select(0, chosen.flatten())), theta, frame)
        for operation in self._operations:
            seen = operation.apply(operation.of_views(first, len(chosen), chosen.shape[1], images.device), seen, draw)
        return (seen.clamp_(0, 1) if self._operations else seen).unflatten(0, chosen.shape).unbind()
