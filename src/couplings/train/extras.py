"""Libraries that only some commands need: imported when asked for, with the command that installs a missing one."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from couplings.train.errors import ConfigError

__all__ = ["imported"]


def imported(module: str, what: str, install: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: its name, possibly dotted.
        what: wants it, for the message.
        install: what stands behind ``pip install``.

    Raises:
        ConfigError: it is not installed.

    Example:
        >>> imported("json", "reading", "json").loads("[1]")
        [1]
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise ConfigError(f"{what} needs {missing}, which is not installed; pip install {install}") from None
