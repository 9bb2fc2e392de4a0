"""Files of a run: weights as safetensors and JSON, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from couplings.files import named, write_bytes
from couplings.train.errors import DataError

__all__ = ["append_line", "load_weights", "read_json", "save_weights", "write_bytes", "write_json"]


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file."""
    with named(path), path.open("a") as file:
        file.write(line + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON; raises :class:`DataError` that names a missing or damaged file."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def save_weights(path: Path, model: nn.Module, step: int) -> None:
    """All parameters and buffers of ``model``, and the step they belong to."""
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_bytes(path, save(state, metadata={"step": str(step)}))


def load_weights(path: Path, model: nn.Module) -> int:
    """Fill ``model`` from a file of :func:`save_weights`; returns its step.

    Raises:
        DataError: the file is missing, damaged, or of another model.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            state: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            step = int((file.metadata() or {}).get("step", 0))
        model.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DataError(f"{path}: no weights of this encoder ({error})") from None
    return step
