"""Batched geometric views: ours against kornia's modules, in turns. Run: .venv/bin/python benchmarks/views.py"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import kornia.augmentation as K
import torch

from couplings.train import ViewsConfig
from couplings.train.views import Views

REPEATS, BATCH = 15, 256


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(channels: int, size: int) -> None:
    images = torch.rand(BATCH, channels, size, size)
    generator = torch.Generator().manual_seed(0)
    ours = Views(ViewsConfig(count=2, crop=(0.4, 1.0), flip=0.5), channels)
    theirs = K.AugmentationSequential(
        K.RandomResizedCrop((size, size), scale=(0.4, 1.0)), K.RandomHorizontalFlip(p=0.5), same_on_batch=False
    )
    pairs = [
        (seconds(lambda: ours(images, generator)), seconds(lambda: (theirs(images), theirs(images))))
        for _ in range(REPEATS)
    ]
    fast, slow = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(
        f"{channels} x {size} x {size}: ours {2 * BATCH / fast:,.0f} images/s, kornia {2 * BATCH / slow:,.0f}; "
        f"{ratio:.1f} times faster (median of {REPEATS} pairs)"
    )


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    compare(1, 28)
    compare(3, 32)
