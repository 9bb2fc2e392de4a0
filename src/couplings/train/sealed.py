"""Tensors in a safetensors file, under one checksum of everything that is read back from it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from couplings.system.files import write_bytes
from couplings.train.errors import DataError

__all__ = ["SEAL", "data_checksum", "read_facts", "read_tensors", "write_sealed"]

_FACTS, SEAL = "facts", "seal"
"""The key of the checksum among the facts."""


def write_sealed(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors, and facts about them, atomically; ``seal`` is added to the facts."""
    from safetensors.torch import save

    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    sealed = json.dumps({**facts, SEAL: _seal_of(whole, facts)}, sort_keys=True)
    # Under one key: several come in another order each time, and equal runs have equal files.
    write_bytes(path, save(whole, metadata={_FACTS: sealed}))


def read_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file and its facts, the seal among them; a seal that differs is refused.

    Raises:
        DataError: begins with the path and ``what`` the file is not.
    """
    tensors, facts = _opened(path, f": {what}", lambda file: {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    if SEAL in facts and facts[SEAL] != _seal_of(tensors, facts):
        raise DataError(f"{path}: {what} (its checksum differs)")
    return tensors, facts


def read_facts(path: Path) -> dict[str, str]:
    """The facts alone, which the head of the file holds; the seal is not compared.

    Raises:
        DataError: the file is missing or damaged.
    """
    return _opened(path, " cannot be read", lambda file: {})[1]


def _opened(path: Path, what: str, take: Callable[..., dict[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as opened, safe_open(_in_utf8(path, opened.fileno()), "pt") as file:
            return take(file), _facts(file.metadata() or {})
    # A damaged head can name a type, a shape or a name that torch does not know what to do with.
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(f"{path}{what} ({error})") from None


def _in_utf8(path: Path, descriptor: int) -> str:
    """The path, or that of the open file, where folders have names that are no UTF-8: safetensors opens no others."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"/dev/fd/{descriptor}"
    return str(path)


def _facts(found: Mapping[str, str]) -> dict[str, str]:
    """Older files hold each fact under a key of its own."""
    facts = json.loads(found[_FACTS]) if _FACTS in found else dict(found)
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise ValueError("its head holds no facts")
    return facts


def _seal_of(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """CRC-32 of the facts but for the seal, then of name, type, shape and bytes of each tensor, by name."""
    found = zlib.crc32(json.dumps({key: facts[key] for key in sorted(facts) if key != SEAL}).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found = zlib.crc32(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode(), found)
        found = data_checksum(tensor, found)
    return f"{found:08x}"


def data_checksum(tensor: Tensor, found: int) -> int:
    """Carry a CRC-32 on over the bytes of a tensor."""
    # Bytes of any dtype, numpy's and torch's own alike; an empty tensor has no view of another dtype.
    flat = tensor.reshape(-1)
    return zlib.crc32(flat.view(torch.uint8).numpy().data if len(flat) else b"", found)
