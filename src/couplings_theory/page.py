"""What the examination of claims leaves on the disk: one page, its numbers as JSON, its figures."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from couplings import __version__
from couplings.report.html import data_uri, render
from couplings.system.files import write_bytes
from couplings_theory.catalogue import FAMILIES, selected
from couplings_theory.claim import Check, Standing
from couplings_theory.examination import Outcome

__all__ = ["FIGURES", "FILES", "NUMBERS", "PAGE", "number", "summary", "write"]

PAGE, NUMBERS, FIGURES = "theory.html", "theory.json", "figures"
FILES = (NUMBERS, PAGE)
"""The first tells whose the others are."""

_MEANINGS = {
    Standing.DERIVED: "follows from the definitions by the few lines that the documentation gives",
    Standing.RESTATED: "the paper's statement in our words, under the conditions written here; not its theorem",
    Standing.MEASURED: "seen in the setting written here; no theorem is claimed",
}


@dataclass(frozen=True)
class _Section:
    name: str
    title: str
    outcomes: list[Outcome]


@dataclass(frozen=True)
class _Known:
    value: str
    meaning: str


def write(outcomes: Sequence[Outcome], folder: Path, command: str) -> list[Path]:
    """Write the page, the numbers and the figures into `folder`; each file whole or not at all.

    Args:
        outcomes: of :func:`couplings_theory.examination.examine`.
        folder: made if it is missing; files of the same names are replaced.
        command: what made them, for the foot of the page.

    Returns:
        The paths of page, numbers and folder of figures.

    Raises:
        OSError: the folder cannot be written.
    """
    figures = folder / FIGURES
    figures.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / NUMBERS, json.dumps(_numbers(outcomes), indent=1, ensure_ascii=False).encode())
    _forget_others(figures, {outcome.claim.name for outcome in outcomes})
    for outcome in outcomes:
        if outcome.picture is not None:
            stem = _stem(outcome.claim.name)
            write_bytes(figures / f"{stem}.svg", outcome.picture.svg)
            write_bytes(figures / f"{stem}.png", outcome.picture.png)
    write_bytes(folder / PAGE, _page(outcomes, command))
    return [folder / PAGE, folder / NUMBERS, figures]


def _forget_others(figures: Path, names: set[str]) -> None:
    """Remove figures of claims that the page no longer shows; other files stay."""
    for claim in selected([]):
        for kind in ("svg", "png"):
            if claim.name not in names:
                (figures / f"{_stem(claim.name)}.{kind}").unlink(missing_ok=True)


def _stem(name: str) -> str:
    return name.replace("/", "-")


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many hold, in a sentence."""
    held, checks = sum(outcome.passed for outcome in outcomes), sum(len(outcome.checks) for outcome in outcomes)
    return f"{held} of {len(outcomes)} claims hold ({checks} numbers checked)."


def number(value: float) -> str:
    """Seven digits, short.

    >>> number(0.6931471805599453), number(0.0), number(3.2e-17)
    ('0.6931472', '0', '3.2e-17')
    """
    return f"{value:.7g}"


def _page(outcomes: Sequence[Outcome], command: str) -> bytes:
    sections = [
        _Section(family.name, family.title, [one for one in outcomes if one.claim.family == family.name])
        for family in FAMILIES
    ]
    return render(
        "theory",
        summary=summary(outcomes),
        machine=f"couplings {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        families=[section for section in sections if section.outcomes],
        standings=[_Known(standing.value, meaning) for standing, meaning in _MEANINGS.items()],
        command=command,
        number=number,
        uri=data_uri,
    )


def _numbers(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {"couplings": __version__, "torch": torch.__version__, "claims": [_record(outcome) for outcome in outcomes]}


def _record(outcome: Outcome) -> dict[str, Any]:
    claim = outcome.claim
    return {
        "name": claim.name,
        "title": claim.title,
        "statement": claim.statement,
        "paper": claim.paper.value,
        "standing": claim.standing.value,
        "passed": outcome.passed,
        "error": outcome.error or None,
        "seconds": round(outcome.seconds, 2),
        "checks": [_check(check) for check in outcome.checks],
        "remarks": list(outcome.remarks),
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "what": check.what,
        "obtained": _finite(check.obtained),
        "relation": check.relation.value,
        "expected": _finite(check.expected),
        "tolerance": check.tolerance,
        "passed": check.passed,
    }


def _finite(value: float) -> float | str:
    """JSON has no word for NaN and infinity."""
    return value if math.isfinite(value) else str(value)
