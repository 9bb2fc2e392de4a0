"""What `couplings compare` does, once its words are understood, and what it says meanwhile."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from couplings.basics.words import one_line
from couplings.cli.options.compare import CompareOptions
from couplings.cli.options.settings import merged, of_word
from couplings.cli.work.closing import close_comparison, close_demo
from couplings.compare.demo import DemoResult, demo, demo_plan
from couplings.compare.plan import Comparison, Trial, first_seeds
from couplings.compare.result import Result, block_of
from couplings.compare.run import Watcher, compare
from couplings.compare.variants import Variant, losses_named, split_list, variants_of
from couplings.compare.work import Outcome
from couplings.report.pages import check_page
from couplings.system.display import Bar, bar, duration, say
from couplings.train.config import RunConfig, with_overrides
from couplings.train.config.images import OWN_FILES
from couplings.train.errors import ConfigError
from couplings.train.presets import preset
from couplings.train.recipes import read_recipe

_FAILED = 1


def compare_command(recipes: Sequence[Path], options: CompareOptions) -> int:
    """Plan, run, write, sum up; the exit code."""
    start = time.perf_counter()
    comparison = _planned(recipes, options)
    if options.docs is not None:
        check_page(options.docs, [block_of(comparison)])
    for refused in comparison.refused:
        say(f"{refused.variant} on {refused.data} cannot be run: {refused.message}")
    say(comparison.describe())
    display = Display(comparison)
    try:
        with display:
            outcomes = compare(comparison, display)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {_stopped(comparison, display)}") from None
    result = Result(comparison, tuple(outcomes), time.perf_counter() - start, shlex.join(["couplings", *sys.argv[1:]]))
    written = result.write()
    if options.docs is not None:
        written += result.write_docs(options.docs)
    close_comparison(result, written)
    return _FAILED if result.failed else 0


def _stopped(comparison: Comparison, display: Display) -> str:
    if comparison.overwrite and not display.training:
        return "no run was replaced yet, and the same command begins again"
    return f"{display.finished} of {len(comparison.trials)} runs are done, and {comparison.continuation}"


def _planned(recipes: Sequence[Path], options: CompareOptions) -> Comparison:
    return Comparison.plan(
        options.output,
        _recipes(recipes, options) if recipes else _presets(options),
        _variants(options),
        _seeds(options.seeds or [3]),
        shared=merged(options.settings()),
        reference=options.reference,
        supervised=options.supervised,
        workers=options.workers,
        overwrite=options.overwrite,
    )


def _seeds(given: Sequence[int]) -> Sequence[int]:
    """One number is how many, several are the seeds."""
    return given if len(given) > 1 else first_seeds(given[0])


def _variants(options: CompareOptions) -> list[Variant]:
    axes: dict[str, Sequence[Any]] = {}
    for word in options.vary or []:
        key, _, values = word.partition("=")
        if not (key and split_list(values)):
            raise ConfigError(f"vary: '{word}' came; write KEY=VALUE,VALUE,..., as in --vary batch_size=64,128,256")
        if key in axes:
            raise ConfigError(f"vary: '{key}' came twice; write all its values behind one")
        axes[key] = [_parsed(value) for value in split_list(values)]
    return variants_of(losses_named(options.losses or [], _parsed), axes)


def _parsed(text: str) -> Any:
    return of_word(f"value={text}").value


def _recipes(paths: Sequence[Path], options: CompareOptions) -> dict[str, RunConfig]:
    """Recipes by the names of their files."""
    if options.data or options.data_folder:
        raise ConfigError("data: a recipe names its own data set; leave --data out, and set data.folder with --set")
    return _by_name((one_line(path.stem), read_recipe(path).config) for path in paths)


def _presets(options: CompareOptions) -> dict[str, RunConfig]:
    """The settings of each data set, with the folder of its files."""
    return _by_name(_preset(word, options.data_folder) for word in options.data or ["digits"])


def _preset(word: str, shared: Path | None) -> tuple[str, RunConfig]:
    name, _, own = word.partition("=")
    base, folder = preset(name), Path(own) if own else shared
    # One folder for several data sets is for those that read files.
    if folder is None or (name == "digits" and not own):
        return name, base
    return one_line(folder.stem) if name in OWN_FILES else name, with_overrides(base, {"data.folder": folder})


def _by_name(pairs: Iterable[tuple[str, RunConfig]]) -> dict[str, RunConfig]:
    bases: dict[str, RunConfig] = {}
    for name, config in pairs:
        if name in bases:
            raise ConfigError(f"data: '{name}' came twice; keep one of them")
        bases[name] = config
    return bases


class Display(Watcher):
    """Says how a comparison goes on: a bar over all steps, a line for each run."""

    def __init__(self, comparison: Comparison) -> None:
        self.finished = 0
        self._total = len(comparison.trials)
        self._steps = 0
        self._stack = ExitStack()
        self._bar: Bar | None = None

    @property
    def training(self) -> bool:
        """Whether the runs have begun."""
        return self._bar is not None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def on_begin(self, done: Sequence[Outcome], left: Sequence[Trial]) -> None:
        """Say what is left to do."""
        self.finished, self._steps = len(done), sum(trial.config.steps for trial in left)
        if done:
            say(f"{len(done)} of {self._total} done already.")

    def on_baselines(self, count: int) -> None:
        """Say why there is no bar yet."""
        say("Measuring raw pixels and untrained encoders first.")

    def on_training(self, seconds: float | None) -> None:
        """Say how long it will take, and show the bar."""
        if seconds is not None:
            say(f"About {duration(seconds)} from here.")
        self._bar = self._stack.enter_context(bar(self._steps, "training"))

    def on_steps(self, steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(steps, f"{self.finished}/{self._total} runs")

    def on_outcome(self, outcome: Outcome) -> None:
        """A line for each run."""
        self.finished += 1
        say(f"{self.finished}/{self._total} {outcome.trial.name}: {_brief(outcome)}")


class DemoDisplay(Display):
    """A bar alone: the demo's table is short."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Count."""
        self.finished += 1


def demo_command(output: Path, seeds: int, steps: int | None) -> int:
    """Compare the six losses on digits; the exit code."""
    start = time.perf_counter()
    comparison = demo_plan(output, seeds, steps)
    say(comparison.describe().replace("variants", "losses"))
    try:
        with DemoDisplay(comparison) as display:
            outcomes = demo(comparison, display)
    except KeyboardInterrupt:
        runs = comparison.runs
        left = f"the finished runs are in {runs}" if runs.is_dir() else "no run was finished"
        raise KeyboardInterrupt(f"stopped; {left}") from None
    result = DemoResult(comparison, tuple(outcomes), time.perf_counter() - start)
    result.write()
    close_demo(result)
    return _FAILED if any(outcome.evaluation is None for outcome in outcomes) else 0


def _brief(outcome: Outcome) -> str:
    if outcome.evaluation is None:
        return f"FAILED: {outcome.message}"
    probe, settings = outcome.evaluation.trained, outcome.trial.config.evaluation
    return (
        f"kNN {100 * probe.knn:.1f}, linear {100 * probe.linear:.1f}, "
        f"{settings.few_labels} labels a class {100 * probe.few_label:.1f} in {duration(outcome.seconds)}."
    )
