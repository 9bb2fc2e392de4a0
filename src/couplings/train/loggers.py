"""Observers that show the curves of a run elsewhere: TensorBoard, wandb, trackio.

``metrics.jsonl`` is written always. A viewer that fails is left out with a warning: it does not end a training.
A run that was stopped and goes on continues its curves, and no point comes twice.

    with to_tensorboard("runs/mine") as board:
        train(config, "runs/mine", Several([Silent(), board]))
"""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from couplings.basics.errors import CouplingWarning
from couplings.train.checkpoint import read_json, write_json
from couplings.train.errors import DataError
from couplings.train.extras import imported
from couplings.train.folder import CONFIG, remove_empty
from couplings.train.records import Observer, Plan, Silent, StepRecord

__all__ = ["Logger", "Several", "Tracker", "to_tensorboard", "to_tracker", "to_trackio", "to_wandb"]

PROJECT = "couplings"


class Several:
    """Observers that are told one after the other."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def on_start(self, plan: Plan) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_start(plan)

    def on_step(self, step: StepRecord) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_step(step)

    def on_message(self, text: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_message(text)


class Sink(Protocol):
    """Where numbers go."""

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        """Take the numbers of a step."""

    def close(self) -> None:
        """Called once at the end."""


class Logger(Silent, AbstractContextManager["Logger"]):
    """An observer that gives the measured numbers of each step to a sink; leave the block to close it.

    Args:
        name: of the viewer, for messages.
        open_sink: makes the sink when the number of the first step is known: 1, or later where a run is continued.
    """

    def __init__(self, name: str, open_sink: Callable[[int], Sink]) -> None:
        self._name = name
        self._open = open_sink
        self._sink: Sink | None = None
        self._broken = False

    def on_step(self, step: StepRecord) -> None:
        """Write what was measured."""
        self._guarded(lambda: self._write(step), f"no curves from step {step.step} on")

    def __exit__(self, *_: object) -> None:
        if self._sink is not None:
            self._guarded(self._sink.close, "its curves may not be complete")

    def _write(self, step: StepRecord) -> None:
        if self._sink is None:
            self._sink = self._open(step.step)
        if step.loss is not None:
            self._sink.write(_numbers(step), step.step)

    def _guarded(self, act: Callable[[], None], lost: str) -> None:
        if self._broken:
            return
        try:
            act()
        # Whatever a viewer raises (no network, no account, a full disk), the training is worth more.
        except Exception as error:
            self._broken = True
            reason = f"{type(error).__name__}: {error}".rstrip(". ")
            message = f"{self._name}: {lost} ({reason}). Training goes on; metrics.jsonl has everything."
            warnings.warn(message, CouplingWarning, stacklevel=3)


def _numbers(step: StepRecord) -> dict[str, float]:
    """The measured values by name; the entropies as ``plan_entropy/COUPLING``."""
    named = {
        "loss": step.loss,
        "lr": step.lr,
        "epoch": step.epoch,
        "images_per_second": step.images_per_second,
        "alignment": step.alignment,
        "uniformity": step.uniformity,
        "effective_rank": step.effective_rank,
    }
    entropies = {f"plan_entropy/{name}": value for name, value in (step.plan_entropy or {}).items()}
    return {name: value for name, value in {**named, **entropies}.items() if value is not None}


_EVENTS = "tensorboard"


def to_tensorboard(folder: Path | str) -> Logger:
    """Write event files into ``tensorboard`` in a run's folder; ``tensorboard --logdir runs`` shows them.

    Args:
        folder: of the run. If it is gone at the end, because the run failed, its event files go too.

    Raises:
        ConfigError: tensorboard is not installed.
    """
    imported("tensorboard", "TensorBoard", "'couplings[tensorboard]'")
    place = Path(folder)
    return Logger("TensorBoard", lambda first: _Events(place, first))


class _Events:
    def __init__(self, run: Path, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._run = run
        # What an earlier process wrote of steps that are done again does not count.
        self._writer = SummaryWriter(str(run / _EVENTS), purge_step=first)

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
        _follow(self._run, list((self._run / _EVENTS).glob("events.out.tfevents.*")), self._run / _EVENTS)


def _follow(run: Path, files: Sequence[Path], *folders: Path) -> None:
    """A run that failed has taken its files along: ours go too."""
    if (run / CONFIG).is_file():
        return
    for path in files:
        path.unlink(missing_ok=True)
    remove_empty([*folders, run])


class Tracker(Protocol):
    """A run of wandb or trackio, or anything like it."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take the numbers of a step."""

    def finish(self) -> None:
        """Called once at the end."""


def to_tracker(tracker: Tracker) -> Logger:
    """Log to a run that you have opened: ``wandb.init(...)``, ``trackio.init(...)`` or any object like it."""
    return Logger(f"{type(tracker).__module__}.{type(tracker).__name__}", lambda first: _Tracked(tracker))


class _Tracked:
    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        self._tracker.log(dict(numbers), step=step)

    def close(self) -> None:
        self._tracker.finish()


def to_wandb(folder: Path | str, settings: Mapping[str, Any] | None = None) -> Logger:
    """Log to wandb, to the project that ``WANDB_PROJECT`` names, or "couplings".

    Args:
        folder: of the run. ``wandb.json`` in it lets a run that was stopped continue its curves.
        settings: shown beside the curves.

    Raises:
        ConfigError: wandb is not installed.
    """
    library, place = imported("wandb", "--log wandb", "wandb"), Path(folder)

    def start(ident: str) -> Tracker:
        return library.init(**_named("WANDB", settings), name=place.name, id=ident, resume="allow")

    return Logger("wandb", lambda first: _Remembered(start, place, "wandb.json", first))


def to_trackio(folder: Path | str, settings: Mapping[str, Any] | None = None) -> Logger:
    """Log to trackio, to the project that ``TRACKIO_PROJECT`` names, or "couplings".

    Args:
        folder: of the run. ``trackio.json`` in it lets a run that was stopped continue its curves.
        settings: shown beside the curves.

    Raises:
        ConfigError: trackio is not installed.
    """
    library, place = imported("trackio", "--log trackio", "trackio"), Path(folder)

    def start(ident: str) -> Tracker:
        # Trackio knows a run by its name alone.
        return library.init(**_named("TRACKIO", settings), name=f"{place.name}-{ident}", resume="allow")

    return Logger("trackio", lambda first: _Remembered(start, place, "trackio.json", first))


def _named(viewer: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"project": os.environ.get(f"{viewer}_PROJECT", PROJECT), "config": dict(settings or {})}


class _Sent(NamedTuple):
    """By which name the viewer knows a run, and the last step that it was given."""

    ident: str
    step: int


class _Remembered:
    """A tracked run that goes on where it was left; steps that are done again are not sent again."""

    def __init__(self, start: Callable[[str], Tracker], run: Path, file: str, first: int) -> None:
        self._run, self._path = run, run / file
        # A run that begins is another one, whatever lay in the folder.
        self._sent = _Sent(secrets.token_hex(4), 0) if first == 1 else _remembered(self._path)
        self._tracker = start(self._sent.ident)

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        if step > self._sent.step:
            self._tracker.log(dict(numbers), step=step)
            self._sent = self._sent._replace(step=step)
            write_json(self._path, self._sent._asdict())

    def close(self) -> None:
        self._tracker.finish()
        _follow(self._run, [self._path])


def _remembered(path: Path) -> _Sent:
    """What the file says; a new name where the run was not tracked before."""
    try:
        return _Sent(**read_json(path))
    except (DataError, TypeError):
        return _Sent(secrets.token_hex(4), 0)
