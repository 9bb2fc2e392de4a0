"""Targets: mass on pairs, its divergence from a plan, and what a balanced plan can meet."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from couplings import (
    KL,
    Cost,
    Coupling,
    Entropic,
    Fixed,
    Free,
    Given,
    InnerProduct,
    InvalidInput,
    Pairs,
    Quadratic,
    Rule,
    SameId,
    Scores,
    SquaredEuclidean,
    couple,
)
from couplings.basics.sizes import limited
from couplings.pieces.masks import GivenMask
from couplings.plans.graded import Graded
from couplings.plans.targets import Part
from helpers import F64
from largest import largest_tensor

COLUMNS = torch.tensor([[1, 2], [0, 2], [0, 1]])


def _plan() -> tuple[Scores, torch.Tensor]:
    scores = Scores.given(torch.randn(3, 3, dtype=F64), temperature=0.7)
    return scores, couple(scores).plan()


def _mean(plan: Coupling, part: Part) -> torch.Tensor:
    return part.log_mean_exp(part.log_entries(plan))


def test_divergence_is_the_kullback_leibler_divergence() -> None:
    scores, plan = _plan()
    target = (torch.ones(3, 3, dtype=F64) - torch.eye(3, dtype=F64)) / 6
    expected = torch.nn.functional.kl_div(plan.log(), target, reduction="sum")
    torch.testing.assert_close(Pairs(COLUMNS).divergence(couple(scores)), expected)


def test_divergence_of_a_plan_from_itself_is_zero() -> None:
    mask = torch.eye(3, dtype=torch.bool)
    coupling = couple(Scores.given(torch.zeros(3, 3, dtype=F64), mask=mask), Fixed(), Fixed(), sweeps=50)
    assert Pairs(COLUMNS).divergence(coupling).item() == pytest.approx(0, abs=1e-12)


def test_marginals_count_the_pairs() -> None:
    for columns, expected in ((COLUMNS, [1 / 3] * 3), (torch.tensor([[0], [0], [2]]), [2 / 3, 0, 1 / 3])):
        rows, cols = Pairs(columns).marginals(3)
        assert rows is None
        assert cols is not None
        assert cols.tolist() == pytest.approx(expected)
    assert Pairs(COLUMNS, balanced=True).marginals(3) == (None, None)


def test_pairs_and_the_same_target_as_a_matrix_agree() -> None:
    scores, _ = _plan()
    plan = couple(scores, KL(0.3), KL(0.7), sweeps=3)
    pairs, matrix = Pairs(COLUMNS), torch.ones(3, 3, dtype=F64) - torch.eye(3, dtype=F64)
    given = Given(2 * matrix)
    torch.testing.assert_close(given.divergence(plan), pairs.divergence(plan))
    torch.testing.assert_close(given.conditional_divergence(plan), pairs.conditional_divergence(plan))
    torch.testing.assert_close(given.row_mass(plan.f), pairs.row_mass(plan.f))
    torch.testing.assert_close(given.cross_entropy(plan), pairs.cross_entropy(plan))
    torch.testing.assert_close(given.expected_logit(plan), pairs.expected_logit(plan))
    torch.testing.assert_close(given.primal(plan), pairs.primal(plan))
    torch.testing.assert_close(given.each_row(plan, _mean), pairs.each_row(plan, _mean))
    assert given.entropy() == pytest.approx(pairs.entropy())


def test_conditional_divergence_ignores_row_masses() -> None:
    scores, _ = _plan()
    relaxed = couple(scores, Free(), Free())
    torch.testing.assert_close(
        Pairs(COLUMNS).conditional_divergence(relaxed), Pairs(COLUMNS).divergence(couple(scores))
    )
    assert (Pairs(COLUMNS).divergence(relaxed) - Pairs(COLUMNS).divergence(couple(scores))).abs() > 1e-3


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.tensor([[1.0, -1.0], [1.0, 1.0]]), "negative"),
        (torch.tensor([[1.0, torch.nan], [1.0, 1.0]]), "NaN"),
        (torch.tensor([[1.0, 1.0], [0.0, 0.0]]), "row 1 of target is empty"),
    ],
)
def test_a_given_target_that_is_no_plan_is_refused(matrix: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Given(matrix)


def test_mass_on_a_masked_pair_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"the pair \(1, 1\), which is masked"):
        Given(torch.tensor([[0.0, 1.0], [1.0, 1.0]])).admitted_by(SameId(torch.arange(2), torch.arange(2)))


ROWS, KEYS = 8, 3


def _ids(*numbers: int, keys: tuple[int, ...] = (-1, -2, -3)) -> SameId:
    rows = torch.tensor(numbers)
    return SameId(rows, torch.cat([rows, torch.tensor(keys)]))


ITSELF, SAMPLE = _ids(*range(ROWS)), _ids(*(i % 4 for i in range(ROWS)))
CLASS, VIEW = _ids(0, 0, 1, 1, 0, 0, 1, 1, keys=(1, 0, 2)), _ids(*(i // 4 for i in range(ROWS)))
GRADED = {
    "one class": Graded(((SAMPLE | CLASS, 1.0),), 0.0, ITSELF, torch.empty((), dtype=F64)),
    "across views": Graded(((CLASS, 0.3), (SAMPLE, 1.0)), 0.1, ((SAMPLE | VIEW) - SAMPLE) | ITSELF, torch.empty(())),
    "all but": Graded(((~CLASS, 0.3), (SAMPLE, 1.0)), 0.0, ITSELF, torch.empty((), dtype=F64)),
    "a matrix": Graded(((GivenMask(CLASS.forbidden()), 0.3),), 0.2, ITSELF | VIEW, torch.empty((), dtype=F64)),
}


def _matrix(target: Graded) -> torch.Tensor:
    """Entry by entry, by what the words say."""
    n, m = target.shape
    weights = torch.zeros(n, m, dtype=F64)
    for i in range(n):
        for j in range(m):
            named = [w for mask, w in target.levels if mask.forbidden()[i, j]]
            weights[i, j] = 0.0 if target.nowhere.forbidden()[i, j] else [target.rest, *named][-1]
    return weights / weights.sum(1, keepdim=True) / n


@pytest.mark.parametrize("name", GRADED)
@pytest.mark.parametrize("large", [False, True])
def test_a_graded_target_is_the_matrix_it_describes(name: str, large: bool) -> None:
    target, matrix = replace(GRADED[name]), _matrix(GRADED[name])
    x, y = torch.randn(ROWS + KEYS, 2, dtype=F64), torch.randn(ROWS, 2, dtype=F64)
    close = {"rtol": 1e-6, "atol": 1e-7} if target.like.dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    with limited(dense=0 if large else 10**9, panel=2 * (ROWS + KEYS)):
        rows, cols = target.marginals(ROWS + KEYS)
        assert rows is None
        torch.testing.assert_close(cols, matrix.sum(0), **close)
        torch.testing.assert_close(target.row_mass(y), matrix.sum(1))
        torch.testing.assert_close(target.times(x), matrix @ x, **close)
        torch.testing.assert_close(target.transposed_times(y), matrix.T @ y, **close)
        torch.testing.assert_close(target.entropy().double(), -torch.xlogy(matrix, matrix).sum(), **close)
        mask = GivenMask(torch.rand(ROWS, ROWS + KEYS) < 0.5)
        assert torch.equal(target.masked(mask), ((matrix > 0) & mask.matrix).nonzero())


@pytest.mark.parametrize("name", ["one class", "across views", "all but"])
def test_ids_are_summed_without_a_panel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = replace(GRADED[name])
    monkeypatch.setattr(Graded, "_panel", None)
    with limited(dense=0):
        target.marginals(ROWS + KEYS), target.entropy(), target.times(torch.randn(ROWS + KEYS, 2))


def test_nested_ids_are_two_groupings() -> None:
    """One class less itself: what combining masks adds cancels."""
    with limited(dense=0):
        weights = replace(GRADED["one class"], levels=((SAMPLE | _ids(0, 0, 1, 1, 0, 0, 1, 1), 1.0),))._weights
    assert weights is not None
    assert sorted(weight for _, weight in weights.parts) == [-1.0, 1.0]
    assert sorted(groups.count for groups, _ in weights.parts) == [2 + KEYS, ROWS + KEYS]


@pytest.mark.parametrize("rule", [Entropic(), Quadratic()])
@pytest.mark.parametrize("cost", [InnerProduct(), SquaredEuclidean()])
@pytest.mark.parametrize("name", [*GRADED, "given"])
def test_verbs_on_panels_are_those_on_a_matrix(name: str, cost: Cost, rule: Rule) -> None:
    q, k = torch.randn(ROWS, 4, dtype=F64), torch.randn(ROWS + KEYS, 4, dtype=F64)
    results = []
    for dense in (10**9, 0):
        target = Given(_matrix(GRADED["one class"])) if name == "given" else replace(GRADED[name])
        with limited(tiled=dense, dense=dense, tile=4, panel=2 * (ROWS + KEYS)):
            leaf = q.clone().requires_grad_()
            temperature = 5.0 if isinstance(rule, Entropic) else 100.0  # of a plan that is positive everywhere
            scores = Scores(leaf, k, temperature=temperature, cost=cost)
            plan = couple(scores, KL(0.3), KL(0.7), sweeps=3, rule=rule)
            values = [target.divergence(plan), target.conditional_divergence(plan), target.primal(plan)]
            values.append(target.each_row(plan, _mean).sum())
            results.append([*values, *torch.autograd.grad(sum(values), leaf)])
    for one, other in zip(*results, strict=True):
        assert one.isfinite().all()
        close = 1e-5 if name == "across views" else 1e-10
        torch.testing.assert_close(one, other, rtol=close, atol=close)


def test_a_large_given_target_is_not_copied() -> None:
    matrix = torch.rand(40, 40) + 0.1
    views = torch.randn(40, 3, requires_grad=True)
    with limited(tiled=0, dense=0, tile=8, panel=80, budget=0):
        plan = couple(Scores(views, temperature=2.0), Fixed(), Fixed(), sweeps=2)
        given = largest_tensor(lambda: Given(matrix))
        matched = largest_tensor(lambda: Given(matrix).divergence(plan).backward())
    assert given <= 40
    assert matched <= 200  # 40 rows of 3 numbers, or of 4 potentials
