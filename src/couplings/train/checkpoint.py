"""Files of a run: weights and checkpoints as safetensors, the rest as JSON, written whole or not at all.

A checkpoint carries a checksum of all it holds. The last two are kept: what happens to the newer one, the older is
whole.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from couplings.files import named, write_bytes
from couplings.train.errors import DataError

__all__ = [
    "Checkpoint",
    "append_line",
    "checkpoints",
    "fill",
    "load_weights",
    "newest_checkpoint",
    "read_json",
    "remove_checkpoints",
    "save_checkpoint",
    "save_weights",
    "saved_step",
    "settle",
    "write_bytes",
    "write_json",
]

_PATTERN, _KEPT = "checkpoint-*.safetensors", 2
_LONGEST = 240
"""Characters of torch's words in a message of ours."""


class Checkpoint(NamedTuple):
    """Where a run was after a step: tensors by name, and what is no tensor, as JSON takes it."""

    step: int
    tensors: dict[str, Tensor]
    about: dict[str, Any]


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file."""
    with named(path), path.open("a") as file:
        file.write(line + "\n")


def settle(path: Path) -> None:
    """Have what was added to a file on the disk, so that a power cut leaves no less than a checkpoint counts on."""
    if path.is_file():
        with named(path), path.open("rb") as file:
            os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON; raises :class:`DataError` that names a missing or damaged file."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, then remove all but the last two."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    about = json.dumps(checkpoint.about)
    facts = {"step": str(checkpoint.step), "about": about, "checksum": _checksum(tensors, about)}
    path = folder / f"checkpoint-{checkpoint.step:09d}.safetensors"
    write_bytes(path, save(tensors, metadata=facts))
    for old in checkpoints(folder)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, newest first."""
    return sorted(folder.glob(_PATTERN), reverse=True)


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints."""
    for path in checkpoints(folder):
        path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path, say: Callable[[str], None] = lambda _: None) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if there is none. ``say`` is told of those that are not."""
    found = checkpoints(folder)
    for path in found:
        try:
            return _read_checkpoint(path)
        except DataError as error:
            say(f"{error}; {'it begins anew' if path == found[-1] else 'the one before it is used'}.")
    return None


def _read_checkpoint(path: Path) -> Checkpoint:
    tensors, facts = _read(path, "no whole checkpoint")
    if facts.get("checksum") != _checksum(tensors, facts.get("about", "")):
        raise DataError(f"{path}: no whole checkpoint (its checksum differs)")
    return Checkpoint(int(facts["step"]), tensors, json.loads(facts["about"]))


def _checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    found = zlib.crc32(about.encode())
    for name in sorted(tensors):
        found = zlib.crc32(name.encode(), found)
        # Bytes of any dtype, numpy's and torch's own alike; an empty tensor has no view of another dtype.
        flat = tensors[name].reshape(-1)
        found = zlib.crc32(flat.view(torch.uint8).numpy().data if len(flat) else b"", found)
    return f"{found:08x}"


def _read(path: Path, what: str, remedy: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path}: {what} ({error}){remedy}") from None


def save_weights(path: Path, parts: Mapping[str, nn.Module], step: int) -> None:
    """All parameters and buffers of some modules, each under its prefix, and the step they belong to."""
    from safetensors.torch import save

    state = {f"{prefix}{name}": value for prefix, part in parts.items() for name, value in part.state_dict().items()}
    whole = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_bytes(path, save(whole, metadata={"step": str(step)}))


def saved_step(path: Path) -> int:
    """The step that a file of weights belongs to, read from its head alone; 0 if it does not say.

    Raises:
        DataError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            return int((file.metadata() or {}).get("step", 0))
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def load_weights(path: Path, parts: Mapping[str, nn.Module]) -> int:
    """Fill modules from a file of :func:`save_weights`; returns its step.

    Raises:
        DataError: the file is missing, damaged, or of another model.
    """
    state, facts = _read(path, "no whole file of weights", "; restore it, or make it anew with --overwrite")
    fill(path, parts, state)
    return int(facts.get("step", 0))


def fill(path: Path, parts: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> None:
    """Give modules their parameters and buffers; raises :class:`DataError` that names the file they come from."""
    for prefix, part in parts.items():
        mine = {name.removeprefix(prefix): value for name, value in state.items() if _belongs(name, prefix, parts)}
        try:
            part.load_state_dict(mine)
        except RuntimeError as error:
            reason = f"no weights of this encoder ({_first_flaw(error)})"
            raise DataError(f"{path}: {reason}; restore it, or make it anew with --overwrite") from None


def _first_flaw(error: RuntimeError) -> str:
    """Torch names the class of the module, then, a line each, all parameters that do not fit."""
    _, *flaws = str(error).splitlines()
    first = shorten(flaws[0] if flaws else str(error), _LONGEST)
    return f"{first.rstrip('.')}, and {len(flaws) - 1} more" if len(flaws) > 1 else first


def _belongs(name: str, prefix: str, prefixes: Iterable[str]) -> bool:
    """Whether this is the longest prefix of a name."""
    return prefix == max((other for other in prefixes if name.startswith(other)), key=len, default=None)
