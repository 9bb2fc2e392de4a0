"""Recipes: the settings of an experiment as one readable YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from couplings.train.config import RunConfig, with_overrides
from couplings.train.errors import ConfigError

__all__ = ["Recipe", "read_recipe"]

_ABOUT = "about"
_OPEN = ("params", "target")
"""Groups whose keys are no settings of ours, but of a class of theirs."""
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
"""YAML 1.1 takes 1e-3 for a word."""


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
            raise ConfigError(f"about: text is wanted, got {about!r}")
        return Recipe(" ".join(about.split()), with_overrides(RunConfig(), _dotted(values)))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.load(path.read_text(), Loader=_loader())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: no recipe can be read there ({reason})") from None
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise ConfigError(f"{path}: line {line} is no YAML ({error.problem}); correct it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path}: a recipe is a mapping of settings, such as 'steps: 100'")
    return values


def _loader() -> type[Any]:
    """Plain YAML in which 1e-3 is a number, and no key comes twice."""
    import yaml

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = []
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' comes twice", key.start_mark)
                seen.append(key.value)
            return super().construct_mapping(node, deep)

    Strict.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
    return Strict


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value and key not in _OPEN
        inside = _dotted(value, f"{name}.") if nested else {name: value}
        for twice in found.keys() & inside.keys():
            raise ConfigError(f"{twice}: comes twice, dotted and nested; keep one of them")
        found |= inside
    return found
