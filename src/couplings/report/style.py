"""One look for every picture, and the one way they reach the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from couplings.files import write_bytes

# Okabe and Ito's palette, told apart by colour-blind readers; black is left for text.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C6BB1",
    "#7F7F7F",
    "#000000",
    "#B2A300",
)
INK = "#222222"
QUIET = "#8a8a8a"
BLUE, VERMILION, GREEN = PALETTE[:3]

_SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "svg.hashsalt": "couplings",
}


@contextmanager
def canvas(path: str | os.PathLike[str], size: tuple[float, float], title: str) -> Iterator[Figure]:
    """A figure of `size` inches that is saved to `path` when the block ends without an error."""
    with _titled(size, title) as figure:
        yield figure
        _save(figure, Path(path))


def drawn(draw: Callable[[Figure], None], size: tuple[float, float], title: str) -> tuple[bytes, bytes]:
    """The picture that `draw` makes on a figure of `size` inches, as SVG and as PNG, always in the same bytes."""
    with _titled(size, title) as figure:
        draw(figure)
        return _bytes(figure, "svg", metadata={"Date": None}), _bytes(figure, "png")


def drawn_svg(draw: Callable[[Figure], None], size: tuple[float, float], title: str) -> bytes:
    """The picture that `draw` makes on a figure of `size` inches, as SVG, always in the same bytes."""
    with _titled(size, title) as figure:
        draw(figure)
        return _bytes(figure, "svg", metadata={"Date": None})


@contextmanager
def _titled(size: tuple[float, float], title: str) -> Iterator[Figure]:
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=size)
        figure.suptitle(title, x=0.01, ha="left", color=INK)
        yield figure


def _bytes(figure: Figure, kind: str, **options: Any) -> bytes:
    picture = BytesIO()
    figure.savefig(picture, format=kind, **options)
    return picture.getvalue()


def _save(figure: Figure, path: Path) -> None:
    """Draw into memory first, so that a stopped run or a full disk leaves no half picture."""
    picture = _bytes(figure, "png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, picture)


def grid(axes: Axes, axis: str) -> None:
    """Thin grid lines behind the data along `axis` ("x", "y" or "both")."""
    axes.grid(axis=axis, color="#e4e4e4", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
