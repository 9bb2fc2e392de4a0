"""What the commands do, once their words are understood."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from couplings.cli.settings import Setting, again, merged
from couplings.display import TrainingDisplay, bar, say
from couplings.train.config import RunConfig, with_overrides
from couplings.train.data import Dataset
from couplings.train.errors import DataError
from couplings.train.evaluate import Evaluation, evaluate
from couplings.train.loop import train
from couplings.train.presets import preset
from couplings.train.run import Run
from couplings.train.sources import load


def train_command(data: str, settings: Sequence[Setting], output: Path | None, overwrite: bool) -> None:
    """Train, draw, measure and sum up."""
    config = with_overrides(preset(data), merged(settings))
    dataset = _images(config)
    with TrainingDisplay() as display:
        run = train(config, output or _default_folder(config), display, dataset, overwrite=overwrite)
    _measure(run, dataset)
    say(f"Compare: {again(data, settings, 'infonce' if config.loss.name == 'hcl-ot' else 'hcl-ot')}")


def evaluate_command(folder: Path, data_folder: Path | None) -> None:
    """Measure a run that lies on the disk."""
    run = Run.load(folder)
    if not run.finished:
        say(f"This run was stopped after {run.step} of {run.config.steps} steps.")
    moved = {} if data_folder is None else {"data.folder": data_folder}
    _measure(run, _images(with_overrides(run.config, moved)))


def demo_command(output: Path, seeds: int, steps: int | None) -> None:
    """Compare the six losses on digits."""
    from couplings.demo import Demo

    demo = Demo.plan(output, seeds, steps)
    say(demo.describe())
    with _said_on_stop(lambda: _left(demo.runs)), bar(demo.total_steps, "training") as progress:
        result = demo.run(progress.update, say)
    from couplings.cli.closing import close_demo

    close_demo(result)


def _left(runs: Path) -> str:
    return f"stopped; the finished runs are in {runs}" if runs.is_dir() else "stopped; no run was finished"


def _default_folder(config: RunConfig) -> Path:
    return Path("runs") / f"{config.data.name}-{config.loss.name}-seed{config.seed}"


def _images(config: RunConfig) -> Dataset:
    dataset = load(config.data)
    channels, height, width = dataset.shape
    say(
        f"{dataset.name}: {len(dataset.train_images):,} training and {len(dataset.test_images):,} test images, "
        f"{channels} x {height} x {width} pixels."
    )
    return dataset


def _measure(run: Run, dataset: Dataset) -> None:
    say("Measuring frozen features and drawing: a few seconds.")
    rest = f"couplings evaluate {shlex.quote(str(run.folder))}"
    with _said_on_stop(lambda: f"stopped while measuring; the weights are saved, and '{rest}' continues"):
        from couplings.cli.closing import close_run
        from couplings.train.pictures import draw_run

        pictures = draw_run(run, dataset)
        close_run(run, _evaluation(run, dataset), pictures)


@contextmanager
def _said_on_stop(message: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C say what is left."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(message()) from None


def _evaluation(run: Run, dataset: Dataset) -> Evaluation | None:
    """None for images without labels, which can be learnt from but not measured on."""
    try:
        return evaluate(run, dataset)
    except DataError as error:
        say(f"No accuracies: {error}.")
        return None
