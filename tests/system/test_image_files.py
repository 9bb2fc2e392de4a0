"""Image files as a person sees them: each kind of picture becomes known pixels, or is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from couplings import CouplingWarning
from couplings.system.image_files import UnreadableImage, as_seen, read_image

_RAMP = np.linspace(0, 1, 256)[None].repeat(4, 0)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("8.png", (_RAMP * 255).round().astype(np.uint8)),
        ("16.png", (_RAMP * 65535).round().astype(np.uint16)),
        ("16.tif", (_RAMP * 65535).round().astype(np.uint16)),
        ("16.pgm", (_RAMP * 65535).round().astype(np.uint16)),
        ("32.tif", (_RAMP * 65535).round().astype(np.int32)),
        ("float.tif", _RAMP.astype(np.float32)),
    ],
)
def test_grey_of_any_depth_is_the_same_picture(name: str, pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    seen = read_image(tmp_path / name)
    assert seen.mode == "L"
    assert np.array_equal(np.asarray(seen), np.arange(256)[None].repeat(4, 0))


@pytest.mark.parametrize(
    "pixels",
    [np.full((2, 2), 65536, np.int32), np.full((2, 2), -1, np.int32), np.full((2, 2), 1.5, np.float32)]
    + [np.full((2, 2), value, np.float32) for value in (-0.5, np.nan, np.inf)],
    ids=["too bright", "negative", "floats above 1", "floats below 0", "NaN", "infinite"],
)
def test_grey_levels_out_of_range_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(UnreadableImage, match=r"its grey levels are .*; rescale it"):
        as_seen(Image.fromarray(pixels))


def test_twelve_bits_in_sixteen_are_told() -> None:
    with pytest.warns(CouplingWarning, match=r"nearly black.*by 16 where they are of 12 bits"):
        as_seen(Image.fromarray(np.full((2, 2), 4095, np.uint16)))


def _clear(mode: str, colour: int | tuple[int, ...]) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, (4, 4), colour).save(path)


def _palette(path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.save(path)


def _clear_palette(path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.save(path, transparency=bytes([255, 0]))


def _clear_shade(mode: str, colour: int | tuple[int, ...]) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, (4, 4), colour).save(path, transparency=colour)


def _animated(path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


SEEN: dict[str, tuple[str, Callable[[Path], None], object]] = {
    "hidden colour": ("a.png", _clear("RGBA", (0, 0, 255, 0)), (255, 255, 255)),
    "half of a colour": ("a.png", _clear("RGBA", (0, 0, 255, 51)), (204, 204, 255)),
    "hidden grey": ("a.png", _clear("LA", (9, 0)), 255),
    "palette": ("a.png", _palette, (200, 0, 0)),
    "hidden colour of a palette": ("a.png", _clear_palette, (255, 255, 255)),
    "transparent shade of grey": ("a.png", _clear_shade("L", 7), 255),
    "transparent colour": ("a.png", _clear_shade("RGB", (7, 8, 9)), (255, 255, 255)),
    "two levels": ("a.png", _clear("1", 1), 255),
    "inks": ("a.tif", _clear("CMYK", (0, 255, 255, 0)), (255, 0, 0)),
    "first frame": ("a.png", _animated, (255, 0, 0)),
    "first frame of a TIFF": ("a.tif", _animated, (255, 0, 0)),
    "first frame of a GIF": ("a.gif", _animated, (255, 0, 0)),
}


@pytest.mark.parametrize("case", SEEN)
def test_what_is_seen(case: str, tmp_path: Path) -> None:
    name, write, colour = SEEN[case]
    write(tmp_path / name)
    seen = read_image(tmp_path / name)
    assert seen.getpixel((0, 0)) == colour
    assert seen.mode == ("L" if isinstance(colour, int) else "RGB")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_pictures_stand_upright(name: str, turned: int, tmp_path: Path) -> None:
    """What the EXIF standard calls row 0 and column 0 of each orientation."""
    stored = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    flipped = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1]}
    turns = {5: 1, 6: 4, 7: 3, 8: 2}
    expected = flipped[turned] if turned <= 4 else flipped[turns[turned]].transpose(1, 0, 2)
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(stored).save(tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    assert np.array_equal(np.asarray(read_image(tmp_path / name)), expected)


def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    # What is cut off would be missed by a decoder.
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(UnreadableImage, match=r"300 x 200 pixels, more than 59,999.*data\.max_pixels"):
        read_image(tmp_path / "a.png", most_pixels=59_999)
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(tmp_path / "a.png", most_pixels=60_000)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UnreadableImage, match="no regular file"):
        read_image(tmp_path / "a.png")
