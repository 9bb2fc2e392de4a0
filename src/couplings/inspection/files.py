"""What an inspection leaves on the disk beside its page: JSON, pairs for training, a row a sample for tables."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from io import BytesIO, StringIO
from typing import Any

import torch
from torch import Tensor

from couplings import __version__
from couplings.inspection.advice import advice
from couplings.inspection.inspection import Inspection
from couplings.system.cells import cell, encodable

__all__ = ["DUPLICATES", "NUMBERS", "PAIRS", "ROWS", "numbers", "tables"]

NUMBERS, PAIRS, DUPLICATES, ROWS = "inspection.json", "pairs", "duplicates", "rows"
_NAMED = 1000
"""Pairs and rows that the JSON names; the tables have all."""


def numbers(found: Inspection) -> dict[str, Any]:
    """The findings for programs; rows are named by their number, from 0: in the file, or in the run's training images.
    ``ids`` has what each row that is named is called.

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
        "ids": _ids(found),
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


def _ids(found: Inspection) -> dict[str, str]:
    """What the rows that are named are called, by their number."""
    names, subject = found.subject.called, found.subject
    if names is None:
        return {}
    rows = [found.duplicates.pairs, found.candidates.pairs[:_NAMED], found.failing_positives, found.hubs]
    rows += [torch.tensor([one.pair for one in found.gallery], dtype=torch.int64), found.survey.mass.argmax()]
    some = torch.unique(torch.cat([part.flatten() for part in rows]))
    return {str(number): names[row] for row, number in zip(some.tolist(), subject.named(some).tolist(), strict=True)}


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


def tables(found: Inspection) -> dict[str, bytes]:
    """The JSON and the tables by the names of their files, ready to be written.

    ``pairs.csv`` and ``duplicates.csv``, pairs of training rows: columns a, b and score, id_a and id_b, by which
    `couplings train --exclude-pairs` finds the images, then what is known of the pair; duplicates have a group, whose
    rows are all copies. ``rows``: a row a sample, for maps and filters. With pyarrow all three are ``.parquet`` too.
    """
    whole = json.dumps(numbers(found), indent=1, ensure_ascii=False)
    files = {NUMBERS: whole.encode(errors="replace")}
    for name, columns in ((PAIRS, _pairs(found)), (DUPLICATES, _duplicates(found)), (ROWS, _rows(found))):
        files[f"{name}.csv"] = _csv(columns)
        if find_spec("pyarrow") is not None:
            files[f"{name}.parquet"] = _parquet(columns)
    return files


class _Kind(Enum):
    """What a column holds, as Arrow calls it: an empty column says it of itself."""

    WHOLE = "int64"
    NUMBER = "float64"
    TRUTH = "bool"
    TEXT = "string"


@dataclass(frozen=True)
class _Column:
    kind: _Kind
    values: Sequence[Any]


_Columns = Mapping[str, _Column]


def _whole(values: Tensor) -> _Column:
    return _Column(_Kind.WHOLE, values.tolist())


def _figure(values: Tensor) -> _Column:
    return _Column(_Kind.NUMBER, _rounded(values))


def _yes(values: Tensor) -> _Column:
    return _Column(_Kind.TRUTH, values.tolist())


def _words(values: Iterable[str]) -> _Column:
    return _Column(_Kind.TEXT, [encodable(value) for value in values])


def _pairs(found: Inspection) -> _Columns:
    candidates, kept = found.candidates, found.subject.of_training(found.candidates.pairs)
    pairs = candidates.pairs[kept]
    twins = set(map(tuple, found.duplicates.pairs.tolist()))
    return {
        **_ends(found, pairs, candidates.similarity[kept]),
        "push": _figure(candidates.push[kept]),
        "duplicate": _Column(_Kind.TRUTH, [pair in twins for pair in map(tuple, pairs.tolist())]),
    }


def _duplicates(found: Inspection) -> _Columns:
    twins, kept = found.duplicates, found.subject.of_training(found.duplicates.pairs)
    return {
        **_ends(found, twins.pairs[kept], twins.score[kept]),
        "similarity": _figure(twins.similarity[kept]),
        "group": _whole(found.subject.named(twins.groups[kept])),
    }


def _ends(found: Inspection, pairs: Tensor, score: Tensor) -> dict[str, _Column]:
    """Who the pairs are, numbered as training numbers them."""
    subject = found.subject
    pairs = pairs.gather(1, subject.trained(pairs).argsort(1))
    first, second = subject.trained(pairs).T
    columns = {"a": _whole(first), "b": _whole(second), "score": _figure(score)}
    names = subject.called
    if names is not None:
        for end, rows in zip("ab", pairs.T.tolist(), strict=True):
            columns[f"id_{end}"] = _words(names[row] for row in rows)
    same = subject.same_label(pairs)
    if same is not None:
        columns["same_label"] = _yes(same)
    return columns


def _rows(found: Inspection) -> _Columns:
    """Columns that a map colours by; `text` and the places are named as Embedding Atlas asks for."""
    subject, places = found.subject, found.projection.places
    twins = torch.zeros(len(subject), dtype=torch.bool)
    twins[found.duplicates.pairs.flatten()] = True
    return {
        "row": _whole(subject.named(torch.arange(len(subject)))),
        **_known(found),
        "projection_x": _figure(places[:, 0]),
        "projection_y": _figure(places[:, 1]),
        "mass": _figure(found.survey.mass),
        "suspicion": _figure(found.suspicion),
        "effective_negatives": _figure(found.survey.effective_negatives),
        **({} if subject.positives is None else {"positive_rank": _figure(found.survey.positive_rank)}),
        "nearest": _whole(subject.named(found.neighbours.index[:, 0])),
        **_nearest_id(found),
        "nearest_similarity": _figure(found.neighbours.similarity[:, 0]),
        "duplicate": _yes(twins),
    }


def _nearest_id(found: Inspection) -> dict[str, _Column]:
    names = found.subject.called
    nearest = found.neighbours.index[:, 0].tolist()
    return {} if names is None else {"nearest_id": _words(names[row] for row in nearest)}


def _known(found: Inspection) -> dict[str, _Column]:
    """The words that rows came with."""
    subject = found.subject
    words = {
        "id": subject.called,
        "text": subject.texts,
        "label": None if subject.labels is None else [subject.label_of(row) for row in range(len(subject))],
    }
    return {name: _words(values) for name, values in words.items() if values is not None}


def _csv(columns: _Columns) -> bytes:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*map(_cells, columns.values()), strict=True))
    return text.getvalue().encode()


def _cells(column: _Column) -> Sequence[Any]:
    return [cell(text) for text in column.values] if column.kind is _Kind.TEXT else column.values


def _parquet(columns: _Columns) -> bytes:
    import pyarrow
    import pyarrow.parquet

    arrays = {
        name: pyarrow.array(column.values, pyarrow.type_for_alias(column.kind.value))
        for name, column in columns.items()
    }
    file = BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), file)
    return file.getvalue()
