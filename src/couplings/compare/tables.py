"""The numbers of a comparison: one table a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from couplings.compare.plan import Comparison
from couplings.compare.statistics import Difference, mean_and_spread, paired, survivors
from couplings.compare.variants import Objective, Variant
from couplings.compare.work import Outcome
from couplings.train.evaluate import Evaluation, Probe

__all__ = ["ACCURACIES", "GEOMETRY", "Measure", "Row", "Table", "tables"]


@dataclass(frozen=True)
class Measure:
    """A column; ``scale`` turns the number into what is printed, with that many ``digits``."""

    key: str
    of: Callable[[Evaluation], float]
    scale: float = 1.0
    digits: int = 2


def _accuracy(key: str, probe: str) -> Measure:
    return Measure(key, lambda evaluation: float(getattr(getattr(evaluation, probe), key)), 100.0, 1)


ACCURACIES = tuple(_accuracy(key, "trained") for key in ("knn", "linear", "few_label"))
GEOMETRY = (
    Measure("alignment", lambda evaluation: evaluation.alignment, digits=3),
    Measure("uniformity", lambda evaluation: evaluation.uniformity),
    Measure("effective_rank", lambda evaluation: evaluation.effective_rank, digits=1),
)


@dataclass(frozen=True)
class Row:
    """A variant on one data set: the runs that were measured, and those that failed."""

    variant: Variant
    measured: tuple[Outcome, ...]
    failed: tuple[Outcome, ...] = ()

    def values(self, measure: Measure) -> dict[int, float]:
        """A number by seed."""
        found = {run.trial.seed: run.evaluation for run in self.measured}
        return {seed: measure.of(evaluation) for seed, evaluation in found.items() if evaluation is not None}

    def summary(self, measure: Measure) -> tuple[float, float | None]:
        """Mean and sample standard deviation over the seeds."""
        return mean_and_spread(list(self.values(measure).values()))

    def minus(self, reference: Row, measure: Measure) -> Difference | None:
        """The paired difference over the seeds that both have; None if they share none."""
        ours, theirs = self.values(measure), reference.values(measure)
        seeds = [seed for seed in ours if seed in theirs]
        return paired([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]) if seeds else None


@dataclass(frozen=True)
class Compared:
    """A difference to the reference, and whether it remains after Holm's correction over its column."""

    difference: Difference
    survives: bool


@dataclass(frozen=True)
class Table:
    """All variants on one data set.

    Attributes:
        rows: as they were asked for, failed ones included; the supervised ceiling is in ``ceiling``.
        refused: messages by variant, for settings that do not fit together.
    """

    data: str
    rows: tuple[Row, ...]
    reference: Variant
    ceiling: Row | None
    refused: dict[str, str]
    few_labels: int
    neighbours: int

    @property
    def measured(self) -> tuple[Row, ...]:
        """Rows with a number."""
        return tuple(row for row in self.rows if row.measured)

    @property
    def reference_row(self) -> Row | None:
        """What the others are compared with; None if all its runs failed."""
        return next((row for row in self.measured if row.variant == self.reference), None)

    @property
    def others(self) -> tuple[Row, ...]:
        """Measured rows but for the reference."""
        return tuple(row for row in self.measured if row.variant != self.reference)

    def baselines(self) -> dict[str, list[Probe]]:
        """Probes of raw pixels, of the untrained and any pretrained encoder, one a seed."""
        first = self.reference_row or self.measured[0]
        found = [run.evaluation.baselines.rows() for run in first.measured if run.evaluation is not None]
        return {name: [rows[name] for rows in found if name in rows] for name in {**found[-1], **found[0]}}

    @cached_property
    def differences(self) -> dict[tuple[str, str], Compared]:
        """By variant and accuracy."""
        found: dict[tuple[str, str], Compared] = {}
        reference = self.reference_row
        if reference is None:
            return found
        for measure in ACCURACIES:
            column = {row.variant.name: row.minus(reference, measure) for row in self.others}
            shared = {name: difference for name, difference in column.items() if difference is not None}
            kept = survivors([difference.p for difference in shared.values()])
            found |= {
                (name, measure.key): Compared(difference, survives)
                for (name, difference), survives in zip(shared.items(), kept, strict=True)
            }
        return found

    def failures(self) -> dict[str, str]:
        """Messages by variant, of each kind once."""
        found = dict(self.refused)
        for row in (*self.rows, *([self.ceiling] if self.ceiling else [])):
            kinds: dict[str, list[int]] = {}
            for run in row.failed:
                kinds.setdefault(run.message, []).append(run.trial.seed)
            if kinds:
                words = [f"seed {', '.join(map(str, seeds))}: {message}" for message, seeds in kinds.items()]
                found[row.variant.name] = "; ".join(words)
        return found


def tables(comparison: Comparison, outcomes: Sequence[Outcome]) -> tuple[Table, ...]:
    """One table a data set, in their order."""
    return tuple(_table(comparison, data, [o for o in outcomes if o.trial.data == data]) for data in comparison.data)


def _table(comparison: Comparison, data: str, outcomes: Sequence[Outcome]) -> Table:
    rows = [_row(variant, outcomes) for variant in comparison.variants]
    ceilings = [row for row in rows if row.variant.objective is Objective.LABELS]
    settings = outcomes[0].trial.config.evaluation
    return Table(
        data=data,
        rows=tuple(row for row in rows if row.variant.objective is Objective.LOSS),
        reference=comparison.reference,
        ceiling=ceilings[0] if ceilings else None,
        refused={name: message for where, name, message in comparison.refused if where == data},
        few_labels=settings.few_labels,
        neighbours=settings.neighbours,
    )


def _row(variant: Variant, outcomes: Sequence[Outcome]) -> Row:
    own = [outcome for outcome in outcomes if outcome.trial.variant == variant]
    return Row(
        variant,
        measured=tuple(outcome for outcome in own if outcome.evaluation is not None),
        failed=tuple(outcome for outcome in own if outcome.evaluation is None),
    )
