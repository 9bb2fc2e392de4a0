"""The page of an inspection."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from markupsafe import Markup

from couplings.diagnostics import hub_bound
from couplings.inspection import charts
from couplings.inspection.advice import advice
from couplings.inspection.files import DUPLICATES, NUMBERS, PAIRS, ROWS
from couplings.inspection.inspection import Inspection
from couplings.inspection.payload import CARDS, ON_MAP, clipped, label_words, payload, written
from couplings.inspection.plane import Plane
from couplings.inspection.truth import Depth, Truth
from couplings.report.html import render

__all__ = ["page"]

_NAME, _HEAVIEST, _POINTS, _CLASSES = 120, 10, 6, 40
_CLEAR = 2.0
"""Standard errors under which two orders are called alike."""


@dataclass(frozen=True)
class _Figure:
    """A key figure, and what it means."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class _Class:
    """Rows of one label, on average."""

    name: str
    rows: int
    mass: float
    suspicion: float


def page(found: Inspection) -> bytes:
    """One self-contained page of HTML, under 15 MB; it opens without a network, and runs no script but its own.

    Whatever the data hold, names, labels and texts are shown as text, the long ones cut.

    Args:
        found: of :func:`couplings.inspection.inspect`.

    Returns:
        The page, UTF-8.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> from couplings.inspection import Subject, inspect
        >>> from couplings.inspection.page import page
        >>> z = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
        >>> page(inspect(Subject("example", z), {"infonce": InfoNCE(0.2)}))[:15]
        b'<!DOCTYPE html>'
    """
    return render(
        "inspection",
        name=clipped(found.subject.name, _NAME),
        loss=clipped(found.loss_name, _NAME),
        advice=advice(found),
        figures=list(_figures(found)),
        heaviest=list(_heaviest(found)),
        responses=charts.responses(found),
        points=_points(found),
        space=[charts.spectrum(found), charts.mass(found), charts.negatives(found)],
        history=charts.history(found),
        classes=list(_classes(found)),
        truth=found.truth,
        verdict="" if found.truth is None else _verdict(found.truth),
        on_map=_on_map(found),
        found=found,
        pca=found.projection.plane is Plane.PCA,
        files={"numbers": NUMBERS, "pairs": PAIRS, "duplicates": DUPLICATES, "rows": ROWS},
        parquet=find_spec("pyarrow") is not None,
        cards=CARDS,
        hub_bound=hub_bound(found.survey.mass),
        number=_number,
        share=_share,
        data=Markup(written(payload(found))),
    )


def _number(value: float | None) -> str:
    """Three digits, thousands apart."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _share(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _figures(found: Inspection) -> Iterator[_Figure]:
    n, dimension = found.subject.embeddings.shape
    space, seen = found.space, found.survey
    twins = len(torch.unique(found.duplicates.pairs))
    yield _Figure("rows", f"{n:,}", f"of {dimension} dimensions")
    yield _Figure("effective rank", _number(space.effective_rank), f"of {min(n, dimension)}: how many axes are in use")
    yield _Figure("collapsed dimensions", f"{len(space.collapsed_dimensions):,}", "coordinates that hardly vary")
    yield _Figure(
        "effective negatives",
        f"{seen.effective_negatives.mean().item():.0f}",
        f"of {seen.batch_size - 1:.0f} in a batch: how many have a say",
    )
    alike = "mean squared distance of positives, 0 to 4" if space.alignment is not None else "no positives given"
    yield _Figure("alignment", _number(space.alignment), alike)
    yield _Figure("uniformity", _number(space.uniformity), "log mean exp(-2 d²), nats: lower is more spread out")
    yield _Figure("rows with a duplicate", f"{twins:,}", f"in {len(found.duplicates.pairs):,} pairs, exact and near")
    known = found.subject.positives is not None
    failing = f"{len(found.failing_positives):,}" if known else "–"
    yield _Figure("failing positives", failing, "no nearer than a random row" if known else "no positives given")
    yield _Figure("hubs", f"{len(found.hubs):,}", "rows that push far harder than the rest")


def _heaviest(found: Inspection) -> Iterator[tuple[str, str, float, float, float]]:
    """The pairs of the batch that are pushed hardest: names, push, mass, similarity."""
    batch, n = found.batch, len(found.batch.rows)
    upper = ((batch.push + batch.push.T) / 2).triu(1)
    for place in upper.flatten().argsort(descending=True, stable=True)[: min(_HEAVIEST, n * (n - 1) // 2)].tolist():
        i, j = divmod(place, n)
        ends = (_called(found, int(batch.rows[one])) for one in (i, j))
        numbers = (part[i, j].item() for part in (upper, batch.plan, batch.similarity))
        yield *ends, *numbers  # type: ignore[misc]


def _called(found: Inspection, row: int) -> str:
    label = found.subject.label_of(row)
    name = f"row {found.subject.id_of(row)}" if found.subject.ids is None else found.subject.id_of(row)
    return clipped(name, 60) + (f" ({label_words(label, 40)})" if label else "")


def _points(found: Inspection) -> dict[str, list[tuple[float, float]]]:
    """A few points of each response: similarity and push."""
    picked: dict[str, list[tuple[float, float]]] = {}
    for name, one in found.responses.items():
        every = torch.linspace(0, len(one.push) - 1, min(_POINTS, len(one.push))).round().long()
        picked[clipped(name, _NAME)] = list(zip(one.similarity[every].tolist(), one.push[every].tolist(), strict=True))
    return picked


def _classes(found: Inspection) -> Iterator[_Class]:
    """The largest classes."""
    labels = found.subject.labels
    if labels is None:
        return
    values, counts = torch.unique(labels[labels >= 0], return_counts=True)
    for place in counts.argsort(descending=True, stable=True)[:_CLASSES].tolist():
        inside = labels == values[place]
        row = int(inside.nonzero()[0])
        means = (found.survey.mass[inside].mean().item(), found.suspicion[inside].mean().item())
        yield _Class(clipped(found.subject.label_of(row), 60), int(counts[place]), *means)


def _on_map(found: Inspection) -> str:
    rows = len(found.subject)
    return f"all {rows:,} rows" if rows <= ON_MAP else f"{ON_MAP:,} of {rows:,} rows, drawn at random"


def _verdict(truth: Truth) -> str:
    """Which order finds more pairs of one label, where they differ most clearly."""
    if not truth.depths:
        return "There is no candidate with two known labels, so nothing can be compared."
    depth = max(truth.depths, key=_clearness)
    shares = f"{_share(depth.by_push)} against {_share(depth.by_similarity)} at depth {depth.depth:,}"
    if _clearness(depth) < _CLEAR:
        return f"The order by push is no better and no worse than plain nearest neighbours here: {shares}."
    better = "better" if depth.by_push > depth.by_similarity else "worse"
    return f"The order by push finds pairs of one label {better} than plain nearest neighbours here: {shares}."


def _clearness(row: Depth) -> float:
    """The difference in standard errors, as if the two orders were drawn apart."""
    mean = (row.by_push + row.by_similarity) / 2
    error = math.sqrt(2 * mean * (1 - mean) / row.depth)
    return abs(row.by_push - row.by_similarity) / error if error else 0.0
