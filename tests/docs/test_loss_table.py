"""The table of lines and pieces in docs/losses.md is that of the code, and every loss stands on the page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from couplings.losses import LOSSES

DOCS = Path(__file__).parents[2] / "docs"


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("loss_table", DOCS / "loss_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_up_to_date() -> None:
    page = (DOCS / "losses.md").read_text()
    assert _tool().updated(page) == page, "run python docs/loss_table.py"


@pytest.mark.parametrize("kind", LOSSES.values(), ids=lambda kind: kind.__name__)
def test_a_loss_is_a_formula(kind: type) -> None:
    lines = sum(_tool().lines_of(function) for function in _tool().functions_of(kind))
    assert 1 < lines <= 33


@pytest.mark.parametrize("kind", LOSSES.values(), ids=lambda kind: kind.__name__)
def test_every_loss_stands_in_a_table_by_role(kind: type) -> None:
    by_role = (DOCS / "losses.md").read_text().split("## Lines and pieces")[0]
    assert re.search(rf"^\|.*`{kind.__name__}[`(]", by_role, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", LOSSES.values(), ids=lambda kind: kind.__name__)
def test_no_loss_builds_a_mask_by_hand(kind: type) -> None:
    for function in _tool().functions_of(kind):
        by_hand = {"eye", "tril", "triu", "masked_fill", "masked_fill_", "fill_diagonal_", "diag", "SameId"}
        assert not by_hand & _tool().names_in(function), function
