"""Modules under the names that they had before: kept for one release, with a `DeprecationWarning`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_ROOMS = {
    "basics": ("checks", "errors", "precision"),
    "pieces": ("costs", "marginals", "masks", "rules"),
    "plans": ("coupling", "graded", "potentials", "scores", "softmax", "solve", "targets"),
    "batches": ("distributed", "queue", "two_pass"),
    "engine": ("feasibility", "sweeps"),
    "system": ("display", "files", "image_files", "interrupts", "rank", "workers"),
    "report": ("html", "pages"),
}
MOVED = {f"couplings.{name}": f"couplings.{room}.{name}" for room, names in _ROOMS.items() for name in names}
MOVED["couplings.theory"] = "couplings_theory"


def place_of(name: str) -> str | None:
    """Where a module is now that had this name; None where it has not moved."""
    parts = name.split(".")
    new = MOVED.get(".".join(parts[:2]))
    return None if new is None else ".".join([new, *parts[2:]])


class OldNames(MetaPathFinder, Loader):
    """Finds a moved module under its old name; the module is the same object."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of an old name whose module exists; None for all other names."""
        new = place_of(fullname)
        return None if new is None or find_spec(new) is None else ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module itself in the place of the one that was made for the old name."""
        old = module.__name__
        new = place_of(old) or old
        warnings.warn(f"{old} is now {new}; the old name goes with the next release", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(new)


def keep_old_names() -> None:
    """Let old names be imported; before other finders, which would load a part of a moved package a second time."""
    if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, OldNames())
