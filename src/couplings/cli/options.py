"""Types of options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token

__all__ = ["Whole"]


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    """Strictly: 1.5 is no number of steps."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"'{tokens[0].value}' is no whole number (int)") from None


Whole = Annotated[int, Parameter(converter=_whole)]
