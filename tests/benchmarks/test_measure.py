"""Who takes part in a row, what is left out and why, and what the report says of it."""

from __future__ import annotations

import json
from pathlib import Path

import contenders
import pytest
import torch

from couplings.basics.errors import InvalidInput
from couplings.benchmarks.growth import Curve, curves, exponent
from couplings.benchmarks.machine import Machine, described
from couplings.benchmarks.measure import Plan, measured
from couplings.benchmarks.page import check_page, updated
from couplings.benchmarks.result import Cell, Report, Row, Section
from couplings.benchmarks.run import opened, write
from couplings.benchmarks.tables import brief, grid, markdown, sentence
from couplings.benchmarks.timing import Pace
from couplings.benchmarks.work import Contender, Goal, Quantity, Size

SHORT = Pace(seconds=0.01, repeats=3)
MACHINE = Machine("cpu", "a processor", 2, "default", 10**9, {"torch": "1"}, {"a x b": 100.0}, "2030-01-01")


def half(size: Size) -> float:
    return 0.5


def test_a_row_of_each_kind() -> None:
    work = contenders.work(
        Contender("there", contenders.frees),
        Contender("absent", contenders.tiny, package="no_such_package"),
        Contender("refuses", contenders.refuses),
        Contender("bound", contenders.tiny, share=half),
        rows=(4,),
    )
    (row,) = measured(work, Plan(SHORT))
    ours, there, absent, refuses, bound = row.cells
    assert (len(ours.seconds), len(there.seconds), len(bound.seconds)) == (3, 3, 3)
    assert there.growth is not None
    assert bound.growth is None
    assert absent.note == "not installed: pip install 'couplings[bench]'"
    assert refuses.note == "not today"
    assert "not installed" in markdown(Section("test", "a test", (row,)))


@pytest.mark.parametrize("memory", [True, False])
def test_a_peer_that_fails_costs_its_own_cell(memory: bool) -> None:
    broken = (contenders.breaks, contenders.breaks_when_called, contenders.imports_badly)
    peers = [Contender(make.__name__, make) for make in broken]
    (row,) = measured(
        contenders.work(*peers, Contender("there", contenders.tiny), rows=(4,), memory=memory), Plan(SHORT)
    )
    assert [len(cell.seconds) for cell in row.cells] == [3, 0, 0, 0, 3]
    notes = [cell.note for cell in row.peers]
    assert notes[:2] == ["failed: some defect", "failed: np.bool is gone"]
    assert notes[2].endswith("; pip install 'couplings[bench]'")
    assert notes[3] == ""


def test_what_would_take_too_long_is_left_out() -> None:
    peer = Contender("large", contenders.frees)
    first, second = measured(contenders.work(peer, rows=(4, 8192)), Plan(SHORT, longest=1e-12))
    assert first.peers[0].note == "one call took 0 s, above 0 s"
    assert second.peers[0].note.startswith("left out: about ")


def test_what_would_need_too_much_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("couplings.benchmarks.measure.available", lambda device: 50e6)
    peer = Contender("large", contenders.frees, order=1.0)
    first, second = measured(contenders.work(peer, rows=(16, 8192)), Plan(SHORT))
    assert first.peers[0].seconds
    assert second.peers[0].note.startswith("left out: about ")
    assert second.ours.seconds


def test_sizes_of_a_quick_look() -> None:
    work = contenders.work(rows=(512, 4096, 8192))
    assert [size.rows for size in Plan.quick(torch.device("cpu")).sizes(work)] == [512, 1024]
    assert Plan().sizes(work) == work.sizes


def row(ours: Cell, *peers: Cell, goals: tuple[Goal, ...] = (), rows: int = 4096) -> Row:
    return Row("w", "A work", Size(rows), (ours, *peers), goals)


def example() -> Row:
    goals = (
        Goal(Quantity.TIME, 0.28, "six", (4096,)),
        Goal(Quantity.MEMORY, 0.2, "six", (4096,)),
        Goal(Quantity.MEMORY, 400e6),
        Goal(Quantity.TIME, 9.0, "six", (512,)),
    )
    ours, six = Cell("ours", (1.0, 2.0, 6.0), 100_000_000), Cell("six", (10.0, 10.0, 12.0), 400_000_000)
    return row(ours, six, goals=goals)


