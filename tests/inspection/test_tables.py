"""The tables of an inspection, as those read them who take them on: training, spreadsheets, Arrow."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from couplings import InfoNCE, cli
from couplings.basics.words import visible
from couplings.diagnostics import Duplicates
from couplings.inspection import Inspection, Settings, Subject, inspect
from couplings.inspection.files import tables
from couplings.train.pair_file import read_pairs

_N = 40
_WORDS = ("a\rb", "\x1b[31mred\x00", "=1+1", "half \ud800", '"q",\n')
_IDS = tuple(f"{_WORDS[row % len(_WORDS)]}{row}" for row in range(_N))


def _found(**known: object) -> Inspection:
    z = torch.randn(_N, 6, generator=torch.Generator().manual_seed(0))
    z[9] = z[4]
    return inspect(Subject("a \ud800 name", z, **known), {"infonce": InfoNCE(0.2)}, Settings(batch_size=16, rounds=1))  # type: ignore[arg-type]


def _wild() -> dict[str, bytes]:
    words = tuple(_WORDS[row % len(_WORDS)] for row in range(_N))
    labels = torch.arange(_N) % len(_WORDS)
    return tables(_found(ids=_IDS, texts=words, labels=labels, classes=_WORDS))


@pytest.mark.parametrize("name", ["pairs.csv", "duplicates.csv", "pairs.parquet", "duplicates.parquet"])
def test_training_reads_pairs_of_wild_names(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(_wild()[name])
    assert [4, 9] in read_pairs(path, _N, _IDS).rows.tolist()


def test_cells_steer_neither_a_reader_nor_a_spreadsheet() -> None:
    rows = list(csv.DictReader(io.StringIO(_wild()["rows.csv"].decode(), newline=""), strict=True))
    assert [row["text"] for row in rows[:5]] == ["a b", " [31mred ", "'=1+1", "half ?", '"q", ']
    assert [row["label"] for row in rows[:5]] == [row["text"] for row in rows[:5]]


def test_numbers_in_cells_stay() -> None:
    words = ("-1", "+2.5", "-a", "@b", "+", "c")
    found = tables(_found(labels=torch.arange(_N) % 6, classes=words))
    rows = list(csv.DictReader(io.StringIO(found["rows.csv"].decode())))
    assert [row["label"] for row in rows[:6]] == ["-1", "+2.5", "'-a", "'@b", "'+", "c"]
    assert parquet.read_table(io.BytesIO(found["rows.parquet"]))["label"].to_pylist()[:4] == list(words[:4])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_training_takes_a_table_without_pairs(ending: str, tmp_path: Path) -> None:
    none = Duplicates(torch.empty(0, 2, dtype=torch.int64), torch.empty(0), torch.empty(0))
    found = tables(replace(_found(ids=tuple("r" * _N)), duplicates=none))
    path = tmp_path / f"duplicates.{ending}"
    path.write_bytes(found[path.name])
    assert read_pairs(path, _N).rows.shape == (0, 2)


def test_columns_of_an_empty_table_are_those_of_a_full_one() -> None:
    full = _found(ids=tuple("r" * _N), labels=torch.zeros(_N, dtype=torch.int64))
    none = Duplicates(torch.empty(0, 2, dtype=torch.int64), torch.empty(0), torch.empty(0))
    schemas = [
        parquet.read_schema(io.BytesIO(tables(found)["duplicates.parquet"]))
        for found in (full, replace(full, duplicates=none))
    ]
    assert schemas[0] == schemas[1]
    assert schemas[0].field("a").type == pa.int64()


def test_pairs_are_numbered_as_training_numbers_them() -> None:
    """And pairs with a row that is none of training are left out; the JSON keeps the rows of the file."""
    training = 100 + torch.arange(_N)
    training[20:] = -1
    found = _found(training=training)
    files = tables(found)
    rows = list(csv.DictReader(io.StringIO(files["pairs.csv"].decode())))
    assert ("104", "109") in {(row["a"], row["b"]) for row in rows}
    assert 0 < len(rows) == int((found.candidates.pairs < 20).all(1).sum()) < len(found.candidates.pairs)
    assert {int(row[end]) for row in rows for end in "ab"} <= set(range(100, 120))
    assert json.loads(files["inspection.json"])["duplicates"][0][:2] == [4, 9]


def test_ids_stand_beside_the_numbers_of_their_rows() -> None:
    ids = tuple(f"image{row}" for row in range(_N))
    written = tables(_found(ids=ids, training=torch.arange(_N).flip(0)))["duplicates.csv"].decode()
    row = next(csv.DictReader(io.StringIO(written)))
    assert [row[name] for name in ("a", "b", "id_a", "id_b")] == ["30", "35", "image9", "image4"]


def test_rows_without_ids_are_called_as_no_image_is() -> None:
    found = _found()
    found = replace(found, subject=replace(found.subject, name="z.npz"))
    files = tables(found)
    row = next(csv.DictReader(io.StringIO(files["duplicates.csv"].decode())))
    assert [row[name] for name in ("a", "b", "id_a", "id_b")] == ["4", "9", "z.npz/4", "z.npz/9"]
    rows = list(csv.DictReader(io.StringIO(files["rows.csv"].decode())))
    assert [(row["id"], row["nearest_id"]) for row in rows if row["row"] in "49"] == [
        ("z.npz/4", "z.npz/9"),
        ("z.npz/9", "z.npz/4"),
    ]
    known = json.loads(files["inspection.json"])
    assert known["ids"]["9"] == "z.npz/9"
    assert {str(row) for *pair, _ in known["false_negative_candidates"] for row in pair} <= set(known["ids"])


def test_copies_beyond_those_that_are_paired_are_one_group() -> None:
    """Of 70 copies each is paired with the first; of two samples, whose rows are no duplicates by themselves."""
    z = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    z[20:90] = z[20]
    z[7] = z[3]
    groups = torch.arange(120)
    groups[20:50], groups[50:90] = 200, 201
    subject = Subject("z", z, groups=groups)
    found = inspect(subject, {"infonce": InfoNCE(0.2)}, Settings(batch_size=16, rounds=1))
    rows = list(csv.DictReader(io.StringIO(tables(found)["duplicates.csv"].decode())))
    members: dict[str, set[int]] = {}
    for row in rows:
        members.setdefault(row["group"], set()).update((int(row["a"]), int(row["b"])))
    assert members == {"3": {3, 7}, "20": set(range(20, 90))}


def test_a_table_of_an_earlier_inspection_is_not_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("couplings.inspection.files.find_spec", lambda name: None)
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    parquet.write_table(pa.table({"embeddings": z.tolist()}), "file.parquet")
    Path("out").mkdir()
    Path("out/inspection.json").write_text('{"couplings": "1"}')
    Path("out/rows.parquet").touch()
    assert cli.main(["inspect", "file.parquet", "--output", "out", "--batch-size", "8", "--beside", "hcl"]) == 0
    assert "rows.parquet" not in capsys.readouterr().out


def test_nothing_is_written_where_a_table_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    torch.manual_seed(0)
    parquet.write_table(pa.table({"embeddings": torch.randn(20, 4).tolist()}), tmp_path / "file.parquet")
    monkeypatch.setattr("couplings.inspection.files._csv", fails)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "file.parquet", "--output", "out", "--batch-size", "8", "--beside", "hcl"]) == 2
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loss", ""], "unknown loss ''"),
        (["--seed", str(2**70)], f"--seed: '{2**70}' is larger than {2**63 - 1}"),
        (["--seed", str(2**32)], f"--seed: {2**32} came; take 0 to 4294967295"),
        (["--seed", "-1"], "--seed: -1 came; take 0 to 4294967295"),
    ],
)
def test_values_out_of_range(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "file.npz"
    file.touch()
    assert cli.main(["inspect", str(file), "--output", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err


def test_names_of_files_do_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "ev\x1b[31mil\r.npz"]) == 2
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\r" not in said.out + said.err
    assert "ev?[31mil?.npz" in said.out
    assert "ev?[31mil?.npz" in said.err


def test_lines_and_letters_are_visible() -> None:
    assert visible("é\n\t🦊") == "é\n\t🦊"
