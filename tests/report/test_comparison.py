"""The table of a comparison, its picture, and what counts as better."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from couplings.report import Entry, cells, clearly_above, collapsed, comparison, markdown_table

PIXELS = Entry("raw pixels", ((0.97, 0.96, 0.88),), baseline=True)
LOSS = Entry("infonce", ((0.98, 0.99, 0.94), (0.96, 0.99, 0.96)), marked=True)


def test_cells_are_means_and_spreads_in_percent() -> None:
    assert cells(PIXELS) == ("97.0", "96.0", "88.0")
    assert cells(LOSS) == ("97.0 ± 1.4", "99.0 ± 0.0", "95.0 ± 1.4")


def test_markdown_marks_rows() -> None:
    lines = markdown_table([PIXELS, LOSS]).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[3].count("|") == 5
    assert lines[3].startswith(r"| infonce \* |")


@pytest.mark.parametrize(
    ("few", "above"),
    [
        ((0.90, 0.90), True),  # a gain of 4 points, the reference's spread is 1.4
        ((0.88, 0.88), False),
        ((0.99, 0.87), False),  # the spread of the loss itself
        ((0.80, 0.80), False),
    ],
)
def test_clearly_above_asks_for_two_of_the_larger_spread(few: tuple[float, float], above: bool) -> None:
    reference = Entry("untrained encoder", ((1, 1, 0.85), (1, 1, 0.87)), baseline=True)
    assert clearly_above(Entry("loss", tuple((0.0, 0.0, value) for value in few)), reference) is above


def test_collapse_is_a_twentieth_of_the_dimension() -> None:
    assert collapsed(6.0, 128)
    assert not collapsed(7.0, 128)


def test_picture(tmp_path: Path) -> None:
    comparison([PIXELS, LOSS], tmp_path / "c.png", "Digits", "two seeds")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 1000


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="entries"):
        comparison([], tmp_path / "c.png", "Digits")
    assert not list(tmp_path.iterdir())
