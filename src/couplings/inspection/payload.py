"""What the script of the page draws from: samples by number, matrices and places as numbers."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import matplotlib
import torch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from couplings.inspection.inspection import Inspection
from couplings.inspection.plane import Plane
from couplings.inspection.subject import Subject
from couplings.inspection.thumbs import thumbnails

__all__ = ["CARDS", "ON_MAP", "clipped", "label_words", "payload", "written"]

CARDS, ON_MAP = 60, 4_000
"""Cards of failing positives and of hubs; rows on the map."""
_ID, _LABEL, _TEXT, _TEXT_ON_MAP = 80, 60, 400, 160
"""Characters that are shown."""
_COLOURS, _STEPS, _KINDS = 64, 5, 10
_MARKED, _MARKED_ROWS = 30, 3
"""Labels that are marked along the heat map; rows that a label needs where there are more."""
_LOW, _EXTENT = 0.01, 1e-12
_AXES = {
    Plane.PCA: ["first principal axis (of unit vectors)", "second principal axis"],
    Plane.UMAP: ["first axis of UMAP, no unit", "second axis of UMAP, no unit"],
}


def payload(found: Inspection) -> dict[str, Any]:
    """All that the script needs, under 15 MB once it is written, whatever came in."""
    near, spread = _near(found), _on_map(found)
    labels = _labels(found.subject, [*near, *spread])
    return {
        "colours": [[round(255 * part) for part in colour[:3]] for colour in _colours()],
        "classes": [label_words(found.subject.label_of(row), _LABEL) for row in labels.values()],
        "samples": _samples(found.subject, near, spread, {label: place for place, label in enumerate(labels)}),
        "batch": _batch(found),
        "gallery": _gallery(found),
        "failing": _failing(found),
        "hubs": [{"row": row, "mass": found.survey.mass[row].item()} for row in found.hubs[:CARDS].tolist()],
        "map": _map(found, spread),
    }


def written(values: dict[str, Any]) -> str:
    """JSON that can stand inside a script element: no ``<``, no NaN, no half of a character."""
    text = json.dumps(_finite(values), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode("utf-8", "replace").decode()


def clipped(text: str, length: int) -> str:
    """The first `length` characters, without halves of characters, which have no UTF-8."""
    whole = text if len(text) <= length else f"{text[: length - 1]}…"
    return whole.encode("utf-8", "replace").decode()


def label_words(label: str, length: int) -> str:
    """A label as it stands among other words: a bare number says that it is one."""
    return clipped(f"label {label}" if re.fullmatch(r"[-+]?[\d.,]+", label) else label, length)


def _colours() -> Iterable[Sequence[float]]:
    """Colours that are told apart by everyone, and in grey."""
    colours = matplotlib.colormaps["viridis"]
    return [colours(step / (_COLOURS - 1)) for step in range(_COLOURS)]


def _finite(value: Any) -> Any:
    """JSON has no word for NaN and infinity."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _near(found: Inspection) -> list[int]:
    """Rows that are looked at closely, each once."""
    pairs = [row for one in found.gallery for row in one.pair]
    rows = [found.batch.rows.tolist(), pairs, found.failing_positives[:CARDS].tolist(), found.hubs[:CARDS].tolist()]
    return list(dict.fromkeys(row for part in rows for row in part))


def _on_map(found: Inspection) -> list[int]:
    """Rows of the map, in a random order."""
    generator = torch.Generator().manual_seed(found.settings.seed)
    chosen: list[int] = torch.randperm(len(found.subject), generator=generator)[:ON_MAP].tolist()
    return chosen


def _labels(subject: Subject, rows: Iterable[int]) -> dict[int, int]:
    """The labels among rows, ascending, each with a row that has it."""
    if subject.labels is None:
        return {}
    found = {int(subject.labels[row]): row for row in rows}
    return {label: found[label] for label in sorted(found) if label >= 0}


def _samples(
    subject: Subject, near: Sequence[int], spread: Sequence[int], places: dict[int, int]
) -> dict[int, dict[str, Any]]:
    rows = list(dict.fromkeys([*near, *spread]))
    close, images = set(near), thumbnails(subject.pictures, rows)
    found: dict[int, dict[str, Any]] = {}
    for row, name in zip(rows, subject.named(torch.tensor(rows)).tolist(), strict=True):
        sample = found[row] = {"row": name}
        if subject.ids is not None:
            sample["id"] = clipped(subject.ids[row], _ID)
        if subject.labels is not None:
            sample["label"] = places.get(int(subject.labels[row]), -1)
        if subject.texts is not None:
            sample["text"] = clipped(subject.texts[row], _TEXT if row in close else _TEXT_ON_MAP)
        if row in images:
            sample["image"] = images[row]
    return found


def _batch(found: Inspection) -> dict[str, Any]:
    batch, apart = found.batch, ~torch.eye(len(found.batch.rows), dtype=torch.bool)
    return {
        "classes": _runs(found.subject, batch.rows.tolist()),
        "scales": {
            "plan": _scale(batch.plan[apart], logarithmic=True),
            "push": _scale(batch.push[apart], logarithmic=True),
            "similarity": _scale(batch.similarity[apart], logarithmic=False),
        },
        "rows": batch.rows.tolist(),
        "first": int((batch.push * apart).argmax()),
        "coupling": batch.coupling,
        "plan": _packed(batch.plan),
        "push": _packed(batch.push),
        "similarity": _packed(batch.similarity),
    }


