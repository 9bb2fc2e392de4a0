"""Files of a run: weights and checkpoints as safetensors, the rest as JSON, written whole or not at all.

A checkpoint, and a file of weights, carries one checksum of all that is read back from it. The last two checkpoints are
kept: what happens to the newer one, the older is whole.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from torch import Tensor, nn

from couplings.system.files import named, write_bytes
from couplings.train.errors import DataError
from couplings.train.sealed import SEAL, data_checksum, read_facts, read_tensors, write_sealed
from couplings.train.texts import read_text

__all__ = [
    "Checkpoint",
    "append_line",
    "checkpoints",
    "fill",
    "first_not_finite",
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
_NO_CHECKPOINT = "no whole checkpoint"
_REMEDY = "restore it, or make it anew with --overwrite"
_LARGEST_JSON = 2**24
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
        return json.loads(read_text(path, _LARGEST_JSON))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, then remove all but the last two."""
    path = folder / f"checkpoint-{checkpoint.step:09d}.safetensors"
    write_sealed(path, checkpoint.tensors, {"step": str(checkpoint.step), "about": json.dumps(checkpoint.about)})
    for old in checkpoints(folder)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, newest first."""
    return sorted(folder.glob(_PATTERN), reverse=True)


def remove_checkpoints(folder: Path, keep: int = 0) -> None:
    """Remove all checkpoints but for the newest ones that are kept."""
    for path in checkpoints(folder)[keep:]:
        path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path, steps: int, say: Callable[[str], None] = lambda _: None) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if there is none. ``say`` is told of those that are not.

    Args:
        folder: of the run.
        steps: of the whole training: no checkpoint is of a later one.
        say: takes a line for the user.
    """
    found = checkpoints(folder)
    for path in found:
        try:
            return _read_checkpoint(path, steps)
        except DataError as error:
            say(f"{error}; {'it begins anew' if path == found[-1] else 'the one before it is used'}.")
    return None


def _read_checkpoint(path: Path, steps: int) -> Checkpoint:
    tensors, facts = read_tensors(path, _NO_CHECKPOINT)
    # Those without a seal, whose checksum leaves out the step and the types, are read for one release more.
    if SEAL not in facts and facts.get("checksum") != _older_checksum(tensors, facts.get("about", "")):
        raise DataError(f"{path}: {_NO_CHECKPOINT} (its checksum differs)")
    step, named_step = _step_of(path, facts), path.stem.rpartition("-")[2]
    if step > steps or f"{step:09d}" != named_step:
        raise DataError(
            f"{path}: {_NO_CHECKPOINT} (it is of step {step}; the name says {named_step}, of {steps} steps)"
        )
    return Checkpoint(step, tensors, json.loads(facts["about"]))


def _older_checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    found = zlib.crc32(about.encode())
    for name in sorted(tensors):
        found = data_checksum(tensors[name], zlib.crc32(name.encode(), found))
    return f"{found:08x}"


def _step_of(path: Path, facts: Mapping[str, str]) -> int:
    step = facts.get("step", "0")
    if not re.fullmatch("[0-9]{1,18}", step):
        raise DataError(f"{path}: damaged (its step is {shorten(repr(step), _LONGEST)}, and no number)")
    return int(step)


def save_weights(path: Path, parts: Mapping[str, nn.Module], step: int) -> None:
    """All parameters and buffers of some modules, each under its prefix, and the step they belong to."""
    state = {f"{prefix}{name}": value for prefix, part in parts.items() for name, value in part.state_dict().items()}
    write_sealed(path, state, {"step": str(step)})


def saved_step(path: Path) -> int:
    """The step that a file of weights belongs to, read from its head alone; 0 if it does not say.

    Raises:
        DataError: the file is missing or damaged.
    """
    return _step_of(path, read_facts(path))


def load_weights(path: Path, parts: Mapping[str, nn.Module]) -> int:
    """Fill modules from a file of :func:`save_weights`; returns its step.

    An older file, or one of another program, has no checksum, and is taken as it is.

    Raises:
        DataError: the file is missing, damaged, or of another model, or holds weights that are no numbers.
    """
    try:
        state, facts = read_tensors(path, "no whole file of weights")
        if SEAL not in facts and set(facts) - {"step", "format"}:
            raise DataError(f"{path}: no whole file of weights (its checksum is missing)")
        step = _step_of(path, facts)
    except DataError as error:
        raise DataError(f"{error}; {_REMEDY}") from None
    fill(path, parts, state)
    return step


def fill(path: Path, parts: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> None:
    """Give modules their parameters and buffers; raises :class:`DataError` that names the file they come from."""
    for prefix, part in parts.items():
        mine = {name.removeprefix(prefix): value for name, value in state.items() if _belongs(name, prefix, parts)}
        try:
            part.load_state_dict(mine)
        except RuntimeError as error:
            reason = f"no weights of this encoder ({_first_flaw(error)})"
            raise DataError(f"{path}: {reason}; {_REMEDY}") from None
        broken = first_not_finite(part)
        if broken is not None:
            raise DataError(f"{path}: {prefix}{broken} holds NaN or infinity; {_REMEDY}")


def first_not_finite(part: nn.Module) -> str | None:
    """The name of the first parameter with NaN or infinity, or buffer with NaN (some hold infinities as masks)."""
    bad = ((name, ~value.isfinite()) for name, value in part.named_parameters())
    worse = ((name, value.isnan()) for name, value in part.named_buffers())
    return next((name for name, found in chain(bad, worse) if bool(found.any())), None)


def _first_flaw(error: RuntimeError) -> str:
    """Torch names the class of the module, then, a line each, all parameters that do not fit."""
    _, *flaws = str(error).splitlines()
    first = shorten(flaws[0] if flaws else str(error), _LONGEST)
    return f"{first.rstrip('.')}, and {len(flaws) - 1} more" if len(flaws) > 1 else first


def _belongs(name: str, prefix: str, prefixes: Iterable[str]) -> bool:
    """Whether this is the longest prefix of a name."""
    return prefix == max((other for other in prefixes if name.startswith(other)), key=len, default=None)
