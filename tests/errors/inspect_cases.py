"""Files that hold no embeddings, and options that do not fit what is inspected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow
from case import Group, Prepare, maker
from material import cut, folder, missing, patched, picture, text
from pyarrow import parquet

_case = maker(Group.INSPECT)
_Z = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
_NPZ, _PARQUET = "inspect z.npz", "inspect z.parquet"


def _npz(**arrays: Any) -> Prepare:
    return lambda place: np.savez(place.folder / "z.npz", **arrays)


def _table(**columns: Any) -> Prepare:
    return lambda place: parquet.write_table(pyarrow.table(columns), place.folder / "z.parquet")


def _holed(value: float) -> np.ndarray:
    z = _Z.copy()
    z[3] = value
    return z


_GOOD = _npz(embeddings=_Z, labels=np.arange(20) % 2)
_RAGGED = [[1.0, 2.0]] * 19 + [[1.0]]

INSPECT = (
    _case("nothing there", "inspect z.npz", "z.npz", "look at the path"),
    _case("another suffix", "inspect z.csv", "z.csv '.csv'", ".npz or .parquet, or name a run", text("z.csv")),
    _case("a folder that is no run", "inspect .", ".", "--encoder RUN", folder("cats")),
    _case("no .npz file", _NPZ, "z.npz", "numpy.savez(path, name=array)", text("z.npz")),
    _case("an .npz file that is cut short", _NPZ, "z.npz", "numpy.savez(path, name=array)", _GOOD, cut("z.npz")),
    _case("pickled objects", _NPZ, "z.npz 'z'", "dtype=str", _npz(z=np.array([{}]))),
    _case("no array of a usual name", _NPZ, "z.npz codes float32[20,", "--embeddings", _npz(codes=_Z)),
    _case("a misspelt name", f"{_NPZ} --labels lables", "z.npz 'lables' --labels", "did you mean 'labels'?", _GOOD),
    _case("words for embeddings", _NPZ, "z.npz embeddings <U32", "a matrix of numbers", _npz(z=_Z.astype(str))),
    _case("a vector for embeddings", _NPZ, "z.npz embeddings float32[20]", "(n, d)", _npz(z=_Z[:, 0])),
    _case("no rows", _NPZ, "z.npz", "nothing to inspect", _npz(z=_Z[:0])),
    _case("one row", _NPZ, "z.npz 1 row", "a pair takes two", _npz(z=_Z[:1])),
    _case("NaN", _NPZ, "z.npz embeddings NaN row 3", "look for a division by zero", _npz(z=_holed(np.nan))),
    _case("a zero row", _NPZ, "z.npz embeddings row 3", "drop the row", _npz(z=_holed(0))),
    _case(
        "labels of other rows", f"{_NPZ} --labels y", "z.npz labels [9] 20", "one entry a row", _npz(z=_Z, y=range(9))
    ),
    _case(
        "labels in two columns",
        f"{_NPZ} --labels y",
        "z.npz labels [20, 2]",
        "one number or word a row",
        _npz(z=_Z, y=_Z[:, :2]),
    ),
    _case(
        "complex labels", f"{_NPZ} --labels y", "z.npz labels complex", "numbers or words", _npz(z=_Z, y=_Z[:, 0] + 1j)
    ),
    _case(
        "positives of another length",
        f"{_NPZ} --positives z_b",
        "z.npz positives (20, 2)",
        "equal n and d",
        _npz(z=_Z, z_b=_Z[:, :2]),
    ),
    _case(
        "floats for thumbnails",
        f"{_NPZ} --thumbnails images",
        "z.npz thumbnails float64[20, 8, 8]",
        "uint8 of shape (n, h, w)",
        _npz(z=_Z, images=np.zeros((20, 8, 8))),
    ),
    _case("no parquet file", _PARQUET, "z.parquet", "write it again", text("z.parquet")),
    _case("lists that differ in length", _PARQUET, "z.parquet 'vector'", "every row needs one", _table(vector=_RAGGED)),
    _case("no column of a usual name", _PARQUET, "z.parquet codes", "--embeddings", _table(codes=_Z.tolist())),
    _case("parquet without pyarrow", _PARQUET, "pyarrow", "pip install", text("z.parquet"), missing("pyarrow")),
    _case(
        "a file of one's own in the output folder",
        f"{_NPZ} --output mine",
        "output mine/pairs.csv",
        "name another folder, or move the file away",
        _GOOD,
        text("mine/pairs.csv"),
    ),
    _case("an option of folders", f"{_NPZ} --encoder run", "--encoder z.npz", "leave it out", _GOOD),
    _case("an option of runs", f"{_NPZ} --space features", "--space z.npz", "leave it out", _GOOD),
    _case("an encoder that is none", "inspect . --encoder cats", "encoder cats", "name what", picture("cats/a")),
    _case("an unknown loss", f"{_NPZ} --loss infonze", "'infonze'", "did you mean 'infonce'?", _GOOD),
    _case("a parameter that a loss has not", f"{_NPZ} --loss infonce:reg=1", "--loss infonce reg", "known: ", _GOOD),
    _case("a loss that repels nothing", f"{_NPZ} --loss alignment", "alignment", "take another loss", _GOOD),
    _case("too small a batch", f"{_NPZ} --batch-size 3", "batch_size 3", "must be at least 4", _GOOD),
    _case(
        "a map without its library",
        f"{_NPZ} --map umap",
        "--map umap umap-learn",
        "pip install 'couplings[umap]'",
        _GOOD,
        patched("couplings.cli.work.inspect.find_spec", lambda name: None),
    ),
    _case(
        "Embedding Atlas without it",
        f"{_NPZ} --atlas",
        "--atlas embedding-atlas",
        "pip install embedding-atlas",
        _GOOD,
        patched("couplings.cli.work.inspect.shutil.which", lambda name: None),
    ),
)
