"""What losses there are, for people."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from rich.table import Table

from couplings.losses import Loss, in_settings, known_objects, losses_by_name, parameters_of
from couplings.losses.temperature import TemperedOptions
from couplings.system.display import cell, say, show
from couplings.train.errors import ConfigError, did_you_mean


def list_losses() -> None:
    """A table of all losses: name, first line of the docstring, settings with their defaults."""
    table = Table("--loss", "what it is", "settings and defaults (--set loss.KEY=VALUE)")
    for name, kind in losses_by_name().items():
        table.add_row(*map(cell, (name, _summary(kind), _settings(kind))))
    show(table)
    say("All take normalize=True, nearly all across_views=False (negatives from other views only).")
    say("All about one: couplings losses gca-uot. Train with it: couplings train --loss gca-uot --set loss.q=0.4")


def describe_loss(name: str) -> None:
    """The docstring of one loss.

    Raises:
        ConfigError: no loss has that name.
    """
    losses = losses_by_name()
    if name not in losses:
        raise ConfigError(f"unknown loss '{name}'; {did_you_mean(name, losses)}")
    kind = losses[name]
    say(f"{kind.__name__}: {inspect.getdoc(kind)}")
    for key, part in parameters_of(kind).items():
        if objects := known_objects(part):
            say(f"loss.{key} may be an object: {', '.join(_example(*entry) for entry in objects.items())}")
    needed = [key for key, part in parameters_of(kind).items() if part.default is part.empty]
    say(" ".join([f"Train with it: couplings train --loss {name}", *(f"--set loss.{key}=NAME" for key in needed)]))


def _example(name: str, made: Callable[..., object]) -> str:
    """An object as settings say it, with its defaults."""
    parts = inspect.signature(made).parameters.values()
    defaults = {part.name: "NUMBER" if part.default is part.empty else part.default for part in parts}
    return in_settings({"name": name, **defaults})


def _summary(kind: type[Loss]) -> str:
    return (inspect.getdoc(kind) or "").split("\n")[0].rstrip(".")


def _settings(kind: type[Loss]) -> str:
    own = {name: part for name, part in parameters_of(kind).items() if name not in TemperedOptions.__annotations__}
    return ", ".join(name if part.default is part.empty else f"{name}={part.default}" for name, part in own.items())
