"""What an inspection leaves on the disk beside its page: JSON, pairs for training, a row a sample for tables."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from couplings import __version__
from couplings.files import replacing, write_bytes
from couplings.inspection.advice import advice
from couplings.inspection.inspection import Inspection

__all__ = ["DUPLICATES", "NUMBERS", "PAIRS", "ROWS", "numbers", "write_tables"]

NUMBERS, PAIRS, DUPLICATES, ROWS = "inspection.json", "pairs", "duplicates", "rows"
_NAMED = 1000
"""Pairs and rows that the JSON names; the tables have all."""


def numbers(found: Inspection) -> dict[str, Any]:
    """The findings for programs; rows are named by their number, from 0: in the file, or in the run's training images.

    Keys: ``duplicates``, lists of two rows and a score (:class:`couplings.diagnostics.Duplicates`), all of them;
    ``false_negative_candidates``, lists of two rows and their cosine; ``failing_positives``, rows, the worst first;
    ``hubs``, rows, the heaviest first; ``collapsed_dimensions``, coordinates; ``summary``, the advice and all figures.
    """
    candidates, flagged, named = found.candidates, found.failing_positives, found.subject.named
    return {
        "couplings": __version__,
        "name": found.subject.name,
        "loss": found.loss_name,
        "rows": len(found.subject),
        "dimensions": found.subject.embeddings.shape[1],
        "summary": _summary(found),
        "duplicates": _scored(named(found.duplicates.pairs), found.duplicates.score),
        "false_negative_candidates": _scored(named(candidates.pairs[:_NAMED]), candidates.similarity[:_NAMED]),
        "false_negative_pushes": _rounded(candidates.push[:_NAMED]),
        "failing_positives": named(flagged).tolist(),
        "failing_positive_ranks": _rounded(found.survey.positive_rank[flagged]),
        "hubs": named(found.hubs).tolist(),
        "hub_masses": _rounded(found.survey.mass[found.hubs]),
        "collapsed_dimensions": found.space.collapsed_dimensions.tolist(),
        "spectrum": _rounded(found.space.spectrum),
        "responses": {
            name: {"similarity": _rounded(one.similarity), "push": _rounded(one.push)}
            for name, one in found.responses.items()
        },
        "gallery": [
            {
                "pair": named(torch.tensor(one.pair)).tolist(),
                "kind": one.kind.value,
                "similarity": _number(one.similarity),
                "push": _number(one.push),
                "cost_of_masking": _number(one.cost),
                "relative_cost_of_masking": _number(one.relative_cost),
            }
            for one in found.gallery
        ],
    }


def _summary(found: Inspection) -> dict[str, Any]:
    truth = found.truth
    return {
        "advice": [{"level": one.level.value, "finding": one.finding, "remedy": one.remedy} for one in advice(found)],
        "alignment": _number(found.space.alignment),
        "uniformity": _number(found.space.uniformity),
        "effective_rank": _number(found.space.effective_rank),
        "effective_negatives": _number(found.survey.effective_negatives.mean().item()),
        "batch_size": _number(found.survey.batch_size),
        "plan_entropy": _number(found.survey.effective_negatives.clamp_min(1).log().mean().item()),
        "largest_mass": _number(found.survey.mass.max().item()),
        "largest_mass_row": found.subject.named(found.survey.mass.argmax()).item(),
        "duplicate_pairs": len(found.duplicates.pairs),
        "failing_positives": len(found.failing_positives),
        "hubs": len(found.hubs),
        "collapsed_dimensions": len(found.space.collapsed_dimensions),
        "push_on_same_label": None if truth is None else _number(truth.push_on_same),
        "pairs_of_same_label": None if truth is None else _number(truth.chance),
        "precision": [
            {"depth": row.depth, "by_similarity": _number(row.by_similarity), "by_push": _number(row.by_push)}
            for row in (() if truth is None else truth.depths)
        ],
        "seconds": _number(found.seconds),
    }


def _scored(pairs: Tensor, score: Tensor) -> list[list[float | None]]:
    return [[i, j, value] for (i, j), value in zip(pairs.sort(1).values.tolist(), _rounded(score), strict=True)]


def _rounded(values: Tensor) -> list[float | None]:
    return [_number(value) for value in values.double().tolist()]


def _number(value: float | None) -> float | None:
    """Seven digits; JSON has no word for NaN and infinity."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.7g}")


