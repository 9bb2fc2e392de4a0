"""The last block on the screen: how good it is, whether it collapsed, what was written, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from couplings.compare.markdown import differences_of, levels_of, notes_of
from couplings.report import cells, collapsed
from couplings.system.display import cell, duration, say, show, titled

if TYPE_CHECKING:
    from couplings.compare.demo import DemoResult
    from couplings.compare.result import Result
    from couplings.compare.tables import Table as ComparisonTable
    from couplings.train.evaluate import Evaluation, Probe
    from couplings.train.run import Run

_FEW_SEEDS = 6
_HEADINGS = ("test accuracy, %", "kNN", "linear probe", "10 labels a class")


def close_run(run: Run, evaluation: Evaluation | None, pictures: Sequence[Path]) -> None:
    """Sum up one run."""
    if evaluation is not None:
        few = run.config.evaluation.few_labels
        show(_table(evaluation, f"{run.config.loss.name}, {run.step} steps", f"{few} labels a class"))
        say(_verdict(evaluation))
        say(_collapse(evaluation.effective_rank, evaluation.feature_dim))
    say(f"Written to {run.folder}: {', '.join(_written(run.folder))}.")
    say(f"Look at {' and '.join(str(path) for path in pictures)}.")
    say(f'Use the encoder: from couplings.train import Run; Run.load("{run.folder}").embed(images)')


def _table(evaluation: Evaluation, name: str, few: str) -> Table:
    table = Table(*_HEADINGS[:-1], few)
    for label, probe in evaluation.baselines.rows().items():
        table.add_row(label, *_cells(probe), style="dim")
    table.add_row(cell(name), *_cells(evaluation.trained), style="bold")
    return table


def _cells(probe: Probe) -> tuple[str, str, str]:
    few = f"{100 * probe.few_label:.1f} ± {100 * probe.few_label_spread:.1f}"
    return f"{100 * probe.knn:.1f}", f"{100 * probe.linear:.1f}", few


def _verdict(evaluation: Evaluation) -> str:
    name, best = max(evaluation.baselines.rows().items(), key=lambda row: row[1].few_label)
    gain = 100 * (evaluation.trained.few_label - best.few_label)
    if f"{abs(gain):.1f}" == "0.0":
        return f"With few labels the encoder is as good as the best it is measured beside ({name})."
    if gain > 0:
        return f"With few labels the encoder is {gain:.1f} points better than the best it is measured beside ({name})."
    return (
        f"With few labels the encoder is {-gain:.1f} points worse than the best it is measured beside ({name}): "
        "try more --steps, or weaker views (--set views.crop=[0.8,1])."
    )


def _collapse(rank: float, dimension: int) -> str:
    text = f"Effective rank of the features (RankMe): {rank:.1f} of {dimension} dimensions"
    if collapsed(rank, dimension):
        return f"{text}: COLLAPSED. If the images differ, lower loss.temperature or optimiser.lr (--set)."
    return f"{text}: no collapse."


def _written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def close_demo(result: DemoResult) -> None:
    """Sum up the comparison."""
    table = Table(*_HEADINGS)
    for entry in result.entries:
        name = f"{entry.name} *" if entry.marked else entry.name
        table.add_row(cell(name), *cells(entry), style="dim" if entry.baseline else None)
    show(table)
    say(result.note)
    _say_failures(result.table)
    say(f"{result.collapse()} {len(result.outcomes)} runs in {duration(result.seconds)}.")
    say(f"Written to {result.folder}: {', '.join(_written(result.folder))}.")
    say(f"Look at {result.folder / 'comparison.png'} and {result.folder / 'coupling.png'}.")
    say("Next: couplings train --data fashion-mnist --loss hcl-ot, or your own: couplings train --help")


def close_comparison(result: Result, written: Sequence[Path]) -> None:
    """Sum up a comparison."""
    for table in result.tables:
        if table.measured:
            _show(*levels_of(table, brief=True), table.data)
            heading, rows = differences_of(table)
            if rows:
                _show(heading, rows, "")
            for note in notes_of(table):
                say(note)
        _say_failures(table)
    say(f"{len(result.outcomes)} runs; this command took {duration(result.seconds)}.")
    say(f"Written: {', '.join(str(path) for path in written)}.")
    pictures = [str(path) for path in written if path.suffix == ".png"]
    if pictures:
        say(f"Look at {' and '.join(pictures)}.")
    say(f"Next: {_next(result)}")


def _next(result: Result) -> str:
    seeds = len(result.comparison.seeds)
    if result.failed:
        return "the same command tries the failed runs again; settings of one loss: --losses NAME:key=value."
    if seeds < _FEW_SEEDS:
        return f"the same command with --seeds {2 * seeds + 1} keeps what is done and narrows the intervals."
    return "the same command with more --losses or --seeds keeps what is done and adds the rest."


def _say_failures(table: ComparisonTable) -> None:
    for name, message in table.failures().items():
        say(f"FAILED {name}: {message}")


def _show(heading: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    table = titled(title, heading)
    for row in rows:
        table.add_row(*(cell(word.replace("**", "")) for word in row))
    show(table)
