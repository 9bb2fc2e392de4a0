"""Every example in the core's docstrings runs and prints what it says, and every public name has one."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import couplings
import couplings.batches
import couplings.engine
import couplings.losses
import couplings.pieces
import couplings.plans
import couplings.testing
from couplings import diagnostics

EXTRAS = tuple(
    f"couplings.{name}" for name in ("train", "report", "cli", "compare", "inspection", "system", "benchmarks")
)
MODULES = sorted(
    name
    for package in (
        couplings,
        couplings.basics,
        couplings.batches,
        couplings.diagnostics,
        couplings.engine,
        couplings.losses,
        couplings.pieces,
        couplings.plans,
        couplings.testing,
    )
    for _, name, _ in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
    if not name.startswith(EXTRAS)
)
WITHOUT_EXAMPLE = {
    # One line each: their use stands in the examples of `Scores`, `couple` and the losses.
    *("Cosine", "Cost", "DistancePower", "ExpSquaredEuclidean", "InnerProduct", "RBF", "SquaredEuclidean"),
    *("Fixed", "Free", "KL", "Marginal", "Entropic", "Power", "Quadratic", "Rule"),
    *("GivenMask", "Loss", "Mask", "CouplingWarning", "Infeasible", "InvalidInput", "NotConverged", "Target"),
}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_no_example_prints_the_last_digits() -> None:
    """They are a processor's own. Eight digits of single precision and more say that nobody rounded."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in Path(couplings.__file__).parent.rglob("*.py"):
        texts = [
            ast.get_docstring(node) or ""
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, documented)
        ]
        wanted = [example.want for text in texts for example in doctest.DocTestParser().get_examples(text)]
        assert not [want for want in wanted if re.search(r"\d\.\d{8}", want)], path


def test_the_modules_are_found() -> None:
    assert {"couplings.plans.solve", "couplings.losses.match", "couplings.engine.logits"} <= set(MODULES)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    root = Path(__file__).parents[2]
    files = [f"/{path.relative_to(root)}" for path in root.glob("src/**/*.py")]
    named = set(re.findall(r"(?<![\w/])[\w/]+\.py\b", (root / page).read_text())) - {"mine.py"}
    assert named
    there = [name for name in named if (root / name).is_file() or any(file.endswith(f"/{name}") for file in files)]
    assert named == set(there)


@pytest.mark.parametrize("name", sorted(set(couplings.__all__) - WITHOUT_EXAMPLE))
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(couplings, name)) or "")


@pytest.mark.parametrize("name", sorted(set(diagnostics.__all__) - {"Duplicates", "Figures", "Neighbours", "Survey"}))
def test_every_diagnostic_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(diagnostics, name)) or "")


@pytest.mark.parametrize("name", ["Processes", "check_gradients", "check_loss", "parametrize_with_checks"])
def test_every_way_to_test_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(couplings.testing, name)) or "")


@pytest.mark.parametrize("name", sorted(couplings.__all__))
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(couplings, name)
    assert (inspect.getdoc(value) or "").strip()


@pytest.mark.parametrize("loss", couplings.losses.LOSSES.values(), ids=lambda c: c.__name__)
def test_every_loss_documents_its_parameters(loss: type) -> None:
    text = inspect.getdoc(loss) or ""
    for section in ("Args:", "Shape:", "Relations:", "Source:", "Example:"):
        assert section in text
    for parameter in inspect.signature(loss).parameters:
        assert f"{parameter}:" in text, parameter
