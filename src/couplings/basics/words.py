"""Words that come from data (names of classes, files, columns) as people see them: never markup, never control."""

from __future__ import annotations

import re

__all__ = ["one_line", "visible"]

_STEERING = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters, those that turn the direction of writing, and halves of characters, which have no UTF-8."""
_HIDDEN, _BROKEN = re.compile(f"[{_STEERING}]"), re.compile(rf"[\t\n\u2028\u2029{_STEERING}]")


def visible(text: str) -> str:
    r"""Text of several lines: what would steer a terminal, or has no UTF-8, is shown as a question mark.

    >>> visible("a\x1b[31mb")
    'a?[31mb'
    """
    return _HIDDEN.sub("?", text)


def one_line(text: str) -> str:
    r"""A name: as `visible`, and nothing that breaks a line.

    >>> one_line("cats\nand\udce9dogs")
    'cats?and?dogs'
    """
    return _BROKEN.sub("?", text)
