"""Every loss against its naive float64 reference: value and gradient, on every side of a call that it takes."""

from __future__ import annotations

import pytest
import reference as ref
import torch
from reference_calls import SIDES, Params, assert_equal, compare, random_call
from reference_specs import MATCHED, SPECS, Spec, cases

import couplings
from couplings.losses import LOSSES

EVERY = {**SPECS, **MATCHED}


@pytest.mark.parametrize(("name", "params", "side"), list(cases(SPECS)))
def test_loss_and_gradient(name: str, params: Params, side: str) -> None:
    spec, given = SPECS[name], SIDES[side]
    loss = spec.build(**params, **given.options)
    compare(loss, lambda w: spec.reference(w, **params), given, attract=name == "supcon")


@pytest.mark.parametrize(("name", "params", "side"), list(cases(MATCHED)))
def test_plans_matched_to_the_positives(name: str, params: Params, side: str) -> None:
    spec, given = MATCHED[name], SIDES[side]
    loss = spec.build(**params, **given.options)
    compare(loss, lambda w: spec.reference(w, ref.positives_target(w), **params), given)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_a_reference(name: str) -> None:
    assert isinstance(_smallest(EVERY[name]), LOSSES[name])


def _smallest(spec: Spec) -> couplings.Loss:
    return spec.build(**spec.params[0])


def test_every_reference_is_of_another_loss() -> None:
    references = [spec.reference for spec in EVERY.values()]
    assert len(set(references)) == len(references)


def test_pair_loss_of_callables() -> None:
    call = random_call(SIDES["queue"], 0)
    ours = couplings.PairLoss(torch.log1p, torch.nn.functional.softplus)(*call.views, **call.sides())
    theirs = ref.pair_loss(call.world(), torch.log1p, torch.nn.functional.softplus)
    assert_equal(ours, theirs, call.inputs)
