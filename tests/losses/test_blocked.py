"""Every loss without its matrices: value, gradients, couplings, errors and warnings are those of one matrix."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from test_bad_input import CALLS, NaNCost
from torch import Tensor

from couplings import CACR, RBF, CouplingWarning, Guide, InvalidInput, PairLoss
from couplings.basics.sizes import limited
from couplings.losses.base import Loss
from couplings.pieces.costs import DistancePower, ExpSquaredEuclidean, LogDistance
from couplings.plans.coupling import Coupling
from helpers import CASES, F64, Case, gradients, unit_views

N, D = 11, 5
TINY = {"dense": 0, "tiled": 0, "tile": 8, "panel": 200}
STORAGES = {"remade": {**TINY, "budget": 0}, "kept": {**TINY, "budget": 1 << 40}}
every_loss = pytest.mark.parametrize("name", CASES)
pytestmark = pytest.mark.filterwarnings("ignore:.*(collapsed|duplicates):couplings.CouplingWarning")


def _dense() -> AbstractContextManager[None]:
    return limited(dense=1 << 40, tiled=1 << 40)


def _blocked(storage: str = "remade") -> AbstractContextManager[None]:
    return limited(**STORAGES[storage])


def _views(count: int = 2) -> list[Tensor]:
    return unit_views(n=N, d=D, count=count)


def _queue() -> Tensor:
    return unit_views(n=7, d=D, seed=3)[0]


def _guide(views: Sequence[Tensor]) -> Guide:
    return Guide(*(v + 0.4 * torch.randn(v.shape, dtype=F64) for v in views), margin=0.05)


Sides = dict[str, Any]
IDS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 4, 9, 1])
SIDES: dict[str, Callable[[Sequence[Tensor]], Sides]] = {
    "nothing": lambda views: {},
    "ids": lambda views: {"ids": IDS},
    "labels": lambda views: {"labels": torch.arange(N) % 4},
    "keys": lambda views: {"keys": _queue()},
    "key_ids": lambda views: {"keys": _queue(), "ids": IDS, "key_ids": torch.tensor([1, 50, 51, 4, 4, 52, 53])},
    "mask": lambda views: {"mask": torch.rand(len(views) * N, len(views) * N) < 0.1},
    "guide": lambda views: {"mask": _guide(views)},
    "guide and ids": lambda views: {"mask": _guide(views), "ids": IDS},
    "own negatives": lambda views: {"negatives": torch.randn(N, 4, D, dtype=F64)},
}


def _takes(case: Case, side: str) -> bool:
    keys, own = side.startswith("key"), side == "own negatives"
    return side == "nothing" or (case.repels and (case.keys or not keys) and (case.negatives or not own))


Outcome = dict[str, Tensor]


def _outcome(case: Case, views: Sequence[Tensor], sides: Sides, options: Mapping[str, Any]) -> Outcome:
    """Value, gradients of views, queue and learnt options."""
    moved = {name: x for name, x in sides.items() if name in ("keys", "negatives")}
    learnt = _learnt(case, options)
    names = [*(f"view {i}" for i in range(len(views))), *moved, *learnt]

    def value(*inputs: Tensor) -> Tensor:
        given = dict(zip(names, inputs, strict=True))
        loss = case(**{**options, **{name: given[name] for name in learnt}})
        return loss(*inputs[: len(views)], **{**sides, **{name: given[name] for name in moved}})

    inputs = [*views, *moved.values(), *learnt.values()]
    return {"value": value(*inputs).detach(), **dict(zip(names, gradients(value, inputs), strict=True))}


def _learnt(case: Case, options: Mapping[str, Any]) -> dict[str, Tensor]:
    loss = case(**options)
    return {name: torch.tensor(float(getattr(loss, name)), dtype=F64) for name in case.learnable}


def _close(blocked: Mapping[str, Tensor], dense: Mapping[str, Tensor], tol: float = 1e-10) -> None:
    assert blocked.keys() == dense.keys()
    for key, expected in dense.items():
        scale = expected[expected.isfinite()].abs().amax().clamp_min(1e-2) if expected.numel() else torch.tensor(1.0)
        torch.testing.assert_close(
            blocked[key], expected, rtol=0, atol=tol * float(scale), msg=lambda text, key=key: f"{key}: {text}"
        )


def _assert_same(case: Case, views: Sequence[Tensor], sides: Sides, **options: Any) -> None:
    with _dense():
        dense = _outcome(case, views, sides, options)
    for storage in STORAGES if case.loss.shares_columns else ("remade",):
        with _blocked(storage):
            _close(_outcome(case, views, sides, options), dense)
    assert max(float(x.abs().max()) for key, x in dense.items() if key.startswith("view")) > 1e-6


@every_loss
@pytest.mark.parametrize("side", SIDES)
def test_two_views(name: str, side: str) -> None:
    case, views = CASES[name], _views()
    if _takes(case, side):
        _assert_same(case, views, SIDES[side](views))


@every_loss
@pytest.mark.parametrize("side", ["ids", "key_ids", "guide", "own negatives"])
def test_three_views(name: str, side: str) -> None:
    case, views = CASES[name], _views(3)
    _assert_same(case, views, SIDES[side](views) if _takes(case, side) else {})


@every_loss
@pytest.mark.parametrize("options", [{"normalize": False}, {"across_views": True}], ids=str)
@pytest.mark.parametrize("side", ["nothing", "labels"])
def test_options(name: str, options: dict[str, Any], side: str) -> None:
    case, views = CASES[name], [1.3 * v for v in _views()]
    if all(case.takes(option) for option in options) and _takes(case, side):
        softer = {"temperature": 0.6} if "temperature" in case.learnable else {}
        _assert_same(case, views, SIDES[side](views), **options, **softer)


@every_loss
def test_a_target(name: str) -> None:
    case, views = CASES[name], _views()
    if not case().takes_target:
        return
    target = torch.eye(2 * N, dtype=F64).roll(N, 1) + 0.05 * torch.rand(2 * N, 2 * N, dtype=F64)
    _assert_same(case, views, {"target": target.fill_diagonal_(0.0)})
    if case.takes("target"):
        _assert_same(case, views, SIDES["labels"](views), target="labels")


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("CACR", {"tau_plus": 0.1}),
    ("CACR", {"ordered": True}),
    ("CACR", {"detach_weights": True, "t_positive": 2.0}),
    ("CACR", {"t_positive": 0.0, "t_negative": 0.0}),
    ("CACR", {"cost": "rbf", "tau_plus": 0.05}),
    ("CACR", {"cost": LogDistance()}),
    ("CACR", {"cost": DistancePower(3.0), "detach_weights": True}),
    ("CACR", {"cost": RBF(0.7), "normalize": False}),
    ("SinkhornCACR", {"tau_plus": 0.1, "ordered": True}),
    ("SinkhornCACR", {"cost": "rbf"}),
    ("SinkhornCACR", {"cost": LogDistance(), "detach_weights": True}),
    ("AlphaCL", {"rule": "quadratic"}),
    ("AlphaCL", {"rule": "power"}),
    ("AlphaCL", {"cost": LogDistance(), "temperature": 1.0}),
    ("AlphaCLDirect", {"p": 1.0}),
    ("BalancedAlphaCL", {"p": 4.0, "sweeps": None}),
    ("HCL", {"tau_plus": 0.1}),
    ("HCL", {"beta": 0.0}),
    ("HCLOT", {"rule": "quadratic"}),
    ("HCLOT", {"cost": ExpSquaredEuclidean()}),
    ("SupCon", {"log_inside": True}),
    ("IOT", {"uniformity": 0.3}),
    ("SparseGCA", {"rule": "entropic"}),
    ("GCAINCE", {"sweeps": 0}),
    ("InfoNCE", {"temperature": 0.004}),
    ("CLIP", {"temperature": 0.004}),
    ("RINCE", {"temperature": 0.05}),
    ("SigLIP", {"learnable": True}),
    ("CLIP", {"learnable": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_parameters(name: str, options: dict[str, Any]) -> None:
    """Every branch of the engine that defaults do not reach."""
    case = CASES[name]
    for count in (2, 3):
        with _dense():
            dense = _all_gradients(case(**options).double(), _views(count))
        with _blocked():
            _close(_all_gradients(case(**options).double(), _views(count)), dense, 1e-9)


def _all_gradients(loss: Loss, views: Sequence[Tensor]) -> Outcome:
    """Of views and of the parameters of the loss."""
    leaves = [v.clone().requires_grad_() for v in views]
    value = loss(*leaves)
    inputs = [*leaves, *loss.parameters()]
    found = torch.autograd.grad(value, inputs, materialize_grads=True)
    return {"value": value.detach(), **{f"input {i}": g for i, g in enumerate(found)}}


PAIR_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "softplus": torch.nn.functional.softplus,
    "in place": lambda x: x.relu_(),
    "a view": lambda x: x.T.contiguous().T.exp(),
    "double": lambda x: torch.exp(2 * x.double()),
    "kinked": lambda x: x.abs().clamp_max(0.4),
    "cube root": lambda x: (x + 3).pow(1 / 3),
}


@pytest.mark.parametrize("psi", PAIR_FUNCTIONS)
@pytest.mark.parametrize("normalize", [True, False])
def test_pair_functions(psi: str, normalize: bool) -> None:
    loss = PairLoss(phi=torch.log1p, psi=PAIR_FUNCTIONS[psi], normalize=normalize)
    with _dense():
        dense = _all_gradients(loss, _views(3))
    with _blocked():
        _close(_all_gradients(loss, _views(3)), dense)


def test_a_pair_function_with_parameters_of_its_own() -> None:
    """Its gradient comes beside that of the views."""
    sharp = torch.tensor(2.0, dtype=F64)

    def value(one: Tensor, other: Tensor, sharp: Tensor) -> Tensor:
        return PairLoss(phi=torch.log1p, psi=lambda x: torch.exp(sharp * x))(one, other)

    found = []
    for storage in (_dense(), _blocked()):
        with storage:
            found.append(gradients(value, [*_views(), sharp]))
    for blocked, dense in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(blocked, dense)
    assert found[0][2] != 0


def test_a_cost_with_parameters_of_its_own() -> None:
    """Whatever object holds them."""
    width = torch.tensor(2.0, dtype=F64)

    class Learnt:
        def __init__(self, width: Tensor) -> None:
            self.width = width

        def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
            return -self.width * (q_sq + k_sq - 2 * dot)

    def value(one: Tensor, other: Tensor, width: Tensor) -> Tensor:
        return CACR(cost=Learnt(width))(one, other)

    found = []
    for storage in (_dense(), _blocked()):
        with storage:
            found.append(gradients(value, [*_views(), width]))
    for blocked, dense in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(blocked, dense)
    assert found[0][2] != 0


@every_loss
@pytest.mark.parametrize("moving", [0, 1])
def test_a_view_that_is_a_constant(name: str, moving: int) -> None:
    """As the slow target network's."""
    found = []
    for storage in (_dense(), _blocked()):
        views = _views()
        views[moving].requires_grad_()
        with storage:
            found.append(torch.autograd.grad(CASES[name]()(*views), views[moving])[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-11)


# Couplings


def _verbs(plans: Mapping[str, Coupling]) -> Outcome:
    return {f"{key}: {verb}": value for key, plan in plans.items() for verb, value in _asked(plan).items()}


def _asked(plan: Coupling) -> Outcome:
    n, m = plan.scores.shape
    mask = plan.scores.mask
    i, j = (torch.ones(n, m) if mask is None else ~mask.forbidden()).nonzero().T
    wide = torch.linspace(-1, 1, 2 * m, dtype=F64)
    mass, rows, cols = plan.top(4)
    return {
        "f": plan.f,
        "g": plan.g,
        "row mass": plan.row_mass(),
        "column mass": plan.column_mass(),
        "marginals": torch.cat(plan.marginals()),
        "entropy": plan.entropy(),
        "row entropy": plan.row_entropy(),
        "expect": plan.expect(plan.scores),
        "log expect": plan.log_expect(plan.scores),
        "apply": plan.apply(wide[:m]),
        "apply to two": plan.apply(wide.view(m, 2)),
        "error": plan.error(),
        "dual": plan.dual(),
        "support": plan.support_size(),
        "log at": plan.log_at(i, j),
        "log conditional at": plan.log_conditional_at(i[:9], j[:9]),
        "plan": plan.plan(),
        "conditional": plan.conditional(),
        "top": mass,
        "top is there": plan.plan()[rows, cols] - mass,
        "empty rows": torch.tensor(plan.empty_rows),
        "some rows": plan.rows(slice(3, n - 2)).row_mass(),
        "constant": plan.detach().row_mass(),
    }


@every_loss
@pytest.mark.parametrize("side", ["nothing", "keys", "mask", "guide and ids"])
def test_couplings(name: str, side: str) -> None:
    case, views = CASES[name], _views()
    if not _takes(case, side):
        return
    sides = SIDES[side](views)
    with _dense():
        dense = _verbs(case().coupling(*views, **sides))
        weights = case().pair_weights(*views, **sides)
    for storage in STORAGES:
        with _blocked(storage):
            _close(_verbs(case().coupling(*views, **sides)), dense)
            torch.testing.assert_close(case().pair_weights(*views, **sides), weights, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", ["InfoNCE", "GCAINCE", "GCAUOT", "AlphaCL", "SparseGCA"])
def test_gradients_of_what_couplings_are_asked(name: str) -> None:
    found: list[Outcome] = []
    for storage in (_dense(), _blocked()):
        with storage:
            views = [v.requires_grad_() for v in _views()]
            (plan,) = CASES[name]().couplings(CASES[name]().batch(*views)).values()
            grads = {
                verb: torch.autograd.grad(x.sum() + 0 * views[0].sum(), views[0], retain_graph=True)[0]
                for verb, x in _asked(plan).items()
            }
            found.append(grads)
    _close(found[1], found[0], 1e-9)


# Precision


@every_loss
@pytest.mark.parametrize("temperature", [0.5, 0.1, 0.02])
def test_single_precision(name: str, temperature: float) -> None:
    """As near to double precision as one matrix is asked to be, on six hundred rows and tiles of a hundred."""
    if name in ("AlphaCLLowRank", "BalancedAlphaCL") and temperature < 0.1:
        return  # a cut between singular values that nearly meet; a plan that twenty sweeps do not solve
    views = unit_views(n=150, d=16, noise=0.5)
    loss = CASES[name].at_temperature(temperature)
    with limited(dense=0, tiled=0, tile=100, panel=100 * 300, budget=0):
        single = _value_and_gradient(loss, [v.float() for v in views])
    with _dense():
        double = _value_and_gradient(loss, [v.float().double() for v in views])
    scale = 1.0 if CASES[name].at is None else temperature
    assert (single[1].double() - double[1]).norm() * scale <= 1e-5
    torch.testing.assert_close(single[0].double(), double[0], rtol=1e-4, atol=1e-5)


def _value_and_gradient(loss: Loss, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    leaves = [v.detach().requires_grad_() for v in views]
    value = loss(*leaves)
    return value.detach(), torch.cat(torch.autograd.grad(value, leaves))


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_is_computed_in_single(name: str, dtype: torch.dtype) -> None:
    """Under autocast too: the value is that of the same numbers in single precision."""
    views = [v.to(dtype) for v in _views()]
    loss = CASES[name].at_temperature(0.1)
    with _blocked():
        value, gradient = _value_and_gradient(loss, views)
        single, exact = _value_and_gradient(loss, [v.float() for v in views])
        with torch.autocast("cpu", dtype=dtype):
            torch.testing.assert_close(loss(*views), value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(value, single.detach(), rtol=1e-5, atol=1e-6)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, exact.to(dtype))


@every_loss
def test_without_gradient(name: str) -> None:
    with _blocked():
        loss, views = CASES[name](), [v.requires_grad_() for v in _views()]
        value = loss(*views)
        with torch.no_grad():
            quiet = loss(*views)
            plans = loss.coupling(*views)
        with torch.inference_mode():
            torch.testing.assert_close(loss(*views), value.detach(), rtol=1e-13, atol=1e-13)
            inside = loss.coupling(*(v.clone() for v in views))
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, value.detach(), rtol=1e-13, atol=1e-13)
    for key, plan in plans.items():
        torch.testing.assert_close(inside[key].row_mass(), plan.row_mass())


@every_loss
def test_twice_through_one_graph(name: str) -> None:
    """Kept for a second backward, the graph gives the same gradient; not kept, it says so."""
    with _blocked():
        views = [v.requires_grad_() for v in _views()]
        value = CASES[name]()(*views)
        first = torch.autograd.grad(value, views, retain_graph=True)
        again = torch.autograd.grad(value, views)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        with pytest.raises(RuntimeError, match="second time"):
            torch.autograd.grad(value, views)


# Errors and warnings


NOT_MASKED_ALIKE = {"overflowing norm", "one class", "a batch of one"}
"""Calls that some loss allows."""


@pytest.mark.parametrize("call", sorted(CALLS.keys() - NOT_MASKED_ALIKE))
def test_invalid_calls_are_refused_in_the_same_words(call: str) -> None:
    arguments, _ = CALLS[call]
    for name in CASES:
        torch.manual_seed(0)
        views, sides = arguments()
        with _dense():
            dense = _refusal(lambda: CASES[name]()(*views, **sides))  # noqa: B023
        with _blocked():
            assert _refusal(lambda: CASES[name]()(*views, **sides)) == dense  # noqa: B023


def _refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as refused:
        call()
    return str(refused.value)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("cost")])
