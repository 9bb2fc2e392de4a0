"""Every constructor refuses what it cannot use: InvalidInput with the option, what came and the remedy."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch

from couplings import Domains, Guide, InfoNCE, InvalidInput, PairLoss, SquaredEuclidean
from helpers import CASES, unit_views


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("temperature")])
@pytest.mark.parametrize("value", [0, 0.0, -0.1, math.nan, math.inf, torch.tensor(-1.0), torch.ones(2), "0.1", None])
def test_invalid_temperature(name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=r"temperature must be (> 0|finite|a number), got"):
        CASES[name](temperature=value)


TENSOR = (torch.tensor(0.5), "is a constant of the loss and cannot be learnt: pass a number, not a tensor")
POSITIVE = ((0.0, "must be > 0, got 0"), (-1.0, "must be > 0, got -1"), ("1", "must be a number, got '1'"))
FINITE_POSITIVE = (*POSITIVE, TENSOR, (math.inf, "must be finite, got inf"), (math.nan, "must be finite, got nan"))
NONNEGATIVE = (
    (-1.0, "must be >= 0, got -1"),
    (math.nan, "must be finite, got nan"),
    (math.inf, "must be finite, got inf"),
    (True, "must be a number, got True"),
    TENSOR,
)
FINITE = (
    TENSOR,
    (math.nan, "must be finite, got nan"),
    (math.inf, "must be finite"),
    ("1", "must be a number, got '1'"),
)
FRACTION = (
    (1.0, r"must be in \[0, 1\), got 1"),
    (-0.1, r"must be in \[0, 1\), got -0.1"),
    ("0", r"must be in \[0, 1\)"),
)
COUNT = (
    (-1, "must be an integer >= 0, got -1"),
    (1.5, "an integer >= 0, got 1.5"),
    (True, "an integer >= 0, got True"),
)
FLAG = (("no", "must be True or False.*, got 'no'"), (1, "must be True or False.*, got 1"))
RULE = (("quadratc", "'quadratc': did you mean 'quadratic'"), (3, "must be .*, got 3"))
COST = (
    ("sqeuclidian", "'sqeuclidian': did you mean 'sqeuclidean'"),
    ("manhattan", "unknown cost 'manhattan': known: sqeuclidean, (exp|rbf)"),
    (SquaredEuclidean, "must be .* an object with a score method"),
    (3, "must be .* an object with a score method, got 3"),
)
OPTIONS: dict[str, tuple[tuple[Any, str], ...]] = {
    **dict.fromkeys(("reg", "slope", "p", "scale", "power", "t", "lam", "q"), FINITE_POSITIVE),
    "rho": (*POSITIVE, TENSOR),
    **dict.fromkeys(("rho1", "rho2"), POSITIVE),
    **dict.fromkeys(
        ("beta", "alpha", "t_positive", "t_negative", "uniformity", "r1", "r2", "e0", "weight"), NONNEGATIVE
    ),
    **dict.fromkeys(("shift", "margin"), FINITE),
    "bias": FINITE[1:],
    "tau_plus": FRACTION,
    "sweeps": COUNT,
    "rank": ((0, "must be >= 1, got 0"), *COUNT),
    **dict.fromkeys(
        ("normalize", "across_views", "gather", "detach_weights", "ordered", "log_inside", "learnable", "pooled"), FLAG
    ),
    "rule": RULE,
    "cost": COST,
    "kappa": ((2.0, "kappa belongs to cost='exp' only, got kappa=2.0 with cost='sqeuclidean'"),),
    "target": (
        ("label", r"unknown target 'label': did you mean 'labels'\? \(or pass Domains"),
        (Domains, "must be one of .* or Domains"),
        (3, "target must be one of .*, got 3"),
    ),
}
"""What each option refuses, whichever loss has it."""


@pytest.mark.parametrize("name", CASES)
def test_invalid_options(name: str) -> None:
    """Every option of every loss; a new one without a row above fails."""
    case = CASES[name]
    options = {*inspect.signature(case.loss).parameters, "normalize"} - {"temperature", "options"}
    if case.takes("across_views"):
        options.add("across_views")
    if case.loss.tempered:
        options.add("learnable")
    for option in sorted(options):
        for value, message in OPTIONS[option]:
            by_object = option == "cost" and name == "AlphaCL"  # which takes objects only
            with pytest.raises(InvalidInput, match=option if by_object else f"{option}.*{message}|{message}"):
                case(**{option: value})


@pytest.mark.parametrize("name", CASES)
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match="temprature"):
        CASES[name](temprature=0.1)
    if not CASES[name].takes("across_views"):
        with pytest.raises(TypeError, match="across_views"):
            CASES[name](across_views=True)


def test_a_misspelt_option_is_answered_with_the_nearest_one_or_all() -> None:
    for options, hint in (
        ({"temprature": 0.1}, r"'temprature': did you mean 'temperature'\?"),
        ({"accross_views": True}, r"'accross_views': did you mean 'across_views'\?"),
        ({"tau": 0.1}, "'tau': known: temperature, learnable, normalize"),
    ):
        with pytest.raises(TypeError, match=f"InfoNCE has no parameter {hint}"):
            InfoNCE(**options)


SPECIAL: list[tuple[str, dict[str, Any], str]] = [
    ("RINCE", {"q": 1.5}, r"q must be in \(0, 1\], got 1.5: q -> 0 is InfoNCE, q = 1 the linear loss"),
    ("GCAUOT", {"q": 2.0}, r"q must be in \(0, 1\], got 2"),
    ("IOT", {"sweeps": 0}, "sweeps must be >= 1: without one there is no plan to match"),
    ("SparseGCA", {"rule": "power"}, r"rule must have q < 2, got Power\(q=2.0\)"),
    ("CLIP", {"learnable": True, "temperature": torch.tensor(0.1)}, "learnable=True makes its own parameter: pass"),
    ("SigLIP", {"learnable": True, "temperature": 0.001}, "pass temperature as a number >= 0.01"),
    ("Triplet", {"margin": -0.1}, "margin must be >= 0, got -0.1"),
    ("HCLOT", {"cost": "exp", "kappa": "a"}, "kappa must be a number, got 'a'"),
    ("HCLOT", {"cost": "exp", "kappa": math.nan}, "kappa must be finite, got nan"),
    ("HCLOT", {"cost": "exp", "kappa": torch.tensor(1.0)}, "kappa is a constant of the loss and cannot be learnt"),
    ("CACR", {"pooled": True}, "pooled=True belongs to cost='rbf' or RBF"),
    ("CACR", {"cost": "rfb"}, "unknown cost 'rfb': did you mean 'rbf'"),
    ("InfoNCE", {"temperature": True}, "temperature must be a number, got True"),
    ("InfoNCE", {"temperature": torch.tensor(math.inf)}, "temperature must be finite, got inf"),
]


@pytest.mark.parametrize(("name", "options", "message"), SPECIAL, ids=lambda x: str(x)[:40])
def test_invalid_parameter(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        CASES[name](**options)


@pytest.mark.parametrize(("phi", "psi", "which"), [(3, torch.exp, "phi"), (torch.log1p, "exp", "psi")])
def test_pair_loss_takes_functions(phi: Any, psi: Any, which: str) -> None:
    with pytest.raises(InvalidInput, match=f"{which} must be a function of a tensor, got"):
        PairLoss(phi, psi)


@pytest.mark.parametrize(
    ("phi", "psi", "message"),
    [
        (torch.sum, torch.exp, r"phi must act on each entry alone: \(1, 12\) became \(\)"),
        (lambda x: x[:, 0], torch.exp, r"phi must act on each entry alone: \(1, 12\) became \(1,\)"),
        (torch.log1p, torch.sum, r"pair function must act on each entry alone: \(12, 12\) became \(\)"),
        (torch.log1p, lambda x: x.amax(1), r"pair function must act on each entry alone: \(12, 12\) became \(12,\)"),
    ],
)
def test_pair_loss_takes_elementwise_functions(phi: Any, psi: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        PairLoss(phi, psi)(*unit_views())


GUIDES: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "nothing": ((), {}, "a guide needs at least one view"),
    "two shapes": ((torch.ones(3, 2), torch.ones(4, 2)), {}, r"view 2 of the guide has shape \(4, 2\) but view 1"),
    "a zero row": ((torch.zeros(3, 2),), {}, r"view 1 of the guide has a zero vector \(row 0\)"),
    "a list": (([[1.0]],), {}, "view 1 of the guide must be a torch.Tensor, got list"),
    "a negative margin": ((torch.ones(3, 2),), {"margin": -0.1}, "margin must be >= 0, got -0.1"),
    "two views, repeated": ((torch.ones(3, 2),) * 2, {"repeat": 2}, "but 2 were given: drop repeat"),
    "keys with NaN": ((torch.ones(3, 2),), {"keys": torch.full((2, 2), math.nan)}, "keys of the guide holds NaN"),
}


@pytest.mark.parametrize("guide", GUIDES)
def test_invalid_guides(guide: str) -> None:
    views, options, message = GUIDES[guide]
    with pytest.raises(InvalidInput, match=message):
        Guide(*views, **options)


@pytest.mark.parametrize("weights", [(-1.0, 0.5), (0.5, math.nan), ("a", 0.5), (0.5, 0.5, True)])
def test_domain_weights(weights: Any) -> None:
    with pytest.raises(InvalidInput, match=r"(within|across) must be|leave a share to the positives"):
        Domains(*weights)
