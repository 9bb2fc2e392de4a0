"""Writes the tables of docs/errors.md: what is printed when something is wrong.

Run `python docs/error_table.py` after changing a message or a case of tests/errors; a test compares the tables with
what is printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")
PAGE = Path(__file__).with_name("errors.md")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "errors"))

from case import Case, Group  # noqa: E402
from cases import CASES  # noqa: E402
from scene import meet  # noqa: E402
from stock import Stock  # noqa: E402

START, END = "<!-- tables: python docs/error_table.py -->", "<!-- end of tables -->"


def line(case: Case, message: str) -> str:
    """One line of a table."""
    said = message.replace("|", "\\|")
    left = f" Leaves {_left(case)}." if case.leaves else ""
    return f"| {case.what.replace('|', chr(92) + '|')} | `{said}`{'' if case.code else ' It goes on.'}{left} |"


def _left(case: Case) -> str:
    """The files a case leaves, without their folders."""
    return ", ".join(f"`{path}`" for path in sorted(case.leaves) if "." in path)


def is_line(text: str) -> bool:
    """Whether a line of the page is one of a table, and not its head."""
    return text.startswith("| ") and not text.startswith("| what is wrong")


def table(group: Group, messages: Mapping[Case, str]) -> str:
    """The table of a group in Markdown."""
    lines = [line(case, message) for case, message in messages.items() if case.group is group]
    return "\n".join([f"## {group.value}", "", "| what is wrong | what it prints |", "|---|---|", *lines])


def updated(page: str, messages: Mapping[Case, str]) -> str:
    """The page with the tables of today."""
    before, rest = page.split(START)
    tables = "\n\n".join(table(group, messages) for group in Group)
    return f"{before}{START}\n\n{tables}\n\n{END}{rest.split(END)[1]}"


def messages() -> dict[Case, str]:
    """What is printed, by case."""
    found: dict[Case, str] = {}
    with TemporaryDirectory() as place:
        stock = Stock(_made(Path(place) / "stock"))
        for number, case in enumerate(CASES):
            found[case] = meet(case, _made(Path(place) / str(number)), stock).message(case)
    return found


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(), messages()))
    print(f"wrote {PAGE}")
