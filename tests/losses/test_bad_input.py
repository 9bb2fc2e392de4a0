"""Every invalid call of every loss raises InvalidInput, naming the argument, what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings import CouplingWarning, Domains, Given, InvalidInput, Pairs, Scores
from couplings.plans.targets import Target
from helpers import CASES

N, D = 8, 16
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _view() -> Tensor:
    return torch.randn(N, D)


def _with(value: float, row: int = 3) -> Tensor:
    z = _view()
    z[row, 2] = value
    return z


def _zero_row() -> Tensor:
    z = _view()
    z[5] = 0
    return z


def _integers() -> Tensor:
    return torch.ones(N, D, dtype=torch.long)


def _call(*views: Any, **sides: Any) -> Arguments:
    return views, sides


CALLS: dict[str, tuple[Callable[[], Arguments], str]] = {
    "NaN": (lambda: _call(_view(), _with(math.nan)), r"view 2 holds NaN \(first in row 3\): look for"),
    "inf": (lambda: _call(_with(math.inf), _view()), r"view 1 holds inf \(first in row 3\): the encoder overflowed"),
    "minus inf": (lambda: _call(_with(-math.inf), _view()), r"view 1 holds inf \(first in row 3\)"),
    "a batch of one": (lambda: _call(_view()[:1], _view()[:1]), r"one sample.*no negatives: pass n >= 2, keys= or neg"),
    "n differs": (lambda: _call(_view(), _view()[:5]), r"view 2 has shape \(5, 16\) but view 1 has \(8, 16\).*equal n"),
    "d differs": (lambda: _call(_view(), _view()[:, :7]), r"view 2 has shape \(8, 7\) but view 1 has \(8, 16\).*and d"),
    "third view differs": (lambda: _call(_view(), _view(), _view()[1:]), r"view 3 has shape \(7, 16\) but view 1"),
    "1-D": (lambda: _call(_view()[0], _view()[0]), r"view 1 must have shape \(n, d\), got \(16,\)"),
    "3-D": (lambda: _call(_view()[None], _view()[None]), r"view 1 must have shape \(n, d\), got \(1, 8, 16\)"),
    "integer": (
        lambda: _call(_integers(), _integers()),
        r"view 1 must be floating point, got torch.int64: call .fl",
    ),
    "complex": (lambda: _call(_view().cfloat(), _view()), r"view 1 must be floating point, got torch.complex64"),
    "empty batch": (
        lambda: _call(_view()[:0], _view()[:0]),
        r"view 1 is empty: shape \(0, 16\); pass at least",
    ),
    "no dimensions": (lambda: _call(_view()[:, :0], _view()[:, :0]), r"view 1 is empty: shape \(8, 0\)"),
    "zero vector": (
        lambda: _call(_view(), _zero_row()),
        r"view 2 has a zero vector \(row 5\).*drop the row, or",
    ),
    "one class": (
        lambda: _call(_view(), _view(), labels=torch.zeros(N).long()),
        r"labels: anchor 0 is left no negative",
    ),
    "one id": (lambda: _call(_view(), _view(), ids=torch.zeros(N).long()), r"ids: anchor 0 is left no negative"),
    "tiny vector": (lambda: _call(1e-15 * _view(), _view()), r"row 0 of view 1 has norm .*too small to have a dir"),
    "overflowing norm": (lambda: _call(1e30 * _view(), _view()), r"norm of row 0 of view 1 overflows torch.float32"),
    "one view": (lambda: _call(_view()), r"at least two views of the samples, got 1"),
    "no view": (lambda: _call(), r"at least two views of the samples, got 0"),
    "a list": (lambda: _call(_view().tolist(), _view()), r"view 1 must be a torch.Tensor, got list"),
    "an array": (lambda: _call(_view(), _view().numpy()), r"view 2 must be a torch.Tensor, got ndarray"),
    "misspelt side": (
        lambda: _call(_view(), _view(), label=torch.ones(N)),
        r"unknown argument 'label' beside the views: did you mean 'labels'\?",
    ),
    "labels of another n": (
        lambda: _call(_view(), _view(), labels=torch.arange(5)),
        r"labels must have shape \(8,\).*5",
    ),
    "labels a matrix": (lambda: _call(_view(), _view(), labels=torch.ones(N, 2)), r"labels must have shape \(8,\)"),
    "labels a list": (lambda: _call(_view(), _view(), labels=[0] * N), r"labels must be a torch.Tensor, got list"),
    "labels float": (lambda: _call(_view(), _view(), labels=torch.rand(N)), r"labels must be integers.*call .long\(\)"),
    "ids of another n": (lambda: _call(_view(), _view(), ids=torch.arange(16)), r"ids must have shape \(8,\).*16"),
    "ids float": (lambda: _call(_view(), _view(), ids=torch.rand(N)), r"ids must be integers, got torch.float32"),
    "keys of another d": (lambda: _call(_view(), _view(), keys=torch.randn(5, 7)), r"keys have 7 dim.*views have 16"),
    "keys 1-D": (lambda: _call(_view(), _view(), keys=torch.randn(16)), r"keys must have shape .*, got \(16,\)"),
    "keys integer": (
        lambda: _call(_view(), _view(), keys=_integers()),
        r"keys must be floating point, got",
    ),
    "keys NaN": (lambda: _call(_view(), _view(), keys=_with(math.nan)), r"keys holds NaN \(first in row 3\)"),
    "keys zero": (lambda: _call(_view(), _view(), keys=_zero_row()), r"keys has a zero vector \(row 5\)"),
    "keys empty": (lambda: _call(_view(), _view(), keys=_view()[:0]), r"keys is empty"),
    "key_ids alone": (lambda: _call(_view(), _view(), key_ids=torch.arange(5)), r"key_ids needs keys: pass keys="),
    "key_ids without ids": (
        lambda: _call(_view(), _view(), keys=_view(), key_ids=torch.arange(N)),
        r"key_ids needs ids: without them no key can belong to a sample",
    ),
    "key_ids of another m": (
        lambda: _call(_view(), _view(), ids=torch.arange(N), keys=_view(), key_ids=torch.arange(3)),
        r"key_ids must have shape \(8,\)",
    ),
    "negatives 2-D": (
        lambda: _call(_view(), _view(), negatives=_view()),
        r"negatives must have shape \(n, k, d\)",
    ),
    "negatives of another n": (
        lambda: _call(_view(), _view(), negatives=torch.randn(3, 4, D)),
        r"negatives must have shape \(n, k, d\) with n = 8 and d = 16, got \(3, 4, 16\)",
    ),
    "negatives of another d": (
        lambda: _call(_view(), _view(), negatives=torch.randn(N, 4, 3)),
        r"negatives must have shape .*, got \(8, 4, 3\)",
    ),
    "negatives NaN": (
        lambda: _call(_view(), _view(), negatives=torch.full((N, 4, D), math.nan)),
        r"negatives holds NaN",
    ),
    "negatives integer": (
        lambda: _call(_view(), _view(), negatives=torch.ones(N, 4, D, dtype=torch.long)),
        r"negatives must be floating point",
    ),
    "negatives with labels": (
        lambda: _call(_view(), _view(), negatives=torch.randn(N, 4, D), labels=torch.arange(N)),
        r"negatives= replaces the batch's candidates, so \['labels'\] would have no effect: drop one",
    ),
    "negatives with a mask": (
        lambda: _call(_view(), _view(), negatives=torch.randn(N, 4, D), mask=torch.zeros(16, 6, dtype=torch.bool)),
        r"negatives= replaces .*'mask'",
    ),
    "mask of another shape": (
        lambda: _call(_view(), _view(), mask=torch.zeros(N, N, dtype=torch.bool)),
        r"mask has shape \(8, 8\) but anchors and candidates are \(16, 16\)",
    ),
    "mask without the queue's columns": (
        lambda: _call(_view(), _view(), keys=_view(), mask=torch.zeros(16, 16, dtype=torch.bool)),
        r"mask has shape \(16, 16\) but anchors and candidates are \(16, 24\)",
    ),
    "mask of floats": (lambda: _call(_view(), _view(), mask=torch.zeros(16, 16)), r"mask must be a boolean matrix"),
    "mask a list": (lambda: _call(_view(), _view(), mask=[[True]]), r"mask must be a Mask or a boolean .*got list"),
    "mask of everything": (
        lambda: _call(_view(), _view(), mask=torch.ones(16, 16, dtype=torch.bool)),
        r"mask: anchor 0 is left no negative",
    ),
    "negatives with keys": (
        lambda: _call(_view(), _view(), negatives=torch.randn(N, 4, D), keys=_view()),
        r"negatives= replaces .*'keys'",
    ),
    "a side of no loss": (
        lambda: _call(_view(), _view(), weights=_view()),
        r"unknown argument 'weights' beside the views: known: labels, ids, keys, key_ids, negatives, mask, dom",
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_invalid_call(call: str) -> None:
    arguments, message = CALLS[call]
    for name in CASES:
        loss, (views, sides) = CASES[name](), arguments()
        if (name, call) == ("AlphaCLLowRank", "overflowing norm") or (loss.labels_attract and call == "one class"):
            continue  # in double precision it does not overflow; one class is nothing but positives
        if not loss.repels and call == "a batch of one":
            continue  # which needs no negatives
        expected = _refused(name, sides) or message
        for entry in (loss, loss.coupling, loss.pair_weights):
            with pytest.raises(InvalidInput, match=f"(?s){expected}"):
                entry(*views, **sides)


def _refused(name: str, sides: dict[str, Any]) -> str:
    """What comes before a look at the values: sides that a loss has no use for."""
    known = sides.keys() & {"labels", "ids", "keys", "key_ids", "negatives", "mask"}
    if known and not CASES[name].repels:
        return f"{name} would ignore ({'|'.join(known)})=: it repels nothing, so nothing can be masked or added; drop"
    shared = "negatives" in sides and CASES[name].loss.shares_columns
    return f"{name} balances mass over columns that all anchors share" if shared else ""


# Arguments that a loss would ignore, or that it needs


TARGET = torch.eye(2 * N).roll(N, 1)


def _target(i: int, j: int, value: float) -> Tensor:
    target = TARGET.clone()
    target[i, j] = value
    return target


@pytest.mark.parametrize("name", [name for name in CASES if not CASES[name]().takes_target])
def test_losses_without_a_target_refuse_one(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} would ignore target=: pass it to a loss that matches a target"):
        CASES[name]()(_view(), _view(), target=TARGET)


@pytest.mark.parametrize("name", CASES)
def test_losses_whose_target_is_not_domains_refuse_them(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} would ignore domains=: .*target=Domains"):
        CASES[name]()(_view(), _view(), domains=torch.zeros(N).long())


TARGETS: dict[str, tuple[Callable[[], object], str]] = {
    "of another shape": (
        lambda: TARGET[:N],
        r"target must have shape \(16, 16\), anchors by candidates, got \(8, 16\)",
    ),
    "negative": (lambda: _target(0, 9, -1.0), "target holds negative, NaN or infinite mass"),
    "NaN": (lambda: _target(0, 9, math.nan), "target holds negative, NaN or infinite mass"),
    "empty row": (lambda: _target(3, 11, 0.0), "row 3 of target is empty"),
    "on itself": (lambda: _target(2, 2, 1.0), r"target puts mass on the pair \(2, 2\), which is masked"),
    "integers": (lambda: TARGET.long(), "target must be floating point"),
    "a list": (lambda: TARGET.tolist(), "target must be a torch.Tensor"),
}


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]().takes_target])
@pytest.mark.parametrize("target", TARGETS)
def test_invalid_targets(name: str, target: str) -> None:
    make, message = TARGETS[target]
    with pytest.raises(InvalidInput, match=message):
        CASES[name]()(_view(), _view(), target=make())


def _partners(shift: int = N, rows: int = 2 * N) -> Tensor:
    return torch.arange(2 * N).roll(shift)[:rows, None]


OBJECTS: dict[str, tuple[Callable[[], Target], str]] = {
    "columns of other anchors": (
        lambda: Pairs(_partners(rows=5)),
        r"the columns of 16 anchors .*\(16, p\), got .* \(5, 1",
    ),
    "columns as a vector": (
        lambda: Pairs(_partners()[:, 0]),
        r"target must list the columns .*, got torch.int64 \(16,\)",
    ),
    "columns as numbers": (lambda: Pairs(_partners().float()), "as integers of shape .*, got torch.float32"),
    "columns beyond the last": (lambda: Pairs(_partners() + 9), "lists columns 9 to 24, but candidates are 0 to 15"),
    "columns below zero": (lambda: Pairs(_partners() - 1), "lists columns -1 to 14, but candidates are 0 to 15"),
    "no columns": (lambda: Pairs(_partners()[:, :0]), "target must list"),
    "pairs with oneself": (lambda: Pairs(_partners(0)), r"target puts mass on the pair \(0, 0\), .*\(16 such pairs\)"),
    "a matrix of another shape": (lambda: Given(TARGET[:N]), r"target must have shape \(16, 16\), .*, got \(8, 16\)"),
    "a matrix on itself": (
        lambda: Given(_target(2, 2, 1.0)),
        r"target puts mass on the pair \(2, 2\), which is masked",
    ),
}


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]().takes_target])
@pytest.mark.parametrize("target", OBJECTS)
def test_targets_made_for_another_batch(name: str, target: str) -> None:
    make, message = OBJECTS[target]
    with pytest.raises(InvalidInput, match=message):
        CASES[name]()(_view(), _view(), target=make())


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]().takes_target])
def test_a_target_on_pairs_that_ids_or_a_mask_forbid(name: str) -> None:
    ids, mask = torch.tensor([0, 1, 2, 2, 4, 5, 6, 7]), torch.zeros(2 * N, 2 * N, dtype=torch.bool)
    mask[2, 3] = True
    for sides in ({"ids": ids}, {"mask": mask}):
        with pytest.raises(
            InvalidInput, match=r"mass on the pair \(2, 3\), which is masked .*self pairs, equal ids and"
        ):
            CASES[name]()(_view(), _view(), target=_target(2, 3, 1.0), **sides)


MATCHING = [name for name, case in CASES.items() if case.takes("target")]


@pytest.mark.parametrize("name", MATCHING)
def test_targets_by_name_need_their_ids(name: str) -> None:
    with pytest.raises(InvalidInput, match="target='labels' needs labels="):
        CASES[name](target="labels")(_view(), _view())
    by_domain = CASES[name](target=Domains(within=0.5, across=0.1))
    with pytest.raises(InvalidInput, match=r"target=Domains\(...\) needs domains="):
        by_domain(_view(), _view())
    with pytest.raises(InvalidInput, match=r"domains must have shape \(8,\), one entry a row, got \(5,\)"):
        by_domain(_view(), _view(), domains=torch.zeros(5).long())
    with pytest.raises(InvalidInput, match="target= replaces the domains' target: drop domains= or target="):
        by_domain(_view(), _view(), domains=torch.zeros(N).long(), target=TARGET)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]().takes_target])
def test_labels_that_attract_and_a_target_are_one_too_many(name: str) -> None:
    """Labels that only mask stay welcome beside a target."""
    attracting = CASES[name](target="labels") if CASES[name].takes("target") else CASES[name]()
    with pytest.raises(InvalidInput, match=f"{name} would ignore labels=: target= says what attracts"):
        attracting(_view(), _view(), target=TARGET, labels=torch.arange(N) // 2)
    if CASES[name].takes("target"):
        assert CASES[name]()(_view(), _view(), target=TARGET, labels=torch.arange(N) // 2).isfinite()


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.takes("across_views") and case.negatives])
def test_negatives_of_ones_own_come_from_no_view(name: str) -> None:
    with pytest.raises(InvalidInput, match="across_views=True chooses negatives from the batch, which negatives= repl"):
        CASES[name](across_views=True)(_view(), _view(), negatives=torch.randn(N, 4, D))


# Scores and costs


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_inf_in_a_given_score_matrix(bad: float) -> None:
    with pytest.raises(InvalidInput, match=r"matrix holds NaN or \+inf: a score is a number, or -inf to forbid"):
        Scores.given(torch.tensor([[0.0, bad], [1.0, 2.0]]))


class NaNCost:
    """A user's cost that goes wrong."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        return torch.sqrt(dot - 2)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("cost")])
def test_a_cost_that_returns_nan(name: str) -> None:
    with pytest.raises(InvalidInput, match="scores of row 0 hold NaN: look for a cost that returns NaN"):
        CASES[name](cost=NaNCost())(_view(), _view())


@pytest.mark.parametrize("name", CASES)
def test_a_zero_vector_is_fine_without_normalisation(name: str) -> None:
    z = _zero_row().requires_grad_()
    (gradient,) = torch.autograd.grad(CASES[name](normalize=False)(0.2 * z, 0.2 * _view()), z)
    assert gradient.isfinite().all()
    assert gradient.norm() < 100


def test_errors_are_value_errors_and_warnings_user_warnings() -> None:
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(CouplingWarning, UserWarning)
