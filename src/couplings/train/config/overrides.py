"""Settings by their dotted keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from couplings.train.config.base import Settings
from couplings.train.config.images import DataConfig
from couplings.train.config.run import RunConfig
from couplings.train.errors import ConfigError, shown

__all__ = ["differences", "images_with", "with_overrides"]


def with_overrides(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A copy of ``config`` with some keys changed; dots reach inside (``"loss.temperature"``).

    A key of ``loss`` or ``encoder`` that is no setting of theirs goes to ``params``; a new ``name`` starts
    from its own defaults. ``{"loss": "hcl"}`` is short for ``{"loss.name": "hcl"}``.

    Raises:
        ConfigError: an unknown key (with the nearest known one) or a value that does not fit.
    """
    values = config.model_dump()
    # Names come first, because a new name drops the parameters of the old one.
    for key, value in sorted(changes.items(), key=lambda change: not _is_name(*change)):
        _assign(values, key, value)
    return type(config)(**values)


def images_with(data: DataConfig, changes: Mapping[str, Any]) -> DataConfig:
    """Settings of images with some changed, by their keys in a :class:`RunConfig` (``"data.folder"``).

    Raises:
        ConfigError: as :func:`with_overrides`.
    """
    return with_overrides(RunConfig(data=data), changes).data


def _is_name(key: str, value: Any) -> bool:
    return key.endswith(".name") or ("." not in key and isinstance(value, str | Settings))


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    section, _, rest = key.partition(".")
    inner = values.get(section)
    if isinstance(value, Settings):
        value = value.model_dump()
    if isinstance(inner, dict) and (rest or isinstance(value, str)):
        _assign_inside(inner, rest or "name", value)
    elif isinstance(inner, dict) and not isinstance(value, dict) and value is not None:
        raise ConfigError(f"{key}: {shown(value)} came for a group of settings; {_group_hint(key, inner, value)}")
    else:
        values[section] = {rest: value} if rest else value


def _group_hint(key: str, inner: Mapping[str, Any], value: Any) -> str:
    from couplings.losses import LOSSES

    names = [name for name, kind in LOSSES.items() if type(value) is kind]
    if names:
        return f"pass its name '{names[0]}', and its parameters as in {{'{key}.temperature': 0.2}}"
    return f"set one of them, as in {key}.{next(iter(inner))}"


def _assign_inside(inner: dict[str, Any], key: str, value: Any) -> None:
    if "params" in inner and key not in inner and not key.startswith("params."):
        inner["params"] = {**inner["params"], key: value}
    elif key == "name" and "params" in inner and value != inner["name"]:
        inner.update(name=value, params={})
    else:
        _assign(inner, key, value)


def differences(old: RunConfig, new: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configs differ, with both values.

    Example:
        >>> differences(RunConfig(), with_overrides(RunConfig(), {"views.flip": 0.5}))
        {'views.flip': (0.0, 0.5)}
    """
    before, after = _flat(old.model_dump()), _flat(new.model_dump())
    keys = dict.fromkeys([*before, *after])
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found
