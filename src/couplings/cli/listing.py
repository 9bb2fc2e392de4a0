"""What losses there are, for people."""

from __future__ import annotations

import inspect

from rich.table import Table

from couplings.display import cell, say, show
from couplings.losses import LOSSES, Loss, parameters_of
from couplings.losses.base import Options
from couplings.train.errors import ConfigError, did_you_mean


def list_losses() -> None:
    """A table of all losses: name, first line of the docstring, settings with their defaults."""
    table = Table("--loss", "what it is", "settings and defaults (--set loss.KEY=VALUE)")
    for name, kind in LOSSES.items():
        table.add_row(*map(cell, (name, _summary(kind), _settings(kind))))
    show(table)
    say("All take normalize=True, nearly all across_views=False (negatives from other views only).")
    say("All about one: couplings losses gca-uot. Train with it: couplings train --loss gca-uot --set loss.q=0.4")


def describe_loss(name: str) -> None:
    """The docstring of one loss.

    Raises:
        ConfigError: no loss has that name.
    """
    if name not in LOSSES:
        raise ConfigError(f"unknown loss '{name}'; {did_you_mean(name, LOSSES)}")
    kind = LOSSES[name]
    say(f"{kind.__name__}: {inspect.getdoc(kind)}")
    say(f"Train with it: couplings train --loss {name}")


def _summary(kind: type[Loss]) -> str:
    return (inspect.getdoc(kind) or "").split("\n")[0].rstrip(".")


def _settings(kind: type[Loss]) -> str:
    own = {name: part for name, part in parameters_of(kind).items() if name not in Options.__annotations__}
    return ", ".join(f"{name}={_plain(part.default)}" for name, part in own.items())


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__.lower()
