"""Scores as functions of one cosine: log-sum-exps and moments by tiles, or by panels where no precision holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from couplings import RBF, Cost, Scores, SquaredEuclidean, couple
from couplings.basics.sizes import limited
from couplings.engine import sphere
from couplings.engine.grams import SharedKeys
from couplings.losses import AlphaCLDirect, InfoNCE
from couplings.pieces.costs import DistancePower, InnerProduct, LogDistance
from couplings.pieces.masks import SameId
from couplings.plans import softmax
from helpers import F64, unit_views

N, M, D = 23, 17, 6
UNIT = torch.finfo(torch.float32).eps / 2
"""The most that one rounding to single precision changes a number, relatively."""
COSTS: list[Cost] = [
    InnerProduct(),
    SquaredEuclidean(),
    DistancePower(2.0),
    DistancePower(3.0),
    LogDistance(),
    RBF(1.5),
]
every_cost = pytest.mark.parametrize("cost", COSTS, ids=repr)


@pytest.fixture(autouse=True)
def _tiles() -> Iterator[None]:
    with limited(dense=0, tiled=0, tile=8, panel=5 * M, budget=0):
        yield


def _rows(n: int = N, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return unit_views(n=n, d=D, count=1, seed=seed)[0].to(dtype).requires_grad_()


Logits = tuple[float | Tensor, Cost, bool]
"""A temperature, whose sign is that of the scores; a cost; whether the cosines carry gradient."""


def _scores(q: Tensor, k: Tensor, *logits: Logits, mask: SameId | None = None) -> Scores:
    gram = SharedKeys(q, k, unit=True)

    def one(temperature: float | Tensor, cost: Cost, moves: bool) -> Scores:
        sign = 1 if temperature > 0 else -1
        of = gram if moves else gram.detach()
        scores = Scores.from_gram(of, temperature=sign * temperature, cost=cost, mask=mask)
        return scores if sign > 0 else -scores

    first, *others = (one(*each) for each in logits)
    for other in others:
        first = first + other
    return first


def _matrix(x: Tensor, logits: list[Logits]) -> Tensor:
    one = x.new_ones((1, 1))
    return sum((cost.score(x if moves else x.detach(), one, one) / t for t, cost, moves in logits), start=0 * x)


def _check(logits: list[list[Logits]], mask: bool = True, own: bool = False, columns: bool = False) -> None:
    """Several sums of one pass against logsumexp of the matrices, with gradients of embeddings and temperatures."""
    q, k = _rows(), _rows(M, 1)
    k = q if own else k
    forbids = SameId(torch.arange(len(q)), torch.arange(len(k))) if mask else None
    leaves = [q, *([] if own else [k])]
    leaves += [t for each in logits for t, _, _ in each if isinstance(t, Tensor) and t.requires_grad]
    ours = sphere.log_sums(*(_scores(q, k, *each, mask=forbids) for each in logits), columns=columns)
    assert ours is not None
    whole = torch.stack([_matrix(q @ k.T, each) for each in logits])
    if forbids is not None:
        whole = whole.masked_fill(forbids.forbidden(), -torch.inf)
    theirs = [torch.logsumexp(whole, 2), torch.logsumexp(whole, 1)] if columns else [torch.logsumexp(whole, 2)]
    weights = [torch.randn_like(x) for x in theirs]
    for one, other in zip(ours, theirs, strict=columns):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    exact, made = (
        torch.autograd.grad(sum((x * w).sum() for x, w in zip(xs, weights, strict=False)), leaves, allow_unused=True)  # type: ignore[arg-type]
        for xs in (theirs, ours)
    )
    for one, other in zip(made, exact, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@every_cost
@pytest.mark.parametrize("own", [False, True])
def test_any_cost(cost: Cost, own: bool) -> None:
    for temperature in (0.4, -0.4, torch.tensor(0.4, dtype=F64, requires_grad=True)):
        _check([[(temperature, cost, True)]], own=own)
        if not own:  # where a self pair is at distance zero, which has no derivative
            _check([[(temperature, cost, True)]], columns=True, mask=False)


@pytest.mark.parametrize("own", [False, True])
def test_several_sums_of_one_pass(own: bool) -> None:
    """As HCL's: a kernel, and a kernel times weights; a part of the exponent, or all of it, held still."""
    cosine, distance = InnerProduct(), SquaredEuclidean()
    learnt, other = (torch.tensor(t, dtype=F64, requires_grad=True) for t in (0.5, 0.3))
    _check([[(0.5, cosine, True)], [(0.5, cosine, True), (1.0, distance, False)]], own=own)
    _check([[(0.5, cosine, False)], [(-0.7, distance, True)]], own=own)
    _check([[(0.5, cosine, True)], [(math.inf, cosine, True)]], own=own)
    _check([[(learnt, cosine, True)], [(learnt, cosine, False), (other, distance, True)]], own=own)
    _check([[(0.5, cosine, True)], [(1.0, LogDistance(), False)], [(0.4, RBF(), True)]], own=own)


