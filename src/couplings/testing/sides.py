"""What stands beside the views means what it says: who never repels, who attracts, and who is more to repel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .calls import IDS, LABELS, OWN, QUEUE, Call, D, N
from .near import EXACT, all_near, demand, near, outcome
from .subject import Subject, generator


def _weights(subject: Subject, **sides: Any) -> Tensor:
    call = subject.calls["two views"]
    return subject.loss.pair_weights(*call.views, **{**call.sides, **sides})


def _same(which: Tensor) -> Tensor:
    """Pairs of two samples that are one, (2 n, 2 n)."""
    both, sample = which.repeat(2), torch.arange(N).repeat(2)
    return (both[:, None] == both) & (sample[:, None] != sample)


def _with(subject: Subject, **sides: Any) -> dict[str, Tensor]:
    call = subject.calls["two views"]
    return outcome(subject.loss, Call("", call.views, {**call.sides, **sides}))


def ids(subject: Subject) -> None:
    """Samples with equal ids have pair weight zero, ids and a mask of the same pairs are one; distinct ids are none."""
    one, plain = _same(IDS), _weights(subject)
    weights = _weights(subject, ids=IDS)
    _zero("pair weights of samples with equal ids=", weights[one])
    demand(bool(plain[one].abs().sum() > 0), "samples have pair weight zero without ids= too: what repels?")
    positives = torch.eye(2 * N, dtype=torch.bool).roll(N, 1)
    near("whether positives attract under ids=", (weights[positives] < 0).double(), (plain[positives] < 0).double())
    wanted = _with(subject, ids=IDS)
    all_near("mask= of the pairs that ids= names, and ids=", _with(subject, mask=one), wanted)
    all_near("ids= that are all distinct, and none", _with(subject, ids=torch.arange(N) - 3), _with(subject))
    empty = torch.zeros(2 * N, 2 * N, dtype=torch.bool)
    all_near("mask= of no pair, and none", _with(subject, mask=empty), _with(subject))


def labels(subject: Subject) -> None:
    """Samples of one class repel less than without labels, where labels mask not at all; -1 is a class of one's own."""
    one, plain, weights = _same(LABELS), _weights(subject), _weights(subject, labels=LABELS)
    if subject.loss.labels_attract:
        apart, together = float(plain[one].sum()), float(weights[one].sum())
        demand(
            together < apart,
            f"samples of one class repel with {together:.3e} in all and without labels= with {apart:.3e}: "
            "labels_attract says that they attract",
        )
    else:
        _zero("pair weights of samples with equal labels=", weights[one])
        all_near("labels= and the same ids=", _with(subject, labels=LABELS), _with(subject, ids=LABELS))
    unlabelled, alone = torch.where(LABELS == 2, -1, LABELS), torch.where(LABELS == 2, 7 + torch.arange(N), LABELS)
    wanted = _with(subject, labels=alone)
    all_near("labels of -1, and classes of one sample each", _with(subject, labels=unlabelled), wanted)
    all_near("labels= that are all distinct, and none", _with(subject, labels=torch.arange(N)), _with(subject))


def keys(subject: Subject) -> None:
    """Keys repel and get gradient; a key with an anchor's id does not repel it, and keys match no other id."""
    queue = subject.calls["keys"].sides["keys"]
    weights = _weights(subject, keys=queue)
    shape = (2 * N, 2 * N + QUEUE)
    demand(tuple(weights.shape) == shape, f"pair weights with keys= are {tuple(weights.shape)} where {shape} is right")
    repulsion = float(weights[:, 2 * N :].sum())
    demand(repulsion > 0, f"keys= repel with {repulsion:.3e} in all: they are negatives of every sample")
    found = outcome(subject.loss, subject.calls["keys"])["gradient at keys"]
    demand(bool(found.abs().max() > 0), "the gradient at keys= is zero")
    everyone, key_ids = torch.arange(N), torch.tensor([2, 99, 98, 97, 0])
    marked = _weights(subject, keys=queue, ids=everyone, key_ids=key_ids)[:, 2 * N :]
    _zero("pair weights of keys with the anchor's id", marked[everyone.repeat(2)[:, None] == key_ids])
    below = -1 - everyone
    wanted = _with(subject, keys=queue)
    all_near("keys= beside negative ids=, and beside none", _with(subject, keys=queue, ids=below), wanted)
    if not subject.loss.labels_attract:
        all_near("keys= beside distinct labels=, and none", _with(subject, keys=queue, labels=everyone), wanted)


def negatives(subject: Subject) -> None:
    """Negatives of each sample's own replace the batch's: only they repel, and each moves the value."""
    call = subject.calls["negatives"]
    own = call.sides["negatives"]
    weights = _weights(subject, negatives=own)
    shape = (2 * N, 1 + OWN)
    demand(tuple(weights.shape) == shape, f"pair weights with negatives= are {tuple(weights.shape)}, not {shape}")
    repulsion = float(weights[:, 1:].sum())
    demand(repulsion > 0, f"negatives= repel with {repulsion:.3e} in all")
    attraction = float(weights[:, 0].sum())
    demand(attraction < 0, f"positives beside negatives= attract with {-attraction:.3e} in all")
    found = outcome(subject.loss, call)["gradient at negatives"]
    moved = int((found.abs().amax((1, 2)) > 0).sum())
    demand(moved > N // 2, f"the gradient at negatives= is zero but for {moved} of {N} samples")
    other = own.clone()
    other[0] = torch.randn(OWN, D, dtype=own.dtype, generator=generator())
    gap = float((_with(subject, negatives=other)["value"] - _with(subject, negatives=own)["value"]).abs())
    demand(gap > 0, "other negatives= of a sample leave the value as it is")


def target(subject: Subject) -> None:
    """A given plan is what is matched, whatever its mass, and a constant."""
    given = subject.calls["target"].sides["target"]
    positives = torch.eye(2 * N, dtype=torch.float64).roll(N, 1)
    soft, hard = (_with(subject, target=plan) for plan in (given, positives))
    gap = float((soft["value"] - hard["value"]).abs())
    demand(gap > EXACT, "another target= leaves the value as it is")
    scaled = _with(subject, target=3 * given)
    all_near("target= times three, and target=", scaled, soft)
    call, constant = subject.calls["target"].leaves(), given.clone().requires_grad_()
    value = subject.loss(*call.views, **{**call.sides, "target": constant})
    (found,) = torch.autograd.grad(value, constant, allow_unused=True)
    demand(found is None, "the gradient reaches target=, which is a constant")


def _zero(what: str, weights: Tensor) -> None:
    largest = float(weights.abs().max())
    demand(largest == 0, f"{what} are up to {largest:.3e} and should be 0: such pairs never repel each other")
