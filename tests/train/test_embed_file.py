from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet
from trained import copied_run

from couplings.train import ConfigError, DataError, Dataset, Run, RunConfig
from couplings.train.embed_file import Part, check_output, count, embed_dataset, write_embeddings


@pytest.fixture
def run(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> Run:
    return copied_run(tiny_config, tiny_data, tmp_path / "run")


def test_both_parts_with_labels_and_places(run: Run, tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("couplings.train.embed_file._CHUNK", 20)
    told: list[int] = []
    found = embed_dataset(run, tiny_data, progress=told.append)
    assert told == [20, 40, 48, 60]
    assert found.features.dtype == np.float32
    wanted = torch.cat([run.embed(tiny_data.train_images), run.embed(tiny_data.test_images)])
    torch.testing.assert_close(torch.from_numpy(found.features), wanted)
    assert tiny_data.train_labels is not None
    assert found.labels[:48].tolist() == tiny_data.train_labels.tolist()
    assert found.index.tolist() == [*range(48), *range(12)]
    assert found.part.tolist() == ["train"] * 48 + ["test"] * 12
    assert found.classes == ("0", "1")
    assert found.ids.tolist() == [*tiny_data.ids(Part.TRAIN), *tiny_data.ids(Part.TEST)]


@pytest.mark.parametrize("part", list(Part))
def test_one_part(run: Run, tiny_data: Dataset, part: Part) -> None:
    found = embed_dataset(run, tiny_data, [part])
    assert set(found.part) == {part.value}
    assert len(found.features) == count(tiny_data, [part]) == {Part.TRAIN: 48, Part.TEST: 12}[part]


def test_no_images_and_images_of_another_shape(run: Run, tiny_data: Dataset) -> None:
    empty = replace(tiny_data, test_images=tiny_data.test_images[:0], test_labels=None, test_ids=None)
    with pytest.raises(DataError, match="no image in part test; take another part"):
        embed_dataset(run, empty, [Part.TEST])
    with pytest.raises(DataError, match=r"\(1, 9, 9\) came, the encoder was trained on \(1, 8, 8\)"):
        embed_dataset(run, tiny_data.resized(9))


def unlabelled(data: Dataset) -> Dataset:
    """The first training image has no label."""
    assert data.train_labels is not None
    return replace(data, train_labels=torch.cat([torch.tensor([-1]), data.train_labels[1:]]), classes=("dog", "cat"))


def test_npz_holds_plain_arrays(run: Run, tiny_data: Dataset, tmp_path: Path) -> None:
    found = embed_dataset(run, unlabelled(tiny_data))
    write_embeddings(tmp_path / "new" / "e.npz", found)
    with np.load(tmp_path / "new" / "e.npz", allow_pickle=False) as file:
        assert set(file.files) == {"features", "labels", "ids", "index", "part", "classes"}
        for name in ("features", "labels", "ids", "index", "part"):
            assert np.array_equal(file[name], getattr(found, name))
        assert file["classes"].tolist() == ["dog", "cat"]
        assert (file["features"].dtype, file["labels"][0]) == (np.float32, -1)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["e.npz"]


def test_parquet_has_a_row_an_image(run: Run, tiny_data: Dataset, tmp_path: Path) -> None:
    found = embed_dataset(run, unlabelled(tiny_data))
    write_embeddings(tmp_path / "e.parquet", found)
    table = parquet.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["id", "part", "index", "label", "class", "features"]
    assert str(table.schema.field("features").type) == f"fixed_size_list<element: float>[{run.encoder.dim}]"
    rows = table.to_pylist()
    assert [row["part"] for row in rows] == found.part.tolist()
    assert [row["id"] for row in rows] == found.ids.tolist()
    assert (rows[0]["label"], rows[0]["class"]) == (None, None)
    assert [row["class"] for row in rows[1:]] == [("dog", "cat")[label] for label in found.labels[1:]]
    assert np.array_equal(np.array([row["features"] for row in rows], np.float32), found.features)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_images_without_any_labels(run: Run, tiny_data: Dataset, tmp_path: Path, suffix: str) -> None:
    plain = replace(tiny_data, train_labels=None, test_labels=None, classes=())
    found = embed_dataset(run, plain)
    assert set(found.labels) == {-1}
    write_embeddings(tmp_path / f"e{suffix}", found)
    if suffix == ".parquet":
        assert set(parquet.read_table(tmp_path / "e.parquet")["class"].to_pylist()) == {None}


@pytest.mark.parametrize("name", ["e.csv", "e", "e.npy"])
def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} ends in '.*'; write \.npz or \.parquet"):
        check_output(tmp_path / name, overwrite=False)


def test_a_file_is_replaced_only_when_told(tmp_path: Path) -> None:
    (tmp_path / "e.npz").write_text("mine")
    (tmp_path / "f.npz").mkdir()
    with pytest.raises(ConfigError, match=r"exists; .*--overwrite"):
        check_output(tmp_path / "e.npz", overwrite=False)
    check_output(tmp_path / "e.npz", overwrite=True)
    with pytest.raises(ConfigError, match="is a folder"):
        check_output(tmp_path / "f.npz", overwrite=True)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"needs pyarrow.*pip install 'couplings\[parquet\]'"):
        check_output(tmp_path / "e.parquet", overwrite=False)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_failed_write_leaves_nothing(
    run: Run, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    found = embed_dataset(run, tiny_data)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space") as failure:
        write_embeddings(tmp_path / "deep" / f"e{suffix}", found)
    assert failure.value.filename == str(tmp_path / "deep" / f"e{suffix}")
    assert not (tmp_path / "deep").exists()
