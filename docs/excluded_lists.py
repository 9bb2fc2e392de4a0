"""Writes the lists of pairs that docs/inspect.md trains without: neighbours of one label, and the most similar pairs.

Run `python docs/excluded_lists.py FEATURES.npz FOLDER`, with what `couplings embed RUN --part train` wrote.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from couplings.diagnostics import nearest

DEPTHS = {"near20k": 20_000, "near100k": 100_000}


def write(path: Path, ids: np.ndarray, pairs: Tensor, similarity: Tensor) -> None:
    """A table that `couplings train --exclude-pairs` takes."""
    rows = zip(pairs.tolist(), similarity.tolist(), strict=True)
    path.write_text("\n".join(["id_a,id_b,score", *(f"{ids[a]},{ids[b]},{score:.6f}" for (a, b), score in rows), ""]))
    print(f"{path}: {len(pairs):,} pairs")


def main() -> None:
    """Rank the pairs of neighbours by similarity, and write three lists."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("features", type=Path)
    words.add_argument("folder", type=Path)
    given = words.parse_args()
    file = np.load(given.features)
    z, labels = (torch.from_numpy(file[name]) for name in ("features", "labels"))
    ids = file["ids"]
    pairs = nearest(z, 10).pairs()
    similarity = torch.nn.functional.cosine_similarity(z[pairs[:, 0]], z[pairs[:, 1]], dim=1)
    same = (labels[pairs[:, 0]] == labels[pairs[:, 1]]).nonzero()[:, 0]
    given.folder.mkdir(parents=True, exist_ok=True)
    write(given.folder / "oracle.csv", ids, pairs[same], similarity[same])
    order = similarity.argsort(descending=True, stable=True)
    for name, depth in DEPTHS.items():
        write(given.folder / f"{name}.csv", ids, pairs[order[:depth]], similarity[order[:depth]])


if __name__ == "__main__":
    main()
