"""However a loss is computed, by tiles or panels, in single or half precision, it is the same loss."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ..losses.base import Loss
from .calls import Call, hard_batches, noisy_views
from .near import all_near, demand, flat_gradient, near, outcome, way
from .subject import Subject

HALVES = (torch.bfloat16, torch.float16)


def tiles(subject: Subject) -> None:
    """Value, gradients and couplings by tiles, beside one matrix."""
    _beside_one_matrix(subject, "tiles")


def panels(subject: Subject) -> None:
    """Value, gradients and couplings by panels, made again or kept, beside one matrix."""
    _beside_one_matrix(subject, "panels")
    if subject.loss.shares_columns:
        _beside_one_matrix(subject, "panels of a kept kernel")


def _beside_one_matrix(subject: Subject, name: str) -> None:
    loss = subject.loss
    for title, call in subject.calls.items():
        with way("one matrix"):
            wanted = outcome(loss, call) | _shown(loss, call) | _one_view_moves(loss, call)
        with way(name):
            found = outcome(loss, call) | _shown(loss, call) | _one_view_moves(loss, call)
            _twice_through_one_graph(loss, call)
        all_near(f"{title}, by {name} and on one matrix", found, wanted)


def _shown(loss: Loss, call: Call) -> dict[str, Tensor]:
    with torch.no_grad():
        plans = loss.coupling(*call.views, **call.sides)
        return {f"coupling {key}": plan.plan() for key, plan in plans.items()}


def _one_view_moves(loss: Loss, call: Call) -> dict[str, Tensor]:
    """The other is that of a slow network."""
    last = call.views[-1].clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(*call.views[:-1], last, **call.sides), last)
    return {"gradient at the last view, the others constant": found}


def _twice_through_one_graph(loss: Loss, call: Call) -> None:
    moved = call.leaves()
    value, inputs = moved.of(loss), list(moved.tensors.values())
    first, again = (torch.autograd.grad(value, inputs, retain_graph=True, allow_unused=True) for _ in range(2))
    same = all(
        a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in zip(first, again, strict=True)
    )
    demand(same, f"{call.title}: a second backward through a kept graph gives another gradient than the first")


# Precision


def half_precision(subject: Subject) -> None:
    """Half precision is computed in single, under autocast too: the value is that of the same numbers in single."""
    call = Call("two views", noisy_views(16, 8, noise=1.0))
    for loss in _both(subject):
        for dtype in HALVES:
            _close_to_double(loss, call, dtype)
            halves = call.mapped(lambda x, dtype=dtype: x.to(dtype))  # type: ignore[misc]
            with torch.autocast("cpu", dtype=dtype):
                inside = halves.of(loss)
            near(f"{dtype} views under autocast and outside", inside, halves.of(loss), rtol=0, atol=0)
        single = call.mapped(lambda x: x.float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = single.of(loss)
        near("float32 views under autocast and outside", inside, single.of(loss), rtol=0, atol=0)


def hard_batches_check(subject: Subject) -> None:
    """Batches at the edge and a low temperature: single and half precision are finite and near double."""
    for loss in _both(subject):
        for call in hard_batches():
            for dtype in (torch.float32, *HALVES):
                _close_to_double(loss, call, dtype)


def _both(subject: Subject) -> list[Loss]:
    return [subject.loss, *([] if subject.cold is None else [subject.cold])]


def _close_to_double(loss: Loss, call: Call, dtype: torch.dtype) -> None:
    """The error is what roundings of the scores make of it: measured by moving the rows by as much, in double."""
    rounded = call.mapped(lambda x: x.to(dtype))
    ours, exact = outcome(_in_single(loss), rounded), outcome(loss, rounded.mapped(lambda x: x.double()))
    what = f"{loss}: {call.title} in {dtype}"
    demand(ours["value"].dtype == torch.float32, f"{what}: the value is {ours['value'].dtype}, not torch.float32")
    demand(ours["gradient at view 1"].dtype == dtype, f"{what}: the gradient has another dtype than the view")
    gradient, right = flat_gradient(ours).double(), flat_gradient(exact)
    demand(bool(ours["value"].isfinite() and gradient.isfinite().all()), f"{what}: value or gradient is not finite")
    value_moves, gradient_moves = _sensitivity(loss, rounded.mapped(lambda x: x.double()))
    rounding = _rounding(call.views[0].shape[1])
    near(
        f"{what}: value beside double precision",
        ours["value"],
        exact["value"],
        rtol=rounding,
        atol=rounding * value_moves,
    )
    own = 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps
    smallest = torch.finfo(dtype).smallest_normal * len(right) ** 0.5
    allowed = rounding * gradient_moves + (rounding + own) * float(right.norm()) + smallest
    gap = float((gradient - right).norm())
    demand(
        gap <= allowed,
        f"{what}: the gradient is off from double precision by {gap:.2e} (norm of the difference), {allowed:.1e} "
        f"allowed; its norm is {float(right.norm()):.3g}",
    )


def _in_single(loss: Loss) -> Loss:
    return copy.deepcopy(loss).float() if list(loss.parameters()) else loss


def _rounding(d: int) -> float:
    """Of a score in single precision: d products, two norms, quotient, result; and as much for what is made of it."""
    return 2 * (d + 4) * torch.finfo(torch.float32).eps


_STEP = 1e-6
"""Far above the roundings of double precision, far below the lowest temperatures."""


def _sensitivity(loss: Loss, call: Call) -> tuple[float, float]:
    """How far value and gradient move when rows do, per relative step: on this batch or on one of no structure.

    Where all rows are equal no row moves a score to first order, yet scores are rounded as anywhere.
    """
    n, d = call.views[0].shape
    return tuple(map(max, zip(*(_moves(loss, c) for c in (call, Call("", noisy_views(n, d, noise=1.0)))), strict=True)))


def _moves(loss: Loss, call: Call) -> tuple[float, float]:
    chance, exact = torch.Generator().manual_seed(0), outcome(loss, call)
    value, gradient = 0.0, 0.0
    for _ in range(3):
        moved = outcome(loss, call.mapped(lambda x: x + _STEP * x.norm(dim=-1, keepdim=True) * _signs(x, chance)))
        value = max(value, float((moved["value"] - exact["value"]).abs()) / _STEP)
        gradient = max(gradient, float((flat_gradient(moved) - flat_gradient(exact)).norm()) / _STEP)
    return value, gradient


def _signs(x: Tensor, chance: torch.Generator) -> Tensor:
    return (torch.randint(2, x.shape, generator=chance) * 2 - 1).to(x)
