"""One training step on each process's share of a batch, beside the same step on one process: what tests compare.

Functions of this module run on the processes of a pool.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from couplings import CouplingWarning, Domains, Loss
from couplings.basics.sizes import limited
from helpers import CASES, F64, Case

WIDE, D = 6, 5
SHARES: dict[str, dict[int, tuple[int, ...]]] = {
    "even": {2: (5, 5), 4: (3, 3, 3, 3)},
    "uneven": {2: (7, 5), 4: (4, 1, 5, 2)},
    "one is empty": {2: (9, 0), 4: (4, 0, 5, 1)},
}
BY_SAMPLE = ("labels", "ids", "domains", "negatives")
"""Sides of which each process passes its share."""


@dataclass(frozen=True)
class Scenario:
    """A call: shares, views, sides by name, options of the loss."""

    shares: str = "uneven"
    views: int = 2
    sides: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def scenarios(case: Case) -> dict[str, Scenario]:
    """All calls that a loss takes."""
    found = {"even": Scenario("even"), "uneven": Scenario(), "empty": Scenario("one is empty")}
    found["three views"] = Scenario(views=3)
    if case.repels:
        found |= {"labels": Scenario(sides=("labels",)), "ids": Scenario(sides=("ids",))}
        found["three views, ids"] = Scenario(views=3, sides=("ids", "mask"))
    if case.repels and case.keys:
        found["keys"] = Scenario(sides=("ids", "keys", "key_ids"))
    if case.repels and case.negatives:
        found["negatives"] = Scenario(sides=("negatives",))
        found["negatives, empty"] = Scenario("one is empty", 3, sides=("negatives",))
    if case.loss.takes_target:
        found["target"] = Scenario(sides=("target",))
    if case.takes("target"):
        found["domains"] = Scenario(sides=("domains",), options={"target": Domains(0.2, 0.4)})
        found["class target"] = Scenario(sides=("labels",), options={"target": "labels"})
    return found


def sides_of(scenario: Scenario, n: int) -> dict[str, Any]:
    """The whole batch's sides."""
    rows = scenario.views * n
    wanted = torch.eye(rows, dtype=F64).roll(n, 1) + 0.05 * torch.rand(rows, rows, dtype=F64)
    made: dict[str, Callable[[], Any]] = {
        "labels": lambda: torch.arange(n) % 4,
        "ids": lambda: torch.arange(n) % (n - 2),
        "domains": lambda: torch.arange(n) % 3,
        "keys": lambda: torch.randn(4, D, dtype=F64),
        "key_ids": lambda: torch.tensor([0, 99, 1, 98]),
        "negatives": lambda: torch.randn(n, 3, D, dtype=F64),
        "mask": lambda: torch.rand(rows, rows) < 0.1,
        "target": lambda: wanted.fill_diagonal_(0.0),
    }
    return {name: made[name]() for name in scenario.sides}


def encoder() -> nn.Module:
    """A small one with a bend, the same on all processes."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(WIDE, 7), nn.Tanh(), nn.Linear(7, D)).double()


def own(whole: Tensor, counts: Sequence[int]) -> Tensor:
    """This process's samples."""
    return whole.split(list(counts))[dist.get_rank()]


def step(loss: Loss, encode: nn.Module, samples: Tensor, sides: dict[str, Any]) -> Tensor:
    """Samples (n, views, wide); the value, after its backward."""
    n, views, _ = samples.shape
    z = encode(samples.transpose(0, 1).reshape(views * n, WIDE)).reshape(views, n, D)
    value = loss(*z, **sides)
    value.backward()
    return value.detach()


def gradient(module: nn.Module) -> Tensor:
    """Of all parameters, in a row."""
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


@dataclass(frozen=True)
class Outcome:
    """How far this process is from one process: relative error of the gradient and of the value, and |g| / |g|."""

    gradient: float
    value: float
    ratio: float
    cosine: float


def compare(name: str, scenario: Scenario, limits: dict[str, int] | None = None) -> Outcome:
    """The step over processes and the one on one process, on this process."""
    counts = SHARES[scenario.shares][dist.get_world_size()]
    torch.manual_seed(2)
    samples = torch.randn(sum(counts), scenario.views, WIDE, dtype=F64)
    sides = sides_of(scenario, len(samples))
    whole, shared = encoder(), DistributedDataParallel(encoder())
    mine = {key: own(value, counts) if key in BY_SAMPLE else value for key, value in sides.items()}
    case = CASES[name]
    reach: AbstractContextManager[None] = nullcontext() if limits is None else limited(**limits)
    with warnings.catch_warnings(), reach:
        warnings.simplefilter("ignore", CouplingWarning)
        alone = step(case(gather=False, **scenario.options), whole, samples, sides)
        value = step(case(**scenario.options), shared, own(samples, counts), mine)
    g, wanted = gradient(shared), gradient(whole)
    return Outcome(
        gradient=float((g - wanted).norm() / wanted.norm()),
        value=float((value - alone).abs() / alone.abs().clamp_min(1e-3)),
        ratio=float(g.norm() / wanted.norm()),
        cosine=float(g @ wanted / (g.norm() * wanted.norm())),
    )


def compare_all(name: str, titles: tuple[str, ...] | None = None) -> dict[str, Outcome]:
    """All calls of a loss, or those of these that it takes."""
    known = scenarios(CASES[name])
    return {title: compare(name, known[title]) for title in known if titles is None or title in titles}


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("IOT", {"uniformity": 0.3}),
    ("HCLOT", {"rule": "quadratic", "sweeps": 3}),
    ("SupCon", {"log_inside": True}),
    ("CACR", {"cost": "rbf", "tau_plus": 0.05}),
    ("SinkhornCACR", {"cost": "rbf", "t_negative": 4.0}),
    ("BalancedAlphaCL", {"p": 4.0, "sweeps": None}),
    ("AlphaCL", {"rule": "quadratic"}),
    ("AlphaCL", {"rule": "power"}),
    ("InfoNCE", {"normalize": False}),
    ("HCL", {"normalize": False}),
    ("GCAINCE", {"normalize": False}),
    ("Triplet", {"normalize": False}),
    ("GCAUOT", {"rho1": 0.3, "rho2": 0.7}),
    ("GCAINCE", {"temperature": 0.002}),
    ("GCAINCE", {"sweeps": 0}),
    ("HCLOT", {"cost": "exp", "reg": 0.002, "sweeps": 12}),
]
"""Every branch of the engines that defaults do not reach: entropies, other rules, logarithms, rows of any norm."""


def compare_options(number: int, limits: dict[str, int]) -> Outcome:
    """One of these."""
    name, options = OPTIONS[number]
    return compare(name, Scenario(options=options), limits)


def compare_large(name: str, limits: dict[str, int], titles: tuple[str, ...]) -> dict[str, Outcome]:
    """Those of these calls that the loss takes, at sizes that are large for these limits."""
    known = scenarios(CASES[name])
    return {title: compare(name, known[title], limits) for title in titles if title in known}
