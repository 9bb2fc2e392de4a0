"""Plants faults into the embeddings of a run, inspects them, and prints how many are found, as Markdown tables.

Run `python docs/planted_faults.py RUN`, with RUN the folder of a run on Fashion-MNIST; `--rows` images of it are used.
It takes minutes. The first table counts what is found before anything is planted.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

from couplings.inspection import Settings, Subject, inspect
from couplings.inspection.files import numbers
from couplings.inspection.runs import Where, run_subject
from couplings.losses import LOSSES, InfoNCE, Loss
from couplings.train.run import Run

NOISES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
"""Of near duplicates, in standard deviations of each dimension."""
SEEDS = (0, 1, 2)
USUAL, DEEP = Settings(pairs=100), Settings(pairs=60_000)
QUICK = Settings(batch_size=32, rounds=1, pairs=100)
"""Enough where batches do not matter: for duplicates and dimensions."""


@dataclass(frozen=True)
class Planted:
    """Embeddings with a fault, and where it is."""

    subject: Subject
    pairs: frozenset[tuple[int, int]] = frozenset()
    rows: frozenset[int] = frozenset()


def copies(subject: Subject, share: float, noise: float, seed: int) -> Planted:
    """A share of the rows become copies of others, with noise in units of each dimension's standard deviation."""
    z, generator = subject.embeddings.clone(), torch.Generator().manual_seed(seed)
    sources, targets = torch.randperm(len(z), generator=generator)[: 2 * round(share * len(z))].view(2, -1)
    z[targets] = z[sources] + noise * z.std(0) * torch.randn(len(targets), z.shape[1], generator=generator)
    pairs = torch.stack([sources, targets], 1).sort(1).values
    return Planted(replace(subject, embeddings=z), pairs=_set(pairs))


def collapsed(subject: Subject, dimension: int, noise: float) -> Planted:
    """One dimension hardly varies."""
    z = subject.embeddings.clone()
    z[:, dimension] = 0.3 + noise * z[:, dimension]
    return Planted(replace(subject, embeddings=z), rows=frozenset({dimension}))


def swapped(subject: Subject, share: float, seed: int) -> Planted:
    """A share of the rows have the positive of another one."""
    assert subject.positives is not None
    rows = torch.randperm(len(subject), generator=torch.Generator().manual_seed(seed))[: round(share * len(subject))]
    positives = subject.positives.clone()
    positives[rows] = positives[rows.roll(1)]
    return Planted(replace(subject, positives=positives), rows=frozenset(rows.tolist()))


def hub(subject: Subject, row: int) -> Planted:
    """One row lies in the mean direction: near all others."""
    z = subject.embeddings.clone()
    z[row] = torch.nn.functional.normalize(z, dim=1).mean(0)
    return Planted(replace(subject, embeddings=z), rows=frozenset({row}))


@dataclass(frozen=True)
class Found:
    """How many of those planted were found, and how many of those found were planted."""

    recall: float
    precision: float


def score(planted: frozenset[Any], found: frozenset[Any], before: frozenset[Any] = frozenset()) -> Found:
    """Compare; what was found before anything was planted is no mistake."""
    fresh = found - (before - planted)
    return Found(len(planted & found) / len(planted), len(planted & found) / max(1, len(fresh)))


def found_pairs(subject: Subject) -> frozenset[tuple[int, int]]:
    """The duplicates of the JSON."""
    return frozenset((int(i), int(j)) for i, j, _ in inspected(subject, how=QUICK)["duplicates"])


def inspected(subject: Subject, loss: Loss | None = None, how: Settings = USUAL) -> dict[str, Any]:
    """The JSON."""
    return numbers(inspect(subject, {"loss": loss or InfoNCE(0.2)}, how))