def test_ratios_and_goals() -> None:
    one = example()
    (six,) = one.peers
    assert one.ratio(six) == pytest.approx(0.2)
    assert one.paired(six) is not None
    assert one.paired(six).median == pytest.approx(0.2)  # type: ignore[union-attr]
    assert one.memory_ratio(six) == pytest.approx(0.25)
    assert [verdict.reached for verdict in one.verdicts(six)] == [True, False]
    assert [verdict.reached for verdict in one.verdicts(None)] == [True]


def test_the_table_says_it_all() -> None:
    text = markdown(Section("infonce", "InfoNCE", (example(),)))
    for words in ("A work", "4,096 rows, d = 128", "2 s", "100 MB", "six", "10 s", "0.20 (0.15 to 0.35)", "0.25"):
        assert words in text
    for words in ("time ≤ 0.28: yes", "memory ≤ 0.2: **no**", "≤ 400 MB: yes"):
        assert words in text
    assert sentence(example()) == "A work, 4,096 rows, d = 128: 2 s, 100 MB; 0.20 of six"
    assert len(brief(Section("infonce", "InfoNCE", (example(),))).headings) == 7


def test_a_table_has_no_empty_columns() -> None:
    assert grid(Section("losses", "", (row(Cell("ours", (0.001,))),))).headings == ("work", "size", "ours")


def grown(*rows: int) -> Section:
    return Section("growth", "How", tuple(row(Cell("ours", (1e-6 * n**2,), 100 * n), rows=n) for n in rows))


def test_exponents() -> None:
    (curve,) = curves(grown(512, 2048, 4096, 8192).rows)
    assert (curve.fit.time, curve.fit.memory) == (pytest.approx(2.0), pytest.approx(1.0))
    assert exponent([(512, 1.0), (1024, 2.0), (2048, 4.0), (4096, 8.0)]) is None
    assert "2.00 | 1.00" in markdown(grown(2048, 4096, 8192))


def test_a_curve_says_what_was_left_out() -> None:
    cells = (Cell("six", (1.0,)), Cell("six", note="too long"), Cell("six", note="longer still"))
    curve = Curve("A work", "six", False, 128, 0, (512, 1024, 2048), cells)
    assert (curve.left_out, curve.label, curve.times) == ("1,024 rows: too long", "six, d = 128", [(512, 1.0)])


def test_the_report_is_written(tmp_path: Path) -> None:
    report = Report(MACHINE, (Section("infonce", "InfoNCE", (example(),)), grown(2048, 4096, 8192)), 9.0)
    written = write(report, opened(tmp_path / "new" / "folder"))
    assert [path.name for path in written] == ["results.json", "results.md", "ratios.png", "growth.png"]
    assert all(path.stat().st_size > 100 for path in written)
    peer = json.loads(written[0].read_text())["sections"][0]["rows"][0]["peers"][0]
    assert peer["ratio_of_medians"] == pytest.approx(0.2)
    assert [goal["reached"] for goal in peer["goals"]] == [True, False]
    assert [verdict.reached for verdict in report.verdicts()] == [True, True, False]


def test_only_the_tables_that_were_measured_are_replaced(tmp_path: Path) -> None:
    page = "# A\n<!-- bench: infonce -->old<!-- end -->\nkept\n<!-- bench: growth -->other<!-- end -->\n"
    new = updated(page, Report(MACHINE, (Section("infonce", "InfoNCE", (example(),)),), 9.0))
    assert "old" not in new
    assert "100 (a x b)" in new
    assert new.endswith("<!-- end -->\nkept\n<!-- bench: growth -->other<!-- end -->\n")
    assert updated(new, Report(MACHINE, (Section("infonce", "InfoNCE", (example(),)),), 9.0)) == new
    (path := tmp_path / "page.md").write_text(page)
    check_page(path, ["infonce", "growth"])
    with pytest.raises(InvalidInput, match="no place for sinkhorn"):
        check_page(path, ["sinkhorn"])
    with pytest.raises(InvalidInput, match="no such page"):
        check_page(tmp_path / "other.md", ["infonce"])


def test_a_machine_says_how_fast_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("couplings.benchmarks.machine._ENOUGH_FLOPS", 1.0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    machine = described(torch.device("cpu"), Pace(seconds=0.01, repeats=1, least=1))
    assert "OMP_WAIT_POLICY ACTIVE" in machine.line
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert described(torch.device("cpu"), Pace(seconds=0.01, repeats=1, least=1)).waiting == "default"
    assert len(machine.rates) == 3
    assert min(machine.rates.values()) > 0
    assert machine.versions["torch"] == torch.__version__.partition("+")[0]
    assert "GFLOP/s" in machine.line
