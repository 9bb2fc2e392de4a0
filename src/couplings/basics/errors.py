"""What can go wrong, as types. Every message names the argument, the value that came and the remedy."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable
from reprlib import Repr
from typing import Any


class UserError(ValueError):
    """A mistake of the user's, told in one message; anything else is a defect of ours."""


class InvalidInput(UserError):
    """An argument that no coupling or loss can be computed from."""


class Infeasible(InvalidInput):
    """No plan meets the marginals under the mask."""


class Overwritten(InvalidInput, RuntimeError):
    """A matrix that was written to while a call still needed it; a RuntimeError too, as torch's own check of this."""


class NotConverged(RuntimeError):
    """A plan whose marginals are further off than was asked for."""


class CouplingWarning(UserWarning):
    """A result that is usable but not what was asked for."""


_WITHIN = ("couplings", "torch", "contextlib")
"""Whose lines a warning does not point at."""


def warn(message: str) -> None:
    """Emit a `CouplingWarning` that points at the line outside of this library and torch that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _WITHIN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, CouplingWarning, stacklevel=level)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them.

    >>> did_you_mean("temperatur", ["temperature", "beta"])
    "did you mean 'temperature'?"
    """
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(names)}" if names else "it takes none"


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 8, 8, 8
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 100
_LONGEST = 500


def shown(value: Any) -> str:
    """A value as it stands in a message: its ``repr``, or the beginning and the end of a long one.

    >>> shown([0.1, "x"]), shown("x" * 1000) == "'" + 47 * "x" + "..." + 48 * "x" + "'"
    ("[0.1, 'x']", True)
    """
    try:
        return _SHORT.repr(value)
    except ValueError:
        # Python writes no whole number of more than 4,300 digits.
        return f"a number of {value.bit_length():,} bits" if isinstance(value, int) else f"a {type(value).__name__}"


def brief(message: str, longest: int = _LONGEST) -> str:
    """A message without its middle, where it is long.

    >>> brief("a" * 40, 13)
    'aaaa ... aaaa'
    """
    half = (longest - 5) // 2
    return message if len(message) <= longest else f"{message[:half]} ... {message[-half:]}"
