"""Tables on a screen and in a file: names are whole, and what stands in them is no markup."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from couplings.system import display

_NAMES = ("latent-classes/a-name-longer-than-the-screen", "latent-classes/a-name-longer-than-the-scrawl")


def _shown(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], *, terminal: bool) -> str:
    screen = io.StringIO()
    made = Console(file=screen, width=30, force_terminal=terminal, color_system=None, highlight=False, emoji=False)
    monkeypatch.setattr(display, "console", made)
    table = Table("claim", "what it says")
    for name in names:
        table.add_row(display.cell(name), "that a name is whole")
    display.show(table)
    return screen.getvalue()


def test_a_file_has_a_name_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = _shown(monkeypatch, _NAMES, terminal=False)
    assert all(name in text for name in _NAMES)


def test_a_narrow_screen_folds_names(monkeypatch: pytest.MonkeyPatch) -> None:
    text = _shown(monkeypatch, _NAMES, terminal=True)
    assert max(map(len, text.splitlines())) <= 30
    assert "…" not in text
    first = "".join(re.sub(r"[│┃].*", "", line.lstrip("│┃")).strip() for line in text.splitlines())
    assert all(name in first for name in _NAMES)


@pytest.mark.parametrize("name", ["[red]", "[/]", ":cat:", "$x$", "**bold**"])
def test_a_cell_is_no_markup(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in _shown(monkeypatch, (name,), terminal=False)
    display.say(name)
    assert name in display.console.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]


def test_a_cell_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = _shown(monkeypatch, ("\x1b[31mred\nline\udce9\u202e",), terminal=False)
    assert "?[31mred?line??" in text
