"""Inspections to make pages of: with everything, hostile words and all; with nothing but vectors; with many rows."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from couplings import CACR, InfoNCE
from couplings.inspection import Inspection, Settings, Subject, inspect
from couplings.inspection.page import page
from couplings.inspection.plane import Projection

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "${alert(4)}",
    "{{ 7*7 }}",
    "{% raw %}",
    "W" * 500,
    "\u202eמרחבا بالعالم",
    "🦊 fox \ud800 half",
    "a\x00b\nc",
    "$x_1$",
    "<!-- & &amp;",
)
_SETTINGS = Settings(batch_size=64, rounds=1, pairs=150, shown=24)


def noisy(rows: Sequence[int]) -> list[bytes]:
    """Pictures that hardly can be packed: 28 KB each."""
    return [_png(np.random.default_rng(row).integers(0, 256, (96, 96, 3), dtype=np.uint8)) for row in rows]


def plain(rows: Sequence[int]) -> list[bytes]:
    """Grey squares of 12 pixels."""
    return [_png(np.full((12, 12), row % 256, dtype=np.uint8)) for row in rows]


def _png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "png")
    return file.getvalue()


@functools.cache
def everything(n: int = 240, classes: int = len(HOSTILE)) -> Inspection:
    """Labels, ids, texts, pictures, positives some of which are swapped, duplicates, hubs, a history."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    z = torch.randn(n, 8, generator=random) + 2 * torch.randn(classes, 8, generator=random)[labels]
    z[n // 2 : n // 2 + 10] = z[:10]
    positives = z + 0.05 * torch.randn(n, 8, generator=random)
    positives[30:40] = positives[30:40].roll(1, 0)
    subject = Subject(
        name="<script>alert(0)</script>",
        embeddings=z,
        positives=positives,
        labels=labels.where(labels != 5, -1),
        classes=HOSTILE[:classes],
        ids=tuple(f"{HOSTILE[row % 12]} {row}" for row in range(n)),
        texts=tuple(f"{HOSTILE[(row + 3) % 12]} said {row}" for row in range(n)),
        pictures=plain,
        history=(
            {"step": 1, "loss": 3.0, "plan_entropy": {"$a_": 1.0, "_b": 2.0}},
            {"step": 2, "loss": 2.0, "effective_rank": 3.0, "plan_entropy": {"$a_": 1.5, "_b": 1.0}},
        ),
    )
    found = inspect(subject, {"infonce": InfoNCE(0.2), "cacr": CACR()}, _SETTINGS)
    # Few rows make no hub by themselves.
    return replace(found, hubs=found.survey.mass.argsort(descending=True)[:3])


@functools.cache
def nothing(n: int = 120) -> Inspection:
    """Vectors alone."""
    z = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    return inspect(Subject("bare.npz", z), {"infonce": InfoNCE(0.2)}, _SETTINGS)


def many(n: int = 20_000) -> Inspection:
    """Rows, as many as asked for, with the longest texts and pictures: those of a small inspection over and over."""
    small = everything()
    again = torch.arange(n) % len(small.subject)
    subject, seen = small.subject, small.survey
    tiled = replace(
        subject,
        embeddings=subject.embeddings[again],
        positives=None,
        labels=torch.arange(n),
        classes=tuple(f"{number}{'<' * 100}" for number in range(n)),
        ids=tuple(f"{number}{'<' * 200}" for number in range(n)),
        texts=("<" * 1000,) * n,
        pictures=noisy,
    )
    survey = seen._replace(
        mass=seen.mass[again],
        effective_negatives=seen.effective_negatives[again],
        positive_rank=seen.positive_rank[again],
    )
    places = Projection(small.projection.places[again], small.projection.plane, small.projection.variance)
    return replace(small, subject=tiled, survey=survey, projection=places)


@functools.cache
def page_of_everything() -> bytes:
    return page(everything())


@functools.cache
def page_of_nothing() -> bytes:
    return page(nothing())
