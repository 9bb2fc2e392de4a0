"""The demo: six losses on real images of digits, side by side; a comparison with a table of its own."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from couplings.compare.pictures import entries_of
from couplings.compare.plan import Comparison, first_seeds
from couplings.compare.run import Watcher, compare, remove_stopped
from couplings.compare.tables import Table, tables
from couplings.compare.variants import Variant, Varied
from couplings.compare.work import Outcome
from couplings.report import Entry, clearly_above, collapsed, comparison, markdown_table
from couplings.train.checkpoint import write_bytes, write_json
from couplings.train.folder import remove_empty
from couplings.train.pictures import draw_coupling
from couplings.train.presets import preset
from couplings.train.run import Run
from couplings.train.sources import load

__all__ = ["DemoResult", "demo", "demo_plan"]

_DATA = "digits"
_LOSSES = ("infonce", "hcl", "hcl-ot", "gca-ince", "alpha-cl-direct", "cacr")
"""One or two of each role: match, sample, weigh."""
_PICTURED = "hcl-ot"


def demo_plan(folder: Path, seeds: int = 2, steps: int | None = None) -> Comparison:
    """Decide on the runs, which replace those of an earlier demo; nothing is written yet.

    Raises:
        ConfigError: no seed, no step, or a folder that is a file.

    Example:
        >>> demo_plan(Path("runs/demo"), seeds=2, steps=250).total_steps
        3000
    """
    variants = [Variant(name, name, (Varied("loss.name", name),)) for name in _LOSSES]
    shared = {} if steps is None else {"steps": steps}
    bases = {_DATA: preset(_DATA)}
    return Comparison.plan(folder, bases, variants, first_seeds(seeds), shared=shared, overwrite=True)


def demo(comparison: Comparison, watcher: Watcher | None = None) -> list[Outcome]:
    """Make the runs; a demo that is stopped keeps those that were finished, and no others."""
    try:
        return compare(comparison, watcher)
    except BaseException:
        remove_stopped(comparison, resumable=False)
        remove_empty([comparison.runs, comparison.folder])
        raise


@dataclass(frozen=True)
class DemoResult:
    """The runs of a demo and the comparison they make.

    Attributes:
        outcomes: in the order of the trials.
        seconds: of training and measuring.
    """

    comparison: Comparison
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self.comparison.folder

    @cached_property
    def table(self) -> Table:
        """The numbers."""
        return tables(self.comparison, self.outcomes)[0]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Raw pixels, untrained encoder, then the losses; those that fall short are marked."""
        pixels, untrained, *losses = entries_of(self.table)
        return pixels, untrained, *(replace(each, marked=not clearly_above(each, untrained)) for each in losses)

    @property
    def note(self) -> str:
        """How to read the table, and which losses fall short in it."""
        short = [entry.name for entry in self.entries if entry.marked]
        verdict = (
            f"* not above the untrained encoder by more than two spreads with 10 labels a class: {', '.join(short)}."
            if short
            else "Every loss is above the untrained encoder by more than two spreads with 10 labels a class."
        )
        seeds = len(self.entries[0].scores)
        return f"Mean ± standard deviation over {seeds} seed{'s' * (seeds > 1)}, last step. {verdict}"

    def collapse(self) -> str:
        """The lowest effective rank of all runs."""
        found = [(run.evaluation, run.trial.variant.name) for run in self.outcomes if run.evaluation is not None]
        low, loss = min(found, key=lambda each: each[0].effective_rank)
        state = "COLLAPSED" if collapsed(low.effective_rank, low.feature_dim) else "no collapse"
        return f"Lowest effective rank of features: {low.effective_rank:.1f} of {low.feature_dim} ({loss}): {state}."

    def write(self) -> None:
        """Write ``results.json``, ``comparison.md``, ``coupling.png`` and ``comparison.png``."""
        # Numbers first: a picture takes a second, and Ctrl-C may come.
        write_json(self.folder / "results.json", self.to_json())
        write_bytes(self.folder / "comparison.md", f"{markdown_table(self.entries)}\n\n{self.note}\n".encode())
        pictured = Run.load(_pictured(self.outcomes).trial.folder)
        draw_coupling(pictured, load(pictured.config.data), self.folder / "coupling.png")
        title = "Losses trained without labels on digits: accuracy of frozen features"
        comparison(self.entries, self.folder / "comparison.png", title, self.note)

    def to_json(self) -> dict[str, Any]:
        """All numbers, and the machine they come from."""
        return {
            "seconds": round(self.seconds, 1),
            "machine": {"processor": platform.machine(), "system": platform.system(), "torch": torch.__version__},
            "rows": [{"name": entry.name, "marked": entry.marked, "scores": entry.scores} for entry in self.entries],
            "failures": self.table.failures(),
            "runs": [_run_json(outcome) for outcome in self.outcomes],
        }


def _run_json(outcome: Outcome) -> dict[str, Any]:
    trial, found = outcome.trial, outcome.evaluation
    known = {"loss": trial.variant.name, "seed": trial.seed, "folder": str(trial.folder)}
    return {**known, "failed": outcome.message} if found is None else {**known, **found.to_json()}


def _pictured(outcomes: Sequence[Outcome]) -> Outcome:
    made = [outcome for outcome in outcomes if outcome.evaluation is not None]
    return next((outcome for outcome in made if outcome.trial.variant.name == _PICTURED), made[0])
