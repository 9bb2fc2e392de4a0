"""Settings as they are typed: options and ``--set key=value``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from couplings.train.config.values import parsed
from couplings.train.errors import ConfigError

__all__ = ["Setting", "again", "given", "merged", "of_flag", "of_word"]

_NAMED = ("data", "loss", "encoder")


class Setting(NamedTuple):
    """One setting: the words it was given by, its dotted key, its value."""

    words: str
    key: str
    value: Any


def of_flag(flag: str, key: str, value: Any) -> Setting:
    """The setting of an option; True stands for an option without a value."""
    return Setting(flag if value is True else f"{flag} {shlex.quote(str(value))}", key, value)


def of_word(word: str) -> Setting:
    """The setting of a ``key=value``; a value is read as YAML (0.5, true, [0.4, 1]).

    Raises:
        ConfigError: no ``key=value``, or the name of the data set, which has an option.

    Example:
        >>> of_word("views.crop=[0.4, 1]")
        Setting(words="--set 'views.crop=[0.4, 1]'", key='views.crop', value=[0.4, 1])
    """
    key, _, value = word.partition("=")
    if not (value and all(key.split("."))):
        raise ConfigError(f"--set: '{word}' came; write key=value, as in --set loss.temperature=0.2")
    if _full(key) == "data.name":
        raise ConfigError(f"--set {word}: the data set has an option and a recipe of its own; write --data {value}")
    return Setting(f"--set {shlex.quote(word)}", key, parsed(value))


def given(flags: Iterable[tuple[str, str, Any]], words: Sequence[str] | None) -> list[Setting]:
    """The settings of a command: of options (flag, key, value), None where one did not come, and of ``--set`` words.

    Raises:
        ConfigError: a ``--set`` that is no setting.
    """
    return [of_flag(*flag) for flag in flags if flag[-1] is not None] + [of_word(word) for word in words or ()]


def _full(key: str) -> str:
    return f"{key}.name" if key in _NAMED else key.replace(".params.", ".")


def merged(settings: Sequence[Setting]) -> dict[str, Any]:
    """Values by key.

    Raises:
        ConfigError: a key that came twice.
    """
    seen: dict[str, Setting] = {}
    for setting in settings:
        first = seen.setdefault(_full(setting.key), setting)
        if first is not setting:
            raise ConfigError(f"{_full(setting.key)}: {first.words} and {setting.words} both came; keep one of them")
    return {setting.key: setting.value for setting in settings}


def again(base: str, settings: Sequence[Setting], loss: str) -> str:
    """The command of the same run with another loss; parameters of the old loss and the download are left out.

    ``base`` names the recipe or the data set.
    """
    kept = [setting.words for setting in settings if not _full(setting.key).startswith(("loss.", "data.download"))]
    return " ".join([f"couplings train {base} --loss {loss}", *kept])
