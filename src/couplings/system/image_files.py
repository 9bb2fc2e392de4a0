"""Image files as a person sees them: upright, without transparency, of eight bits; anything else is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from couplings.basics.errors import UserError, warn

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["BACKGROUND", "MOST_PIXELS", "UnreadableImage", "as_seen", "read_image"]

BACKGROUND = "white"
"""What transparent pixels are laid on."""

MOST_PIXELS = 50_000_000
"""Pixels of the largest image that is decoded: 150 MB in colour."""

_GREY = ("1", "L", "LA")
_DEEP = 65535
_DARK = 8
"""How many times darker than white the brightest grey of a picture has to be to be told."""


class UnreadableImage(UserError):
    """A file that is no picture, or none that can be shown; the message is the reason and does not name the file."""


def read_image(path: Path, most_pixels: int = MOST_PIXELS) -> Image:
    """The (first) picture of a regular file, as :func:`as_seen` gives it.

    The number of pixels is known before any is decoded. Pillow's own limit is the caller's to lift.

    Raises:
        UnreadableImage: no regular file, no picture, a damaged one, more pixels than allowed, or one of no known kind.
    """
    from PIL import Image

    try:
        if not path.is_file() and path.exists():
            raise UnreadableImage("no regular file")
        with Image.open(path) as image:
            if image.width * image.height > most_pixels:
                raise UnreadableImage(
                    f"{image.width} x {image.height} pixels, more than {most_pixels:,}: raise data.max_pixels, of"
                    " inspect --max-pixels, if it is no mistake"
                )
            return as_seen(image)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise error if isinstance(error, UnreadableImage) else UnreadableImage(str(error)) from None


def as_seen(image: Image) -> Image:
    """A picture of any kind as grey (L) or colour (RGB) of eight bits.

    It is turned as its EXIF orientation says; transparent pixels are laid on white; grey of 16 bits is divided by 257
    and floats from 0 to 1 are multiplied by 255; palettes and CMYK become colour; of an animation the first frame
    counts. Colour profiles are not applied.

    Raises:
        UnreadableImage: grey levels outside of the range of their kind, or a kind that does not become colour.

    Warns:
        CouplingWarning: grey of 16 bits whose brightest pixel is below an eighth of white, as that of 12 bits is.

    Example:
        >>> from PIL import Image
        >>> as_seen(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _eight_bits(upright)
    kind = "L" if upright.mode in _GREY else "RGB"
    if not upright.has_transparency_data:
        return upright.convert(kind)
    colour = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colour.size, BACKGROUND), colour).convert(kind)


def _eight_bits(image: Image) -> Image:
    """Grey of more than eight bits, by the range of its kind: that of each picture would level bright and dark ones."""
    from PIL import Image

    if "transparency" in image.info:
        raise UnreadableImage("a transparent shade of more than 8 bits; save it with eight bits, or without")
    values, white = np.asarray(image), 1 if image.mode == "F" else _DEEP
    low, high = values.min().item(), values.max().item()
    # NaN is in no range.
    if not (low >= 0 and high <= white):
        raise UnreadableImage(f"its grey levels are {low:g} to {high:g}, those of such a file 0 to {white}; rescale it")
    if image.mode != "F" and 0 < high < white / _DARK:
        warn(
            "a grey image of 16 bits is nearly black: its brightest pixel is below an eighth of 65535; multiply its"
            " levels, e.g. by 16 where they are of 12 bits"
        )
    return Image.fromarray((values * (255 / white)).round().astype(np.uint8))
