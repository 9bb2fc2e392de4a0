"""What a forward pass keeps for the gradient, counted byte by byte: docs/costs.yaml says these numbers.

`2 N d` is a product. Formulas are upper bounds, and near ones.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from couplings import HCL, Loss, PairLoss, SupCon
from couplings.basics.sizes import limited, limits
from helpers import CASES
from kept import kept_bytes

DOCS = Path(__file__).parents[2] / "docs"
SLACK = 0.1
"""A formula says at most so much more than is kept."""
SCALARS = 32
"""Numbers that no formula counts: temperatures, the value, a few for each pair of views."""
D = 16


COSTS: dict[str, dict[str, Any]] = yaml.safe_load((DOCS / "costs.yaml").read_text())
KEPT: dict[str, dict[str, str]] = {name: row["kept"] for name, row in COSTS.items()}
"""By class name and size of the batch, for views alone and default options but T."""

SMALL = {"dense": 1 << 30, "tiled": 1 << 30}
MIDDLE = {"dense": 1 << 30, "tiled": 1}
BETWEEN = {"dense": 1 << 30, "tiled": 0, "tile": 16}
LARGE = {
    "tiles and panels": {"dense": 0, "tiled": 0, "tile": 16, "panel": 16 * 96, "budget": 0},
    "one tile, a kernel": {"dense": 0, "tiled": 0, "tile": 512, "panel": 16 * 96, "budget": 1 << 30},
}


@dataclass(frozen=True)
class Shape:
    """A batch: n samples in V views, rows of d numbers; T sweeps."""

    n: int
    views: int
    sweeps: int

    @property
    def letters(self) -> dict[str, int]:
        """What the formulas are made of."""
        rows, p = self.n * self.views, self.views - 1
        letters = {"n": self.n, "N": rows, "M": rows, "P": p, "K": self.views * p}
        return {**letters, "d": D, "T": self.sweeps}

    def samples(self) -> list[Tensor]:
        """Views that want a gradient."""
        generator = torch.Generator().manual_seed(0)
        return [torch.randn(self.n, D, generator=generator, requires_grad=True) for _ in range(self.views)]

    def numbers(self, formula: str) -> float:
        """The value of a formula, in which a space between two factors multiplies."""
        product = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula)
        return float(eval(product, {"__builtins__": {}}, self.letters))


SHAPES = [Shape(48, 2, 5), Shape(96, 2, 3), Shape(32, 3, 8), Shape(24, 4, 4)]


def _loss(name: str, shape: Shape) -> Loss:
    if name == "PairLoss":
        return PairLoss(torch.log1p, torch.exp)
    case = CASES[name]
    return case(sweeps=shape.sweeps) if case.takes("sweeps") else case()


def _kept(loss: Loss, shape: Shape, bounds: Mapping[str, int], **sides: Any) -> float:
    """In numbers of four bytes."""
    views = shape.samples()
    with limited(**bounds):
        return kept_bytes(lambda: loss(*views, **sides)) / 4


def _is_near(numbers: float, formula: str, shape: Shape) -> None:
    said = shape.numbers(formula)
    assert numbers - SCALARS <= said <= (1 + SLACK) * numbers, (numbers, said, said / numbers)


every_loss = pytest.mark.parametrize("name", [*CASES, "PairLoss"])
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@every_loss
@every_shape
def test_small_batches(name: str, shape: Shape) -> None:
    _is_near(_kept(_loss(name, shape), shape, SMALL), KEPT[name]["small"], shape)


@pytest.mark.parametrize("bounds", LARGE.values(), ids=LARGE)
@every_loss
@every_shape
def test_large_batches(name: str, shape: Shape, bounds: Mapping[str, int]) -> None:
    _is_near(_kept(_loss(name, shape), shape, bounds), KEPT[name]["large"], shape)


@every_loss
def test_between_the_sizes_no_more_than_a_small_batch(name: str) -> None:
    shape = Shape(96, 2, 3)
    most = max(shape.numbers(formula) for way, formula in KEPT[name].items())
    assert _kept(_loss(name, shape), shape, BETWEEN) <= most + SCALARS


@pytest.mark.parametrize("name", [name for name, kept in KEPT.items() if "middle" in kept])
@every_shape
def test_sweeps_on_one_matrix_that_is_not_small(name: str, shape: Shape) -> None:
    _is_near(_kept(_loss(name, shape), shape, MIDDLE), KEPT[name]["middle"], shape)


def test_the_table_has_every_loss_and_is_up_to_date() -> None:
    assert set(COSTS) == {*CASES, "PairLoss"}
    spec = importlib.util.spec_from_file_location("cost_table", DOCS / "cost_table.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text() == tool.page(), "run python docs/cost_table.py"


def test_the_sizes_that_the_table_says() -> None:
    bounds = limits(torch.device("cpu"))
    assert (bounds.tiled, bounds.dense, bounds.panel) == (256**2, 1024**2, 3072**2)


@dataclass(frozen=True)
class Option:
    """An option with a formula of its own."""

    loss: Callable[[Shape], Loss]
    bounds: Mapping[str, int]
    formula: str
    sides: Callable[[int], dict[str, Tensor]] = field(default=lambda n: {})


def _labels(n: int) -> dict[str, Tensor]:
    return {"labels": torch.arange(n) % 5}


_TILES = LARGE["tiles and panels"]
OPTIONS = {
    "HCL, weights detached": Option(lambda _: HCL(detach_weights=True), SMALL, "N M + 2 N d + 7 N + 3 P N"),
    "SupCon, labels, small": Option(lambda _: SupCon(), SMALL, "2.5 N M + 2 N d + 5 N", _labels),
    "SupCon, labels, large": Option(lambda _: SupCon(), _TILES, "4 N d + 8 N", _labels),
}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
@every_shape
def test_options_that_change_what_is_kept(option: Option, shape: Shape) -> None:
    loss = option.loss(shape)
    _is_near(_kept(loss, shape, option.bounds, **option.sides(shape.n)), option.formula, shape)
