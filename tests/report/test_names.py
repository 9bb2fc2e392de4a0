"""Names that come from data stand in every picture as they are: never as formulas, and nothing makes one fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from couplings import CouplingWarning
from couplings.report import Entry, comparison, coupling_picture, curves, embedding_map, histories, response

_NAMES = {
    "Ke$$ha": "Ke$$ha",
    "$x_1$": "$x_1$",
    "$#$": "$#$",
    "[red]": "[red]",
    "x\udce9": "x?",
    "\x1b[3m\x00b": "?[3m?b",
    "two\nlines": "two?lines",
    "_low": " _low",
}
_SCORES = (0.5, 0.6, 0.7)
_RECORDS = [{"step": step, "plan_entropy": 1 / step, "alignment": step / 9} for step in (1, 2, 3)]


def _coupling(names: list[str], path: Path) -> None:
    n = 2 * len(names)
    weights = np.linspace(-1, 1, n * n).reshape(n, n)
    pixels = np.arange(n * 4.0).reshape(n, 2, 2)
    coupling_picture(np.ones((n, n)), weights, path, np.arange(n) // 2, pixels, classes=names, title=" ".join(names))


def _curves(names: list[str], path: Path) -> None:
    curves([{"step": step, "plan_entropy": dict.fromkeys(names, 1 / step)} for step in (1, 2, 3)], path, names[0])


def _histories(count: int) -> Callable[[list[str], Path], None]:
    def draw(names: list[str], path: Path) -> None:
        more = [f"loss {place}" for place in range(count)]
        histories({name: [_RECORDS] for name in [*names, *more]}, path, names[0])

    return draw


def _response(names: list[str], path: Path) -> None:
    curve = {1.0: [_SCORES], 2.0: [_SCORES]}
    response(dict.fromkeys(names, curve), path, names[0], names[0], {names[0]: _SCORES})


_PICTURES: dict[str, Callable[[list[str], Path], None]] = {
    "coupling": _coupling,
    "curves": _curves,
    "comparison": lambda names, path: comparison([Entry(name, (_SCORES,)) for name in names], path, names[0], names[0]),
    "histories, lines": _histories(0),
    "histories, maps": _histories(4),
    "response": _response,
    "embedding": lambda names, path: embedding_map(np.eye(len(names)), np.array(names), path, names[0]),
}


@pytest.mark.parametrize("picture", _PICTURES)
def test_a_name_is_shown_as_it_is(picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, shown = Figure.savefig, dict[str, bool]()

    def looked_at(figure: Figure, *args: object, **options: object) -> None:
        save(figure, *args, **options)  # type: ignore[arg-type]
        shown.update({text.get_text(): text.get_parse_math() for text in figure.findobj(Text)})  # type: ignore[attr-defined]

    monkeypatch.setattr(Figure, "savefig", looked_at)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _PICTURES[picture](list(_NAMES), tmp_path / "p.png")
    assert {*_NAMES.values()} <= shown.keys()
    assert not any(shown.values())


def test_letters_without_a_font_are_told_once_a_picture(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _coupling(["\U000f0001\U000f0002", "\U000f0001"], tmp_path / "p.png")
    (warning,) = said
    assert issubclass(warning.category, CouplingWarning)
    assert "boxes for \U000f0001\U000f0002: no font" in str(warning.message)
