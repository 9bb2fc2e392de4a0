"""A convolutional encoder with batch normalisation, and pictures for it: deep enough for a fair test, and seeded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from couplings.basics import checks


class _Residual(nn.Module):
    """x + two convolutions, each normalised over the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(channels, channels), nn.ReLU(), *_convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return torch.relu(x + self.body(x))


def small_encoder(seed: int = 0) -> nn.Sequential:
    """Pictures (n, 1, 16, 16) to embeddings (n, 8): two residual blocks, batch normalisation, two-layer head, float64.

    Example:
        >>> import torch
        >>> small_encoder()(torch.rand(4, 1, 16, 16, dtype=torch.float64)).shape
        torch.Size([4, 8])
    """
    with torch.random.fork_rng(devices=[]):  # torch's initialisers know the global generator alone
        torch.manual_seed(seed)
        return nn.Sequential(
            *_convolution(1, 8),
            nn.ReLU(),
            _Residual(8),
            *_convolution(8, 16, stride=2),
            nn.ReLU(),
            _Residual(16),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 32),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Linear(32, 8),
        ).double()


def blob_views(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two views (n, 1, 16, 16) of n pictures of three blobs: shifted by up to two pixels, with noise and a contrast.

    Raises:
        InvalidInput: n < 1.

    Example:
        >>> blob_views(3)[0].shape
        torch.Size([3, 1, 16, 16])
    """
    checks.require(n >= 1, f"n must be >= 1, got {n}")
    generator = torch.Generator().manual_seed(seed)
    centres = 4 + 8 * torch.rand(n, 3, 2, generator=generator, dtype=torch.float64)
    return _seen(centres, generator), _seen(centres, generator)


def _seen(centres: Tensor, generator: torch.Generator) -> Tensor:
    n = len(centres)
    moved = centres + 4 * torch.rand(n, 1, 2, generator=generator, dtype=centres.dtype) - 2
    grid = torch.arange(16, dtype=centres.dtype)
    rows, cols = (torch.exp(-((grid - moved[..., k, None]) ** 2) / 8) for k in (0, 1))
    contrast = 0.5 + torch.rand(n, 1, 1, generator=generator, dtype=centres.dtype)
    blobs = contrast * torch.einsum("nbi,nbj->nij", rows, cols)
    return (blobs + 0.1 * torch.randn(n, 16, 16, generator=generator, dtype=centres.dtype))[:, None]


def _convolution(channels: int, out: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
