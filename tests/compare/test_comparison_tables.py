"""What the tables say, and what they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made import loss, result

from couplings.compare import variants_of
from couplings.compare.markdown import differences_of, levels_of, markdown, notes_of

CLEAR = {"infonce": (0.80, 0.81, 0.82), "hcl": (0.8501, 0.86, 0.8699), "cacr": (0.82, 0.80, 0.81)}


def test_levels_are_means_and_spreads(tmp_path: Path) -> None:
    (table,) = result(tmp_path, CLEAR).tables
    heading, rows = levels_of(table)
    assert heading[:4] == ("", "kNN (k = 20)", "linear", "10 labels a class")
    assert [row[0] for row in rows] == ["raw pixels", "untrained encoder", "infonce", "hcl", "cacr"]
    assert rows[2] == (
        "infonce",
        "81.0 ± 1.0",
        "83.0 ± 1.0",
        "71.0 ± 1.0",
        "0.200 ± 0.000",
        "-2.00 ± 0.00",
        "40.0 ± 0.0",
        "3",
    )
    assert {len(row) for row in rows} == {len(heading)}
    assert len(levels_of(table, brief=True)[0]) == 5


def test_differences_are_paired_and_marked(tmp_path: Path) -> None:
    (table,) = result(tmp_path, CLEAR).tables
    heading, rows = differences_of(table)
    assert heading[0] == "minus infonce"
    # Unpaired, the spread over seeds would hide it.
    assert rows[0][1] == "**+5.0 [+5.0, +5.0] higher**"
    assert rows[1][1] == "+0.0 [-4.3, +4.3]"
    notes = " ".join(notes_of(table))
    assert "3 of 6 intervals exclude 0" in notes
    assert "Holm" in notes


def test_what_does_not_survive_holm_is_not_bold(tmp_path: Path) -> None:
    rows = {
        "infonce": (0.80, 0.81, 0.82),
        "hcl": (0.81, 0.825, 0.84),
        "cacr": (0.82, 0.80, 0.81),
        "mine": (0.8, 0.83, 0.8),
    }
    (table,) = result(tmp_path, rows).tables
    cell = differences_of(table)[1][0][1]
    assert cell.endswith("higher")
    assert "**" not in cell


def test_one_seed_has_no_interval_and_says_so(tmp_path: Path) -> None:
    (table,) = result(tmp_path, {"infonce": (0.8,), "hcl": (0.9,)}).tables
    assert differences_of(table)[1] == [("hcl", "+10.0", "+10.0", "+10.0")]
    assert levels_of(table)[1][2][1] == "80.0"
    assert "no interval" in " ".join(notes_of(table))


def test_a_failed_run_costs_its_pair_alone(tmp_path: Path) -> None:
    found = result(tmp_path, {"infonce": (0.80, 0.81, 0.82), "hcl": (0.85, None, 0.88), "cacr": (None, None, None)})
    (table,) = found.tables
    (row,) = differences_of(table)[1]
    assert row[1].startswith("+5.5")
    assert levels_of(table)[1][3][-1] == "2 of 3"
    assert table.failures() == {"hcl": "seed 1: it diverged", "cacr": "seed 0, 1, 2: it diverged"}
    assert "- cacr: seed 0, 1, 2: it diverged" in markdown(table)
    assert found.failed == 4


def test_a_reference_that_failed_leaves_no_differences(tmp_path: Path) -> None:
    (table,) = result(tmp_path, {"infonce": (None, None), "hcl": (0.8, 0.9)}).tables
    assert differences_of(table)[1] == []
    assert "hcl" in markdown(table)


def test_nothing_but_failures(tmp_path: Path) -> None:
    found = result(tmp_path, {"infonce": (None,)})
    assert {path.name for path in found.write()} == {"comparison.md", "results.json"}
    assert "it diverged" in (tmp_path / "comparison.md").read_text()


def test_files(tmp_path: Path) -> None:
    found = result(tmp_path, {**CLEAR, "supervised": (0.9, 0.9, 0.9)}, [loss(name) for name in CLEAR], supervised=True)
    assert {path.name for path in found.write()} == {"comparison.md", "results.json", "comparison.png"}
    assert not list(tmp_path.glob(".*"))
    numbers = json.loads((tmp_path / "results.json").read_text())
    assert len(numbers["runs"]) == 12
    assert numbers["runs"][0]["evaluation"]["trained"]["knn"] == 0.8
    rows = {row["name"]: row for row in numbers["tables"][0]["rows"]}
    assert rows["hcl"]["differences"]["knn"]["mean"] == pytest.approx(0.05)
    assert rows["supervised"]["trained by"] == "cross-entropy on the labels"
    assert not rows["supervised"]["differences"]
    text = (tmp_path / "comparison.md").read_text()
    assert "couplings compare --losses all" in text
    assert "| supervised |" in text


def test_a_varied_number_is_drawn(tmp_path: Path) -> None:
    variants = variants_of([loss("infonce"), loss("hcl")], {"pairs.negatives": [1, 4, 16]})
    accuracies = {variant.name: (0.7 + 0.01 * place, 0.72) for place, variant in enumerate(variants)}
    found = result(tmp_path, accuracies, variants)
    assert "pairs.negatives.png" in {path.name for path in found.write()}


def test_varied_objects_are_rows_and_no_axis(tmp_path: Path) -> None:
    variants = variants_of([loss("cacr")], {"loss.cost": [{"name": "rbf", "t": 0.5}, {"name": "rbf", "t": 2.0}]})
    assert variants[0].name == "cacr, loss.cost={name: rbf, t: 0.5}"
    found = result(tmp_path, {variant.name: (0.7, 0.72) for variant in variants}, variants)
    assert {path.name for path in found.write()} == {"comparison.md", "results.json", "comparison.png"}


def test_a_page_gets_the_tables_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("mine\n<!-- compare: out -->\nold\n<!-- end -->\nmine too\n")
    written = result(tmp_path / "out", CLEAR).write_docs(page)
    text = page.read_text()
    assert text.startswith("mine\n<!-- compare: out -->")
    assert text.endswith("<!-- end -->\nmine too\n")
    assert "\nold\n" not in text
    assert "| hcl |" in text
    assert "![compare-out-comparison](images/compare-out-comparison.png)" in text
    assert written == [page, page.parent / "images" / "compare-out-comparison.png"]
