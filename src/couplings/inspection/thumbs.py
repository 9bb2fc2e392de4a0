"""Small pictures of rows, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from couplings.inspection.subject import Pictures
from couplings.report.html import data_uri
from couplings.system.image_files import as_seen

__all__ = ["thumbnails"]

_BUDGET = 6_000_000
"""Characters of all pictures of a page."""
_HEAVY = 3_000
"""Bytes above which a PNG is written anew: photographs are a fifth as long as JPEG."""
_SIDE, _QUALITY, _CHUNK = 96, 80, 256


def thumbnails(pictures: Pictures | None, rows: Sequence[int], budget: int = _BUDGET) -> dict[int, str]:
    """Addresses that hold the pictures of rows: of the first ones, as many as the budget allows.

    Args:
        pictures: of rows; None where there are none.
        rows: the important ones first.
        budget: characters of all addresses together.
    """
    found: dict[int, str] = {}
    if pictures is None:
        return found
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        for row, png in zip(chunk, pictures(chunk), strict=True):
            uri = _uri(png)
            budget -= len(uri)
            if budget < 0:
                return found
            found[row] = uri
    return found


def _uri(png: bytes) -> str:
    if len(png) <= _HEAVY:
        return data_uri(png, "image/png")
    from PIL import Image

    with Image.open(BytesIO(png)) as opened:
        picture = as_seen(opened)
    picture.thumbnail((_SIDE, _SIDE))
    file = BytesIO()
    picture.save(file, "jpeg", quality=_QUALITY)
    return data_uri(file.getvalue(), "image/jpeg")
