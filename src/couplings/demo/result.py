"""What the demo found, and the files it leaves."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from couplings.report import Entry, clearly_above, collapsed, comparison, markdown_table
from couplings.train.checkpoint import write_bytes, write_json
from couplings.train.evaluate import Evaluation, Probe
from couplings.train.pictures import draw_coupling
from couplings.train.run import Run
from couplings.train.sources import load

_PICTURED = "hcl-ot"


@dataclass(frozen=True)
class Trained:
    """One run of the demo."""

    loss: str
    seed: int
    folder: Path
    evaluation: Evaluation


@dataclass(frozen=True)
class DemoResult:
    """The runs of a demo and the comparison they make.

    Attributes:
        folder: where everything lies.
        runs: seeds of one loss beside each other.
        seconds: of training and measuring.
    """

    folder: Path
    runs: tuple[Trained, ...]
    seconds: float

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Raw pixels, untrained encoder, then the losses; those that fall short are marked."""
        first = self._of(self.runs[0].loss)
        pixels = Entry("raw pixels", _scores([run.evaluation.pixels for run in first]), baseline=True)
        untrained = Entry("untrained encoder", _scores([run.evaluation.untrained for run in first]), baseline=True)
        losses = [
            Entry(name, _scores([run.evaluation.trained for run in self._of(name)]))
            for name in dict.fromkeys(run.loss for run in self.runs)
        ]
        return pixels, untrained, *(replace(e, marked=not clearly_above(e, untrained)) for e in losses)

    def _of(self, loss: str) -> list[Trained]:
        return [run for run in self.runs if run.loss == loss]

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
        low = min(self.runs, key=lambda run: run.evaluation.effective_rank)
        rank, dimension = low.evaluation.effective_rank, low.evaluation.feature_dim
        state = "COLLAPSED" if collapsed(rank, dimension) else "no collapse"
        return f"Lowest effective rank of features: {rank:.1f} of {dimension} ({low.loss}): {state}."

    def write(self) -> None:
        """Write ``results.json``, ``comparison.md``, ``coupling.png`` and ``comparison.png``."""
        # Numbers first: a picture takes a second, and Ctrl-C may come.
        write_json(self.folder / "results.json", self.to_json())
        write_bytes(self.folder / "comparison.md", f"{markdown_table(self.entries)}\n\n{self.note}\n".encode())
        pictured = Run.load(next((run for run in self.runs if run.loss == _PICTURED), self.runs[0]).folder)
        draw_coupling(pictured, load(pictured.config.data), self.folder / "coupling.png")
        title = "Losses trained without labels on digits: accuracy of frozen features"
        comparison(self.entries, self.folder / "comparison.png", title, self.note)

    def to_json(self) -> dict[str, Any]:
        """All numbers, and the machine they come from."""
        return {
            "seconds": round(self.seconds, 1),
            "machine": {"processor": platform.machine(), "system": platform.system(), "torch": torch.__version__},
            "rows": [{"name": entry.name, "marked": entry.marked, "scores": entry.scores} for entry in self.entries],
            "runs": [
                {"loss": run.loss, "seed": run.seed, "folder": str(run.folder), **run.evaluation.to_json()}
                for run in self.runs
            ],
        }


def _scores(probes: list[Probe]) -> tuple[tuple[float, float, float], ...]:
    return tuple((probe.knn, probe.linear, probe.few_label) for probe in probes)
