"""Broken files and broken machines, as steps that prepare a case."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from case import Place, Prepare
from PIL import Image
from stock import IMAGES, LABELS, PIXELS, no_space

RUN = "run"


def text(path: str, content: str = "words\n") -> Prepare:
    """A file of text."""

    def write(place: Place) -> None:
        file = place.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    return write


def folder(path: str) -> Prepare:
    """An empty folder."""
    return lambda place: (place.folder / path).mkdir(parents=True)


def picture(path: str, size: tuple[int, int] = (8, 8), count: int = 1, mode: str = "L") -> Prepare:
    """Image files ``path0.png``, ``path1.png`` and so on."""

    def write(place: Place) -> None:
        for number in range(count):
            file = place.folder / f"{path}{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, size, 10 * number if mode == "L" else (10 * number, 0, 0)).save(file)

    return write


def arrays(**changes: Any) -> Prepare:
    """An .npz file of 40 images of two classes, with other arrays in their place (None leaves one out)."""
    found = {"images": PIXELS, "labels": LABELS, **changes}
    return lambda place: np.savez(
        place.folder / IMAGES, **{key: value for key, value in found.items() if value is not None}
    )


def cut(path: str, keep: float = 0.5) -> Prepare:
    """Keep the beginning of a file."""

    def shorten(place: Place) -> None:
        file = place.folder / path
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * keep)])

    return shorten


def gone(path: str) -> Prepare:
    """Remove a file."""
    return lambda place: (place.folder / path).unlink()


def run(state: str, name: str = RUN) -> Prepare:
    """A run of the stock and its images."""
    return lambda place: place.stock.copy(getattr(place.stock, state), place.folder / name)


def full(pattern: str) -> Prepare:
    """No space for files of a name."""

    def fill(place: Place) -> None:
        replace = os.replace

        def refuse(source: Any, target: Any) -> None:
            if fnmatch(Path(target).name, pattern):
                raise no_space()
            replace(source, target)

        place.patch.setattr(os, "replace", refuse)

    return fill


def full_while_appending(name: str, lines: int = 0) -> Prepare:
    """No space for a further line of a file after some lines."""

    def fill(place: Place) -> None:
        opened, left = Path.open, [lines]

        def refuse(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if self.name == name and mode == "a":
                if not left[0]:
                    raise no_space()
                left[0] -= 1
            return opened(self, mode, *rest, **more)

        place.patch.setattr(Path, "open", refuse)

    return fill


def full_while_writing(name: str) -> Prepare:
    """No space for a text file of a name."""

    def fill(place: Place) -> None:
        written = Path.write_text

        def refuse(self: Path, *rest: Any, **more: Any) -> int:
            if self.name == name:
                raise no_space()
            return written(self, *rest, **more)

        place.patch.setattr(Path, "write_text", refuse)

    return fill


def patched(target: str, value: Any) -> Prepare:
    """Another value in a module."""
    return lambda place: place.patch.setattr(target, value)


def missing(*modules: str) -> Prepare:
    """Libraries that are not installed."""

    def hide(place: Place) -> None:
        for module in modules:
            place.patch.setitem(sys.modules, module, None)

    return hide


def raising(error: Exception) -> Any:
    """A function that fails."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail
