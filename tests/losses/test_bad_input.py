"""Every invalid call of every loss raises InvalidInput, naming the argument, what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings import (
    CACR,
    GCAINCE,
    HCL,
    HCLOT,
    AlphaCLDirect,
    CouplingWarning,
    InfoNCE,
    InvalidInput,
    Loss,
    Scores,
    SquaredEuclidean,
)
from helpers import SIX

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
    "one class": (lambda: _call(_view(), _view(), labels=torch.zeros(N).long()), r"labels leave anchor 0 no negative"),
    "one id": (lambda: _call(_view(), _view(), ids=torch.zeros(N).long()), r"ids leave anchor 0 no negative"),
    "tiny vector": (lambda: _call(1e-15 * _view(), _view()), r"row 0 of view 1 has norm .*too small to have a dir"),
    "overflowing norm": (lambda: _call(1e30 * _view(), _view()), r"norm of row 0 of view 1 overflows torch.float32"),
    "one view": (lambda: _call(_view()), r"at least two views of the samples, got 1"),
    "no view": (lambda: _call(), r"at least two views of the samples, got 0"),
    "a list": (lambda: _call(_view().tolist(), _view()), r"view 1 must be a torch.Tensor, got list"),
    "an array": (lambda: _call(_view(), _view().numpy()), r"view 2 must be a torch.Tensor, got ndarray"),
    "misspelt side": (lambda: _call(_view(), _view(), label=torch.ones(N)), r"unknown argument.*'label'.*labels, ids"),
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
    "negatives with keys": (
        lambda: _call(_view(), _view(), negatives=torch.randn(N, 4, D), keys=_view()),
        r"negatives= replaces .*'keys'",
    ),
}


@pytest.mark.parametrize("name", SIX)
@pytest.mark.parametrize("call", CALLS)
def test_invalid_call(name: str, call: str) -> None:
    arguments, message = CALLS[call]
    views, sides = arguments()
    loss = SIX[name]()
    for entry in (loss, loss.coupling, loss.pair_weights):
        with pytest.raises(InvalidInput, match=f"(?s){message}"):
            entry(*views, **sides)


@pytest.mark.parametrize("name", [name for name in SIX if name != "CACR"])
@pytest.mark.parametrize("value", [0, 0.0, -0.1, math.nan, math.inf, torch.tensor(-1.0), torch.ones(2), "0.1", None])
def test_invalid_temperature(name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=r"temperature must be (> 0|finite|a number), got"):
        SIX[name](temperature=value)


PARAMETERS: list[tuple[type[Loss], dict[str, Any], str]] = [
    (HCL, {"beta": -1.0}, "beta must be >= 0, got -1"),
    (HCL, {"beta": math.nan}, "beta must be >= 0, got nan"),
    (HCL, {"beta": math.inf}, "beta must be finite, got inf"),
    (HCL, {"beta": True}, "beta must be a number, got True"),
    (HCL, {"detach_weights": "no"}, "detach_weights must be True or False, got 'no'"),
    (InfoNCE, {"normalize": "no"}, "normalize must be True or False, got 'no'"),
    (InfoNCE, {"temperature": True}, "temperature must be a number, got True"),
    (InfoNCE, {"temperature": torch.tensor(math.inf)}, "temperature must be finite, got inf"),
    (GCAINCE, {"sweeps": True}, "sweeps must be an integer >= 0, got True"),
    (CACR, {"t_positive": math.inf}, "t_positive must be finite, got inf"),
    (CACR, {"ordered": 1}, "ordered must be True or False, got 1"),
    (HCLOT, {"cost": SquaredEuclidean}, "cost must be one of .* or an object with a score method"),
    (HCLOT, {"cost": "exp", "kappa": "a"}, "kappa must be a number, got 'a'"),
    (HCL, {"tau_plus": 1.0}, r"tau_plus must be in \[0, 1\), got 1"),
    (HCL, {"tau_plus": -0.1}, r"tau_plus must be in \[0, 1\), got -0.1"),
    (HCLOT, {"reg": 0.0}, "reg must be > 0, got 0"),
    (HCLOT, {"reg": math.inf}, "reg must be finite"),
    (HCLOT, {"sweeps": -3}, "sweeps must be an integer >= 0, got -3"),
    (HCLOT, {"cost": "euclidean"}, "unknown cost 'euclidean': did you mean 'sqeuclidean'"),
    (HCLOT, {"cost": "manhattan"}, r"unknown cost 'manhattan': .*\['exp', 'sqeuclidean'\] or pass an object"),
    (HCLOT, {"cost": 3}, r"cost must be one of \['exp', 'sqeuclidean'\] or an object with a score method, got 3"),
    (HCLOT, {"kappa": 2.0}, "kappa belongs to cost='exp' only, got kappa=2.0 with cost='sqeuclidean'"),
    (HCLOT, {"cost": "exp", "kappa": math.nan}, "kappa must be finite, got nan"),
    (GCAINCE, {"sweeps": -1}, "sweeps must be an integer >= 0, got -1"),
    (GCAINCE, {"sweeps": 1.5}, "sweeps must be an integer >= 0, got 1.5"),
    (AlphaCLDirect, {"p": 0.0}, "p must be > 0, got 0"),
    (AlphaCLDirect, {"p": "4"}, "p must be a number, got '4'"),
    (CACR, {"t_positive": -1.0}, "t_positive must be >= 0, got -1"),
    (CACR, {"t_negative": -1.0}, "t_negative must be >= 0, got -1"),
    (CACR, {"alpha": -1.0}, "alpha must be >= 0, got -1"),
    (CACR, {"beta": math.nan}, "beta must be >= 0, got nan"),
    (CACR, {"cost": "rfb"}, "unknown cost 'rfb': did you mean 'rbf'"),
]


@pytest.mark.parametrize(("loss", "options", "message"), PARAMETERS, ids=lambda x: getattr(x, "__name__", str(x)))
def test_invalid_parameter(loss: type[Loss], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        loss(**options)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_inf_in_a_given_score_matrix(bad: float) -> None:
    with pytest.raises(InvalidInput, match=r"matrix holds NaN or \+inf: a score is a number, or -inf to forbid"):
        Scores.given(torch.tensor([[0.0, bad], [1.0, 2.0]]))


class NaNCost:
    """A user's cost that goes wrong."""

    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        return torch.sqrt(dot - 2)


@pytest.mark.parametrize("loss", [HCLOT(cost=NaNCost()), CACR(cost=NaNCost())], ids=["HCLOT", "CACR"])
def test_a_cost_that_returns_nan(loss: Loss) -> None:
    with pytest.raises(InvalidInput, match="scores of row 0 hold NaN: look for a cost that returns NaN"):
        loss(_view(), _view())


@pytest.mark.parametrize("name", SIX)
def test_a_zero_vector_is_fine_without_normalisation(name: str) -> None:
    z = _zero_row().requires_grad_()
    (gradient,) = torch.autograd.grad(SIX[name](normalize=False)(0.2 * z, 0.2 * _view()), z)
    assert gradient.isfinite().all()
    assert gradient.norm() < 100


@pytest.mark.parametrize("name", SIX)
def test_a_collapsed_batch_has_a_finite_value_and_gradient(name: str) -> None:
    z = torch.ones(N, D, requires_grad=True)
    value = SIX[name]()(z, z.detach().clone())
    (gradient,) = torch.autograd.grad(value, z)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_errors_are_value_errors_and_warnings_user_warnings() -> None:
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(CouplingWarning, UserWarning)