def test_a_cost_that_returns_nan(name: str) -> None:
    with _blocked(), pytest.raises(InvalidInput, match="scores of row 0 hold NaN: look for a cost that returns NaN"):
        CASES[name](cost=NaNCost())(*_views())


@every_loss
def test_classes_that_are_too_large(name: str) -> None:
    """Eight of eleven samples are one: no balanced plan exists; other losses do with what is left."""
    ids = torch.tensor([0] * 8 + [1, 2, 3])
    if not CASES[name].repels:
        return
    results = []
    for storage in (_dense(), _blocked()):
        with storage:
            results.append(_result(CASES[name](), _views(), {"ids": ids}))
    assert results[1] == results[0]


def _duplicates() -> list[Tensor]:
    return [torch.cat([v[:6], v[:5]]) for v in _views()]


def _collapsed() -> list[Tensor]:
    return [torch.ones(N, D, dtype=F64)] * 2


@pytest.mark.filterwarnings("default::couplings.CouplingWarning")
@every_loss
@pytest.mark.parametrize("views", [_duplicates, _collapsed])
def test_warnings_are_the_same(name: str, views: Callable[[], list[Tensor]]) -> None:
    results = []
    for storage in (_dense(), _blocked()):
        with storage:
            results.append(_result(CASES[name](), views(), {}))
    assert results[1] == results[0]
    assert len(results[0]) > 1 or not CASES[name].repels


@pytest.mark.filterwarnings("default::couplings.CouplingWarning")
def test_a_plan_that_is_not_solved_warns_the_same() -> None:
    loss = CASES["BalancedAlphaCL"](temperature=0.005, sweeps=None)
    results = []
    for storage in (_dense(), _blocked()):
        with storage:
            results.append([text for text in _result(loss, _views(), {})[1:] if "1000 sweeps" in text][:1])
    assert len(results[0]) == 1
    assert results[1][0][:60] == results[0][0][:60]


def _result(loss: Loss, views: Sequence[Tensor], sides: Sides) -> list[str]:
    """The value or the error, and the warnings, in words."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", CouplingWarning)
        try:
            said = f"{float(loss(*views, **sides)) + 1e-12:.9f}"
        except ValueError as error:
            said = f"{type(error).__name__}: {error}"
    return [said, *(str(warning.message) for warning in seen if issubclass(warning.category, CouplingWarning))]
