"""The table of `docs/identities.md` and the tests agree: every identity, its test and its tolerance."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "identities.md"
MODULES = ("test_bridges.py", "test_cards.py", "test_cards_plans.py", "test_new_members.py")
PROMISED = {
    *(f"I{k}" for k in range(1, 12)),
    *(f"TA{k}" for k in range(2, 6)),
    *(f"TB{k}" for k in range(1, 4)),
    *(f"TD{k}" for k in range(1, 6)),
    *(f"TE{k}" for k in range(1, 5)),
    *(f"N{k}" for k in range(1, 5)),
}
EXACT = "exact"
"""The tolerance of a statement that is an inequality or an order."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    id: str
    statement: str
    test: str
    tolerance: str
    seen: str


def _rows() -> list[Row]:
    lines = [line for line in TABLE.read_text().splitlines() if re.match(r"\| (I|TA|TB|TD|TE|N)\d", line)]
    return [Row(*(cell.strip().strip("`") for cell in line.strip("|").split(" | "))) for line in lines]


def _within(function: ast.FunctionDef) -> list[float]:
    words = (word for node in ast.walk(function) if isinstance(node, ast.Call) for word in node.keywords)
    return [float(ast.literal_eval(word.value)) for word in words if word.arg == "within"]


@cache
def _tests() -> dict[str, str]:
    """The loosest tolerance of each test, by file and name."""
    found = {}
    for module in MODULES:
        for node in ast.parse((HERE / module).read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[f"{module}::{node.name}"] = f"{max(_within(node)):.0e}" if _within(node) else EXACT
    return found


def test_each_test_has_its_row_and_each_row_its_test() -> None:
    listed = [row.test for row in _rows()]
    assert sorted(listed) == sorted(_tests())


def test_no_identity_is_missing() -> None:
    assert {row.id for row in _rows()} == PROMISED


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row.test)
def test_a_row_says_what_its_test_does(row: Row) -> None:
    assert row.test.split("::")[1].startswith(f"test_{row.id}_")
    assert row.tolerance == _tests()[row.test]
    assert row.statement
    if row.tolerance != EXACT:
        assert float(row.seen) <= float(row.tolerance)
