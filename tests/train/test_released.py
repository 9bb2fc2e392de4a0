"""The recipes beside what the released codes of their papers say (released.yaml): equal, or different for a reason.

A comment behind a value, or behind the group that it stands in, says where it is from: `released: FILE`, `paper`, or
`ours, because ...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from couplings.losses import LOSSES, parameters_of
from couplings.train import RunConfig
from couplings.train.recipes import read_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
TABLE: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "released.yaml").read_text())
# Those for two cores are ours from end to end.
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml") if not re.search("fashion-mnist|digits", file.stem))
# What a recipe is about, and what changes no weight.
WITHOUT_SOURCE = {"about", "data.name", "data.folder", "loss.name", "log_every", "diagnose_every", "checkpoint_every"}


class Fact(NamedTuple):
    """What a file of a released code says of a setting."""

    file: str
    value: Any


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _matches(name: str, group: Mapping[str, Any]) -> bool:
    known = any(fnmatch(name, pattern) for pattern in group["group"])
    return known and not any(fnmatch(name, pattern) for pattern in group.get("but", ()))


def _released(name: str) -> dict[str, Fact]:
    data = re.search(r"cifar100?|stl10|svhn|imagenet100", name)
    found: dict[str, Fact] = {}
    for group in TABLE:
        for file, values in group["files"].items() if _matches(name, group) else ():
            for key, value in _flat(values):
                assert key not in found, f"{name}: {key} twice"
                found[key] = Fact(file.format(data=data and data[0]), value)
    return found


def _sources(name: str) -> dict[str, str]:
    """The comment that says where each value of a recipe is from; empty where none does."""
    text = (FOLDER / f"{name}.yaml").read_text()
    lines, found = text.splitlines(), dict[str, str]()

    def walk(node: yaml.Node, prefix: str, above: str) -> None:
        for key, value in node.value:
            comment = lines[key.start_mark.line].partition("  # ")[2]
            source = comment if re.match("released: |paper|ours, because ", comment) else above
            if isinstance(value, yaml.MappingNode):
                walk(value, f"{prefix}{key.value}.", source)
            else:
                found[f"{prefix}{key.value}"] = source

    walk(yaml.compose(text), "", "")
    return {key: source for key, source in found.items() if key not in WITHOUT_SOURCE}


def _setting(config: RunConfig, key: str) -> Any:
    """A value of a recipe, given there or a default."""
    first, *rest = key.split(".")
    value: Any = config
    if first in ("loss", "encoder") and rest != ["name"]:
        takes = parameters_of(LOSSES[config.loss.name]) if first == "loss" else {}
        value = {key: part.default for key, part in takes.items()} | getattr(config, first).params
        return reduce(lambda found, part: found.get(part), rest, value)
    for part in key.split("."):
        value = getattr(value, part)
    return list(value) if isinstance(value, tuple) else value


def _value(name: str, key: str) -> Any:
    if key == "epochs":
        said = re.search(r"^steps: .*?([\d,]+) epochs", (FOLDER / f"{name}.yaml").read_text(), re.MULTILINE)
        assert said is not None
        return int(said[1].replace(",", ""))
    return _setting(read_recipe(FOLDER / f"{name}.yaml").config, key)


def _files(source: str) -> list[str]:
    """Those that a comment names."""
    said = re.match(r"released: ([^;]*)", source)
    return [] if said is None else [re.split(r",? whatever", part)[0].strip() for part in said[1].split(", ")]


def test_every_group_of_the_table_is_of_some_recipe_and_every_code_is_named() -> None:
    assert all(any(_matches(name, group) for name in NAMES) for group in TABLE)
    readme = (FOLDER / "README.md").read_text()
    assert all(group["code"] in readme for group in TABLE)
    assert {name for name in NAMES if not _released(name)} == {
        "gca-ince-domains",
        "gca-uot-domains",
        "latent-class-cifar10",
        "latent-class-cifar100",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_value_says_where_it_is_from(name: str) -> None:
    assert [key for key, source in _sources(name).items() if not source] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_as_released_has_its_reason(name: str) -> None:
    sources = _sources(name)
    for key, fact in _released(name).items():
        given, source = _value(name, key), sources.get("steps" if key == "epochs" else key, "")
        if given != fact.value:
            assert re.match("paper|ours, because ", source), f"{key}: {given} here, {fact.value} in {fact.file}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_to_be_released_is(name: str) -> None:
    facts = _released(name)
    for key, source in _sources(name).items():
        for file in _files(source)[:1]:
            fact = facts.get("epochs" if key == "steps" else key)
            assert fact is not None, f"{key}: nothing of it in the table"
            assert fact.file in _files(source), f"{key}: {file} here, {fact.file} in the table"
            assert _value(name, "epochs" if key == "steps" else key) == fact.value, key