@pytest.mark.parametrize("constant", ["all", "learnt temperature"])
def test_sums_of_constants(constant: str) -> None:
    temperature = torch.tensor(0.4, dtype=F64, requires_grad=True) if constant == "learnt temperature" else 0.4
    q = _rows().detach()
    made = sphere.log_sums(_scores(q, q, (temperature, InnerProduct(), True)))
    assert made is not None
    exact = torch.logsumexp(q @ q.T / temperature, 1)
    torch.testing.assert_close(made[0][0], exact, rtol=1e-12, atol=0)
    assert made[0].requires_grad == exact.requires_grad
    if isinstance(temperature, Tensor):
        ours, theirs = (torch.autograd.grad(x.sum(), temperature) for x in (made[0], exact))
        torch.testing.assert_close(ours, theirs)


def test_a_light_column_counts_where_it_is_alone() -> None:
    """exp(-39) of weight exp(-70) is no number of single precision, though each of the two is."""
    q, k = (torch.eye(1, D).repeat(n, 1) for n in (N, M))
    k[0] = -k[0]
    mask = SameId(1 + torch.arange(N).clamp_max(1), 2 - torch.arange(M).clamp_max(1))  # row 0 has column 0 alone
    light = torch.zeros(M).index_fill_(0, torch.tensor([0]), -70.0)
    made = sphere.log_sums(_scores(q, k, (1 / 39, InnerProduct(), True), mask=mask), log_weights=light)
    assert made is not None
    torch.testing.assert_close(made[0][0, 0].item(), -109.0, rtol=8 * UNIT, atol=0)


@pytest.mark.parametrize("temperature", [0.5, 0.1, 0.03, 0.02, 0.01, -0.01, 0.005])
@pytest.mark.parametrize("learnt", [False, True])
def test_single_precision_at_low_temperatures(temperature: float, learnt: bool) -> None:
    """As exact as scores in single precision allow, though their exponentials are beyond it."""
    results = []
    start = _rows(dtype=torch.float32).detach()
    for dtype in (torch.float32, F64):
        q = start.to(dtype).requires_grad_()
        t = torch.tensor(temperature, dtype=dtype, requires_grad=True) if learnt else temperature
        made = sphere.log_sums(_scores(q, q, (t, InnerProduct(), True), mask=SameId(torch.arange(N), torch.arange(N))))
        assert made is not None
        assert made[0].dtype == dtype
        results.append((made[0], *torch.autograd.grad(made[0].sum(), [q, t] if isinstance(t, Tensor) else [q])))
    exact = start.detach().double()
    weights = torch.softmax((exact @ exact.T / temperature).fill_diagonal_(-torch.inf), 1)
    # Roundings of a score: D products, temperature, quotient, shift (two), result. Weights move twice as far, and sums.
    score, sums = (D + 5) * UNIT / abs(temperature), (N + D) * UNIT
    weight = (2 * score + sums) / abs(temperature)
    bounds = (score + sums, weight * float(1 + weights.sum(0).max()), weight * N / abs(temperature))
    for single, double, bound in zip(*results, bounds, strict=False):
        assert (single.double() - double).abs().max() <= bound


@pytest.mark.parametrize("cost", [InnerProduct(), DistancePower(4.0)], ids=repr)
def test_where_neither_precision_holds_panels_do(cost: Cost) -> None:
    """At temperature 0.002 exponents range over a thousand: no tiles, the same potentials and expectations."""
    q = _rows()
    scores = _scores(q, q, (0.002, cost, True), mask=SameId(torch.arange(N), torch.arange(N)))
    assert scores.tiled
    assert sphere.log_sums(scores) is None
    assert sphere.moment(scores, scores) is None
    plan = couple(scores)
    logits = _matrix(q @ q.T, [(0.002, cost, True)]).fill_diagonal_(-torch.inf)
    torch.testing.assert_close(plan.f, math.log(N) - torch.logsumexp(logits, 1))
    expected = (torch.softmax(logits, 1) * logits.masked_fill(logits.isinf(), 0.0)).sum(1)
    torch.testing.assert_close(plan.expect(scores), expected)


