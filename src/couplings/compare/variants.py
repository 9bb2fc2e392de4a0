"""What is compared: losses, and settings that take several values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Any

from couplings.losses import LOSSES, in_settings, losses_by_name
from couplings.train.errors import ConfigError, did_you_mean

__all__ = ["SUPERVISED", "Objective", "Variant", "Varied", "losses_named", "variants_of"]


class Objective(Enum):
    """What an encoder is trained by."""

    LOSS = "the loss, without labels"
    LABELS = "cross-entropy on the labels"


@dataclass(frozen=True)
class Varied:
    """A setting by its dotted key and the value it takes."""

    key: str
    value: Any

    def __str__(self) -> str:
        return f"{self.key}={in_settings(self.value)}"


@dataclass(frozen=True)
class Variant:
    """One row of a comparison.

    Attributes:
        name: what it is called in tables.
        family: the name without what is varied.
        changes: settings over those that all share.
        varied: those of them that take several values in the comparison.
    """

    name: str
    family: str
    changes: tuple[Varied, ...]
    varied: tuple[Varied, ...] = ()
    objective: Objective = Objective.LOSS

    @property
    def overrides(self) -> dict[str, Any]:
        """Its settings by their dotted keys."""
        return {change.key: change.value for change in (*self.changes, *self.varied)}


SUPERVISED = Variant("supervised", "supervised", (), objective=Objective.LABELS)
"""The same encoder taught the labels: what the others may be expected to reach at best."""


def losses_named(words: Sequence[str], parse: Any) -> list[Variant]:
    """Losses by their names; ``all`` stands for every one, ``hcl-ot:reg=0.3`` for one with its own settings.

    Args:
        words: names, each with settings behind a colon; one without a dot is a parameter of the loss.
        parse: from the text of a value to the value.

    Raises:
        ConfigError: an unknown loss, or settings that are none.
    """
    return [_loss(word, parse) for word in words for word in (LOSSES if word == "all" else (word,))]


def _loss(word: str, parse: Any) -> Variant:
    name, _, settings = word.partition(":")
    if name not in losses_by_name():
        raise ConfigError(f"losses: unknown loss '{name}'; {did_you_mean(name, [*losses_by_name(), 'all'])}")
    changes = tuple(_setting(part, word, parse) for part in split_list(settings))
    keys = [change.key for change in changes]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(
                f"losses: '{word}' gives {key} twice; keep one of them, or make a run of each with --vary"
            )
    label = " ".join([name, *(f"{c.key.removeprefix('loss.')}={in_settings(c.value)}" for c in changes)])
    return Variant(label, label, (Varied("loss.name", name), *changes))


def _setting(part: str, word: str, parse: Any) -> Varied:
    key, _, value = part.partition("=")
    if not (key and value):
        raise ConfigError(f"losses: '{word}' came; write its settings as in hcl-ot:reg=0.3,beta=2")
    return Varied(key if "." in key else f"loss.{key}", parse(value))


def split_list(text: str) -> list[str]:
    """The parts between commas, but for those inside of brackets.

    >>> split_list("1,[0.4,1],{name: rbf, t: 2}")
    ['1', '[0.4,1]', '{name: rbf, t: 2}']
    """
    return [part.strip() for part in re.split(r",(?![^\[{]*[\]}])", text) if part.strip()]


def variants_of(losses: Sequence[Variant], axes: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """Every loss with every combination of the values of the varied keys.

    Raises:
        ConfigError: nothing to compare, the same variant twice, or a key that has an option.
    """
    for key in axes:
        if key in ("seed", "data", "data.name"):
            raise ConfigError(
                f"vary: '{key}' has an option of its own, --{key.removesuffix('.name')}" + "s" * (key == "seed")
            )
    points = [tuple(Varied(*pair) for pair in zip(axes, values, strict=True)) for values in product(*axes.values())]
    found = [_at(loss, point) for loss in losses or [Variant("", "", ())] for point in points]
    if not found or not found[0].name:
        raise ConfigError(
            "losses: none came; name some (or all), or vary a setting, as in --vary batch_size=64,128,256"
        )
    for name in {variant.name for variant in found}:
        if sum(variant.name == name for variant in found) > 1:
            raise ConfigError(f"losses: '{name}' came twice; keep one of them")
    return found


def _at(loss: Variant, point: tuple[Varied, ...]) -> Variant:
    words = [loss.name] * bool(loss.name) + [str(varied) for varied in point]
    return Variant(", ".join(words), loss.family, loss.changes, point)
