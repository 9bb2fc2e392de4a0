"""The idx files of MNIST and its relatives, compressed or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from couplings.train.errors import DataError

__all__ = ["FILES", "find_idx", "read_idx"]

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def find_idx(folders: list[Path]) -> list[Path] | None:
    """The four files in the first folder that holds any of them, or None.

    Raises:
        DataError: a folder holds some of the four files but not all.
    """
    for folder in folders:
        found = [_plain_or_gz(folder / name) for name in FILES]
        missing = [name for name, path in zip(FILES, found, strict=True) if path is None]
        if not missing:
            return [path for path in found if path is not None]
        if len(missing) < len(FILES):
            raise DataError(f"{folder} lacks {' and '.join(missing)} (with or without .gz)")
    return None


def _plain_or_gz(path: Path) -> Path | None:
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def read_idx(path: Path) -> Tensor:
    """The uint8 tensor in an idx file.

    Raises:
        DataError: the file is no idx file of bytes, or it is cut short.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch it again") from None
    # Two zero bytes, the type (8: unsigned bytes), the number of axes, then each axis' length.
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an idx file of bytes; fetch it again")
    axes = data[3]
    header = 4 + 4 * axes
    if len(data) < header:
        raise DataError(f"{path} ends inside its header; fetch it again")
    shape = struct.unpack(f">{axes}I", data[4:header])
    if len(data) - header != math.prod(shape):
        held = len(data) - header
        raise DataError(f"{path} should hold {math.prod(shape)} bytes but holds {held}; fetch it again")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy())
