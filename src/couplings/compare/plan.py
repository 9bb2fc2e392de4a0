"""Which runs a comparison makes, and where they lie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from couplings.compare.variants import SUPERVISED, Objective, Variant
from couplings.system.files import refuse_foreign
from couplings.train.config import RunConfig, with_overrides
from couplings.train.errors import ConfigError, did_you_mean
from couplings.train.processes import cores

__all__ = ["Comparison", "Refused", "Trial", "first_seeds", "slug"]

RUNS = "runs"
_FILES = ("results.json", "comparison.md", "comparison.png", "curves.png", "coupling.png")
"""Beside the runs; the first tells whose the others are."""


@dataclass(frozen=True)
class Trial:
    """One run of a comparison: a variant on a data set with a seed."""

    data: str
    variant: Variant
    seed: int
    config: RunConfig
    folder: Path

    @property
    def name(self) -> str:
        """How it is called in lines for people."""
        return f"{self.variant.name}, {self.data}, seed {self.seed}"


class Refused(NamedTuple):
    """A variant, by its name, whose settings do not fit together, so that it has no run."""

    data: str
    variant: str
    message: str


@dataclass(frozen=True)
class Comparison:
    """Variants x data sets x seeds.

    The same seed means the same start, batches and views for every variant, so that differences are paired.

    Attributes:
        folder: where tables, pictures and all runs go.
        variants: rows of the tables; the supervised ceiling, if asked for, is the last.
        reference: the variant that the others are compared with.
        trials: all runs, in the order in which they are made.
        workers: runs at a time.
        overwrite: make those anew that are done already.
    """

    folder: Path
    variants: tuple[Variant, ...]
    reference: Variant
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    refused: tuple[Refused, ...]
    workers: int
    overwrite: bool = False

    @classmethod
    def plan(
        cls,
        folder: Path,
        bases: Mapping[str, RunConfig],
        variants: Sequence[Variant],
        seeds: Sequence[int],
        *,
        shared: Mapping[str, Any] = MappingProxyType({}),
        reference: str | None = None,
        supervised: bool = False,
        workers: int | None = None,
        overwrite: bool = False,
    ) -> Comparison:
        """Decide on the runs; nothing is written yet.

        ``bases`` are the recipes of the data sets by their names, ``shared`` are settings over them by dotted keys,
        below a variant's own. ``reference`` is the name of a variant (the first if None), ``supervised`` adds the
        ceiling, and ``workers`` are as many as there are cores if None.

        Raises:
            ConfigError: no seed or twice the same, an unknown reference, settings that fit no variant, or a
                folder that is a file.

        Example:
            >>> from couplings.train import preset
            >>> from couplings.compare.variants import Variant, Varied
            >>> rows = [Variant(name, name, (Varied("loss", name),)) for name in ("infonce", "hcl")]
            >>> Comparison.plan(Path("runs/compare"), {"digits": preset("digits")}, rows, seeds=range(3)).total_steps
            1500
        """
        _check(folder, seeds, workers)
        rows = (*variants, SUPERVISED) if supervised else tuple(variants)
        asked = [(data, row, seed) for data in bases for seed in seeds for row in rows]
        made = [_trial_or_refusal(folder, data, bases[data], shared, row, seed) for data, row, seed in asked]
        trials = tuple(each for each in made if isinstance(each, Trial))
        _unique(trials)
        if not any(trial.variant.objective is Objective.LOSS for trial in trials):
            raise ConfigError(next(each.message for each in made if isinstance(each, Refused)))
        return cls(
            folder=folder,
            variants=rows,
            reference=_reference(reference, variants),
            seeds=tuple(seeds),
            trials=trials,
            # Once for all seeds.
            refused=tuple({each[:2]: each for each in made if isinstance(each, Refused)}.values()),
            workers=min(workers or cores(), len(trials)),
            overwrite=overwrite,
        )

    @property
    def total_steps(self) -> int:
        """Training steps of all runs."""
        return sum(trial.config.steps for trial in self.trials)

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder / RUNS

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets."""
        return tuple(dict.fromkeys(trial.data for trial in self.trials))

    @property
    def continuation(self) -> str:
        """What to do once it was stopped, as the beginning of a sentence's part."""
        return f"the same command {'without --overwrite ' * self.overwrite}continues"

    def describe(self) -> str:
        """What is about to happen, in a line."""
        steps, images = (
            sorted({getattr(trial.config, key) for trial in self.trials}) for key in ("steps", "batch_size")
        )
        sets = f" x {len(self.data)} data sets" if len(self.data) > 1 else ""
        return (
            f"{len(self.variants)} variants{sets} x {len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}: "
            f"{len(self.trials)} runs of {_range(steps)} steps of {_range(images)} images, {self.workers} at a time."
        )


def _range(values: list[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"


def first_seeds(count: int) -> range:
    """That many seeds, from 0.

    Raises:
        ConfigError: none.
    """
    if count < 1:
        raise ConfigError(f"seeds: {count} came; at least one seed is needed")
    return range(count)


def _check(folder: Path, seeds: Sequence[int], workers: int | None) -> None:
    first_seeds(len(seeds))
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds: {' '.join(map(str, seeds))} came; each seed once")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers: {workers} came; at least one is needed")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output: {folder} is a file; name a folder")
    refuse_foreign(folder, _FILES)


def _reference(name: str | None, variants: Sequence[Variant]) -> Variant:
    names = {variant.name: variant for variant in variants}
    if name is not None and name not in names:
        raise ConfigError(f"reference: no variant '{name}'; {did_you_mean(name, names)}")
    return variants[0] if name is None else names[name]


def _trial_or_refusal(
    folder: Path, data: str, base: RunConfig, shared: Mapping[str, Any], variant: Variant, seed: int
) -> Trial | Refused:
    if variant.objective is Objective.LABELS:
        shared = {key: value for key, value in shared.items() if key.partition(".")[0] != "loss"}
    try:
        config = with_overrides(base, {**shared, **variant.overrides, "seed": seed})
    except ConfigError as error:
        return Refused(data, variant.name, str(error))
    return Trial(data, variant, seed, config, folder / RUNS / f"{data}-{slug(variant.name)}-seed{seed}")


def slug(name: str) -> str:
    """A name as part of a file's name.

    >>> slug("hcl-ot reg=0.3, views.crop=[0.4,1]")
    'hcl-ot-reg=0.3-views.crop=0.4_1'
    """
    return re.sub(r"[^\w.=+-]+", "_", re.sub(r",? ", "-", re.sub(r"[\[\]]", "", name)))


def _unique(trials: Iterable[Trial]) -> None:
    """Refuse two runs in one folder.

    Raises:
        ConfigError: names that differ only in what no file's name can hold.
    """
    seen: dict[Path, Trial] = {}
    for trial in trials:
        first = seen.setdefault(trial.folder, trial)
        if first is not trial:
            raise ConfigError(f"'{first.variant.name}' and '{trial.variant.name}' would share a folder; keep one")
