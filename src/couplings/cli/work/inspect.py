"""What `couplings inspect` does, once its words are understood, and what it says meanwhile."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from couplings.basics.words import one_line
from couplings.cli.options.inspect import InspectOptions, MapName
from couplings.cli.options.settings import of_word
from couplings.compare.variants import Variant, losses_named
from couplings.inspection import Inspection, Level, Plane, Settings, Subject, advice, inspect
from couplings.inspection.arrays import Keys, read_arrays
from couplings.inspection.files import DUPLICATES, NUMBERS, PAIRS, ROWS, tables
from couplings.inspection.page import page
from couplings.inspection.runs import Where, folder_subject, is_run, run_subject
from couplings.losses import Loss
from couplings.system.display import Bar, bar, console, duration, say
from couplings.system.files import folder_for, write_bytes
from couplings.system.image_files import MOST_PIXELS
from couplings.train.config import LossConfig, images_with
from couplings.train.errors import ConfigError
from couplings.train.run import AbsentLoss, Run

_PAGE = "inspection.html"
_FILES = (NUMBERS, _PAGE, *(f"{name}.{kind}" for name in (PAIRS, DUPLICATES, ROWS) for kind in ("csv", "parquet")))
"""All that may be written, the first of which tells whose the others are."""
_USUAL, _BATCH = "infonce", 256
_BESIDE = ("infonce", "hcl", "hcl-ot", "gca-ince", "cacr")
_ATLAS = "embedding-atlas"
_LARGEST_SIZE = 2**14
_LARGEST_SEED = 2**32 - 1
"""UMAP takes no larger one."""
_WORDS = {Level.FAULT: "[red]fault[/red]", Level.LOOK: "[yellow]look [/yellow]", Level.GOOD: "[green]good [/green]"}


def inspect_command(source: Path, output: Path, options: InspectOptions) -> None:
    """Read, inspect, write, sum up."""
    _check_options(source, options)
    _check_installed(options)
    run = Run.load(source) if is_run(source) else None
    losses, settings = _losses(options, run), _settings(options, run)
    with folder_for(output, _FILES):
        with _Stages() as stages:
            subject = _subject(source, run, options, stages)
            say(_described(subject))
            for reason in subject.unused:
                say(f"Not used: {one_line(reason)}.")
            found = inspect(subject, losses, settings, stages.update)
        # All is computed before the first file is replaced.
        files = {**tables(found), _PAGE: page(found)}
    for name, data in files.items():
        write_bytes(output / name, data)
    _close(found, [output / _PAGE, *(output / name for name in files if name != _PAGE)], run)
    if options.atlas:
        _open_atlas(output, subject)


def _check_options(source: Path, options: InspectOptions) -> None:
    """No option is ignored."""
    keys = [field.name for field in fields(Keys)]
    wrong: dict[str, list[str]] = {"a file of arrays": ["encoder", "size", "max_pixels", "data_folder", "space"]}
    kind = "a file of arrays"
    if source.is_dir():
        kind = "a run" if is_run(source) else "a folder of images"
        of_folders = ["encoder", "size", "max_pixels"]
        wrong = {"a run": [*keys, *of_folders], "a folder of images": [*keys, "data_folder", "space"]}
    for name in wrong[kind]:
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')}: {source} is {kind}, which has no use for it; leave it out")
    if kind == "a folder of images" and options.encoder is None:
        raise ConfigError(f"{source} is no run; if it holds images, name what embeds them with --encoder RUN")
    if options.size is not None and not 1 <= options.size <= _LARGEST_SIZE:
        raise ConfigError(f"--size: {options.size} came; take 1 to {_LARGEST_SIZE}")
    if not 0 <= options.seed <= _LARGEST_SEED:
        raise ConfigError(f"--seed: {options.seed} came; take 0 to {_LARGEST_SEED}")


def _check_installed(options: InspectOptions) -> None:
    """Minutes of work should not end in a missing library."""
    if options.atlas and shutil.which(_ATLAS) is None:
        raise ConfigError(f"--atlas: {_ATLAS} is not installed; pip install {_ATLAS}, or leave --atlas out")
    if options.atlas and find_spec("pyarrow") is None:
        raise ConfigError("--atlas: its table needs pyarrow; pip install 'couplings[parquet]', or leave --atlas out")
    if options.map is MapName.UMAP and find_spec("umap") is None:
        raise ConfigError("--map umap: umap-learn is not installed; pip install 'couplings[umap]', or take --map pca")


def _subject(source: Path, run: Run | None, options: InspectOptions, stages: _Stages) -> Subject:
    if run is not None:
        moved = {} if options.data_folder is None else {"data.folder": options.data_folder}
        images = images_with(run.config.data, moved)
        where = Where.PROJECTIONS if options.space is None else Where(options.space.value)
        return run_subject(run, where, images, lambda share: stages.update("embedding", share))
    if source.is_dir():
        assert options.encoder is not None
        most = MOST_PIXELS if options.max_pixels is None else options.max_pixels
        tell = partial(stages.update, "embedding")
        return folder_subject(source, options.encoder, options.size, tell, most)
    return read_arrays(source, Keys(**{field.name: getattr(options, field.name) for field in fields(Keys)}))


def _described(subject: Subject) -> str:
    n, dimension = subject.embeddings.shape
    known = {
        "positives": subject.positives,
        f"{len(subject.classes)} classes": subject.labels,
        "texts": subject.texts,
        "pictures": subject.pictures,
    }
    have = [name for name, value in known.items() if value is not None]
    return f"{subject.name}: {n:,} embeddings of {dimension} dimensions" + (
        f", with {', '.join(have)}." if have else "."
    )


def _settings(options: InspectOptions, run: Run | None) -> Settings:
    usual = _BATCH if run is None else run.config.batch_size
    return Settings(
        batch_size=options.batch_size if options.batch_size is not None else usual,
        rounds=options.rounds,
        pairs=options.pairs,
        plane=Plane(options.map.value),
        seed=options.seed,
    )


def _losses(options: InspectOptions, run: Run | None) -> dict[str, Loss]:
    """The loss in question first."""
    own = {run.config.loss.name: run.loss} if run is not None and options.loss is None else {}
    if own and run is not None and isinstance(run.loss, AbsentLoss):
        say(f"The run's loss, '{run.config.loss.name}', is none of couplings: {_USUAL} takes its place (--loss).")
        own = {}
    first = _USUAL if options.loss is None else options.loss
    words = [*([] if own else [first]), *(_BESIDE if options.beside is None else options.beside)]
    made = {one.name: _built(one) for one in losses_named(words, _parsed)}
    return {**own, **{name: loss for name, loss in made.items() if name not in own}}


def _built(variant: Variant) -> Loss:
    params = {change.key.removeprefix("loss."): change.value for change in variant.changes}
    foreign = [key for key in params if "." in key]
    if foreign:
        raise ConfigError(f"--loss {variant.name}: {foreign[0]} is no parameter of a loss; leave it out")
    try:
        return LossConfig(name=str(params.pop("name")), params=params).build()
    except ConfigError as error:
        raise ConfigError(f"--loss {variant.name}: {error}") from None


def _parsed(text: str) -> object:
    return of_word(f"value={text}").value


class _Stages:
    """A bar a stage."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._stage = ""

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def update(self, stage: str, share: float) -> None:
        """Move the bar of a stage; a new stage takes a new one."""
        if stage != self._stage:
            self._stack.close()
            self._stage, self._bar = stage, self._stack.enter_context(bar(1000, stage))
        if self._bar is not None:
            self._bar.update(int(1000 * share), "")


