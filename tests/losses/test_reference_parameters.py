"""Gradients in the parameters that may be tensors, against autograd through the naive float64 reference."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
import reference as ref
import torch
from reference_calls import SIDES, assert_equal, random_call
from reference_specs import MATCHED, SPECS, Spec
from torch import Tensor

import couplings
from couplings.losses import LOSSES
from helpers import F64

EVERY = {**SPECS, **MATCHED}


def _reference(name: str, w: ref.World, **params: Any) -> Tensor:
    """With the positives as the target where there is one."""
    target = [ref.positives_target(w)] if name in MATCHED else []
    return EVERY[name].reference(w, *target, **params)


def _leaves(spec: Spec) -> dict[str, Tensor]:
    return {k: torch.tensor(v, dtype=F64, requires_grad=True) for k, v in spec.learnable.items()}


def _heated() -> Iterator[Any]:
    for name, spec in EVERY.items():
        for side in ("two", "three", "key_ids"):
            if spec.learnable and side not in spec.without:
                yield name, side


@pytest.mark.parametrize(("name", "side"), list(_heated()))
def test_gradient_in_all_parameters_that_may_be_tensors(name: str, side: str) -> None:
    call, leaves = random_call(SIDES[side], 3), _leaves(EVERY[name])
    ours = EVERY[name].build(**leaves)(*call.views, **call.sides())
    theirs = _reference(name, call.world(attract=name == "supcon"), **leaves)
    assert_equal(ours, theirs, [*call.inputs, *leaves.values()])


@pytest.mark.parametrize("name", LOSSES)
def test_every_parameter_that_may_be_a_tensor_is_compared_or_refuses_to_be_learnt(name: str) -> None:
    declared = inspect.signature(LOSSES[name]).parameters.values()
    tensors = {p.name for p in declared if "Tensor" in str(p.annotation)}
    assert set(EVERY[name].learnable) <= tensors
    for other in tensors - set(EVERY[name].learnable):
        with pytest.raises(couplings.InvalidInput, match=f"{other} cannot be learnt"):
            LOSSES[name](**{other: torch.tensor(0.3, requires_grad=True)})


@pytest.mark.parametrize("rho", [(0.01, 0.02), (0.2, 5.0), (5.0, 0.2), (50.0, 80.0)])
@pytest.mark.parametrize("sweeps", [0, 1, 10])
@pytest.mark.parametrize(("r1", "r2"), [(1.0, 0.0), (0.0, 1.0), (0.6, 1.5)])
def test_gradient_in_the_prices_of_mass(rho: tuple[float, float], sweeps: int, r1: float, r2: float) -> None:
    call, options = random_call(SIDES["queue"], 4), {"sweeps": sweeps, "r1": r1, "r2": r2}
    prices = {k: torch.tensor(v, dtype=F64, requires_grad=True) for k, v in zip(("rho1", "rho2"), rho, strict=True)}
    ours = couplings.GCAUOT(**prices, **options)(*call.views, **call.sides())
    theirs = _reference("gca-uot", call.world(), **prices, **options)
    assert_equal(ours, theirs, [*call.inputs, *prices.values()])


@pytest.mark.parametrize("bias", [-10.0, -1.0, 0.0, 4.0])
@pytest.mark.parametrize("side", ["three", "everything", "negatives3", "raw_queue"])
def test_gradient_in_the_bias(bias: float, side: str) -> None:
    call, b = random_call(SIDES[side], 5), torch.tensor(bias, dtype=F64, requires_grad=True)
    ours = couplings.SigLIP(0.2, b, **call.options)(*call.views, **call.sides())
    assert_equal(ours, ref.siglip(call.world(), 0.2, b), [*call.inputs, b])


LEARNT = {"clip": {"temperature": 0.3}, "siglip": {"temperature": 0.3, "bias": -2.0}}


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("moved", [0.0, -0.7, 1.5, 6.0])
def test_a_learnt_temperature_is_a_log_scale(name: str, moved: float) -> None:
    """Also after steps; a step beyond the coldest temperature of 0.01 is taken back at the next call."""
    call, loss = random_call(SIDES["queue"], 0), EVERY[name].build(**LEARNT[name], learnable=True).double()
    assert loss.log_scale.item() == pytest.approx(-math.log(0.3))
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter += moved
    ours = loss(*call.views, **call.sides())
    assert loss.log_scale.item() == pytest.approx(min(-math.log(0.3) + moved, -math.log(0.01)))
    exact = {k: v.detach().clone().requires_grad_() for k, v in loss.named_parameters()}
    theirs = _learnt(name, call.world(), **exact)
    for mine, their in zip(_gradients(ours, loss.parameters()), _gradients(theirs, exact.values()), strict=True):
        torch.testing.assert_close(mine, their, rtol=1e-8, atol=1e-8)
    assert_equal(ours, theirs, call.inputs)


def _learnt(name: str, w: ref.World, log_scale: Tensor, **others: Tensor) -> Tensor:
    return EVERY[name].reference(w, temperature=torch.exp(-log_scale), **others)


def _gradients(value: Tensor, parameters: Any) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, list(parameters), retain_graph=True)


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_temperature_at_the_floor_can_rise_again(name: str, dtype: torch.dtype) -> None:
    """Thrown far below 0.01 by one step, then led back by a batch of unrelated views, which ask for a higher one."""
    loss, views = EVERY[name].build(learnable=True).to(dtype), [torch.randn(6, 4, dtype=dtype) for _ in range(2)]
    with torch.no_grad():
        loss.log_scale.fill_(50.0)
    loss(*views).backward()
    assert loss.log_scale.item() == pytest.approx(-math.log(0.01))
    assert loss.log_scale.grad > 0
    optimizer = torch.optim.SGD([loss.log_scale], lr=1e-3)
    before = loss(*views).item()
    for _ in range(20):
        optimizer.zero_grad()
        loss(*views).backward()
        optimizer.step()
    assert math.exp(-loss.log_scale.item()) > 0.011
    assert loss(*views).item() < before


@pytest.mark.parametrize(("name", "learnt"), [("clip", {"log_scale"}), ("siglip", {"log_scale", "bias"})])
def test_what_is_learnt(name: str, learnt: set[str]) -> None:
    assert {k for k, _ in EVERY[name].build(learnable=True).named_parameters()} == learnt
    assert not list(EVERY[name].build().parameters())
