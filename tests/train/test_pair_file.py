"""Files of excluded pairs: what is read, which images their numbers name, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from excluded import IMAGES, csv_of, dense, some_pairs
from pyarrow import parquet

from couplings.train import ConfigError, DataError, Dataset, RunConfig, from_arrays, load, train
from couplings.train import with_overrides as changed
from couplings.train.config import DataConfig
from couplings.train.data import Part
from couplings.train.embed_file import embed_dataset
from couplings.train.exclusions import read_exclusions
from couplings.train.pair_file import read_pairs

Make = Callable[[Path], Path]


def test_formats_agree(tmp_path: Path) -> None:
    pairs = some_pairs()
    a, b = pairs.int().numpy().T
    table = pyarrow.table({"score": np.zeros(len(pairs)), "b": b, "note": ["x"] * len(pairs), "a": a})
    parquet.write_table(table, tmp_path / "pairs.parquet")
    files = [csv_of(tmp_path / "pairs.csv", pairs), csv_of(tmp_path / "scored.csv", pairs, "a,b,score")]
    swapped = tmp_path / "swapped.csv"
    lines = ["b, a ,note", *(f'{b}, {a},"x,y"' for a, b in pairs.tolist()), ""]
    swapped.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig", newline="")
    for file in (*files, swapped, tmp_path / "pairs.parquet"):
        assert torch.equal(read_pairs(file, IMAGES).rows, pairs)
        assert set(read_pairs(file, IMAGES).groups.tolist()) == {-1}


def test_rows_count_the_images_before_some_are_left_out(tmp_path: Path) -> None:
    whole = load(DataConfig(name="digits"))
    for changes in ({"limit": 300}, {"imbalance": "linear"}, {"imbalance": "linear", "limit": 300, "size": 6}):
        some = load(DataConfig(name="digits", **changes))  # type: ignore[arg-type]
        assert some.places.count == len(whole.train_images)
        if "size" not in changes:
            assert torch.equal(whole.train_images[some.places.rows], some.train_images)
        assert some.train_labels is not None
        assert whole.train_labels is not None
        assert torch.equal(whole.train_labels[some.places.rows], some.train_labels)
        pairs = some_pairs(4000, len(whole.train_images))
        read = read_exclusions(csv_of(tmp_path / "pairs.csv", pairs), some)
        mask = read.exclusions.mask(torch.arange(len(some.train_images)), torch.arange(len(some.train_images)))
        assert mask is not None
        assert torch.equal(mask.forbidden(), dense(pairs, some.places.rows, some.places.rows))
        assert str(read).startswith(f"Excluded pairs: {len(read.exclusions):,} of {read.listed:,}; the others have")


def test_the_index_of_an_embedding_is_such_a_row(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(changed(tiny_config, {"steps": 1}), tmp_path / "run", dataset=tiny_data)
    some = tiny_data.limited(10)
    found = embed_dataset(run, some, [Part.TEST, Part.TRAIN])
    assert found.index.tolist() == [*range(12), *some.places.rows.tolist()]
    torch.testing.assert_close(
        torch.from_numpy(found.features[12:]), run.embed(tiny_data.train_images[found.index[12:]])
    )


def test_what_is_held_out_counts_no_more() -> None:
    data = from_arrays(np.zeros((20, 8, 8)), np.arange(20) % 2, test_fraction=0.5)
    assert data.places.count == 10


# Ids


def _named(**more: Any) -> Dataset:
    """Twenty images, called by letters, of which four are held out."""
    images = np.arange(20, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    return from_arrays(images, ids=list("abcdefghijklmnopqrst"), test_fraction=0.2, **more)


def _excluded(path: Path, data: Dataset) -> set[frozenset[str]]:
    """The ids of the images that a file excludes with each other."""
    names, rows = data.ids(Part.TRAIN), torch.arange(len(data.train_images))
    mask = read_exclusions(path, data).exclusions.mask(rows, rows)
    found = [] if mask is None else mask.forbidden().nonzero().tolist()
    return {frozenset((names[a], names[b])) for a, b in found}


def _pairs_of(*words: str) -> set[frozenset[str]]:
    return {frozenset(word) for word in words}


def _written(path: Path, ending: str, **columns: Any) -> Path:
    if ending == ".parquet":
        return _table(**columns)(path.with_suffix(ending))
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    return _words("\n".join([",".join(columns), *lines, ""]))(path.with_suffix(ending))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_ids_find_images_whatever_the_numbers_say(ending: str, tmp_path: Path) -> None:
    data = _named()
    one, two, three, *_ = data.ids(Part.TRAIN)
    away = data.ids(Part.TEST)[0]
    file = _written(tmp_path / "x", ending, a=[0] * 3, b=[1] * 3, id_a=[one, away, one], id_b=[two, three, one])
    assert _excluded(file, data) == {frozenset((one, two))}
    said = str(read_exclusions(file, data))
    assert said.startswith("Excluded pairs: 1 of 2; the others have an image that is not")
    assert said.endswith(f"({file}, by their ids).")
    # Another share is held out, and some images are left out.
    other = from_arrays(data.train_images.flip(0), ids=data.ids(Part.TRAIN)[::-1]).limited(8)
    kept = set(other.ids(Part.TRAIN))
    everything = [(a, b) for a in data.ids(Part.TRAIN) for b in data.ids(Part.TRAIN) if a < b]
    file = _written(tmp_path / "y", ending, **dict(zip(("id_a", "id_b"), zip(*everything, strict=True), strict=True)))
    assert _excluded(file, other) == {frozenset(pair) for pair in everything if kept.issuperset(pair)}


def test_every_source_names_its_images_by_their_place_in_it() -> None:
    whole = load(DataConfig(name="digits"))
    some = load(DataConfig(name="digits", imbalance="linear", limit=50))
    assert {*whole.ids(Part.TRAIN), *whole.ids(Part.TEST)} == {f"digits/{row}" for row in range(1797)}
    place = {name: row for row, name in enumerate(whole.ids(Part.TRAIN))}
    rows = torch.tensor([place[name] for name in some.ids(Part.TRAIN)])
    assert torch.equal(whole.train_images[rows], some.train_images)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_images_of_a_group_are_all_alike(ending: str, tmp_path: Path) -> None:
    """Listed with one that is not trained on; a group of two numbers; pairs without a group are not closed."""
    data = _named()
    away = data.ids(Part.TEST)[0]
    a, b, c, d, e, f, g, h, i = data.ids(Part.TRAIN)[:9]
    columns = {
        "id_a": [away, away, away, d, e, g, h],
        "id_b": [a, b, c, e, f, h, i],
        "group": [3.0, 3.0, 3.0, 7.0, 8.0, None, None],
    }
    found = _excluded(_written(tmp_path / "x", ending, **columns), data)
    assert found == _pairs_of(a + b, a + c, b + c, d + e, d + f, e + f, g + h, h + i)
    assert len(read_exclusions(tmp_path / f"x{ending}", data).exclusions) == 8
    some = data.keeping(torch.tensor([9, 2, 5, 1, 4]))
    assert _excluded(tmp_path / f"x{ending}", some) == _pairs_of(b + c, e + f)


def test_groups_of_numbers(tmp_path: Path) -> None:
    file = _words("a,b,group\n1,2,x\n1,3, x \n4,5,\n")(tmp_path / "x.csv")
    data = from_arrays(np.zeros((8, 4, 4)), name="n")
    expected = {frozenset((f"n/{one}", f"n/{other}")) for one, other in ((1, 2), (1, 3), (2, 3), (4, 5))}
    assert _excluded(file, data) == expected


STRANGE = {
    "another name": ("id_a,id_b\na,b\na,z\n", r"pair 2: no image .* called 'z' \(1 of 2 pairs name such\); inspect"),
    "a number for a name": ("id_a,id_b\n0,1\n", r"no image of the data is called '0' .* or drop the columns id_a"),
    "a name of two images": ("id_a,id_b\na,twin\n", r"several images are called 'twin' .*give each a name of its own"),
    "one end": ("a,b,id_a\n0,1,a\n", r"needs one column 'id_b'"),
    "two groups": ("a,b,group,group\n0,1,1,1\n", r"needs one column 'group'"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_ids_that_are_of_no_image_are_refused(case: str, tmp_path: Path) -> None:
    text, message = STRANGE[case]
    data = from_arrays(np.zeros((5, 4, 4)), ids=["a", "b", "c", "twin", "twin"])
    with pytest.raises(DataError, match=message):
        read_exclusions(_words(text)(tmp_path / "x.csv"), data)


def _missing(path: Path) -> Path:
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _words(text: str) -> Make:
    def write(path: Path) -> Path:
        path.write_text(text)
        return path

    return write


def _table(**columns: Any) -> Make:
    def write(path: Path) -> Path:
        parquet.write_table(pyarrow.table(columns), path)
        return path

    return write


def _cut(path: Path) -> Path:
    data = _table(a=[1], b=[2])(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


_NO_TEXT, _NO_PARQUET = r"x\.csv is no text of commas and lines", r"x\.parquet is no whole \.parquet file"
_ROWS = "the training images are 0 to 47; number them as they come, before data.limit"
BROKEN: dict[str, tuple[str, Make, str]] = {
    "missing": ("x.csv", _missing, r"x\.csv does not exist; name a \.csv or \.parquet file"),
    "a folder": ("x.csv", _folder, r"x\.csv is a folder"),
    "suffix": ("x.txt", _words("a,b\n"), r"x\.txt ends in '\.txt'; \.csv and \.parquet are read"),
    "nothing": ("x.csv", _words(""), r"x\.csv needs one column 'a'; its header is nothing"),
    "columns": ("x.csv", _words("i,j\n1,2\n"), r"needs one column 'a'; its header is 'i', 'j'"),
    "a twice": ("x.csv", _words("a,b,a\n1,2,3\n"), r"needs one column 'a'; its header is 'a', 'b', 'a'"),
    "no header": ("x.csv", _words("1,2\n3,4\n"), r"needs one column 'a'; its header is '1', '2'"),
    "short line": ("x.csv", _words("a,b\n1,2\n3\n"), r"x\.csv, line 3: 1 of 2 values"),
    "fraction": ("x.csv", _words("a,b\n1,2.5\n"), r"line 2: '2\.5' is no whole number"),
    "words": ("x.csv", _words("a,b\n1,2\ncat,dog\n"), r"line 3: 'cat' is no whole number"),
    "huge": ("x.csv", _words(f"a,b\n1,{10**30}\n"), r"line 2: 10{30} is no row of anything"),
    "open quote": ("x.csv", _words('a,b\n1,"2\n'), _NO_TEXT),
    "bytes": ("x.csv", _cut, _NO_TEXT),
    "too large": ("x.csv", _words("a,b\n1,2\n3,48\n"), rf"pair 2: a 3, b 48; {_ROWS}"),
    "negative": ("x.csv", _words("a,b\n-1,2\n"), rf"pair 1: a -1, b 2; {_ROWS}"),
    "with itself": ("x.csv", _words("a,b\n5,5\n"), r"pair 1: a 5, b 5; an image never repels itself"),
    "cut parquet": ("x.parquet", _cut, _NO_PARQUET),
    "no parquet": ("x.parquet", _words("a,b\n"), _NO_PARQUET),
    "parquet's columns": ("x.parquet", _table(a=[1], c=[2]), r"needs one column 'b'; its header is 'a', 'c'"),
    "parquet's kind": ("x.parquet", _table(a=[1], b=[2.0]), r"column 'b' is of double, no whole numbers"),
    "parquet's gaps": ("x.parquet", _table(a=[1, None], b=[2, 3]), r"column 'a' has 1 empty places"),
    "parquet's range": ("x.parquet", _table(a=[1], b=[48]), rf"pair 1: a 1, b 48; {_ROWS}"),
    "parquet's size": ("x.parquet", _table(a=[1], b=pyarrow.array([2**63], pyarrow.uint64())), _NO_PARQUET),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_message_and_nothing_written(
    case: str, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    name, make, message = BROKEN[case]
    config = changed(tiny_config, {"pairs.exclude": make(tmp_path / name)})
    with pytest.raises((ConfigError, DataError), match=rf"pairs\.exclude: .*{message}") as caught:
        train(config, tmp_path / "run", dataset=tiny_data)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _table(a=[1], b=[2])(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"needs pyarrow\.parquet.*pip install 'couplings\[parquet\]'"):
        read_pairs(path, 5)
