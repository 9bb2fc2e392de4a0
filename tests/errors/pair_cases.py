"""Files of excluded pairs that are missing, damaged, or name no pair of images, and settings they do not go with."""

from __future__ import annotations

from typing import Any

import pyarrow
from case import Case, Group, Prepare, maker
from material import arrays, cut, folder, missing, text
from pyarrow import parquet
from stock import TINY

_case = maker(Group.PAIRS)
_TRAIN = f"train {TINY} --exclude-pairs"
_SOME = text("pairs.csv", "a,b\n1,2\n")


def _csv(what: str, content: str, names: str, remedy: str, more: str = "") -> Case:
    """A text file, met with more options."""
    return _case(
        what, f"{_TRAIN} pairs.csv{more}", f"pairs.exclude {names}", remedy, arrays(), text("pairs.csv", content)
    )


def _table(**columns: Any) -> Prepare:
    return lambda place: parquet.write_table(pyarrow.table(columns), place.folder / "pairs.parquet")


def _parquet(what: str, names: str, remedy: str, *prepare: Prepare) -> Case:
    return _case(what, f"{_TRAIN} pairs.parquet", names, remedy, arrays(), *prepare)


_LONELY = "a,b\n" + "".join(f"{a},{b}\n" for a in range(32) for b in range(a))

PAIRS = (
    _case("a file that is not there", f"{_TRAIN} pairs.csv", "pairs.exclude pairs.csv", "name a .csv", arrays()),
    _case("a folder for a file", f"{_TRAIN} p.csv", "pairs.exclude p.csv", "name a .csv", arrays(), folder("p.csv")),
    _case("another suffix", f"{_TRAIN} pairs.txt", "pairs.exclude pairs.txt", ".csv and .parquet are read", arrays()),
    _csv("an empty file", "", "pairs.csv 'a' nothing", "with columns a and b"),
    _csv("other columns", "i,j\n1,2\n", "pairs.csv 'a' 'i', 'j'", "with columns a and b"),
    _csv("a line with too few values", "a,b\n1,2\n3\n", "pairs.csv line 3", "write it again"),
    _csv("a fraction", "a,b\n1,2.5\n", "pairs.csv line 2 2.5", "write it again"),
    _csv("a quote that nobody closes", 'a,b\n1,"2\n', "pairs.csv", "write it again"),
    _csv("a number that is no training image", "a,b\n1,2\n3,32\n", "pairs.csv 2 32", "0 to 31"),
    _csv("a negative number", "a,b\n-1,2\n", "pairs.csv 1 -1", "0 to 31"),
    _csv(
        "ids of other images",
        "id_a,id_b\nimages/0,images/1\nz/3,z/4\n",
        "pairs.csv 2 'z/3' (1 of 2",
        "id_a and id_b if",
    ),
    _csv("one id a pair", "id_a,b\nimages/0,1\n", "pairs.csv 'id_b'", "or id_a and id_b"),
    _csv("an image with itself", "a,b\n5,5\n", "pairs.csv 1 5", "leave the pair out"),
    _parquet(
        "a parquet file that is cut short",
        "pairs.exclude",
        "write it again",
        _table(a=[1], b=[2]),
        cut("pairs.parquet"),
    ),
    _parquet("fractions in a parquet file", "pairs.exclude 'b' double", "write it again", _table(a=[1], b=[2.0])),
    _parquet("empty places in a parquet file", "pairs.exclude 'a' 1", "write it again", _table(a=[1, None], b=[2, 3])),
    _parquet(
        "a parquet file without pyarrow",
        "pyarrow",
        "pip install 'couplings[parquet]'",
        _table(a=[1], b=[2]),
        missing("pyarrow.parquet"),
    ),
    _case(
        "a loss that repels nothing",
        f"{_TRAIN} pairs.csv --loss alignment",
        "pairs.exclude alignment",
        "it repels nothing",
        arrays(),
        _SOME,
    ),
    _case(
        "negatives of one's own",
        f"{_TRAIN} pairs.csv --set pairs.negatives=4",
        "pairs.exclude pairs.negatives",
        "drop one",
        arrays(),
        _SOME,
    ),
    _csv("all pairs there are", _LONELY, "step 1 no negative", "exclude fewer pairs"),
    _case(
        "no pair at all",
        f"{_TRAIN} pairs.csv --output run",
        "pairs.csv",
        "so nothing is excluded",
        arrays(),
        text("pairs.csv", "a,b\n"),
        code=0,
        leaves="run run/config.json run/metrics.jsonl run/weights.safetensors",
    ),
)
