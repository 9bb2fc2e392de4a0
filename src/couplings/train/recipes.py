"""Recipes: the settings of an experiment as one readable YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from couplings.train.config import RunConfig, with_overrides
from couplings.train.config.values import read_yaml
from couplings.train.errors import ConfigError, brief, shown
from couplings.train.texts import read_text

__all__ = ["Recipe", "read_recipe"]

_ABOUT = "about"
_OPEN = ("loss.", "encoder.")
"""Inside of these a mapping is the value of a parameter, such as ``cost: {name: rbf, t: 0.5}``."""
_LARGEST = 2**18
"""Bytes of a recipe; those of recipes/ have 2,000."""


class Recipe(NamedTuple):
    """What a recipe says of itself, and its settings."""

    about: str
    config: RunConfig


def read_recipe(path: Path | str) -> Recipe:
    """Read a YAML file of settings; what it leaves out is as in ``RunConfig()``.

    Keys are those of :class:`RunConfig`, nested or dotted; parameters of the loss and the encoder stand beside their
    ``name``. ``about`` is text for the reader. A recipe names everything itself: no preset of its data set is used.

    Raises:
        ConfigError: the file is missing or no YAML mapping, a key is unknown or comes twice, or a value does not fit;
            the message names the file.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "mine.yaml"
        >>> _ = file.write_text("{about: A try., loss: {name: hcl, beta: 2.0}, steps: 100}")
        >>> recipe = read_recipe(file)
        >>> recipe.about, recipe.config.loss.params, recipe.config.steps
        ('A try.', {'beta': 2.0}, 100)
    """
    place = Path(path)
    values = _read(place)
    about = values.pop(_ABOUT, "")
    try:
        if not isinstance(about, str):
            raise ConfigError(f"about: text is wanted, got {shown(about)}")
        return Recipe(" ".join(about.split()), with_overrides(RunConfig(), _dotted(values)))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = read_yaml(read_text(path, _LARGEST))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: no recipe can be read there ({reason})") from None
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise ConfigError(f"{path}: line {line} is no YAML ({brief(str(error.problem))}); correct it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: no YAML ({brief(' '.join(str(error).split()))})") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path}: a recipe is a mapping of settings, such as 'steps: 100'")
    return values


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value and not name.startswith(_OPEN)
        inside = _dotted(value, f"{name}.") if nested else {name: value}
        for twice in found.keys() & inside.keys():
            raise ConfigError(f"{twice}: comes twice, dotted and nested; keep one of them")
        found |= inside
    return found
