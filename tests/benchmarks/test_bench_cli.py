"""`couplings bench` as a user meets it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import contenders
import pytest
from rich.console import Console

from couplings import cli
from couplings.benchmarks.measure import Plan, measured
from couplings.benchmarks.page import check_page
from couplings.benchmarks.peers import Product
from couplings.benchmarks.result import Cell, Row, Section
from couplings.benchmarks.suites import SUITES, Suite
from couplings.benchmarks.work import Contender, Goal, Quantity, Size, Work
from couplings.cli.work.bench import _table


def _tiny() -> Sequence[Work]:
    peers = (Contender("frees", contenders.frees), Contender("absent", contenders.tiny, package="no_such_package"))
    return [contenders.work(*peers, rows=(2, 4), goals=(Goal(Quantity.MEMORY, 400e6),))]


@pytest.fixture(autouse=True)
def _tiny_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SUITES, "tiny", Suite("tiny", "A tiny bench", _tiny, usual=False))
    monkeypatch.setattr("couplings.benchmarks.machine._SHAPES", {"8 x 8 x 8": Product(8, 8, 8)})
    monkeypatch.setattr("couplings.benchmarks.machine._ENOUGH_FLOPS", 1.0)


def test_one_quick_bench_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "tiny", "--quick", "--budget", "0.01", "--output", "out"]) == 0
    said = capsys.readouterr().out
    for words in ("2 rows", "a test, 4 rows", "A tiny bench", "Goals: 2 of 2 reached", "Written: out/results.json"):
        assert words in said
    assert {path.name for path in Path("out").iterdir()} == {"results.json", "results.md", "ratios.png"}
    results = json.loads(Path("out/results.json").read_text())
    assert results["quick"] is True
    first = results["sections"][0]["rows"][0]
    assert [peer["note"] for peer in first["peers"]] == ["", "not installed: pip install 'couplings[bench]'"]
    assert first["ours"]["seconds"]


@pytest.mark.parametrize(
    ("command", "given", "policy"),
    [("bench --list", None, None), ("bench --list", "ACTIVE", "ACTIVE"), ("losses", None, "PASSIVE")],
)
def test_a_bench_waits_as_the_users_process_does(
    command: str, given: str | None, policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")  # so that it is set back afterwards
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert cli.main(command.split()) == 0
    assert os.environ.get("OMP_WAIT_POLICY") == policy


def test_the_page_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("page.md").write_text("kept\n<!-- bench: tiny -->\n<!-- end -->\nkept too\n")
    arguments = ["--repeats", "1", "--docs", "page.md", "--output", "out"]
    assert cli.main(["bench", "tiny", *arguments]) == 0
    page = Path("page.md").read_text()
    assert "| a test |" in page
    assert page.startswith("kept\n")
    assert page.endswith("kept too\n")
    assert Path("images/bench-ratios.png").is_file()


def test_a_list_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--list"]) == 0
    said = capsys.readouterr().out
    assert [name for name in SUITES if name not in said] == []
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bench tinny", ["no bench", "'tinny'", "'tiny'"]),
        ("bench tiny/tests", ["'tests'", "'test'"]),
        ("bench tiny --repeats 0", ["--repeats", "0"]),
        ("bench tiny --budget -1", ["--budget", "-1"]),
        ("bench tiny --device gpu", ["--device gpu", "cpu"]),
        ("bench tiny --docs nowhere.md", ["nowhere.md", "no such page"]),
        ("bench tiny --docs page.md", ["no place for tiny", "<!-- bench: tiny -->"]),
        ("bench tiny --quick --output page.md", ["page.md"]),
    ],
)
def test_mistakes(command: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("page.md").write_text("mine")
    assert cli.main(command.split()) == 2
    error = capsys.readouterr().err
    assert [word for word in words if word not in error] == []
    assert [path.name for path in Path().iterdir()] == ["page.md"]


@pytest.mark.parametrize(("rows", "words"), [(1, "are in out"), (0, "before anything was measured")])
def test_ctrl_c_keeps_the_rows_that_are_done(
    rows: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def impatient(work: Work, plan: Plan) -> Iterator[Row]:
        yield from (row for _, row in zip(range(rows), measured(work, plan), strict=False))
        raise KeyboardInterrupt

    Path("page.md").write_text("<!-- bench: tiny -->\n<!-- end -->\n")
    monkeypatch.setattr("couplings.benchmarks.run.measured", impatient)
    assert cli.main(["bench", "tiny", "--repeats", "1", "--output", "out", "--docs", "page.md"]) == 130
    assert words in capsys.readouterr().err
    assert Path("out/results.json").is_file() == (rows > 0)
    assert Path("page.md").read_text() == "<!-- bench: tiny -->\n<!-- end -->\n"


def test_a_later_suite_that_fails_leaves_the_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(work: Work, plan: Plan) -> Iterator[Row]:
        if work.name == "bad":
            raise AssertionError("a defect of ours")
        return measured(work, plan)

    bad = Suite("bad", "Bad", lambda: [replace(contenders.work(), name="bad")])
    monkeypatch.setitem(SUITES, "bad", bad)
    monkeypatch.setattr("couplings.benchmarks.run.measured", fails)
    with pytest.raises(AssertionError, match="a defect of ours"):
        cli.main(["bench", "tiny", "bad", "--repeats", "1", "--output", "out"])
    (section,) = json.loads(Path("out/results.json").read_text())["sections"]
    assert (section["name"], len(section["rows"])) == ("tiny", 2)


def test_square_brackets_are_no_markup() -> None:
    row = Row("w", "A work", Size(4), (Cell("ours", (1.0,)), Cell("peer", note="pip install 'couplings[bench]'")))
    wide = Console(width=200, file=io.StringIO(), color_system=None)
    wide.print(_table(Section("tiny", "A [bench]", (row,))))
    assert "A [bench]" in wide.file.getvalue()  # type: ignore[attr-defined]
    assert "'couplings[bench]'" in wide.file.getvalue()  # type: ignore[attr-defined]


def test_a_folder_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir / "probe"))

    monkeypatch.setattr("couplings.benchmarks.run.TemporaryFile", refused)
    monkeypatch.setattr("couplings.cli.work.bench.run", lambda *_, **__: pytest.fail("measured"))
    assert cli.main(["bench", "tiny", "--output", str(tmp_path)]) == 2
    assert f"{tmp_path}" in capsys.readouterr().err


def test_every_usual_bench_has_its_place_on_the_page() -> None:
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    check_page(page, [suite.name for suite in SUITES.values() if suite.usual and suite.name != "tiny"])
