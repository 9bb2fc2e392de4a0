"""Types of options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token

from couplings.basics.errors import shown

__all__ = ["Whole"]


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    """Strictly: 1.5 is no number of steps, and what no integer of torch holds is none of anything."""
    word = tokens[0].value
    try:
        found = int(word)
    except ValueError:
        raise ValueError(f"{shown(word)} is no whole number (int)") from None
    if abs(found) > _LARGEST:
        raise ValueError(f"{shown(word)} is larger than {_LARGEST}")
    return found


_LARGEST = 2**63 - 1


Whole = Annotated[int, Parameter(converter=_whole)]
