"""One look for every picture, and the one way they reach the disk."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from couplings.basics.errors import warn
from couplings.basics.words import one_line, visible
from couplings.system.files import write_bytes

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
_SCRIPTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
)
"""Fonts of usual systems that have the letters which matplotlib's own lacks."""
_NO_LETTER = re.compile(r"Glyph (\d+) .*missing from")


def label(name: object) -> str:
    r"""Text from data (a class, a file, a variant) as a picture shows it: one line, and nothing hidden.

    Matplotlib leaves out of legends what begins with a low line. Formulas are off wherever data is drawn.

    >>> label("_a\udce9\nb")
    ' _a??b'
    """
    text = one_line(str(name))
    return f" {text}" if text.startswith("_") else text


@contextmanager
def canvas(path: str | os.PathLike[str], size: tuple[float, float], title: str) -> Iterator[Figure]:
    """A figure of `size` inches that is saved to `path` when the block ends without an error."""
    with _titled(size, title) as figure:
        yield figure
        _save(figure, Path(path))


def drawn(draw: Callable[[Figure], None], size: tuple[float, float], title: str) -> tuple[bytes, bytes]:
    """A picture of ours as SVG and as PNG, always in the same bytes: formulas stand between dollars, none is data."""
    with _titled(size, title, formulas=True) as figure:
        draw(figure)
        return _bytes(figure, "svg", metadata={"Date": None}), _bytes(figure, "png")


def drawn_svg(draw: Callable[[Figure], None], size: tuple[float, float], title: str) -> bytes:
    """The picture that `draw` makes on a figure of `size` inches, as SVG, always in the same bytes."""
    with _titled(size, title) as figure:
        draw(figure)
        return _bytes(figure, "svg", metadata={"Date": None})


@contextmanager
def _titled(size: tuple[float, float], title: str, *, formulas: bool = False) -> Iterator[Figure]:
    with matplotlib.rc_context({**_SETTINGS, "text.parse_math": formulas, "font.family": _fonts()}):
        figure = Figure(figsize=size)
        figure.suptitle(visible(title), x=0.01, ha="left", color=INK)
        yield figure


def _fonts() -> list[str]:
    """Matplotlib's own font, then those installed here that are asked for the letters it lacks."""
    return ["DejaVu Sans", *sorted({*_SCRIPTS}.intersection(fontManager.get_font_names()), key=_SCRIPTS.index)]


def _bytes(figure: Figure, kind: str, **options: Any) -> bytes:
    picture = BytesIO()
    with _one_warning():
        figure.savefig(picture, format=kind, **options)
    return picture.getvalue()


@contextmanager
def _one_warning() -> Iterator[None]:
    """Say of all letters that no font has at once what would help; matplotlib warns of each."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    missing = dict[str, None]()
    for warning in said:
        found = _NO_LETTER.match(str(warning.message))
        if found:
            missing[chr(int(found[1]))] = None
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        letters = "".join(missing)[:20]
        warn(
            f"a picture has boxes for {letters}: no font that it looks for has them; install one that does, such as "
            "Noto Sans CJK for Chinese, Japanese and Korean"
        )


def _save(figure: Figure, path: Path) -> None:
    """Draw into memory first, so that a stopped run or a full disk leaves no half picture."""
    picture = _bytes(figure, "png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, picture)


def grid(axes: Axes, axis: str) -> None:
    """Thin grid lines behind the data along `axis` ("x", "y" or "both")."""
    axes.grid(axis=axis, color="#e4e4e4", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
