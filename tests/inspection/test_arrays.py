"""Embeddings from files of any kind: what is read, and what is refused by name."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from couplings.inspection.arrays import Keys, UnreadableFile, read_arrays

Z = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
_SOME = Keys()
_WORDS = ("labels", "groups", "ids", "texts")


def _npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "file.npz", **arrays)
    return folder / "file.npz"


def _parquet(folder: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), folder / "file.parquet")
    return folder / "file.parquet"


def _lists(rows: Any = Z, kind: Any = None) -> Any:
    return pa.array(np.asarray(rows).tolist() if isinstance(rows, np.ndarray) else rows, kind)


def test_all_that_an_npz_may_hold(tmp_path: Path) -> None:
    found = read_arrays(
        _npz(
            tmp_path,
            z=Z.astype(np.float64),
            z_b=Z[::-1],
            y=[5, 5, 9, -1, 9, 5],
            group=["a", "a", "b", "c", "d", "d"],
            name=[b"one", b"two", b"three", b"4", b"5", b"6"],
            caption=["<b>", "", "c", "d", "e", "f"],
            images=np.full((6, 200, 100), 7, dtype=np.uint8),
            readme="words",
        ),
        _SOME,
    )
    torch.testing.assert_close(found.embeddings, torch.from_numpy(Z))
    assert found.positives is not None
    torch.testing.assert_close(found.positives, torch.from_numpy(Z[::-1].copy()))
    assert (found.labels.tolist(), found.classes) == ([0, 0, 1, -1, 1, 0], ("5", "9"))  # type: ignore[union-attr]
    assert found.groups.tolist() == [0, 0, 1, 2, 3, 3]  # type: ignore[union-attr]
    assert found.ids == ("one", "two", "three", "4", "5", "6")
    assert found.texts == ("<b>", "", "c", "d", "e", "f")
    assert found.pictures is not None
    assert Image.open(io.BytesIO(found.pictures([3])[0])).size == (48, 96)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint64])
def test_numbers_become_single_precision(tmp_path: Path, dtype: Any) -> None:
    found = read_arrays(_npz(tmp_path, vectors=np.arange(1, 13).reshape(4, 3).astype(dtype)), _SOME)
    assert found.embeddings.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    assert found.embeddings.dtype == torch.float32


def test_keys_name_arrays(tmp_path: Path) -> None:
    path = _npz(tmp_path, embeddings=Z, mine=2 * Z, labels=np.arange(6), kinds=["a"] * 6)
    found = read_arrays(path, Keys(embeddings="mine", labels="kinds"))
    assert (found.embeddings[0, 0].item(), found.classes) == (2 * Z[0, 0], ("a",))


def test_names_of_classes_beside_numbers(tmp_path: Path) -> None:
    path = _npz(tmp_path, embeddings=Z, labels=[2, 0, -1, 0, 0, 2], classes=["boot", "bag", "coat"])
    found = read_arrays(path, _SOME)
    assert (found.labels.tolist(), found.label_of(0)) == ([2, 0, -1, 0, 0, 2], "coat")  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 4, 5, 3), (6, 3, 4, 5), (6, 1, 4, 5), (6, 4, 5, 1)])
def test_thumbnails_of_any_layout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found = read_arrays(_npz(tmp_path, embeddings=Z, thumbnails=np.zeros(shape, np.uint8)), _SOME)
    assert found.pictures is not None
    assert Image.open(io.BytesIO(found.pictures([0])[0])).size == (5, 4)


def test_images_that_are_no_pictures_are_left_alone_unless_named(tmp_path: Path) -> None:
    path = _npz(tmp_path, embeddings=Z, images=np.zeros((6, 3, 4, 5), np.float32))
    assert read_arrays(path, _SOME).pictures is None
    with pytest.raises(UnreadableFile, match=r"thumbnails is float32\[6, 3, 4, 5\]; uint8 of shape"):
        read_arrays(path, Keys(thumbnails="images"))


@pytest.mark.parametrize(
    ("column", "labels", "classes"),
    [
        (["b", None, "a", "", "b", "a"], [1, -1, 0, -1, 1, 0], ("a", "b")),
        ([10, None, 9, -1, 10, 9], [1, -1, 0, -1, 1, 0], ("9", "10")),
        ([1.5, None, float("nan"), 0.5, 1.5, 0.5], [1, -1, -1, 0, 1, 0], ("0.5", "1.5")),
        ([True, None, False, True, True, False], [1, -1, 0, 1, 1, 0], ("False", "True")),
        ([b"b", None, b"a", b"", b"b", b"a"], [1, -1, 0, -1, 1, 0], ("a", "b")),
        (pa.array(["b", None, "a", None, "b", "a"]).dictionary_encode(), [1, -1, 0, -1, 1, 0], ("a", "b")),
        (pa.array([3, None, 2, None, 3, 2], pa.uint8()), [1, -1, 0, -1, 1, 0], ("2", "3")),
        (pa.nulls(6), [-1] * 6, ()),
    ],
)
def test_labels_with_holes(tmp_path: Path, column: Any, labels: list[int], classes: tuple[str, ...]) -> None:
    found = read_arrays(_parquet(tmp_path, embeddings=_lists(), label=column), _SOME)
    assert (found.labels.tolist(), found.classes) == (labels, classes)  # type: ignore[union-attr]


def test_rows_without_a_group_are_alone_and_without_a_text_are_silent(tmp_path: Path) -> None:
    path = _parquet(
        tmp_path, embeddings=_lists(), group=[4, None, 4, None, -1, -1], text=["a", None, "", "d", "e", "f"]
    )
    found = read_arrays(path, _SOME)
    assert found.groups.tolist() == [0, 1, 0, 2, 3, 3]  # type: ignore[union-attr]
    assert found.texts == ("a", "", "", "d", "e", "f")


@pytest.mark.parametrize(
    "column",
    [
        _lists(),
        _lists(Z, pa.large_list(pa.float64())),
        pa.FixedSizeListArray.from_arrays(pa.array(Z.ravel()), 3),
        pa.chunked_array([_lists(Z[:2]), _lists(Z[2:])]),
        pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(np.tile(Z, (2, 1)).ravel()), 3).slice(6)]),
    ],
    ids=["lists", "large", "fixed", "chunks", "slice"],
)
def test_lists_of_any_kind(tmp_path: Path, column: Any) -> None:
    found = read_arrays(_parquet(tmp_path, features=column), _SOME)
    torch.testing.assert_close(found.embeddings, torch.from_numpy(Z))


def test_other_columns_are_not_read(tmp_path: Path) -> None:
    path = _parquet(tmp_path, embeddings=_lists(), other=[{"a": 1}] * 6, images=[{"bytes": b""}] * 6)
    assert read_arrays(path, _SOME).pictures is None


_FLAT = pa.array(Z.ravel())
_FIXED = pa.FixedSizeListArray.from_arrays(_FLAT, 3)
_COLUMNS = {
    "tensors": pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (3,)), _FIXED),
    "views": _lists(Z, pa.list_view(pa.float32())),
    "large views": _lists(Z, pa.large_list_view(pa.float64())),
    "half": _lists(Z.astype(np.float16), pa.list_(pa.float16())),
    "decimals": pa.array([[Decimal(f"{one:.4f}") for one in row] for row in Z]),
    "chunks of tensors": pa.chunked_array(
        [pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (3,)), _FIXED.slice(k, 3)) for k in (0, 3)]
    ),
}


@pytest.mark.parametrize("column", _COLUMNS.values(), ids=_COLUMNS)
def test_vectors_as_others_write_them(tmp_path: Path, column: Any) -> None:
    found = read_arrays(_parquet(tmp_path, embeddings=column), _SOME)
    torch.testing.assert_close(found.embeddings, torch.from_numpy(Z), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", [">f4", ">f8", ">f2", ">i4", "longdouble"])
def test_numbers_of_another_machine(tmp_path: Path, kind: str) -> None:
    found = read_arrays(_npz(tmp_path, embeddings=(100 * Z).astype(kind), labels=np.arange(6).astype(">i8")), _SOME)
    torch.testing.assert_close(found.embeddings, torch.from_numpy((100 * Z).astype(kind).astype(np.float32)))
    assert found.classes == tuple("012345")


@pytest.mark.parametrize(
    "labels",
    [
        [[5], [7], [5], [7], [-1], [5]],
        [5.0, 7.0, 5.0, 7.0, np.nan, 5.0],
        np.array([5, 7, 5, 7, -1, 5], dtype=">i2"),
        [[b"5"], [b"7"], [b"5"], [b"7"], [b""], [b"5"]],
    ],
    ids=["a column", "floats with a hole", "big end first", "bytes"],
)
def test_labels_of_any_shape(tmp_path: Path, labels: Any) -> None:
    found = read_arrays(_npz(tmp_path, embeddings=Z, labels=labels), _SOME)
    assert (found.labels.tolist(), found.classes) == ([0, 1, 0, 1, -1, 0], ("5", "7"))  # type: ignore[union-attr]
    assert found.unused == ()


def test_one_hot_labels(tmp_path: Path) -> None:
    path = _npz(tmp_path, embeddings=Z, labels=np.eye(3)[[2, 0, 2, 0, 1, 1]], classes=["boot", "bag", "coat"])
    found = read_arrays(path, _SOME)
    assert (found.labels.tolist(), found.label_of(0)) == ([2, 0, 2, 0, 1, 1], "coat")  # type: ignore[union-attr]


_TIMES = {
    "days": (pa.array([0, None, 4_000_000, 0, 0, 0], pa.date32()), ("1970-01-01", "", "12921-08-18")),
    "billionths": (pa.array([1, None, 2, 0, 0, 0], pa.timestamp("ns")), ("1970-01-01T00:00:00.000000001", "")),
    "zones": (pa.array([0, None, 2, 0, 0, 0], pa.timestamp("ms", tz="UTC")), ("1970-01-01T00:00:00.000", "")),
    "times of day": (pa.array([5, None, 2, 0, 0, 0], pa.time64("ns")), ("00:00:00.000000005", "")),
    "durations": (pa.array([5, None, 2, 0, 0, 0], pa.duration("s")), ("5 seconds", "")),
}


@pytest.mark.parametrize(("column", "words"), _TIMES.values(), ids=_TIMES)
def test_times_are_words(tmp_path: Path, column: Any, words: tuple[str, ...]) -> None:
    assert read_arrays(_parquet(tmp_path, embeddings=_lists(), id=column), _SOME).ids[: len(words)] == words  # type: ignore[index]
    if not pa.types.is_time(column.type):
        plain = column.to_numpy(zero_copy_only=False)
        assert read_arrays(_npz(tmp_path, embeddings=Z, id=plain), _SOME).ids[: len(words)] == words  # type: ignore[index]


def test_what_is_not_used_is_named_with_the_reason(tmp_path: Path) -> None:
    path = _npz(
        tmp_path, embeddings=Z, z=2 * Z, labels=[1, 2], y=range(6), text=np.ones((6, 2)), meta=np.array([{}], object)
    )
    assert list(read_arrays(path, _SOME).unused) == [
        "'z': the embeddings are those of 'embeddings'",
        "'labels' has shape [2] for 6 embeddings; one entry a row",
        "'text' has shape [6, 2]; one number or word a row is needed",
    ]
    with pytest.raises(UnreadableFile, match="'meta' holds pickled Python objects"):
        read_arrays(path, Keys(ids="meta"))


def test_the_remedy_for_a_column_a_dimension_works(tmp_path: Path) -> None:
    path = _parquet(tmp_path, a=Z[:, 0], b=Z[:, 1], c=Z[:, 2], name=["x"] * 6)
    with pytest.raises(UnreadableFile, match="join them: ") as told:
        read_arrays(path, _SOME)
    remedy = str(told.value).partition("join them: ")[2]
    exec(remedy, {"numpy": np, "file": tmp_path / "z.npz", "table": parquet.read_table(path), "names": ["a", "b", "c"]})
    torch.testing.assert_close(read_arrays(tmp_path / "z.npz", _SOME).embeddings, torch.from_numpy(Z))
    with pytest.raises(UnreadableFile, match=r"embeddings is float32\[6\]; .*; where each dimension .* join them"):
        read_arrays(path, Keys(embeddings="a"))


Write = Callable[[Path], Path]


def _bytes(name: str, content: bytes) -> Write:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def _of(**arrays: Any) -> Write:
    return lambda folder: _npz(folder, **arrays)


def _with(**columns: Any) -> Write:
    return lambda folder: _parquet(folder, **columns)


def _cut(write: Write, keep: float) -> Write:
    def shorten(folder: Path) -> Path:
        path = write(folder)
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        return path

    return shorten


def _array_file() -> bytes:
    file = io.BytesIO()
    np.save(file, Z)
    return file.getvalue()


def _zip(name: str, content: bytes) -> Write:
    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "file.npz", "w") as file:
            file.writestr(name, content)
        return folder / "file.npz"

    return write


def _header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def _long_header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _encrypted(folder: Path) -> Path:
    path = _npz(folder, embeddings=Z)
    data = bytearray(path.read_bytes())
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(sign) + at] |= 1
    path.write_bytes(data)
    return path


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "file.npz")
    return folder / "file.npz"


def _flipped(folder: Path) -> Path:
    np.savez_compressed(folder / "file.npz", embeddings=np.random.default_rng(0).normal(size=(60, 6)))
    data = bytearray((folder / "file.npz").read_bytes())
    data[120:200] = b"\xff" * 80
    (folder / "file.npz").write_bytes(data)
    return folder / "file.npz"


def _changed(row: int, value: float) -> np.ndarray:
    z = Z.copy()
    z[row, 1] = value
    return z


def _rows(**changes: Any) -> list[Any]:
    rows: list[Any] = Z.tolist()
    for row, value in changes.items():
        rows[int(row[1:])] = value
    return rows


_FILES: dict[str, tuple[Write, str]] = {
    "nothing there": (lambda folder: folder / "none.npz", r"none.npz is missing; look at the path"),
    "nothing there without a suffix": (lambda folder: folder / "none", "none is missing; look at the path"),
    "another suffix": (_bytes("file.csv", b"1,2"), r"ends in '.csv'; embeddings come as .npz or .parquet"),
    "pickled embeddings": (_of(embeddings=np.array([{}, 1], object)), "'embeddings' holds pickled Python objects"),
    "cut npz": (_cut(_of(embeddings=Z), 0.5), "is no .npz file, or was cut short"),
    "plain array": (_bytes("file.npz", _array_file()), r"is no .npz file.*numpy.savez\(path, name=array\)"),
    "a pickle": (_bytes("file.npz", pickle.dumps({})), "is no .npz file"),
    "empty file": (_bytes("file.npz", b""), "is no .npz file"),
    "flipped bytes": (_flipped, r"'embeddings' is damaged \(.*\); write it again"),
    "zip of words": (_zip("readme.txt", b"words"), "has no embeddings: it holds nothing"),
    "array cut short": (_zip("embeddings.npy", _header((9, 9))), "is damaged .* 324 bytes, and 0 are there"),
    "array larger than memory": (_zip("embeddings.npy", _header((10**9, 10**5))), "is damaged .* takes 400,000,"),
    "no header": (_zip("embeddings.npy", b"\x93NUMPY\x01\x00\x10\x00{no header     \n"), "'embeddings' is damaged"),
    "other names": (_of(foo=Z), r"has no embeddings: it holds foo float32\[6, 3\]; name .* --embeddings"),
    "words": (_of(embeddings=Z.astype(str)), r"embeddings is <U32\[6, 3\]; a matrix of numbers \(n, d\) is needed"),
    "complex": (_of(embeddings=Z + 0j), "embeddings is complex64"),
    "truth values": (_of(embeddings=Z > 0), "embeddings is bool"),
    "a number": (_of(embeddings=3.0), r"embeddings is float64\[\]"),
    "a vector": (_of(embeddings=Z[0]), r"embeddings is float32\[3\]"),
    "three axes": (_of(embeddings=Z[None]), r"embeddings is float32\[1, 6, 3\]"),
    "no rows": (_of(embeddings=Z[:0]), "holds no rows; there is nothing to inspect"),
    "one row": (_of(embeddings=Z[:1]), "file.npz: embeddings: 1 row came; a pair takes two"),
    "no columns": (_of(embeddings=Z[:, :0]), "file.npz: embeddings is empty"),
    "NaN": (_of(embeddings=_changed(4, np.nan)), r"file.npz: embeddings holds NaN \(first in row 4\)"),
    "infinity": (_of(embeddings=_changed(2, np.inf)), r"embeddings holds inf \(first in row 2\)"),
    "a zero row": (_of(embeddings=Z * (np.arange(6) != 3)[:, None]), r"embeddings has a zero vector \(row 3\)"),
    "NaN in positives": (_of(embeddings=Z, positives=_changed(1, np.nan)), r"positives holds NaN \(first in row 1\)"),
    "cut parquet": (_cut(_with(embeddings=_lists()), 0.6), "is damaged or no parquet file"),
    "no parquet": (_bytes("file.parquet", b"PAR1wordsPAR1"), "is damaged or no parquet file"),
    "empty parquet": (_bytes("file.parquet", b""), "is damaged or no parquet file"),
    "ragged": (
        _with(embeddings=_lists(_rows(r2=[1.0]))),
        "'embeddings' holds lists that differ in length or have holes",
    ),
    "ragged inside": (_with(embeddings=_lists(_rows(r2=[1.0], r3=[1.0] * 5))), "'embeddings' holds lists"),
    "null row": (_with(embeddings=_lists(_rows(r2=None))), "'embeddings' holds lists"),
    "null number": (_with(embeddings=_lists(_rows(r2=[1.0, None, 2.0]))), "'embeddings' holds lists"),
    "null fixed list": (
        _with(embeddings=_lists(_rows(r2=None), pa.list_(pa.float32(), 3))),
        "'embeddings' holds lists",
    ),
    "no rows in parquet": (_with(embeddings=pa.array([], pa.list_(pa.float32()))), "holds no rows"),
    "lists of words": (_with(embeddings=[["a", "b"]] * 6), "embeddings is list<element: string>; a matrix"),
    "bytes": (_with(embeddings=[row.tobytes() for row in Z]), r"embeddings is binary; .*numpy.frombuffer"),
    "words of numbers": (_with(embeddings=[str(row.tolist()) for row in Z]), r"embeddings is string; .*json.loads"),
    "encrypted": (_encrypted, "'embeddings' is encrypted; write it without a password"),
    "a shape of truth values": (
        _zip("embeddings.npy", _header((True, 3)) + b"0" * 99),
        r"damaged \(its shape is \(True",
    ),
    "a negative shape": (_zip("embeddings.npy", _header((-1, 3)) + b"0" * 99), r"damaged \(its shape is \(-1"),
    "a deep header": (
        _zip("embeddings.npy", _long_header(b"(" * 9000)),
        r"'embeddings' is damaged \(.{1,130}\); write",
    ),
    "a folder": (lambda folder: folder, "is no file"),
    "a pipe": (_pipe, r"is no file \(a folder, a pipe or a device\)"),
    "a device": (lambda folder: Path("/dev/zero"), "is no file"),
    "numbers for lists": (_with(embeddings=[1.0] * 6), r"embeddings is float64\[6\]"),
    "other columns": (_with(foo=_lists()), "has no embeddings: it holds foo list<element: double>"),
}


@pytest.mark.parametrize(("write", "message"), _FILES.values(), ids=_FILES)
def test_files_that_are_refused(tmp_path: Path, write: Write, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message) as caught:
        read_arrays(write(tmp_path), _SOME)
    assert "allow_pickle" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_bytes_than_the_machine_has_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("couplings.train.npz._memory", lambda: 100.0)
    path = tmp_path / "file.npz"
    np.savez_compressed(path, embeddings=np.zeros((6, 3)), id=range(6))
    with pytest.raises(UnreadableFile, match=r"'embeddings' takes .* GB, more than this machine has"):
        read_arrays(path, _SOME)


@pytest.mark.parametrize("order", "<>")
def test_characters_that_unicode_does_not_have(tmp_path: Path, order: str) -> None:
    words = np.full(6, 0x110000, dtype=f"{order}u4").view(f"{order}U1")
    with pytest.raises(UnreadableFile, match=r"'id' is damaged \(it holds characters that Unicode does not have\)"):
        read_arrays(_npz(tmp_path, embeddings=Z, id=words), _SOME)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([_lists(), _lists()], names=["embeddings", "embeddings"])
    parquet.write_table(table, tmp_path / "file.parquet")
    with pytest.raises(UnreadableFile, match="'embeddings' is the name of more than one column"):
        read_arrays(tmp_path / "file.parquet", _SOME)


_MISFITS: dict[str, tuple[str, Any, str]] = {
    **{name: (name, range(4), rf"{name} has shape \[4\] for 6 embeddings; one entry") for name in _WORDS},
    "one word": ("ids", "resnet50", r"ids has shape \[\] for 6 embeddings"),
    "two columns of labels": ("labels", np.ones((6, 2)), r"labels has shape \[6, 2\]; one number or word a row"),
    "complex labels": ("labels", np.arange(6) + 1j, "labels is complex128; numbers or words are needed"),
    "few positives": ("positives", np.ones((4, 3)), r"positives has shape \[4, 3\] for 6 embeddings"),
    "narrow positives": ("positives", Z[:, :2], r"positives has shape \(6, 2\) but embeddings"),
    "flags": ("positives", np.ones(6, bool), r"positives is bool\[6\]; a matrix"),
    "few pictures": ("thumbnails", np.zeros((4, 8, 8), np.uint8), r"thumbnails has shape \[4, 8, 8\] for 6"),
}


@pytest.mark.parametrize(("name", "array", "message"), _MISFITS.values(), ids=_MISFITS)
def test_what_does_not_fit_is_refused_where_it_was_named_and_left_alone_where_not(
    tmp_path: Path, name: str, array: Any, message: str
) -> None:
    path = _npz(tmp_path, embeddings=Z, **{name: array})
    with pytest.raises(UnreadableFile, match=message):
        read_arrays(path, Keys(**{name: name}))
    held = "pictures" if name == "thumbnails" else name
    assert getattr(read_arrays(path, _SOME), held) is None


def test_the_next_usual_name_counts_where_the_first_does_not_fit(tmp_path: Path) -> None:
    found = read_arrays(_npz(tmp_path, embeddings=Z, labels=[1, 2], y=["a", "b"] * 3), _SOME)
    assert found.classes == ("a", "b")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([{"a": 1}] * 6, "'label' is struct<a: int64>; numbers, words or lists"),
        ([[1, 2]] * 6, r"labels has shape \[6, 2\]; one number"),
    ],
)
def test_columns_that_do_not_fit(tmp_path: Path, column: Any, message: str) -> None:
    path = _parquet(tmp_path, embeddings=_lists(), label=column, captions=[["a"], ["b", "c"]] * 3)
    with pytest.raises(UnreadableFile, match=message):
        read_arrays(path, Keys(labels="label"))
    found = read_arrays(path, _SOME)
    assert (found.labels, found.texts) == (None, None)


def test_no_array_is_taken_for_its_own_positives(tmp_path: Path) -> None:
    path = _npz(tmp_path, features=Z, positives=2 * Z, z=3 * Z)
    assert read_arrays(path, Keys(embeddings="positives")).positives is None
    found = read_arrays(path, Keys(positives="features"))
    assert found.embeddings[0, 0].item() == 3 * Z[0, 0]


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-30, 1e30, 1e300])
def test_rows_outside_of_single_precision_keep_their_direction(tmp_path: Path, scale: float) -> None:
    z = Z.astype(np.float64)
    z[2] *= scale
    found = read_arrays(_npz(tmp_path, embeddings=z, positives=z), _SOME)
    assert found.positives is not None
    for view in (found.embeddings, found.positives):
        torch.testing.assert_close(view[[0, 1, 3, 4, 5]], torch.from_numpy(Z[[0, 1, 3, 4, 5]]))
        near = torch.nn.functional.cosine_similarity(view[2], torch.from_numpy(Z[2]), dim=0)
        assert near.item() == pytest.approx(1, abs=1e-3 if scale < 1e-300 else 1e-6)


def test_words_are_whole(tmp_path: Path) -> None:
    halves = ["\ud800", "b", "a\udfff", "b", "b", "b"]
    path = _npz(tmp_path, z=Z, labels=halves, ids=halves, texts=halves, group=halves)
    found = read_arrays(path, _SOME)
    assert found.ids == found.texts == (r"\ud800", "b", r"a\udfff", "b", "b", "b")
    assert found.classes == (r"\ud800", r"a\udfff", "b")
    path = _npz(tmp_path, z=Z, y=[0, 1, 0, 1, 1, 1], classes=["\udfff", "b"])
    assert read_arrays(path, _SOME).classes == (r"\udfff", "b")


def test_columns_of_words_that_are_no_unicode(tmp_path: Path) -> None:
    words = pa.array([b"\xff", b"b", None, b"b", b"b", b"b"]).view(pa.string())
    path = _parquet(tmp_path, z=_lists(), text=words, label=words.dictionary_encode())
    found = read_arrays(path, _SOME)
    assert found.texts == (r"\xff", "b", "", "b", "b", "b")
    assert found.classes == (r"\xff", "b")


_EMBEDDED = {"index": [7, 3, 0, 9, 1, 5], "part": ["test", "train", "test", "train", "train", "test"]}


@pytest.mark.parametrize("write", [_npz, _parquet])
def test_rows_of_an_embedded_run_know_their_number_in_training(tmp_path: Path, write: Callable[..., Path]) -> None:
    found = read_arrays(write(tmp_path, z=Z.tolist(), **_EMBEDDED), _SOME)
    assert found.trained(torch.arange(6)).tolist() == [-1, 3, -1, 9, 1, -1]
    assert found.named(torch.arange(6)).tolist() == list(range(6))
    pairs = torch.tensor([[0, 1], [1, 3], [3, 4], [0, 2]])
    assert found.of_training(pairs).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    "changes",
    [
        {"index": [0.0] * 6},
        {"index": [-1, 0, 1, 2, 3, 4]},
        {"index": [0] * 5},
        {"part": ["wing", "tail"] * 3},
        {"part": [1] * 6},
    ],
)
def test_an_index_of_something_else_is_no_number_in_training(tmp_path: Path, changes: Any) -> None:
    found = read_arrays(_npz(tmp_path, z=Z, **(_EMBEDDED | changes)), _SOME)
    assert found.training is None
    assert found.of_training(torch.tensor([[0, 1]])).all()


def test_an_image_that_was_embedded_twice_is_no_pair(tmp_path: Path) -> None:
    found = read_arrays(_npz(tmp_path, z=Z, index=[4, 4, 1, 2, 3, 0], part=["train"] * 6), _SOME)
    assert found.of_training(torch.tensor([[0, 1], [0, 2]])).tolist() == [False, True]


@pytest.mark.parametrize("write", [_npz, _parquet])
def test_a_key_that_is_misspelt(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path, vecs=_lists().to_pylist(), sort=list(range(6)))
    with pytest.raises(UnreadableFile, match=r"has no 'vec' \(--embeddings\); did you mean 'vecs'\?"):
        read_arrays(path, Keys(embeddings="vec"))
    with pytest.raises(UnreadableFile, match=r"has no 'sorts' \(--labels\); did you mean 'sort'\?"):
        read_arrays(path, Keys(embeddings="vecs", labels="sorts"))


def test_thumbnails_are_not_read_from_parquet(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"thumbnails are read from \.npz only"):
        read_arrays(_parquet(tmp_path, embeddings=_lists(), pictures=[b"a"] * 6), Keys(thumbnails="pictures"))
