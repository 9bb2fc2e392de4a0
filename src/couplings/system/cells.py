"""Words as tables hold them: Arrow takes whole characters alone, and a spreadsheet computes formulas."""

from __future__ import annotations

import re

__all__ = ["cell", "encodable"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""A reader of CSV takes some of them for the end of a line, or of the file."""
_FORMULA = re.compile(r"[=@]|[+-](?![\d.]+$)")
"""How a cell begins that a spreadsheet would compute; a number is none."""


def encodable(text: str) -> str:
    """Halves of characters, which have no UTF-8, become question marks."""
    return text.encode(errors="replace").decode()


def cell(text: str) -> str:
    """A word of a .csv file: control characters are spaces, and a formula has a ' before it.

    >>> cell("=1+1"), cell("-1")
    ("'=1+1", '-1')
    """
    plain = _CONTROL.sub(" ", encodable(text))
    return f"'{plain}" if _FORMULA.match(plain) else plain
