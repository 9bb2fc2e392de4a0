"""Comparisons made up, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from couplings.compare import Comparison, Outcome, Result, Variant, Varied
from couplings.train import Evaluation, Probe, RunConfig, preset, with_overrides

TINY = {
    **{"data.limit": 200, "batch_size": 32, "steps": 4, "log_every": 2, "diagnose_every": 2, "encoder.width": 8},
    **{"evaluation.draws": 1, "evaluation.probe_limit": 100, "optimiser.warmup_steps": 0},
}


def tiny() -> RunConfig:
    return with_overrides(preset("digits"), TINY)


def loss(name: str, **params: float) -> Variant:
    changes = tuple(Varied(f"loss.{key}", value) for key, value in params.items())
    label = " ".join([name, *(f"{key}={value:g}" for key, value in params.items())])
    return Variant(label, label, (Varied("loss.name", name), *changes))


def evaluation(accuracy: float) -> Evaluation:
    probe = Probe(accuracy, accuracy + 0.02, accuracy - 0.1, 0.01)
    return Evaluation(probe, Probe(0.7, 0.75, 0.5, 0.0), Probe(0.6, 0.7, 0.4, 0.0), 0.2, -2.0, 40.0, 128, 1.0)


def result(
    folder: Path,
    accuracies: Mapping[str, Sequence[float | None]],
    varied: Sequence[Variant] = (),
    supervised: bool = False,
) -> Result:
    """One accuracy a seed; None is a run that failed."""
    variants = list(varied) or [loss(name) for name in accuracies]
    seeds = range(len(next(iter(accuracies.values()))))
    comparison = Comparison.plan(folder, {"digits": tiny()}, variants, seeds, supervised=supervised)
    found = [accuracies[trial.variant.name][trial.seed] for trial in comparison.trials]
    outcomes = [
        Outcome(trial, None, "it diverged") if accuracy is None else Outcome(trial, evaluation(accuracy))
        for trial, accuracy in zip(comparison.trials, found, strict=True)
    ]
    return Result(comparison, tuple(outcomes), 1.0, "couplings compare --losses all")
