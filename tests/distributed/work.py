"""How much of the work on a large batch a process does, and what it holds. Runs on the processes of a pool."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from steps import D, own
from torch import Tensor

from couplings import CACR, CouplingWarning, Fixed, InfoNCE, Loss, PairLoss, couple
from couplings.basics.sizes import limited
from couplings.engine.pair_sums import _Pass
from couplings.engine.team import Team
from couplings.plans.coupling import Coupling
from helpers import CASES, F64
from largest import largest_tensor

SAMPLES = 48
"""In all."""
LARGE = {"dense": 0, "tiled": 0, "tile": 12, "panel": 5 * 2 * SAMPLES}


@dataclass
class Work:
    """Pairs visited by tiles and by panels, and entries of the largest tensor."""

    tiles: int = 0
    panels: int = 0
    largest: int = 0


@contextmanager
def _counted(work: Work) -> Iterator[None]:
    dots, panels = _Pass.dots, Team.panels

    def counting_dots(self: _Pass, tile: Any, scratch: Any) -> Tensor:
        work.tiles += tile.shape[0] * tile.shape[1]
        return dots(self, tile, scratch)

    def counting_panels(self: Team, count: int, step: int) -> Iterator[slice]:
        for part in panels(self, count, step):
            work.panels += part.stop - part.start
            yield part

    _Pass.dots, Team.panels = counting_dots, counting_panels  # type: ignore[method-assign]
    try:
        yield
    finally:
        _Pass.dots, Team.panels = dots, panels  # type: ignore[method-assign]


def _halves() -> tuple[list[Tensor], list[Tensor]]:
    """The views of all, and this process's share."""
    torch.manual_seed(5)
    world = dist.get_world_size()
    views = [torch.randn(SAMPLES, D, dtype=F64) for _ in range(2)]
    return views, [own(v, [SAMPLES // world] * world) for v in views]


def _done(loss: Loss, views: list[Tensor]) -> Work:
    work = Work()

    def run() -> None:
        leaves = [v.clone().requires_grad_() for v in views]
        loss(*leaves).backward()

    with _counted(work):
        work.largest = largest_tensor(run)
    return work


def shares(name: str, budget: int, sweeps: int | None) -> tuple[Work, Work]:
    """A step's work on this process, over processes and alone."""
    whole, mine = _halves()
    options = {} if sweeps is None else {"sweeps": sweeps}
    with limited(**LARGE, budget=budget), warnings.catch_warnings():
        warnings.simplefilter("ignore", CouplingWarning)
        return _done(CASES[name](**options), mine), _done(CASES[name](gather=False, **options), whole)


def _asked(plan: Coupling) -> dict[str, Tensor]:
    m = plan.scores.shape[1]
    wide = torch.linspace(-1, 1, 2 * m, dtype=F64)
    return {
        "f": plan.f,
        "g": plan.g,
        "row mass": plan.row_mass(),
        "column mass": plan.column_mass(),
        "entropy": plan.entropy(),
        "row entropy": plan.row_entropy(),
        "expect": plan.expect(plan.scores),
        "log expect": plan.log_expect(plan.scores),
        "apply": plan.apply(wide[:m]),
        "apply to two": plan.apply(wide.view(m, 2)),
        "error": plan.error(),
        "dual": plan.dual(),
        "support": plan.support_size(),
        "plan": plan.plan(),
    }


def verbs(name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """What a plan answers, and the gradient of each answer in the own rows, over processes and alone."""
    whole, mine = _halves()
    world, found = dist.get_world_size(), {}
    with limited(**LARGE, budget=0):
        for loss, views, cut in ((CASES[name](), mine, False), (CASES[name](gather=False), whole, True)):
            leaves = [v.clone().requires_grad_() for v in views]
            (plan, *_) = loss.coupling(*leaves).values()
            for verb, answer in _asked(plan).items():
                found.setdefault(verb, []).append(answer.detach())
                if answer.requires_grad:
                    weights = torch.linspace(0.1, 1, answer.numel(), dtype=F64).view(answer.shape)
                    (grad,) = torch.autograd.grad((answer * weights).sum(), leaves[0], retain_graph=True)
                    each = [SAMPLES // world] * world
                    found.setdefault(f"gradient of {verb}", []).append(world * own(grad, each) if cut else grad)
    return {verb: (over, alone) for verb, (over, alone) in found.items()}


def captured() -> list[tuple[Tensor, Tensor]]:
    """The gradient at what a function of the caller's has learnt, which no panel's parts are made of."""
    whole, mine = _halves()
    pairs = []
    with limited(**LARGE, budget=0):
        for make in (_sharp_pairs, _own_scores):
            grads = []
            for gather, views in ((True, mine), (False, whole)):
                sharp = torch.tensor(1.5, dtype=F64, requires_grad=True)
                make(sharp, gather)(*views).backward()
                grads.append(sharp.grad)
            pairs.append((grads[0], grads[1]))
    return pairs  # type: ignore[return-value]


def _sharp_pairs(sharp: Tensor, gather: bool) -> Loss:
    return PairLoss(phi=torch.log1p, psi=lambda x: torch.exp(sharp * x), gather=gather)


def _own_scores(sharp: Tensor, gather: bool) -> Loss:
    class Mine(InfoNCE):
        def couplings(self, batch: Any) -> dict[str, Coupling]:
            return {"plan": couple(batch.scores(0.3, batch.same), Fixed(), Fixed(), sweeps=2)}

        def value(self, batch: Any, couplings: Any) -> Tensor:
            plan = couplings["plan"]
            return plan.per_row(lambda part, _: (part.conditional() ** sharp).sum(1)).mean()

    return Mine(gather=gather)


def second_derivative() -> str:
    """Refused, on all processes."""
    _, mine = _halves()
    leaves = [v.clone().requires_grad_() for v in mine]
    with limited(**LARGE, budget=0):
        value = InfoNCE(normalize=False)(*leaves)
        try:
            torch.autograd.grad(value, leaves, create_graph=True)
        except NotImplementedError as error:
            return str(error)
    return ""


def a_view_without_gradient() -> tuple[Tensor, Tensor]:
    """One process's encoder is frozen: the others' gradients come all the same."""
    whole, mine = _halves()
    frozen = dist.get_rank() == 1
    leaves = [v.clone().requires_grad_(not frozen) for v in mine]
    alone = [v.clone().requires_grad_() for v in whole]
    with limited(**LARGE, budget=0):
        CACR()(*leaves).backward()
        CACR(gather=False)(*alone).backward()
    world = dist.get_world_size()
    wanted = world * own(alone[0].grad, [SAMPLES // world] * world)  # type: ignore[arg-type]
    return (torch.zeros_like(wanted) if frozen else leaves[0].grad), wanted * (not frozen)  # type: ignore[return-value]
