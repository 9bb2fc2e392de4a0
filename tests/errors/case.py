"""A mistake of a user, or of the machine: how it comes about, the command that meets it, what must be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from stock import Stock

DONE, MISTAKE = 0, 2


class Group(Enum):
    """The tables of the page."""

    DATA = "Images"
    SETTINGS = "Settings and recipes"
    PAIRS = "Excluded pairs"
    FOLDER = "Run folders and checkpoints"
    INSPECT = "couplings inspect"
    COMMAND = "The command line"
    DEVICE = "Devices and libraries"
    DISK = "Full disks"


@dataclass(frozen=True)
class Place:
    """Where a case happens: an empty folder, which is also the working folder."""

    folder: Path
    patch: pytest.MonkeyPatch
    stock: Stock


Prepare = Callable[[Place], object]


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        what: is wrong, for people.
        command: behind ``couplings``.
        group: the table it stands in.
        names: words of the message that say where the mistake is.
        remedy: words of the message that say what to do.
        prepare: makes the files that the command meets, or breaks something.
        code: exit code; where it is 0, the message is the line of the output that holds ``remedy``.
        leaves: what the command adds, changes or removes, as paths; nothing, as a rule.
        measured: what comes after the training is part of the case.
        then: exit code of the same command once nothing is broken any more; None if that changes nothing.
    """

    what: str
    command: str
    group: Group
    names: tuple[str, ...]
    remedy: str
    prepare: tuple[Prepare, ...] = ()
    code: int = MISTAKE
    leaves: frozenset[str] = frozenset()
    measured: bool = False
    then: int | None = None


def maker(group: Group) -> Callable[..., Case]:
    """A shorter way to write the cases of a group: ``names`` and ``leaves`` are words with spaces between them."""

    def make(
        what: str, command: str, names: str, remedy: str, *prepare: Prepare, leaves: str = "", **more: Any
    ) -> Case:
        return Case(
            what, command, group, tuple(names.split()), remedy, prepare, leaves=frozenset(leaves.split()), **more
        )

    return make