def _gallery(found: Inspection) -> list[dict[str, Any]]:
    relations = _relations(found)
    return [
        {
            "pair": list(one.pair),
            "kind": one.kind.value,
            "similarity": one.similarity,
            "push": one.push,
            "cost": one.cost,
            "relative": one.relative_cost,
            "relation": relation,
        }
        for one, relation in zip(found.gallery, relations, strict=True)
    ]


def _relations(found: Inspection) -> list[str]:
    """Whether the labels of each pair of the gallery agree; empty where one is unknown."""
    pairs = torch.tensor([one.pair for one in found.gallery], dtype=torch.long).reshape(-1, 2)
    same, labels = found.subject.same_label(pairs), found.subject.labels
    if same is None or labels is None:
        return [""] * len(pairs)
    known = (labels[pairs] >= 0).all(1)
    return [("same" if alike else "different") if sure else "" for alike, sure in zip(same, known, strict=True)]


def _failing(found: Inspection) -> list[dict[str, Any]]:
    rows, subject = found.failing_positives[:CARDS], found.subject
    if subject.positives is None:
        return []
    similarity = torch.nn.functional.cosine_similarity(subject.embeddings[rows], subject.positives[rows], dim=1)
    ranks = found.survey.positive_rank[rows].tolist()
    return [
        {"row": row, "rank": rank, "similarity": near}
        for row, rank, near in zip(rows.tolist(), ranks, similarity.tolist(), strict=True)
    ]


def _map(found: Inspection, rows: list[int]) -> dict[str, Any]:
    chosen = torch.tensor(rows)
    places, mass, suspicion = found.projection.places[chosen], found.survey.mass[chosen], found.suspicion[chosen]
    kinds, looks = _looks(found.subject, chosen)
    return {
        "first": int(suspicion.argmax()),
        "centre": ((places.amax(0) + places.amin(0)) / 2).tolist(),
        "extent": (places.amax(0) - places.amin(0)).clamp_min(_EXTENT).tolist(),
        "axes": _AXES[found.projection.plane],
        "ticks": [_ticks(axis) for axis in places.T],
        "kinds": kinds,
        "looks": looks,
        "rows": rows,
        "x": _packed(places[:, 0]),
        "y": _packed(places[:, 1]),
        "mass": _packed(mass),
        "suspicion": _packed(suspicion),
        "scales": {"mass": _scale(mass, logarithmic=True), "suspicion": _scale(suspicion, logarithmic=True)},
    }


def _looks(subject: Subject, rows: Tensor) -> tuple[list[dict[str, Any]], list[int]]:
    """Kinds of dots, and the kind of each row: the largest classes are one each, all others share the last."""
    if subject.labels is None:
        return [{"name": "row", "other": True}], [0] * len(rows)
    labels = subject.labels[rows]
    values, counts = torch.unique(labels[labels >= 0], return_counts=True)
    largest = values[counts.argsort(descending=True, stable=True)[:_KINDS]].sort().values.tolist()
    first = {label: int((labels == label).nonzero()[0]) for label in largest}
    kinds = [{"name": clipped(subject.label_of(int(rows[at])), _LABEL), "other": False} for at in first.values()]
    place = {label: kind for kind, label in enumerate(largest)}
    looks = [place.get(label, len(largest)) for label in labels.tolist()]
    if max(looks) == len(largest):
        kinds.append({"name": "no label" if len(values) == len(largest) else "other labels", "other": True})
    return kinds, looks


def _runs(subject: Subject, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Where the rows of the labels that are marked begin and end, in order; rows come sorted by label."""
    if subject.labels is None:
        return []
    found: list[dict[str, Any]] = []
    for label, group in groupby(enumerate(rows), lambda one: subject.label_of(one[1])):
        places = [place for place, _ in group]
        found.append({"label": clipped(label or "no label", _LABEL), "start": places[0], "end": places[-1] + 1})
    if len(found) <= _MARKED:
        return found
    long = [one for one in found if one["end"] - one["start"] >= _MARKED_ROWS]
    longest = sorted(long, key=lambda one: one["start"] - one["end"])[:_MARKED]
    return sorted(longest, key=lambda one: int(one["start"]))


def _scale(values: Tensor, *, logarithmic: bool) -> dict[str, Any]:
    """The ends of the colours: outliers at the low end do not take them all."""
    usable = values.double()[values.isfinite() & ((values > 0) | (not logarithmic))]
    usable = usable if len(usable) else torch.ones(1, dtype=torch.float64)
    high, low = usable.max().item(), usable.quantile(_LOW).item()
    steps = torch.linspace(0, 1, _STEPS if low < high else 1, dtype=torch.float64)
    ticks = low * (high / low) ** steps if logarithmic else low + (high - low) * steps
    return {
        "low": low,
        "high": high,
        "logarithmic": logarithmic,
        "ticks": ticks.tolist(),
        "none": logarithmic and bool((values <= 0).any()),
    }


def _ticks(values: Tensor) -> list[float]:
    low, high = values.double().min().item(), values.double().max().item()
    return [tick for tick in map(float, MaxNLocator(5).tick_values(low, high)) if low <= tick <= high]


def _packed(values: Tensor) -> str:
    """float32, little end first, in base 64."""
    return base64.b64encode(values.float().contiguous().numpy().astype("<f4").tobytes()).decode()
