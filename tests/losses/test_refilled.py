"""Buffers that are filled for the next batch before backward(): the right gradient or an error, never another one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from couplings import KL, Coupling, Fixed, Free, GivenMask, InfoNCE, Quadratic, SameId, Scores, TwoPass, couple
from couplings.basics.errors import Overwritten
from couplings.basics.sizes import limited
from couplings.losses.wanted import Domains
from couplings.pieces.costs import SquaredEuclidean
from helpers import CASES, F64, Case, unit_views

N, D = 6, 4
STORAGES = {
    "one matrix": {"tiled": 1 << 40, "dense": 1 << 40},
    "tiles": {"tiled": 0, "dense": 1 << 40, "tile": 8},
    "panels": {"tiled": 0, "dense": 0, "tile": 8, "panel": 100, "budget": 0},
}
KEPT = {"kept panels": {**STORAGES["panels"], "budget": 1 << 40}}
storages = pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)


def _refill(buffer: Tensor) -> None:
    """Other numbers of the same kind."""
    with torch.no_grad():
        if buffer.dtype == torch.bool:
            buffer.zero_()
        else:
            buffer.copy_(torch.roll(buffer, 1, 0) if buffer.dim() else buffer + 1)


def _gradient(value: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad(value, leaf)[0]


def _check(make: Callable[[], tuple[Tensor, Tensor]], *refills: Callable[[], None]) -> None:
    """After each refill the gradient in the leaf is still the one before, or an error says so."""
    expected = _gradient(*make())
    assert expected.abs().sum() > 0
    for refill in refills:
        value, leaf = make()
        refill()
        _assert_right_or_refused(lambda value=value, leaf=leaf: _gradient(value, leaf), expected)


def _assert_right_or_refused(found: Callable[[], Tensor], expected: Tensor) -> None:
    try:
        seen = found()
    except Overwritten:
        return
    except RuntimeError as error:
        if "modified by an inplace operation" in str(error):
            return
        raise
    torch.testing.assert_close(seen, expected, rtol=1e-9, atol=1e-12)


def _mask(columns: int) -> Tensor:
    mask = torch.zeros(2 * N, columns, dtype=torch.bool)
    i = torch.arange(N)
    mask[i, (i + 2) % N] = True
    return mask


def _target() -> Tensor:
    mass = torch.rand(2 * N, 2 * N, dtype=F64, generator=torch.Generator().manual_seed(1))
    return mass.fill_diagonal_(0.0)


def _calls(case: Case) -> list[dict[str, Tensor]]:
    """Calls with all that the loss takes beside the views."""
    calls: list[dict[str, Tensor]] = [{}]
    queue = unit_views(n=5, d=D, seed=3)[0]
    ids = torch.tensor([0, 1, 2, 3, 4, 1])
    if case.repels:
        calls += [{"mask": _mask(2 * N), "ids": ids}, {"labels": torch.tensor([0, 0, 1, 1, 2, 2])}]
        if case.keys:
            calls += [{"keys": queue, "ids": ids, "key_ids": torch.tensor([0, 1, 7, 8, 9]), "mask": _mask(2 * N + 5)}]
        if case.negatives:
            calls += [{"negatives": torch.randn(N, 3, D, dtype=F64)}]
    return [*calls, {"target": _target()}] if case().takes_target else calls


@pytest.mark.parametrize("storage", (STORAGES | KEPT).values(), ids=STORAGES | KEPT)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.loss.shares_columns])
def test_arguments_of_losses_with_sweeps(name: str, storage: dict[str, int]) -> None:
    _try_all(CASES[name], storage)


@storages
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.loss.shares_columns])
def test_arguments_of_the_other_losses(name: str, storage: dict[str, int]) -> None:
    _try_all(CASES[name], storage)


def _try_all(case: Case, storage: dict[str, int]) -> None:
    """Each view, learnt option and side of all calls."""
    learnt = {option: torch.tensor(float(getattr(case(), option)), dtype=F64) for option in case.learnable}
    given: dict[str, Tensor] = {}

    def call(sides: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        leaf, other = (view.requires_grad_() for view in unit_views(n=N, d=D))
        given.update({"view 1": leaf.clone(), "view 2": other.clone()})
        given.update({key: value.clone() for key, value in (learnt | sides).items()})
        few: dict[str, Any] = {"sweeps": 2} if case.takes("sweeps") else {}
        loss = case(**few, **{option: given[option] for option in learnt})
        brought: dict[str, Any] = {key: given[key] for key in sides}
        return loss(given["view 1"], given["view 2"], **brought), leaf

    with limited(**storage):
        for sides in _calls(case):
            names = ["view 1", "view 2", *learnt, *sides]
            _check(partial(call, sides), *(lambda name=name: _refill(given[name]) for name in names))


@storages
def test_domains(storage: dict[str, int]) -> None:
    domains = torch.tensor([0, 0, 1, 1, 2, 2])

    def make() -> tuple[Tensor, Tensor]:
        leaf, other = (view.requires_grad_() for view in unit_views(n=N, d=D))
        mask = _mask(2 * N)
        return CASES["GCAINCE"](target=Domains(0.2, 0.1))(leaf, other, domains=domains, mask=mask), leaf

    with limited(**storage):
        _check(make, lambda: _refill(domains))


ASKED: dict[str, Callable[[Coupling], Tensor]] = {
    "plan": lambda plan: plan.plan().square().sum(),
    "expectation": lambda plan: plan.expect(plan.scores).sum(),
    "log-expectation": lambda plan: plan.log_expect(plan.scores).sum(),
    "product": lambda plan: plan.apply(torch.arange(8, dtype=F64)).square().sum(),
    "entropy": lambda plan: plan.entropy(),
    "potential": lambda plan: plan.f.square().sum(),
}
MARGINALS = {
    "softmax": lambda w, rho: (Fixed(), Free()),
    "balanced": lambda w, rho: (Fixed(w["rows"]), Fixed(w["cols"])),
    "relaxed": lambda w, rho: (KL(rho, w["rows"]), KL(rho, w["cols"])),
}


@pytest.mark.parametrize("storage", (STORAGES | KEPT).values(), ids=STORAGES | KEPT)
@pytest.mark.parametrize("marginals", MARGINALS)
def test_arguments_of_the_solver(marginals: str, storage: dict[str, int]) -> None:
    """Before backward(), and before the coupling is asked; embeddings are read whenever they are needed."""
    given: dict[str, Tensor] = {}
    names = ["mask", "temperature", *(["rows", "cols", "init", "rho"] if marginals != "softmax" else [])]
    with limited(**storage):
        for ask in ASKED.values():
            expected = _gradient(*_asked(ask, *_solved(marginals, given)))
            _check(
                lambda ask=ask: _asked(ask, *_solved(marginals, given)),
                *(lambda name=name: _refill(given[name]) for name in [*names, "k"]),
            )
            for name in names:
                plan, leaf = _solved(marginals, given)
                _refill(given[name])
                _assert_right_or_refused(lambda ask=ask, p=plan, x=leaf: _gradient(*_asked(ask, p, x)), expected)


def _asked(ask: Callable[[Coupling], Tensor], plan: Coupling, leaf: Tensor) -> tuple[Tensor, Tensor]:
    return ask(plan), leaf


def _solved(marginals: str, given: dict[str, Tensor]) -> tuple[Coupling, Tensor]:
    torch.manual_seed(0)
    leaf = torch.randn(6, D, dtype=F64, requires_grad=True)
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[0, :3] = mask[3, 5] = True
    given.update(rows=torch.linspace(1, 2, 6, dtype=F64) / 9, cols=torch.linspace(2, 1, 8, dtype=F64) / 12)
    given.update(k=torch.randn(8, D, dtype=F64), mask=mask, init=torch.linspace(-1, 1, 8, dtype=F64))
    given.update(temperature=torch.tensor(2.0, dtype=F64), rho=torch.tensor(0.5, dtype=F64))
    scores = Scores(leaf, given["k"], temperature=given["temperature"], cost=SquaredEuclidean(), mask=mask)
    rows, cols = MARGINALS[marginals](given, given["rho"])
    return couple(scores, rows, cols, sweeps=3, init=given["init"] if cols.constrained else None), leaf


def test_masks_and_targets_are_what_they_were_made_of() -> None:
    """Used for several calls: ids are copied, a matrix that changed is refused."""
    ids, matrix = torch.tensor([0, 0, 1, 1]), torch.eye(4, dtype=torch.bool)
    by_id, given = SameId(ids, ids), GivenMask(matrix)
    before = by_id.forbidden()
    ids.zero_()
    matrix.zero_()
    assert torch.equal(by_id.forbidden(), before)
    for question in (given.forbidden, given.row_counts, lambda: given.at(torch.tensor(0), torch.tensor(0))):
        with pytest.raises(Overwritten, match="mask was written to after it was handed in"):
            question()


def test_a_quadratic_plan_by_panels() -> None:
    def make() -> tuple[Tensor, Tensor]:
        leaf = unit_views(n=N, d=D)[0].requires_grad_()
        scores = Scores(leaf, temperature=0.5, mask=mask)
        return couple(scores, Fixed(), Fixed(), sweeps=3, rule=Quadratic()).apply(torch.arange(N).double()).sum(), leaf

    with limited(**STORAGES["panels"]):
        mask = torch.eye(N, dtype=torch.bool)
        _check(make, mask.logical_not_)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(D, 3)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        z: Tensor = self.layer(x)
        return z if shift is None else z + shift.tanh()


@pytest.mark.parametrize("refilled", ["inputs", "keyword", "parameters"])
def test_inputs_and_parameters_of_two_passes(refilled: str) -> None:
    """The second pass encodes what the first one did."""
    buffers: dict[str, Tensor] = {}

    def make() -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        encoder = _Encoder()
        buffers.update(inputs=torch.randn(8, D), keyword=torch.randn(8, 3), parameters=encoder.layer.weight)
        z = TwoPass(encoder, 3)(buffers["inputs"], shift=buffers["keyword"])
        return InfoNCE()(z, torch.randn(8, 3)), encoder.layer.bias

    _check(make, lambda: _refill(buffers[refilled]))
