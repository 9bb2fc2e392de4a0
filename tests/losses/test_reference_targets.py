"""Losses with a target other than the positives, against their naive float64 reference."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import reference as ref
import torch
from reference_calls import SEEDS, SIDES, Call, Params, assert_equal, random_call
from reference_specs import MATCHED
from torch import Tensor

import couplings
from helpers import F64

KINDS = [(name, kind) for name in MATCHED for kind in ("labels", "domains", "shares", "given")]
KINDS += [(name, "uneven") for name in ("gca-ince", "iot", "sparse-gca")]


@dataclass(frozen=True, eq=False)
class Posed:
    """A target: the batch spelled out, the matrix, how the loss is made and what its call takes to mean it."""

    world: ref.World
    target: Tensor
    options: Params = field(default_factory=dict)
    given: Params = field(default_factory=dict)


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize("side", ["two", "three", "ids", "mask", "across"])
def test_plans_matched_to_other_targets(name: str, side: str, kind: str) -> None:
    spec = MATCHED[name]
    for seed in SEEDS:
        call = random_call(SIDES[side], seed)
        posed = POSED[kind](call)
        for params in spec.params[:2]:
            ours = spec.build(**params, **call.options, **posed.options)(*call.views, **call.sides(), **posed.given)
            assert_equal(ours, spec.reference(posed.world, posed.target, **params), call.inputs)


def _labels(call: Call) -> Posed:
    labels = torch.tensor([1, 0, 1, 2, 2, 0][: len(call.views[0])])
    w = call.world(labels=labels, attract=True)
    return Posed(w, ref.positives_target(w), {"target": "labels"}, {"labels": labels})


def _domains(call: Call) -> Posed:
    domains, w = torch.tensor([0, 1, 1, 0, 1, 1][: len(call.views[0])]), call.world()
    wanted = couplings.Domains(within=0.3, across=0.1)
    return Posed(w, ref.domains_target(w, domains, 0.3, 0.1), {"target": wanted}, {"domains": domains})


def _shares(call: Call) -> Posed:
    """One domain has a single sample: its share within goes to its positives."""
    domains, w = torch.tensor([0, 1, 2, 1, 1, 1][: len(call.views[0])]), call.world()
    wanted = couplings.Domains(within=0.3, across=0.1, shares=True)
    return Posed(w, ref.domain_shares_target(w, domains, 0.3, 0.1), {"target": wanted}, {"domains": domains})


def _given(call: Call) -> Posed:
    w = call.world()
    raw = _some_pairs(w)
    target = raw / raw.sum(1, keepdim=True) / len(raw)
    return Posed(w, target, given={"target": 3.0 * target})


def _uneven(call: Call) -> Posed:
    w = call.world()
    raw = _some_pairs(w)
    return Posed(w, raw / raw.sum(), given={"target": 3.0 * raw / raw.sum()})


POSED = {"labels": _labels, "domains": _domains, "shares": _shares, "given": _given, "uneven": _uneven}


def _some_pairs(w: ref.World) -> Tensor:
    raw = torch.rand(w.s.shape, generator=torch.Generator().manual_seed(5), dtype=F64)
    return torch.where((raw > 0.4) & (w.negatives | w.positives), raw, 0.0)


@pytest.mark.parametrize("log_inside", [False, True])
def test_supcon_with_a_given_target(log_inside: bool) -> None:
    call = random_call(SIDES["mask_queue"], 0)
    w = call.world()
    raw = _some_pairs(w)
    target = raw / raw.sum(1, keepdim=True)
    ours = couplings.SupCon(log_inside=log_inside)(*call.views, **call.sides(), target=target)
    assert_equal(ours, ref.supcon(w, log_inside=log_inside, target=target), call.inputs)


@pytest.mark.parametrize("name", MATCHED)
def test_a_teachers_plan_is_a_given_target(name: str) -> None:
    call, other = random_call(SIDES["three"], 0), random_call(SIDES["three"], 1)
    teacher = couplings.GCAINCE(temperature=0.3, sweeps=20).coupling(*other.views)["plan"]
    ours = MATCHED[name].build()(*call.views, target=teacher)
    theirs = MATCHED[name].reference(call.world(), teacher.plan().detach())
    assert_equal(ours, theirs, [*call.inputs, *other.inputs])
