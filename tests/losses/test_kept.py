"""What a forward pass keeps for the gradient, counted byte by byte: the Cost sections of docstrings say these numbers.

Formulas are written as they stand in the docstrings: `2 N d` is a product. They are upper bounds, and near ones.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings import HCL, Loss, PairLoss, SupCon
from couplings.basics.sizes import limited, limits
from helpers import CASES
from kept import kept_bytes

SLACK = 0.1
"""A formula says at most so much more than is kept."""
SCALARS = 32
"""Numbers that no formula counts: temperatures, the value, a few for each pair of views."""
D = 16


@dataclass(frozen=True)
class Kept:
    """What a loss keeps in a small and in a large batch, and where the small one ends (rows and columns)."""

    small: str
    large: str
    ends: int = 256


_EXPONENTIAL = Kept("1.25 N M + (2 P + 4) N d + (3 P + 7) N", "(2 P + 4) N d + (3 P + 5) N")
_ALPHA = Kept("1.25 N M + (2 P + 4) N d + (2 P + 4) N", "(2 P + 4) N d + (2 P + 8) N")
_TRIPLET = Kept("(1.25 P + 0.25) N M + (2 P + 4) N d + (2 P + 3) N", "(2 P + 4) N d + (3 P + 3) N")
_OT = Kept("N M + (P + 3) N d + (3 P + 4) N", "(P + 3) N d + (3 P + 7) N")
_NEITHER = "(P + 2) N d + (2 P + 3) N"
_RANK = "2 N M + (4 P + 8) N d + (2 P + 6) N"
KEPT = {
    "InfoNCE": Kept("1.25 N M + (P + 3) N d + (3 P + 7) N", "(P + 3) N d + (3 P + 5) N"),
    "DecoupledInfoNCE": Kept("1.25 N M + (P + 3) N d + (2 P + 7) N", "(P + 3) N d + (2 P + 5) N"),
    "SupCon": Kept("1.25 N M + (P + 3) N d + (2 P + 7) N", "(P + 3) N d + (2 P + 7) N"),
    "Alignment": Kept(_NEITHER, _NEITHER, ends=0),
    "CLIP": Kept("1.25 K n n + (2 P + 2) N d + (10 P + 1) N", "(2 P + 2) N d + (8 P + 1) N"),
    "SigLIP": Kept("0.75 K n n + (P + 2) N d + (3 P + 1) N", "(P + 2) N d + (4 P + 1) N"),
    "RINCE": Kept("1.25 P N M + (2 P + 2) N d + (15 P + 2) N", "(2 P + 2) N d + (2 P + 12) P N + N"),
    "GCAINCE": Kept("1.25 N M + (P + 3) N d + 2 N T + (2 P + 7) N", "(P + 3) N d + 2 N T + (2 P + 7) N", ends=1024),
    "GCARINCE": Kept("1.25 N M + (P + 3) N d + 2 N T + (8 P + 14) N", "(P + 3) N d + 2 N T + (8 P + 14) N", ends=1024),
    "GCAUOT": Kept(
        "2.25 N M + (2 P + 4) N d + 2 N T + (8 P + 12) N", "(2 P + 4) N d + 2 N T + (8 P + 20) N", ends=1024
    ),
    "IOT": Kept("1.25 N M + (P + 3) N d + 2 N T + (2 P + 6) N", "(P + 3) N d + 2 N T + (2 P + 6) N", ends=1024),
    "SparseGCA": Kept("3.25 N M + (P + 3) N d + 2 N T + (2 P + 7) N", "(P + 3) N d + 2 N T + (2 P + 9) N", ends=1024),
    "DebiasedInfoNCE": Kept("N M + (P + 3) N d + (9 P + 4) N", "(P + 3) N d + (9 P + 5) N"),
    "HCL": Kept("3.25 N M + (P + 3) N d + (3 P + 7) N", "(P + 3) N d + (3 P + 6) N"),
    "HCLOT": _OT,
    "RelaxedHCLOT": _OT,
    "ScaledInfoNCE": _EXPONENTIAL,
    "MINE": Kept("1.25 N M + (2 P + 4) N d + (2 P + 7) N", "(2 P + 4) N d + (2 P + 5) N"),
    "SoftTriplet": _EXPONENTIAL,
    "NPlusOneTuplet": _EXPONENTIAL,
    "LiftedStructured": _EXPONENTIAL,
    "PairLoss": Kept("(1.25 P + 0.25) N M + (2 P + 4) N d + (3 P + 3) N", "(2 P + 4) N d + (4 P + 3) N"),
    "Triplet": _TRIPLET,
    "ModifiedTriplet": _TRIPLET,
    "TripletContrastive": Kept("(0.25 P + 0.25) N M + (2 P + 4) N d + (2 P + 3) N", _TRIPLET.large),
    "AlphaCL": _ALPHA,
    "AlphaCLDirect": _ALPHA,
    "AlphaCLPerSample": _ALPHA,
    "AlphaCLLowRank": Kept(_RANK, _RANK, ends=0),
    "BalancedAlphaCL": Kept(_ALPHA.small, "(2 P + 4) N d + (2 P + 9) N"),
    "CACR": Kept("5.5 K n n + (6 P + 2) N d + (17 P + 5) N", "(6 P + 2) N d + (17 P + 5) N"),
    "SinkhornCACR": Kept(
        "5.5 K n n + (6 P + 2) N d + 2 P N T + (20 P + 3) N", "(6 P + 2) N d + 2 P N T + (31 P + 3) N", ends=1024
    ),
    "SpectralContrastive": Kept("1.5 N M + (P + 3) N d + (2 P + 5) N", "(P + 3) N d + (2 P + 5) N"),
    "AlignmentUniformity": Kept("1.25 N n + (2 P + 4) N d + (4 P + 9) N", "(2 P + 4) N d + (4 P + 8) N"),
}
"""By class name, for views alone and default options but T."""

SMALL = {"dense": 1 << 30, "tiled": 1 << 30}
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
    _is_near(_kept(_loss(name, shape), shape, SMALL), KEPT[name].small, shape)


@pytest.mark.parametrize("bounds", LARGE.values(), ids=LARGE)
@every_loss
@every_shape
def test_large_batches(name: str, shape: Shape, bounds: Mapping[str, int]) -> None:
    _is_near(_kept(_loss(name, shape), shape, bounds), KEPT[name].large, shape)


@every_loss
def test_between_the_sizes_no_more_than_a_small_batch(name: str) -> None:
    shape = Shape(96, 2, 3)
    assert _kept(_loss(name, shape), shape, BETWEEN) <= shape.numbers(KEPT[name].small) + SCALARS


@every_loss
def test_the_docstring_says_so(name: str) -> None:
    text = " ".join((inspect.getdoc(PairLoss if name == "PairLoss" else CASES[name].loss) or "").split())
    kept = KEPT[name]
    assert f"kept for the gradient {kept.small} numbers" in text
    if kept.ends:
        assert f"kept {kept.large} numbers" in text
        assert f"up to {kept.ends} x {kept.ends} pairs" in text


def test_the_sizes_that_the_docstrings_say() -> None:
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
    "HCL, weights detached": Option(lambda _: HCL(detach_weights=True), SMALL, "N M + (P + 3) N d + (9 P + 4) N"),
    "SupCon, labels, small": Option(lambda _: SupCon(), SMALL, "2.5 N M + 2 N d + 5 N", _labels),
    "SupCon, labels, large": Option(lambda _: SupCon(), _TILES, "4 N d + 8 N", _labels),
}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
@every_shape
def test_options_that_change_what_is_kept(option: Option, shape: Shape) -> None:
    loss = option.loss(shape)
    _is_near(_kept(loss, shape, option.bounds, **option.sides(shape.n)), option.formula, shape)
    text = " ".join((inspect.getdoc(type(loss)) or "").split())
    assert f" {option.formula} numbers" in text