def _close(found: Inspection, written: list[Path], run: Run | None) -> None:
    for one in advice(found):
        console.print(f"{_WORDS[one.level]} ", end="")
        say(f"{one.finding} {one.remedy}".strip())
    say(f"Inspected under {found.loss_name} in {duration(found.seconds)}. Written: {', '.join(map(str, written))}.")
    folder = written[0].parent
    say(f"Open {written[0]} in a browser.")
    if found.subject.pictures is not None and found.subject.ids is not None and len(found.candidates.pairs):
        which = DUPLICATES if len(found.duplicates.pairs) else PAIRS
        say(f"Train without pairs that it should not push: --exclude-pairs {folder / f'{which}.csv'}")
    if folder / f"{ROWS}.parquet" in written:
        say(f"Map and filter all rows: {' '.join(_atlas_words(folder, found.subject))} (pip install {_ATLAS})")


def _atlas_words(folder: Path, subject: Subject) -> list[str]:
    words = [_ATLAS, str(folder / f"{ROWS}.parquet"), "--x", "projection_x", "--y", "projection_y"]
    return words if subject.texts is None else [*words, "--text", "text"]


def _open_atlas(folder: Path, subject: Subject) -> None:
    """Hand the terminal over."""
    words = _atlas_words(folder, subject)
    os.execvp(words[0], words)
