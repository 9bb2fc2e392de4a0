"""What the commands do, once their words are understood."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from couplings.cli.work.closing import close_run
from couplings.system.display import say
from couplings.train.config import DataConfig, images_with
from couplings.train.data import Dataset
from couplings.train.errors import DataError
from couplings.train.evaluate import Evaluation, evaluate, read_evaluation
from couplings.train.pictures import COUPLING, CURVES, draw_run
from couplings.train.run import AbsentLoss, Run
from couplings.train.sources import load


def evaluate_command(folder: Path, data_folder: Path | None) -> None:
    """Measure a run that lies on the disk."""
    run = Run.load(folder)
    if not run.finished:
        say(f"This run was stopped after {run.step} of {run.config.steps} steps.")
    moved = {} if data_folder is None else {"data.folder": data_folder}
    dataset = images_of(images_with(run.config.data, moved))
    run.check_shape(dataset.shape)
    measure(run, dataset)


def images_of(images: DataConfig) -> Dataset:
    """Load images and say what they are."""
    dataset = load(images)
    channels, height, width = dataset.shape
    say(
        f"{dataset.name}: {len(dataset.train_images):,} training and {len(dataset.test_images):,} test images, "
        f"{channels} x {height} x {width} pixels."
    )
    return dataset


def measure_once(run: Run, dataset: Dataset) -> None:
    """Measure a run, or show what was measured before."""
    known, pictures = _measured(run.folder), [run.folder / name for name in (CURVES, COUPLING)]
    if known is not None and all(path.is_file() for path in pictures):
        say(f"It is measured, too; couplings evaluate {shlex.quote(str(run.folder))} measures again.")
        close_run(run, known, pictures)
    else:
        measure(run, dataset)


def _measured(folder: Path) -> Evaluation | None:
    """None if nothing was measured, or it cannot be read."""
    try:
        return read_evaluation(folder)
    except DataError as error:
        say(f"{error}: it is measured again.")
        return None


def measure(run: Run, dataset: Dataset) -> None:
    """Draw, measure and sum up."""
    say("Measuring frozen features and drawing: a few seconds.")
    rest = f"couplings evaluate {shlex.quote(str(run.folder))}"
    with _said_on_stop(lambda: f"stopped while measuring; the weights are saved, and '{rest}' continues"):
        if isinstance(run.loss, AbsentLoss):
            say(f"No picture of the coupling: the run's loss, '{run.config.loss.name}', is none of couplings.")
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
