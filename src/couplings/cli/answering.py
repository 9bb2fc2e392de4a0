"""What `couplings theory latent-classes` does, and what it says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from couplings import __version__
from couplings.report.style import drawn
from couplings.system.display import say, show
from couplings.system.files import folder_for, write_bytes
from couplings_theory.latent_classes.answer import Answer, Row, answer

_PICTURES = ("grams", "over-k")
_FILES = ("latent-classes.json", *(f"{name}.{kind}" for name in _PICTURES for kind in ("svg", "png")))


def latent_classes_command(prior: Sequence[float], ks: Sequence[int], scale: float, output: Path) -> None:
    """Answer, show, write."""
    with folder_for(output, _FILES):
        found = answer(prior, ks, scale=scale)
    show(_table(found))
    for sentence in found.sentences:
        say(sentence)
    written = _write(found, output)
    say(f"Written: {', '.join(map(str, written))}.")
    say(
        "Next: look at the pictures; from Python: couplings_theory.latent_classes.optimal_gram(prior, k=..., scale=...)"
    )


def _table(found: Answer) -> Table:
    table = Table("k", "loss", "gap <=", "margin", "cross entropy", "accuracy", "P(collision)", "merged classes")
    for row in found.rows:
        table.add_row(
            str(row.k),
            f"{row.loss:.6f}",
            f"{max(row.gap, 0):.0e}",
            f"{row.margin:.3f}",
            f"{row.cross_entropy:.4f}",
            f"{row.accuracy:.3f}",
            f"{row.collision:.3f}",
            _merged(row),
        )
    return table


def _merged(row: Row) -> str:
    return "; ".join("+".join(str(member + 1) for member in group) for group in row.merged) or "none"


def _write(found: Answer, folder: Path) -> list[Path]:
    paths = [folder / _FILES[0]]
    kept = {
        "couplings": __version__,
        "prior": found.prior,
        "scale": found.scale,
        "rows": [asdict(row) for row in found.rows],
    }
    write_bytes(paths[0], json.dumps({**kept, "sentences": found.sentences}, indent=1).encode())
    for name, picture in zip(_PICTURES, found.pictures, strict=True):
        for kind, data in zip(("svg", "png"), drawn(picture.draw, picture.size, picture.title), strict=True):
            paths.append(folder / f"{name}.{kind}")
            write_bytes(paths[-1], data)
    return paths
