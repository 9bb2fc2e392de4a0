"""Every example of the theory runs and prints what it says: in docstrings and on its pages."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import couplings_theory
from couplings_theory.catalogue import FAMILIES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = DOCS / "theory"
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(couplings_theory.__path__, "couplings_theory.")
    if not name.startswith("couplings_theory.figures")
)


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("theory_tables", DOCS / "theory_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODELS = [family.name.replace("-", "_") for family in FAMILIES]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("family", MODELS)
def test_every_public_name_is_documented(family: str) -> None:
    module = importlib.import_module(f"couplings_theory.{family}")
    for name in module.__all__:
        value = getattr(module, name)
        # A type alias has no docstring of its own.
        if inspect.isclass(value) or inspect.isfunction(value):
            assert (inspect.getdoc(value) or "").strip(), name


def test_the_tables_of_claims_are_as_the_script_writes_them() -> None:
    tool = _tool()
    for path in tool.pages():
        text = path.read_text()
        assert tool.page(path, text) == text, "run python docs/theory_tables.py"


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_no_theorem_is_numbered(family: str) -> None:
    assert not re.search(r"\b(Theorem|Lemma|Proposition|Corollary) \d", (PAGES / f"{family}.md").read_text())


@pytest.mark.parametrize("page", ["theory", *(f"theory/{family.name}" for family in FAMILIES)])
def test_code_on_the_pages_runs(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    blocks = re.findall(r"(?<!<!-- takes minutes -->\n)```python\n(.*?)```", text, re.S)
    place: dict[str, object] = {}
    for block in blocks:
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, place, page, None, None)
            assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0
        else:
            exec(compile(block, page, "exec"), place)