def write_tables(found: Inspection, folder: Path) -> list[Path]:
    """Write the JSON and the tables into a folder that exists; each file whole or not at all.

    ``pairs.csv`` and ``duplicates.csv``: columns a, b and score, which `couplings train --exclude-pairs` takes, then
    what is known of the pair. ``rows``: a row a sample, for maps and filters. With pyarrow all three are ``.parquet``
    too.

    Raises:
        OSError: a file cannot be written.
    """
    tables = {PAIRS: _pairs(found), DUPLICATES: _duplicates(found), ROWS: _rows(found)}
    paths = [folder / NUMBERS]
    write_bytes(paths[0], json.dumps(numbers(found), indent=1, ensure_ascii=False).encode())
    for name, columns in tables.items():
        paths.append(folder / f"{name}.csv")
        write_bytes(paths[-1], _csv(columns))
        if find_spec("pyarrow") is not None:
            paths.append(folder / f"{name}.parquet")
            _write_parquet(paths[-1], columns)
    return paths


Columns = Mapping[str, Sequence[Any]]


def _pairs(found: Inspection) -> Columns:
    candidates, known = found.candidates, found.duplicates.pairs.tolist()
    twins = set(map(tuple, known))
    return {
        **_ends(found, candidates.pairs, candidates.similarity),
        "push": _rounded(candidates.push),
        "duplicate": [pair in twins for pair in map(tuple, candidates.pairs.tolist())],
    }


def _duplicates(found: Inspection) -> Columns:
    twins = found.duplicates
    return {**_ends(found, twins.pairs, twins.score), "similarity": _rounded(twins.similarity)}


def _ends(found: Inspection, pairs: Tensor, score: Tensor) -> dict[str, Sequence[Any]]:
    """Who the pairs are."""
    subject = found.subject
    first, second = subject.named(pairs).sort(1).values.T.tolist()
    columns: dict[str, Sequence[Any]] = {"a": first, "b": second, "score": _rounded(score)}
    if subject.ids is not None:
        columns |= {
            f"id_{end}": [subject.ids[row] for row in rows] for end, rows in zip("ab", pairs.T.tolist(), strict=True)
        }
    same = subject.same_label(pairs)
    if same is not None:
        columns["same_label"] = same.tolist()
    return columns


def _rows(found: Inspection) -> Columns:
    """Columns that a map colours by; `text` and the places are named as Embedding Atlas asks for."""
    subject, places = found.subject, found.projection.places
    rows = range(len(subject))
    columns: dict[str, Sequence[Any]] = {"row": subject.named(torch.arange(len(subject))).tolist()}
    if subject.ids is not None:
        columns["id"] = subject.ids
    if subject.texts is not None:
        columns["text"] = subject.texts
    if subject.labels is not None:
        columns["label"] = [subject.label_of(row) for row in rows]
    twins = torch.zeros(len(subject), dtype=torch.bool)
    twins[found.duplicates.pairs.flatten()] = True
    return {
        **columns,
        "projection_x": _rounded(places[:, 0]),
        "projection_y": _rounded(places[:, 1]),
        "mass": _rounded(found.survey.mass),
        "suspicion": _rounded(found.suspicion),
        "effective_negatives": _rounded(found.survey.effective_negatives),
        **({} if subject.positives is None else {"positive_rank": _rounded(found.survey.positive_rank)}),
        "nearest": subject.named(found.neighbours.index[:, 0]).tolist(),
        "nearest_similarity": _rounded(found.neighbours.similarity[:, 0]),
        "duplicate": twins.tolist(),
    }


def _csv(columns: Columns) -> bytes:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _write_parquet(path: Path, columns: Columns) -> None:
    import pyarrow
    import pyarrow.parquet

    with replacing(path) as file:
        pyarrow.parquet.write_table(pyarrow.table({name: list(column) for name, column in columns.items()}), file)
