"""A loss is a module: it gives a number that repeats, leaves its inputs alone, and can be copied, sent and loaded."""

from __future__ import annotations

import copy
import pickle
from typing import cast

import torch

from ..losses.base import Loss
from .near import all_near, demand, near, outcome, way
from .subject import Subject


def value(subject: Subject) -> None:
    """Every call gives one finite number: repeatably, in the views' precision, as one matrix in double gives it."""
    for title, call in subject.calls.items():
        with way("one matrix"):
            wanted = call.of(subject.loss).detach()
        moved = call.leaves()
        before = {name: x.detach().clone() for name, x in moved.tensors.items()}
        found = moved.of(subject.loss)
        demand(found.dim() == 0, f"{title}: the value has shape {tuple(found.shape)}, not ()")
        demand(bool(found.isfinite()), f"{title}: the value is {float(found.detach())}")
        demand(found.dtype == torch.float64, f"{title}: views in double precision give {found.dtype}")
        demand(found.requires_grad, f"{title}: the value carries no gradient")
        near(f"{title}, and one matrix in double precision", found, wanted)
        near(f"{title}, called again", call.of(subject.loss), found, rtol=0, atol=0)
        all_near(f"{title}, the inputs after the call", moved.tensors, before, rtol=0, atol=0)
        _without_gradient(subject, title)


def _without_gradient(subject: Subject, title: str) -> None:
    call = subject.calls[title]
    wanted, plans = call.of(subject.loss), subject.loss.coupling(*call.views, **call.sides)
    with torch.no_grad():
        quiet = call.of(subject.loss)
    demand(not quiet.requires_grad, f"{title}: under no_grad the value carries gradient")
    near(f"{title}, under no_grad", quiet, wanted)
    with torch.inference_mode():
        inside = call.mapped(lambda x: x * 1)
        near(f"{title}, in inference mode", inside.of(subject.loss), wanted)
        weights = subject.loss.pair_weights(*inside.views, **inside.sides)
        shown = subject.loss.coupling(*inside.views, **inside.sides)
    near(f"{title}, pair weights in inference mode", weights, subject.loss.pair_weights(*call.views, **call.sides))
    for key, plan in plans.items():
        near(f"{title}, coupling {key} in inference mode", shown[key].plan(), plan.plan())


def couplings(subject: Subject) -> None:
    """Every coupling is a plan: finite, nowhere negative, with some mass, over anchors and candidates of the call."""
    for title, call in subject.calls.items():
        plans = subject.loss.coupling(*call.views, **call.sides)
        demand(len(plans) > 0, f"{title}: coupling() shows nothing")
        for key, plan in plans.items():
            mass = plan.plan().detach()
            usable = bool(mass.isfinite().all()) and bool((mass >= 0).all()) and float(mass.sum()) > 0
            demand(mass.dim() == 2 and usable, f"{title}: coupling {key!r} is no plan: {mass}")


def deepcopy(subject: Subject) -> None:
    """A deep copy, of a loss that was called before too, is the same loss with parameters of its own."""
    _is_the_same(subject, copy.deepcopy(subject.given), "a deep copy")
    subject.loss(*subject.calls["two views"].views)
    twin = copy.deepcopy(subject.loss)
    shared = {p.data_ptr() for p in twin.parameters()} & {p.data_ptr() for p in subject.loss.parameters()}
    demand(not shared, "a deep copy shares its parameters with the loss")


def pickled(subject: Subject) -> None:
    """What pickle brings back is the same loss."""
    _is_the_same(subject, pickle.loads(pickle.dumps(subject.given)), "the loss from its pickle")


def _is_the_same(subject: Subject, other: object, what: str) -> None:
    demand(type(other) is type(subject.given), f"{what} is a {type(other).__name__}")
    call = subject.calls["two views"]
    found, wanted = (outcome(loss.apart(), call) for loss in (cast(Loss, other), subject.given))
    all_near(f"{what}, and the loss", found, wanted, rtol=0, atol=0)


def state_dict(subject: Subject) -> None:
    """All that is learnt is in the state: a loss that has moved is the same again after `load_state_dict`."""
    call = subject.calls["two views"]
    wanted, state = outcome(subject.loss, call), copy.deepcopy(subject.loss.state_dict())
    twin = copy.deepcopy(subject.loss)
    with torch.no_grad():
        for learnt in twin.parameters():
            learnt.add_(0.25)
    demand(bool(call.of(twin) != wanted["value"]), "moving the parameters does not move the value")
    twin.load_state_dict(state)
    all_near("the loss after load_state_dict(), and before it was moved", outcome(twin, call), wanted, rtol=0, atol=0)
