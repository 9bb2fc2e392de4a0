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
from couplings.compare.workers import cores
from couplings.files import write_bytes
from couplings.train.run import PACKAGES

__all__ = ["NUMBERS", "TABLE", "Result"]

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
        """Write the numbers and the tables; the files that were written."""
        folder = self.comparison.folder
        numbers, table = folder / NUMBERS, folder / TABLE
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(numbers, (json.dumps(self.to_json(), indent=1) + "\n").encode())
        write_bytes(table, self.page().encode())
        return [table, numbers]

    def page(self) -> str:
        """The content of ``comparison.md``."""
        parts = ["# Comparison", self.comparison.describe()]
        if self.command:
            parts.append(f"    {self.command}")
        for table in self.tables:
            parts += [f"## {table.data}", markdown(table)]
        return "\n\n".join(parts) + "\n"

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
