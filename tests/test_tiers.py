"""What leaves the default run is chosen at collection, by the mark nearest to a test."""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

CONFTEST = "from tiers import choose\n\n\ndef pytest_itemcollected(item):\n    choose(item)\n"
TESTS = """
import pytest
from tiers import by_default

pytestmark = by_default(name=["a"])
names = pytest.mark.parametrize("name", ["a", "b"])

@names
def test_as_its_module(name): ...

@by_default(n=[2])
@names
@pytest.mark.parametrize("n", [1, 2])
def test_its_own_mark_alone(name, n): ...

@by_default()
@names
def test_all_of_it(name): ...

def test_of_one_value(): ...
"""


def test_values_that_are_not_kept_are_full(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n  full\n  by_default")
    pytester.makepyfile(TESTS)
    chosen = pytester.runpytest_inprocess("--collect-only", "-q", "-m", "not full").outlines
    assert [line.partition("::")[2] for line in chosen if "::" in line] == [
        "test_as_its_module[a]",
        "test_its_own_mark_alone[2-a]",
        "test_its_own_mark_alone[2-b]",
        "test_all_of_it[a]",
        "test_all_of_it[b]",
        "test_of_one_value",
    ]


def test_a_parameter_that_does_not_exist_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n  full\n  by_default")
    pytester.makepyfile("from tiers import by_default\n\n@by_default(n=[1])\ndef test_without(): ...\n")
    found = pytester.runpytest_inprocess("--collect-only", "-q")
    assert found.ret != 0
    assert "test_without: by_default names no parameter: ['n']" in str(found.stderr)