@every_cost
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("temperature", [0.4, -0.4, math.inf])
def test_what_rows_expect(cost: Cost, constant: bool, temperature: float) -> None:
    """The kernel's temperature may be negative, as in attraction, or infinite, as in uniform weights."""
    q, k = _rows(), _rows(M, 1)
    for value, plan_cost in [(SquaredEuclidean(), cost), (cost, InnerProduct())]:
        mask = SameId(torch.arange(N), torch.arange(M))
        plan, other = (
            _scores(q, k, (t, c, moves), mask=m)
            for t, c, moves, m in [(temperature, plan_cost, not constant, mask), (0.7, value, True, None)]
        )
        made = sphere.moment(plan, other)
        assert made is not None
        logits = _matrix(q @ k.T, [(temperature, plan_cost, not constant)]).masked_fill(mask.forbidden(), -torch.inf)
        exact = (torch.softmax(logits, 1) * _matrix(q @ k.T, [(0.7, value, True)])).sum(1)
        ours = made[1] / made[0]
        torch.testing.assert_close(ours, exact, rtol=1e-11, atol=1e-11)
        weights = torch.randn_like(exact)
        for one, two in zip(*(torch.autograd.grad((x * weights).sum(), [q, k]) for x in (ours, exact)), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


@every_cost
def test_columns_may_weigh(cost: Cost) -> None:
    q, k, g = _rows(), _rows(M, 1), torch.randn(M, dtype=F64, requires_grad=True)
    plan, other = _scores(q, k, (0.4, cost, True)), _scores(q, k, (0.7, InnerProduct(), True))
    made, sums = sphere.moment(plan, other, g), sphere.log_sums(plan, plan + other, log_weights=g)
    assert made is not None
    assert sums is not None
    logits, value = _matrix(q @ k.T, [(0.4, cost, True)]) + g, _matrix(q @ k.T, [(0.7, InnerProduct(), True)])
    pairs = [
        (made[1] / made[0], (torch.softmax(logits, 1) * value).sum(1)),
        (sums[0][1] - sums[0][0], torch.logsumexp(logits + value, 1) - torch.logsumexp(logits, 1)),
    ]
    for ours, exact in pairs:
        torch.testing.assert_close(ours, exact, rtol=1e-11, atol=1e-11)
        weights = torch.randn_like(exact)
        by = (torch.autograd.grad((x * weights).sum(), [q, k, g], retain_graph=True) for x in (ours, exact))
        for one, two in zip(*by, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


def _not_unit() -> Scores:
    return Scores.from_gram(SharedKeys(2 * _rows(), 2 * _rows()))


def _different() -> Scores:
    return _scores(_rows(), _rows(), (0.5, InnerProduct(), True)) + _scores(
        _rows(seed=1), _rows(seed=2), (0.5, InnerProduct(), True)
    )


@pytest.mark.parametrize("made", [_not_unit, _different])
def test_what_is_no_function_of_one_cosine_is_left_to_panels(made: Callable[[], Scores]) -> None:
    scores = made()
    assert sphere.log_sums(scores) is None
    assert sphere.moment(scores, scores) is None
    torch.testing.assert_close(couple(scores).f, math.log(N) - torch.logsumexp(scores.unmasked(), 1))


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("temperature", [0.5, math.inf])
def test_pair_functions_of_offset_logits(vector: bool, temperature: float) -> None:
    """Known derivatives, and one by autograd; offsets and temperatures may be learnt."""
    for fn in (torch.exp, torch.square, torch.nn.functional.softplus, torch.sigmoid, lambda x: x.relu() ** 3):
        q = _rows()
        offset = torch.randn(N if vector else (), dtype=F64, requires_grad=True)
        t = torch.tensor(temperature, dtype=F64, requires_grad=math.isfinite(temperature))
        scores = _scores(q, q, (t, SquaredEuclidean(), True), mask=SameId(torch.arange(N) % 5, torch.arange(N) % 5))
        ours = scores.row_sum(fn, offset)
        logits = _matrix(q @ q.T, [(t, SquaredEuclidean(), True)]) + (offset[:, None] if vector else offset)
        exact = torch.where(torch.arange(N)[:, None] % 5 != torch.arange(N) % 5, fn(logits), 0.0).sum(1)
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
        inputs = [q, offset, *([t] if t.requires_grad else [])]
        weights = torch.randn_like(exact)
        by = (torch.autograd.grad((x * weights).sum(), inputs) for x in (ours, exact))
        for one, two in zip(*by, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-11)


def test_a_pair_function_that_ends_under_the_mask() -> None:
    """Self pairs have the largest cosines; what the function is there is nobody's business."""
    q = _rows(dtype=torch.float32)
    scores = _scores(q, q, (0.01, SquaredEuclidean(), True), mask=SameId(torch.arange(N), torch.arange(N)))
    offset = -scores.unmasked().detach().fill_diagonal_(-torch.inf).amax(1)
    sums = scores.row_sum(lambda x: torch.exp(2.5 * x), offset)
    (grad,) = torch.autograd.grad(sums.sum(), q)
    assert sums.isfinite().all()
    assert grad.isfinite().all()


def test_a_row_potential_is_solved_once_and_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    solve = softmax._solved

    def counted(*args: object) -> Tensor:
        calls.append(1)
        return solve(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(softmax, "_solved", counted)
    plan = couple(_scores(_rows(), _rows(), (0.4, InnerProduct(), True)))
    plan.expect(plan.scores)
    plan.log_expect(plan.scores)
    plan.detach().expect(plan.scores)
    assert calls == []
    first = plan.f
    plan.entropy()
    plan.row_mass()
    torch.testing.assert_close(plan.rows(slice(3, 7)).f, first[3:7])
    assert torch.equal(plan.detach().f, first)
    assert not plan.detach().f.requires_grad
    assert len(calls) == 1


def test_losses_of_expectations_solve_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    solve = softmax._solved
    monkeypatch.setattr(softmax, "_solved", lambda *args: calls.append(1) or solve(*args))
    views = [v.requires_grad_() for v in unit_views(n=12)]
    AlphaCLDirect()(*views).backward()
    assert len(calls) == 0
    InfoNCE()(*views).backward()
    assert len(calls) == 1
