"""Gradients are derivatives, pair weights are what they are made of, and second derivatives are right or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from ..basics.errors import Overwritten
from .calls import Call
from .near import EXACT, WAYS, Nonconforming, all_near, demand, near, outcome, way
from .subject import Subject


def _function(value: Callable[[Mapping[str, Tensor]], Tensor], names: list[str]) -> Callable[..., Tensor]:
    return lambda *inputs: value(dict(zip(names, inputs, strict=True)))


def gradient(subject: Subject) -> None:
    """Autograd beside central differences, along random directions and for one call entry by entry."""
    for title, call in subject.calls.items():
        value, leaves = subject.differentiated(call), call.leaves().tensors
        at_once = torch.autograd.grad(value(leaves), list(leaves.values()), allow_unused=True, materialize_grads=True)
        held = {f"gradient at {name}": g for name, g in zip(leaves, at_once, strict=True)}
        all_near(f"{title}, constant couplings held still", outcome(subject.loss, call), held)
        demand(any(bool(g.abs().max() > 0) for g in at_once), f"{title}: the gradient is zero")
        for fast in (True, False) if title == "two views" else (True,):
            _compare_with_differences(title, _function(value, list(leaves)), list(leaves.values()), fast)
    _parameters(subject)


def _parameters(subject: Subject) -> None:
    """What the loss has learnt."""
    learnt = {name: p for name, p in subject.loss.named_parameters() if p.requires_grad}
    if not learnt:
        return
    call = subject.calls["two views"]
    loss = subject.loss if subject.standing is None else subject.standing(subject.loss, call)

    def value(*given: Tensor) -> Tensor:
        moved = dict(zip(learnt, given, strict=True))
        found: Tensor = torch.func.functional_call(loss, moved, call.views, dict(call.sides))
        return found

    inputs = [p.detach().clone().requires_grad_() for p in learnt.values()]
    _compare_with_differences(f"parameters {', '.join(learnt)}", value, inputs, fast=False)


def _compare_with_differences(what: str, value: Callable[..., Tensor], inputs: list[Tensor], fast: bool) -> None:
    """A central difference with steps of 1e-6 is off by about 1e-12 of the third derivative and 1e-10 of the value."""
    try:
        torch.autograd.gradcheck(value, inputs, atol=1e-7, rtol=1e-5, fast_mode=fast)
    except GradcheckError as error:
        raise Nonconforming(f"{what}: gradient and central differences: {str(error).strip()}") from error


def second_derivative(subject: Subject) -> None:
    """One matrix beside differences of gradients; tiles and panels beside one matrix; or a NotImplementedError."""
    call = subject.calls["two views"]
    value, leaves = subject.differentiated(call), call.leaves().tensors
    with way("one matrix"):
        try:
            torch.autograd.gradgradcheck(_function(value, list(leaves)), list(leaves.values()), atol=1e-6)
            wanted = _second(value, call)
        except NotImplementedError as error:
            wanted = None
            _asks_for_first(error)
        except GradcheckError as error:
            raise Nonconforming(f"second derivatives and differences of gradients: {str(error).strip()}") from error
    for name in WAYS.keys() - {"one matrix"}:
        with way(name):
            try:
                found = _second(value, call)
            except NotImplementedError as error:
                _asks_for_first(error)
                continue
        demand(wanted is not None, f"second derivatives by {name} are computed, and refused on one matrix")
        near(f"second derivatives by {name} and on one matrix", found, wanted if wanted is not None else found)


def _second(value: Callable[[Mapping[str, Tensor]], Tensor], call: Call) -> Tensor:
    leaves = call.leaves().tensors
    (first,) = torch.autograd.grad(value(leaves), leaves["view 1"], create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaves["view 1"])
    return second


def _asks_for_first(error: NotImplementedError) -> None:
    demand("second derivative" in str(error), f"a second derivative is refused without saying so: {error}")


def pair_weights(subject: Subject) -> None:
    """The weights of single pairs, put together, are the gradient, on one matrix and by panels."""
    for title, call in subject.calls.items():
        weights = subject.loss.pair_weights(*call.views, **call.sides)
        implied = _implied(weights, call, subject.loss.normalize)
        for name in ("one matrix", "panels"):
            with way(name):
                found = outcome(subject.loss, call)
            all_near(f"{title}, by {name}: the gradient and that of sum_ij w_ij s_ij", found, implied)


def _implied(weights: Tensor, call: Call, unit: bool) -> dict[str, Tensor]:
    """The gradients of sum_ij w_ij s_ij, weights held still."""
    leaves = call.leaves().tensors
    rows = {name: torch.nn.functional.normalize(x, dim=-1) if unit else x for name, x in leaves.items()}
    views = [x for name, x in rows.items() if name.startswith("view")]
    anchors = torch.cat(views)
    if "negatives" in rows:
        n, count = len(views[0]), len(views)
        turned = [torch.stack([views[(a + k) % count] for k in range(1, count)], dim=1) for a in range(count)]
        own = torch.cat([torch.cat(turned), rows["negatives"].repeat(count, 1, 1)], dim=1)
        scores = (own @ anchors[:, :, None]).squeeze(2)
        demand(weights.shape == scores.shape, f"pair weights of {n} samples with negatives= are {tuple(weights.shape)}")
    else:
        scores = anchors @ torch.cat([anchors, *([rows["keys"]] if "keys" in rows else [])]).T
    found = torch.autograd.grad((weights * scores).sum(), list(leaves.values()))
    return {f"gradient at {name}": g for name, g in zip(leaves, found, strict=True)}


def refilled(subject: Subject) -> None:
    """Buffers that get the next batch before backward(): the gradient of this batch, or an error; never another one."""
    for title, call in subject.calls.items():
        for name in WAYS:
            with way(name):
                wanted = outcome(subject.loss, call)["gradient at view 1"]
                for buffer in [*call.tensors, *call.sides.keys() - call.tensors.keys()]:
                    _refill(subject, call, buffer, wanted, f"{title}, by {name}: {buffer} written to before backward()")


def _refill(subject: Subject, call: Call, buffer: str, wanted: Tensor, what: str) -> None:
    leaves = call.leaves().tensors
    given = {name: x.clone() for name, x in leaves.items()}
    moved = call.holding(given)
    sides = {name: x.clone() if isinstance(x, Tensor) and name not in given else x for name, x in moved.sides.items()}
    value = subject.loss(*moved.views, **sides)
    with torch.no_grad():
        target = given.get(buffer, sides.get(buffer))
        if isinstance(target, Tensor):
            target.copy_(torch.roll(target, 1, 0))
    try:
        (found,) = torch.autograd.grad(value, leaves["view 1"])
    except Overwritten:
        return
    except RuntimeError as error:
        if "modified by an inplace operation" in str(error):
            return
        raise
    near(what, found, wanted, atol=EXACT * 1e-2)
