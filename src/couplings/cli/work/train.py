"""`couplings train`: from the words of the command to a run, its pictures and its closing block."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from couplings.cli.options.settings import again, merged
from couplings.cli.options.viewers import opened
from couplings.cli.work.evaluate import images_of, measure_once
from couplings.system.display import TrainingDisplay, say
from couplings.system.rank import first_process
from couplings.train.config import RunConfig, with_overrides
from couplings.train.errors import ConfigError
from couplings.train.loggers import Several
from couplings.train.loop import train
from couplings.train.presets import preset
from couplings.train.recipes import read_recipe

if TYPE_CHECKING:
    from couplings.cli.options.train import TrainOptions


class _Base(NamedTuple):
    """Where the settings come from: the words that name it, and what it says."""

    words: str
    config: RunConfig
    about: str = ""


def train_command(recipe: Path | None, options: TrainOptions) -> None:
    """Train, draw, measure and sum up; what is done already is not done again."""
    base, settings = _base(recipe, options.data), options.settings()
    config = with_overrides(base.config, merged(settings))
    if base.about:
        say(base.about)
    dataset = images_of(config.data)
    folder = options.output or _default_folder(config, base, recipe)
    log = options.log if options.log and first_process() else ()
    with TrainingDisplay() as display, opened(log, folder, config) as loggers:
        observer = Several([display, *loggers])
        run = train(
            config,
            folder,
            observer,
            dataset,
            overwrite=options.overwrite,
            devices=options.devices,
            timeout=options.timeout,
        )
    if not first_process():
        return
    measure_once(run, dataset)
    say(f"Compare: {again(base.words, settings, 'infonce' if config.loss.name == 'hcl-ot' else 'hcl-ot')}")


def _base(recipe: Path | None, data: str | None) -> _Base:
    if recipe is None:
        name = data or "digits"
        return _Base(f"--data {name}", preset(name))
    if data is not None:
        raise ConfigError(f"--data: {recipe} names its own data set; leave one of the two out")
    about, config = read_recipe(recipe)
    return _Base(shlex.quote(str(recipe)), config, about)


def _default_folder(config: RunConfig, base: _Base, recipe: Path | None) -> Path:
    name = f"{config.data.name}-{config.loss.name}"
    if recipe is not None:
        own = config.loss.name == base.config.loss.name
        name = recipe.stem if own else f"{recipe.stem}-{config.loss.name}"
    return Path("runs") / f"{name}-seed{config.seed}"