def duplicates_table(subject: Subject, before: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Exact and near duplicates."""
    yield from _head("planted", "noise / deviation", "recall", "precision")
    for share, noise in ((0.01, 0.0), *((0.02, noise) for noise in NOISES)):
        trials = [copies(subject, share, noise, seed) for seed in SEEDS]
        yield _line(
            f"{share:.0%}", f"{noise:g}", *_spread([score(t.pairs, found_pairs(t.subject), before) for t in trials])
        )


def positives_table(subject: Subject) -> Iterator[str]:
    """Swapped positives."""
    yield from _head("swapped", "recall", "precision", "flagged without any swap")
    before = frozenset(inspected(subject)["failing_positives"])
    trials = [swapped(subject, 0.05, seed) for seed in SEEDS]
    found = [score(t.rows, frozenset(inspected(t.subject)["failing_positives"])) for t in trials]
    yield _line("5%", *_spread(found), f"{len(before) / len(subject):.2%}")


def single_table(subject: Subject) -> Iterator[str]:
    """What is planted once: a dimension, a hub."""
    yield from _head("planted", "found", "flagged without it")
    plain = inspected(subject)
    heaviest = [inspected(one.subject)["summary"] for one in (hub(subject, 7 * seed) for seed in SEEDS)]
    masses = ", ".join(f"{one['largest_mass']:.2f}" for one in heaviest)
    hits = sum(one["largest_mass_row"] == 7 * seed for one, seed in zip(heaviest, SEEDS, strict=True))
    yield _line("the same, as the heaviest row", f"{hits} of {len(SEEDS)}, masses {masses}", "1")
    for name, key, plant in (
        ("a constant dimension", "collapsed_dimensions", lambda seed: collapsed(subject, seed, 0.0)),
        ("a dimension of 0.1 % of its deviation", "collapsed_dimensions", lambda seed: collapsed(subject, seed, 1e-3)),
        ("a row in the mean direction", "hubs", lambda seed: hub(subject, 7 * seed)),
    ):
        yield _line(name, _times(plant, key), str(len(plain[key])))


def _times(plant: Callable[[int], Planted], key: str) -> str:
    trials = [plant(seed) for seed in SEEDS]
    hits = sum(trial.rows <= set(inspected(trial.subject)[key]) for trial in trials)
    return f"{hits} of {len(trials)}"


def false_negatives_table(subject: Subject) -> Iterator[str]:
    """Pairs of one class among the first, by similarity and by push."""
    losses = {
        "infonce, 0.1": InfoNCE(0.1),
        "infonce, 0.5": InfoNCE(0.5),
        **{name: LOSSES[name]() for name in ("hcl-ot", "gca-ince", "cacr")},
    }
    for name, loss in losses.items():
        rows = inspected(subject, loss, DEEP)["summary"]["precision"]
        if name == next(iter(losses)):
            yield from _head("order", *(f"first {row['depth']:,}" for row in rows))
            yield _line("similarity", *(f"{row['by_similarity']:.3f}" for row in rows))
        yield _line(f"push of {name}", *(f"{row['by_push']:.3f}" for row in rows))


def _spread(found: Sequence[Found]) -> tuple[str, str]:
    """Mean and standard deviation over the seeds."""
    sides = [one.recall for one in found], [one.precision for one in found]
    recall, precision = (f"{statistics.fmean(side):.3f} ± {statistics.stdev(side):.3f}" for side in sides)
    return recall, precision


def _head(*words: str) -> Iterator[str]:
    yield _line(*words)
    yield _line(*("---" for _ in words))


def _line(*words: str) -> str:
    return f"| {' | '.join(words)} |"


def _set(pairs: Tensor) -> frozenset[tuple[int, int]]:
    return frozenset((i, j) for i, j in pairs.tolist())


def main() -> None:
    """Print all tables."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("run", type=Path)
    words.add_argument("--rows", type=int, default=20_000)
    given = words.parse_args()
    run = Run.load(given.run)
    images = run.config.data.model_copy(update={"limit": given.rows})
    for where in (Where.FEATURES, Where.PROJECTIONS):
        # Rows are named by their place among those that are looked at.
        seen = replace(run_subject(run, where, images), numbers=None)
        still = Subject(seen.name, seen.samples)
        before = found_pairs(still)
        print(f"\n## {where.value.capitalize()}: {len(seen):,} rows, {len(before)} duplicates of their own\n")
        tables = duplicates_table(still, before), single_table(still), positives_table(seen)
        for table in (*tables, false_negatives_table(seen)):
            for line in table:
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
