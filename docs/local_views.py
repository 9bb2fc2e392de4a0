"""Prints the table of docs/data.md on local views: their error and their time, by samples a pixel.

Run `python docs/local_views.py`; scikit-learn's two photographs, cut into 96-pixel images.
"""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from torch import Tensor

from couplings.train import ViewsConfig
from couplings.train.warp import MAP_DRAWS, Frame, affine_maps, draws, sample, samples_per_side

CROP, SIDE, SIZES, TRIED = 0.4, 96, (64, 48, 40, 32, 24, 16), (1, 2, 3)


def images() -> Tensor:
    """Overlapping squares of the photographs at half their size, (n, 3, 96, 96)."""
    photos = [torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255 for photo in load_sample_images().images]
    cuts = [
        photo.unfold(1, 2 * SIDE, 60).unfold(2, 2 * SIDE, 64).permute(1, 2, 0, 3, 4).flatten(0, 1) for photo in photos
    ]
    return F.interpolate(torch.cat(cuts), size=SIDE, mode="bilinear", antialias=True, align_corners=False)


def seconds(whole: Tensor, theta: Tensor, frame: Frame, k: int) -> float:
    """Processor time of a view."""
    times = []
    for _ in range(5):
        start = time.process_time()
        sample(whole, theta, frame.size, k)
        times.append(time.process_time() - start)
    return min(times) / len(whole)


def row(whole: Tensor, size: int) -> str:
    """A line of the table."""
    frame = Frame((CROP, CROP), (size, size))
    draw = draws(1, MAP_DRAWS, len(whole), torch.Generator().manual_seed(0))
    theta = affine_maps(ViewsConfig(), frame, draw, 1.0)
    exact = sample(whole, theta, frame.size, 8)
    spread = (exact - exact.mean((2, 3), keepdim=True)).square().mean().sqrt()
    cells = []
    for k in TRIED:
        error = (sample(whole, theta, frame.size, k) - exact).square().mean().sqrt() / spread
        cells.append(f"{error:.3f}, {1e6 * seconds(whole, theta, frame, k):.0f} us")
    used = samples_per_side(frame, whole.shape[2:])
    return f"| {size} | {math.sqrt(CROP) * SIDE / size:.2f} | {' | '.join(cells)} | {used} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    pictures = images()
    for length in SIZES:
        print(row(pictures, length))
