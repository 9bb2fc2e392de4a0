"""The recipes of the repository: each is read, named in the table, and trains."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from couplings.train import ConfigError, Dataset, RunConfig, train, with_overrides
from couplings.train.recipes import read_recipe
from couplings.train.sources import SOURCES, load

FOLDER = Path(__file__).parents[2] / "recipes"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
CLASSES = {"cifar100": 100}
SHRUNK = {"batch_size": 8, "steps": 2, "projector.dim": 8, "optimiser.warmup_steps": 0, "log_every": 1}


def _made(name: str) -> Dataset:
    """Images of the kind, and of 32 pixels at most."""
    classes, side = CLASSES.get(name, 10), 8 if name == "digits" else 28 if name == "fashion-mnist" else 32
    channels = 1 if name in ("digits", "fashion-mnist") else 3
    labels = torch.arange(4 * classes) % classes
    # The last class may keep all of its images, the first at least one.
    images = torch.randint(256, (len(labels), channels, side, side), generator=torch.Generator().manual_seed(0))
    known = torch.where(torch.arange(len(labels)) < 2 * classes, labels, -1) if name == "stl10" else labels
    domains = torch.arange(len(labels)) // 2 % 2 if name == "images" else None
    names = tuple(str(number) for number in range(classes))
    return Dataset(name, images.byte(), known, images[:20].byte(), labels[:20], names, domains)


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SOURCES:
        monkeypatch.setitem(SOURCES, name, lambda config: _made(config.name))


def _small(config: RunConfig, **changes: Any) -> RunConfig:
    """A recipe at a size that takes a moment: all but sizes is as it stands there."""
    sizes: dict[str, Any] = {"encoder": "small-cnn", "encoder.width": 4, **SHRUNK}
    if config.projector.hidden is not None:
        sizes["projector.hidden"] = 64
    if config.predictor is not None:
        sizes["predictor.hidden"] = 8
    if config.momentum is not None and config.momentum.queue:
        sizes["momentum.queue"] = 20
    if config.micro_batch is not None:
        sizes["micro_batch"] = 4
    if config.data.size is not None:
        sizes["data.size"] = 16
    if config.views.local is not None:
        sizes["views.local.size"] = 8
    if config.pairs.pool is not None:
        sizes["pairs.pool"] = 16
    return with_overrides(config, {**sizes, **changes})


def _values(name: str) -> dict[str, Any]:
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert isinstance(values, dict)
    return values


def test_there_are_recipes() -> None:
    assert len(NAMES) > 60
    assert [path.name for path in FOLDER.iterdir() if path.suffix != ".yaml"] == ["README.md"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*batch norm:couplings.CouplingWarning")
def test_it_trains(name: str, tmp_path: Path) -> None:
    config = _small(read_recipe(FOLDER / f"{name}.yaml").config)
    run = train(config, tmp_path / "run", dataset=load(config.data))
    assert [math.isfinite(line["loss"]) for line in run.metrics()] == [True, True]


def test_one_at_its_own_size(tmp_path: Path) -> None:
    config = read_recipe(FOLDER / "gca-uot-cifar10.yaml").config
    small = with_overrides(config, {"steps": 1, "batch_size": 8, "loss.q": 0.5, "optimiser.warmup_steps": 0})
    run = train(small, tmp_path / "run", dataset=load(small.data))
    assert run.encoder.dim == 512
    assert run.loss.q == 0.5


# What a recipe leaves out is that of digits: a trap for all others.
NEEDED: Mapping[str, set[str]] = {
    "data": {"name"},
    "views": {"crop"},
    "encoder": {"name"},
    "projector": {"hidden", "dim"},
    "optimiser": {"name", "lr", "weight_decay", "schedule", "warmup_steps"},
    "loss": {"name"},
}


@pytest.mark.parametrize("name", NAMES)
def test_it_names_everything_itself(name: str) -> None:
    values = _values(name)
    assert {"about", "batch_size", "steps", *NEEDED} <= set(values)
    for key, inner in NEEDED.items():
        assert inner <= set(values[key]), key
    assert "temperature" in values["loss"] or values["loss"]["name"] in ("cacr", "triplet-contrastive")


@pytest.mark.parametrize("name", NAMES)
def test_its_steps_are_its_epochs(name: str) -> None:
    text, steps = (FOLDER / f"{name}.yaml").read_text(), _values(name)["steps"]
    for epochs, batches in re.findall(r"^steps: .*?([\d,]+) epochs x ([\d,]+) batches", text, re.MULTILINE):
        assert steps == int(epochs.replace(",", "")) * int(batches.replace(",", ""))
    assert steps <= 1000 or " epochs x " in text


def _rows() -> dict[str, list[str]]:
    """The cells of the tables by the name of the recipe."""
    lines = re.findall(r"^\| \[([\w-]+)\]\(\1\.yaml\) \| (.*) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    return {name: cells.split(" | ") for name, cells in lines}


def test_each_has_its_row() -> None:
    assert sorted(_rows()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_its_row_says_what_it_says_of_itself(name: str) -> None:
    about, status = read_recipe(FOLDER / f"{name}.yaml").about, _rows()[name][-1]
    days = re.search(r"about ([\d.]+) GPU-days", about)
    if days is not None:
        assert status == f"{days[1]} GPU-days"
    else:
        assert about.startswith(_rows()[name][0])
        assert re.findall(r"[\d.]+ %", status) == re.findall(r"[\d.]+ %", about)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("optimizer: {lr: 1.0}", "optimizer: unknown key; did you mean 'optimiser'"),
        ("batch_sise: 3", "did you mean 'batch_size'"),
        ("views.crops: [0.1, 1.0]", "did you mean 'crop'"),
        ("loss.regg: 1.0", "did you mean 'reg'"),
    ],
)
def test_an_unknown_key_is_named(line: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{(FOLDER / 'hcl-ot-cifar10.yaml').read_text()}{line}\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)
