"""What a comparison found, and the files it leaves."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from couplings.compare.markdown import markdown
from couplings.compare.plan import Comparison
from couplings.compare.tables import ACCURACIES, GEOMETRY, Row, Table, tables
from couplings.compare.work import Outcome
from couplings.report import pages
from couplings.system.files import write_bytes
from couplings.train.processes import cores
from couplings.train.run import PACKAGES

__all__ = ["NUMBERS", "TABLE", "Result", "block_of"]

NUMBERS, TABLE = "results.json", "comparison.md"


@dataclass(frozen=True)
class Result:
    """All runs of a comparison and the tables they make.

    Attributes:
        outcomes: in the order of the trials.
        seconds: of this command; runs that were done before are not in it.
        command: that makes it again; empty if it was made in Python.
    """

    comparison: Comparison
    outcomes: tuple[Outcome, ...]
    seconds: float
    command: str = ""

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """One a data set."""
        return tables(self.comparison, self.outcomes)

    @property
    def failed(self) -> int:
        """Runs that failed, and variants that have none."""
        return sum(outcome.evaluation is None for outcome in self.outcomes) + len(self.comparison.refused)

    def write(self) -> list[Path]:
        """Write the tables, the numbers and the pictures; the files that were written."""
        from couplings.compare.pictures import draw

        folder = self.comparison.folder
        numbers, table = folder / NUMBERS, folder / TABLE
        folder.mkdir(parents=True, exist_ok=True)
        # Numbers first: pictures take seconds, and Ctrl-C may come.
        write_bytes(numbers, (json.dumps(self.to_json(), indent=1) + "\n").encode())
        write_bytes(table, f"# Comparison\n\n{self.text('##')}\n".encode(errors="replace"))
        return [table, numbers, *draw(self.tables, folder)]

    def write_docs(self, page: Path) -> list[Path]:
        """Replace the block of this comparison in a page, and put the pictures into ``images`` beside it.

        Raises:
            InvalidInput: the page has no such block.
        """
        from couplings.compare.pictures import draw

        pictures = draw(self.tables, page.parent / "images", f"compare-{self.comparison.folder.name}-")
        shown = "\n\n".join(f"![{path.stem}](images/{path.name})" for path in pictures)
        pages.write_page(page, {block_of(self.comparison): f"{self.text('###')}\n\n{shown}"})
        return [page, *pictures]

    def text(self, heading: str) -> str:
        """What was compared, the command that does it again, and all tables; several have headings."""
        parts = [self.comparison.describe()]
        if self.command:
            parts.append(f"```\n{self.command}\n```")
        for table in self.tables:
            parts += [f"{heading} {table.data}"] * (len(self.tables) > 1) + [markdown(table)]
        return "\n\n".join([*parts, self._machine_line()])

    def _machine_line(self) -> str:
        """Where it was made."""
        versions = _versions()
        return (
            f"Made with couplings {versions['couplings']}, torch {versions['torch']}, one thread a run, "
            f"on {platform.machine()}, {platform.system()}."
        )

    def to_json(self) -> dict[str, Any]:
        """Every run, every number, and what they come from."""
        return {
            "command": self.command,
            "seconds": round(self.seconds, 1),
            "machine": _machine(),
            "versions": _versions(),
            "workers": self.comparison.workers,
            "seeds": list(self.comparison.seeds),
            "reference": self.comparison.reference.name,
            "tables": [_table_json(table) for table in self.tables],
            "runs": [_run_json(outcome) for outcome in self.outcomes],
        }


def block_of(comparison: Comparison) -> str:
    """The name of its block in a page: that of its folder."""
    return f"compare: {comparison.folder.name}"


def _machine() -> dict[str, Any]:
    return {"processor": platform.machine(), "system": platform.platform(), "cores": cores(), "cpus": os.cpu_count()}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _table_json(table: Table) -> dict[str, Any]:
    return {
        "data": table.data,
        "baselines": {name: [probe._asdict() for probe in probes] for name, probes in _baselines(table).items()},
        "rows": [_row_json(table, row) for row in (*table.rows, *([table.ceiling] if table.ceiling else []))],
        "failures": table.failures(),
    }


def _baselines(table: Table) -> dict[str, Any]:
    return table.baselines() if table.measured else {}


def _row_json(table: Table, row: Row) -> dict[str, Any]:
    summaries = {m.key: row.summary(m) for m in (*ACCURACIES, *GEOMETRY)} if row.measured else {}
    compared = {key: table.differences.get((row.variant.name, key)) for key in summaries}
    return {
        "name": row.variant.name,
        "settings": row.variant.overrides,
        "trained by": row.variant.objective.value,
        "seeds": [run.trial.seed for run in row.measured],
        "failed seeds": [run.trial.seed for run in row.failed],
        "measures": {key: {"mean": mean, "spread": spread} for key, (mean, spread) in summaries.items()},
        "differences": {
            key: {**asdict(each.difference), "verdict": each.difference.verdict.value, "survives Holm": each.survives}
            for key, each in compared.items()
            if each is not None
        },
    }


def _run_json(outcome: Outcome) -> dict[str, Any]:
    trial = outcome.trial
    return {
        "data": trial.data,
        "variant": trial.variant.name,
        "seed": trial.seed,
        "folder": str(trial.folder),
        "seconds": round(outcome.seconds, 1),
        "warnings": list(outcome.warnings),
        **({"failed": outcome.message, "details": outcome.details} if outcome.evaluation is None else {}),
        "config": trial.config.model_dump(mode="json"),
        "evaluation": None if outcome.evaluation is None else outcome.evaluation.to_json(),
    }
