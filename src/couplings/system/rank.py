"""Which of several processes this is, known from the environment before any of them has met the others."""

from __future__ import annotations

import os

from couplings.basics.errors import UserError, shown

__all__ = ["first_process", "number_set"]


def first_process() -> bool:
    """Whether this process is the one that writes files and speaks; True where there is only one.

    Raises:
        UserError: the variables of torchrun are there and hold no numbers.
    """
    return number_set("RANK" if "RANK" in os.environ else "LOCAL_RANK", default=0) == 0


def number_set(name: str, default: int | None = None) -> int:
    """The whole number that an environment variable of torchrun holds.

    Raises:
        UserError: it holds none, or is not there and has no default.
    """
    word = os.environ.get(name, None if default is None else str(default))
    if word is None or not (word.isascii() and word.isdigit()):
        came = "is not set" if word is None else f"is {shown(word)}"
        raise UserError(
            f"the environment variable {name} {came}, where torchrun sets a whole number beside its others; start with"
            " torchrun, or unset RANK, LOCAL_RANK and TORCHELASTIC_RUN_ID"
        )
    return int(word)
