"""Every mistake of docs/errors.md: one message that says where and what to do, nothing half-written, and the page is
that of today.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from case import Case, Group
from cases import CASES
from scene import PREFIX, meet
from stock import Stock

DOCS = Path(__file__).parents[2] / "docs"


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("error_table", DOCS / "error_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()
LINES = (DOCS / "errors.md").read_text().splitlines()


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock(tmp_path_factory.mktemp("stock"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group.name.lower()}: {case.what}")
@pytest.mark.filterwarnings("ignore::couplings.CouplingWarning")
def test_a_mistake(case: Case, tmp_path: Path, stock: Stock) -> None:
    met = meet(case, tmp_path, stock)
    message = met.message(case)
    assert met.code == case.code, met.errors
    assert [word for word in (*case.names, case.remedy) if word not in (met.errors or message)] == [], message
    assert met.errors.startswith(PREFIX) if case.code else met.errors == ""
    assert (met.errors.count("error: "), "\n" in message, "Traceback" in met.errors) == (bool(case.code), False, False)
    assert met.changed == case.leaves
    assert met.then == case.then
    assert TOOL.line(case, message) in LINES, "run python docs/error_table.py"


def test_the_page_has_no_other_line() -> None:
    assert sum(TOOL.is_line(line) for line in LINES) == len(CASES)


def test_every_group_has_cases_and_no_case_comes_twice() -> None:
    assert {case.group for case in CASES} == set(Group)
    assert [name for name, count in Counter((case.group, case.what) for case in CASES).items() if count > 1] == []
