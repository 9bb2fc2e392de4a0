"""`couplings inspect` as a user meets it: what it writes, what it refuses, and that it then leaves nothing."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from couplings import cli

HTML = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _made(n: int = 60, **more: object) -> np.ndarray:
    """A file of random embeddings, of which rows 4 and 9 are equal."""
    z = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
    z[9] = z[4]
    np.savez("file.npz", embeddings=z, **more)  # type: ignore[arg-type]
    return z


def _inspect(words: str) -> int:
    return cli.main(["inspect", *shlex.split(words)])


def test_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    _made(labels=[HTML] * 30 + ["b"] * 30, texts=[f"{HTML}{row}" for row in range(60)], positives=_made() + 0.01)
    assert _inspect("file.npz --output out --batch-size 16 --beside hcl --pairs 50") == 0
    files = {
        "inspection.html",
        "inspection.json",
        *(f"{name}.{end}" for name in ("pairs", "duplicates", "rows") for end in ("csv", "parquet")),
    }
    assert {path.name for path in Path("out").iterdir()} == files
    found = json.loads(Path("out/inspection.json").read_text())
    assert found["duplicates"] == [[4, 9, 300]]
    assert (found["loss"], found["rows"], list(found["responses"])) == ("infonce", 60, ["infonce", "hcl"])
    assert len(found["false_negative_candidates"]) == 50
    assert HTML not in Path("out/inspection.html").read_text()
    assert "Open out/inspection.html" in capsys.readouterr().out


def test_the_tables_agree_with_the_json() -> None:
    _made(ids=[f"row {row}" for row in range(60)])
    assert _inspect("file.npz --output out --batch-size 16 --beside hcl") == 0
    found = json.loads(Path("out/inspection.json").read_text())
    pairs = parquet.read_table("out/pairs.parquet").to_pylist()
    assert [[row["a"], row["b"], row["score"]] for row in pairs] == found["false_negative_candidates"]
    assert [row["push"] for row in pairs] == found["false_negative_pushes"]
    assert [(row["a"], row["b"]) for row in pairs if row["duplicate"]] == [(4, 9)]
    assert (pairs[0]["id_a"], pairs[0]["id_b"]) == ("row 4", "row 9")
    assert Path("out/duplicates.csv").read_text().splitlines()[1].startswith("4,9,300.0,row 4,row 9")


def test_files_of_others_are_refused_and_its_own_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    _made()
    assert _inspect("file.npz --output out --batch-size 16 --beside hcl") == 0
    ours = sorted(path.name for path in Path("out").iterdir())
    assert _inspect("file.npz --output out --batch-size 16 --beside hcl") == 0
    for name in ours:
        Path("mine").mkdir(exist_ok=True)
        Path("mine", name).write_text("mine")
        assert _inspect("file.npz --output mine") == 2
        assert f"mine/{name} exists" in capsys.readouterr().err
        assert Path("mine", name).read_text() == "mine"
        Path("mine", name).unlink()


def test_a_loss_with_its_parameters() -> None:
    _made()
    assert _inspect("file.npz --output out --loss hcl-ot:reg=0.3 --beside infonce:temperature=0.1 --batch-size 16") == 0
    found = json.loads(Path("out/inspection.json").read_text())
    assert (found["loss"], list(found["responses"])[1:]) == ("hcl-ot reg=0.3", ["infonce temperature=0.1"])


_TINY = (
    "train --data digits --set data.limit=40 --steps 2 --batch-size 16 --set encoder.width=4 --set projector.hidden=8"
    " --set projector.dim=8 --output run"
)


def test_a_run_and_what_it_embeds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("couplings.cli.work.train.measure_once", lambda run, dataset: None)
    assert cli.main(_TINY.split()) == 0
    assert _inspect("run --output projections --beside hcl") == 0
    assert _inspect("run --output features --beside hcl --space features") == 0
    wide, narrow = (json.loads(Path(name, "inspection.json").read_text()) for name in ("features", "projections"))
    assert (narrow["dimensions"], narrow["rows"], narrow["summary"]["batch_size"]) == (8, 40, pytest.approx(40 / 3))
    assert wide["dimensions"] > 8
    for name in ("all.npz", "all.parquet"):
        assert cli.main(["embed", "run", "--output", name, "--part", "train"]) == 0
        assert _inspect(f"{name} --output {name}.out --beside hcl") == 0
        rows = parquet.read_table(f"{name}.out/rows.parquet").to_pylist()
        assert {row["label"] for row in rows} <= set(map(str, range(10)))
        assert len({row["label"] for row in rows}) > 5
        assert len(rows) == 40
    assert "--exclude-pairs" in capsys.readouterr().out


def test_the_table_of_rows_opens_where_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Embedding Atlas: it is told which columns the places and the texts are."""
    _made(texts=["words"] * 60)
    called: list[list[str]] = []
    monkeypatch.setattr("couplings.cli.work.inspect.shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("couplings.cli.work.inspect.os.execvp", lambda name, words: called.append(words))
    assert _inspect("file.npz --output out --atlas --beside hcl --batch-size 16") == 0
    (words,) = called
    assert words[:2] == ["embedding-atlas", "out/rows.parquet"]
    columns = parquet.read_schema("out/rows.parquet")
    assert {words[words.index(f"--{one}") + 1] for one in ("x", "y", "text")} <= set(columns.names)
    assert {"mass", "suspicion", "effective_negatives"} <= set(columns.names)
    assert pa.null() not in columns.types


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none.npz", "none.npz is missing"),
        ("file.npz --labels label", "file.npz has no 'label' (--labels); did you mean 'labels'?"),
        ("file.npz --encoder run", "--encoder: file.npz is a file of arrays, which has no use for it"),
        ("file.npz --size 8", "--size: file.npz is a file of arrays"),
        ("file.npz --space features", "--space: file.npz is a file of arrays"),
        ("file.npz --data-folder .", "--data-folder: file.npz is a file of arrays"),
        (".", "is no run; if it holds images, name what embeds them with --encoder RUN"),
        (". --encoder run --labels y", "--labels: . is a folder of images"),
        (". --encoder run", "encoder: run is neither a run nor an export"),
        ("file.npz --loss infonze", "unknown loss 'infonze'; did you mean 'infonce'?"),
        ("file.npz --loss alignment", "alignment repels nothing"),
        ("file.npz --loss infonce:temperature=0", "temperature must be > 0, got 0"),
        ("file.npz --loss infonce:reg=1", "reg: unknown parameter; known: temperature"),
        ("file.npz --batch-size 3", "batch_size must be at least 4, got 3"),
        ("file.npz --rounds 0", "rounds must be at least 1, got 0"),
        ("file.npz --pairs -1", "pairs must be an integer >= 0, got -1"),
        ("file.npz --map umap", "umap-learn is not installed; pip install 'couplings[umap]'"),
        ("file.npz --atlas", "embedding-atlas is not installed; pip install embedding-atlas"),
    ],
)
def test_mistakes(
    words: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _made(labels=range(60))
    monkeypatch.setattr("couplings.cli.work.inspect.find_spec", lambda name: None if name == "umap" else True)
    monkeypatch.setattr("couplings.cli.work.inspect.shutil.which", lambda name: None)
    assert _inspect(f"{words} --output out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("couplings: error: ")
    assert "Traceback" not in said
    assert not Path("out").exists()


def test_parquet_without_its_library(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert _inspect("file.parquet") == 2
    assert "pyarrow is not installed; pip install 'couplings[" in capsys.readouterr().err
