"""Contrastive losses as choices of coupling."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .basics.moved import keep_old_names

if TYPE_CHECKING:
    from ._public import *  # noqa: F403

__version__ = "0.1.0"
keep_old_names()


def __getattr__(name: str) -> Any:
    """Load torch when a name is first used, so that the command line speaks, and sets its threads, before that."""
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f"{__name__}.{name}")
    if name == "__all__" or not name.startswith("_"):
        from . import _public

        if name == "__all__" or name in _public.__all__:
            return globals().setdefault(name, getattr(_public, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from . import _public

    return sorted({*globals(), *_public.__all__})
