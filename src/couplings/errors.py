"""What can go wrong, as types. Every message names the argument, the value that came and the remedy."""

from __future__ import annotations

import sys
import warnings


class InvalidInput(ValueError):
    """An argument that no coupling or loss can be computed from."""


class Infeasible(InvalidInput):
    """No plan meets the marginals under the mask."""


class NotConverged(RuntimeError):
    """A plan whose marginals are further off than was asked for."""


class CouplingWarning(UserWarning):
    """A result that is usable but not what was asked for."""


def warn(message: str) -> None:
    """Emit a `CouplingWarning` that points at the line outside of this library and torch that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("couplings", "torch"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, CouplingWarning, stacklevel=level)
