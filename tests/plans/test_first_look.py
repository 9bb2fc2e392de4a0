"""Whoever looks first, and in whatever mode: couplings keep their gradient, and pickle."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch

from couplings import CLIP, Coupling, Fixed, Scores, couple
from couplings.basics.sizes import limited
from helpers import F64, unit_views

STORAGES = {
    "one matrix": {"tiled": 1 << 40, "dense": 1 << 40},
    "tiles": {"tiled": 0, "dense": 1 << 40},
    "panels": {"tiled": 0, "dense": 0, "tile": 8, "panel": 100, "budget": 0},
}
LOOKS: dict[str, Callable[[Coupling], object]] = {
    "check": Coupling.check,
    "entropy": Coupling.row_entropy,
    "potential": lambda plan: plan.f,
    "plan": Coupling.plan,
}
every_storage = pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)


def _keys() -> tuple[torch.Tensor, torch.Tensor]:
    q, k = unit_views(n=12, d=4)
    return q.requires_grad_(), k


@every_storage
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_look_without_gradient_takes_none_away(look: Callable, mode: Callable, storage: dict[str, int]) -> None:
    q, k = _keys()
    with limited(**storage):
        seen, fresh = (couple(Scores(q, k, temperature=0.5)) for _ in range(2))
        with mode():
            look(seen)
        gradients = [torch.autograd.grad((plan.f * plan.row_entropy()).sum(), q)[0] for plan in (seen, fresh)]
    torch.testing.assert_close(*gradients)


@every_storage
def test_both_directions_keep_their_gradient(storage: dict[str, int]) -> None:
    views, loss = [view.requires_grad_() for view in unit_views(n=9, d=4)], CLIP(temperature=0.3)
    with limited(**storage):
        batch = loss.batch(*views)
        plans = loss.couplings(batch)
        with torch.no_grad():
            plans["view 1 to view 2"].check()
        seen = torch.autograd.grad(loss.value(batch, plans), views)
        fresh = torch.autograd.grad(loss(*views), views)
    torch.testing.assert_close(seen, fresh)


@every_storage
@pytest.mark.parametrize("empty", [False, True])
def test_rows_without_weight_carry_nothing(empty: bool, storage: dict[str, int]) -> None:
    """Nor do they spoil the gradient of the others, when nothing is admissible to them besides."""
    q, k = _keys()
    weights, mask = torch.ones(12, dtype=F64), torch.zeros(12, 12, dtype=torch.bool)
    weights[0], mask[0] = 0.0, empty
    with limited(**storage):
        plan = couple(Scores(q, k, temperature=0.5, mask=mask), Fixed(weights / 11))
        expected = plan.expect(Scores(q, k))
        (gradient,) = torch.autograd.grad(expected.sum(), q)
    assert plan.f[0] == 0
    assert expected[0] == 0
    assert gradient.isfinite().all()
    assert (gradient[0] == 0).all()


@every_storage
def test_empty_rows_and_weights_of_zero_keep_the_gradient(storage: dict[str, int]) -> None:
    q, k = _keys()
    weights, mask = torch.ones(12, dtype=F64), torch.zeros(12, 12, dtype=torch.bool)
    weights[3], mask[5] = 0.0, True
    with limited(**storage):
        plan = couple(Scores(q, k, temperature=0.5, mask=mask), Fixed(weights / 11), skip_empty=True)
        (gradient,) = torch.autograd.grad(plan.f.sum(), q)
    kept = [i for i in range(12) if i not in (3, 5)]
    alone = -torch.logsumexp(torch.nn.functional.normalize(q, dim=1)[kept] @ k.T / 0.5, 1).sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(alone, q)[0])


@every_storage
def test_couplings_pickle(storage: dict[str, int]) -> None:
    q, k = _keys()
    with limited(**storage):
        plan = couple(Scores(q.detach(), k, temperature=0.5))
        again = pickle.loads(pickle.dumps(plan))
    torch.testing.assert_close(again.f, plan.f)
    torch.testing.assert_close(again.plan(), plan.plan())
