"""Draws docs/images/views.png: the views of one picture by the settings that docs/data.md names.

Run `python docs/view_pictures.py` after changing a view. The picture is drawn here, so no data set is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from couplings.train import ViewsConfig, preset
from couplings.train.views import Views

PICTURE = Path(__file__).parent / "images" / "views.png"
SIDE, COLUMNS = 96, 8
STILL: dict[str, Any] = {"crop": (1.0, 1.0), "aspect": (1.0, 1.0)}
ROWS: dict[str, dict[str, Any]] = {
    "cifar10's recipe": preset("cifar10").views.model_dump(exclude={"count"}),
    "strong crop\ncrop 0.08 to 0.2": {"crop": (0.08, 0.2)},
    "strong brightness\nbrightness 0.5": {**STILL, "brightness": 0.5},
    "large erase\nerase 1\nerase_area 0.2 to 0.5": {**STILL, "erase": 1.0, "erase_area": (0.2, 0.5)},
    "rotation 45": {**STILL, "rotation": 45.0},
    "blur 1": {**STILL, "blur": 1.0},
    "local: size 48\ncrop 0.05 to 0.4": {"local": {"count": COLUMNS - 1, "size": 48}},
}


def house() -> Tensor:
    """A house under the sun, uint8 (3, 96, 96), drawn at four times the size."""
    side = 4 * SIDE
    sky = np.linspace((90, 150, 230), (220, 235, 250), side).astype(np.uint8)
    image = Image.fromarray(np.repeat(sky[:, None], side, axis=1))
    draw = ImageDraw.Draw(image)
    draw.ellipse((270, 25, 345, 100), fill=(255, 215, 60))
    draw.rectangle((0, 285, side, side), fill=(90, 160, 70))
    draw.rectangle((95, 180, 260, 310), fill=(200, 90, 70))
    draw.polygon([(75, 185), (178, 95), (280, 185)], fill=(110, 60, 50))
    draw.rectangle((120, 205, 160, 245), fill=(250, 245, 200), outline=(60, 40, 40), width=5)
    draw.rectangle((195, 225, 235, 310), fill=(80, 50, 40))
    draw.rectangle((318, 240, 334, 310), fill=(100, 70, 40))
    draw.ellipse((285, 160, 367, 262), fill=(40, 110, 50))
    return torch.from_numpy(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).copy()).permute(2, 0, 1)


def views_of(picture: Tensor, settings: dict[str, Any]) -> list[Tensor]:
    """As many views as the picture has columns, local ones where the settings ask for them."""
    local = settings.get("local") is not None
    config = ViewsConfig(**settings, count=2 if local else COLUMNS - 1)
    views = Views(config, channels=3)(picture[None], torch.Generator().manual_seed(0))
    return [view[0] for view in views[-(COLUMNS - 1) :]]


def main() -> None:
    """Write the picture."""
    picture = house()
    figure, axes = plt.subplots(len(ROWS), COLUMNS, figsize=(1.25 * COLUMNS + 1.2, 1.32 * len(ROWS)), dpi=90)
    for line, (name, settings) in zip(axes, ROWS.items(), strict=True):
        for axis, view in zip(line, [picture, *views_of(picture, settings)], strict=True):
            axis.imshow(view.permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, labelpad=8)
    axes[0, 0].set_title("image", fontsize=9)
    figure.tight_layout(pad=0.4)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
