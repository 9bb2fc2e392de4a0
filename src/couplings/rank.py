"""Which of several processes this is, known from the environment before any of them has met the others."""

from __future__ import annotations

import os

__all__ = ["first_process"]


def first_process() -> bool:
    """Whether this process is the one that writes files and speaks; True where there is only one."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
