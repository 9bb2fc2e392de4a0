"""Contenders of a work do the same computation: values and gradients agree at tiny sizes."""

from __future__ import annotations

import importlib.util
import pickle
from dataclasses import replace

import pytest
import torch

from couplings.basics.errors import InvalidInput
from couplings.benchmarks import sinkhorn
from couplings.benchmarks.inputs import labels, rows_in_two, views
from couplings.benchmarks.ours import ours
from couplings.benchmarks.sinkhorn import ACCURACY, Solver, fewest, marginal_error
from couplings.benchmarks.suites import SUITES, chosen
from couplings.benchmarks.work import Contender, NotComparable, Role, Size, Work

CPU = torch.device("cpu")
TINY = 40
WORKS = [(name, work) for name, suite in SUITES.items() for work in suite.works()]
SAME = [
    pytest.param(work, peer, id=f"{name}/{work.name}/{peer.name}")
    for name, work in WORKS
    for peer in work.peers
    if peer.role is Role.SAME and name != "sinkhorn"
]


def tiny(work: Work) -> Size:
    return replace(work.sizes[0], rows=TINY, dim=min(work.sizes[0].dim, 16))


@pytest.mark.parametrize(("work", "peer"), SAME)
def test_a_peer_computes_the_same(work: Work, peer: Contender) -> None:
    mine, theirs = (contender.make(tiny(work), CPU)() for contender in (work.ours, peer))
    for x, y in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


def test_there_are_peers_to_agree_with() -> None:
    names = {param.values[1].name for param in SAME}  # type: ignore[union-attr]
    assert names >= {"six-line cross-entropy", "lightly NTXentLoss", "log-sum-exps, unrolled"}


@pytest.mark.parametrize("sweeps", [0, 1, 5])
def test_the_unrolled_loss_has_the_same_sweeps(sweeps: int) -> None:
    (work,) = SUITES["balanced"].works()
    mine, theirs = (contender.make(Size(TINY, 8, sweeps), CPU)() for contender in (work.ours, *work.peers))
    if sweeps:
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    else:
        assert float(theirs[0]) == pytest.approx(float(ours("infonce", temperature=0.1).make(Size(TINY, 8), CPU)()[0]))


@pytest.mark.parametrize("eps", [0.2, 0.05])
def test_solvers_agree_on_the_plan_and_reach_the_accuracy(eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinkhorn, "_MOST", 4096)
    work = next(work for work in SUITES["sinkhorn"].works() if work.name == f"eps-{eps}")
    x, y = rows_in_two(size := Size(TINY, 16), CPU)
    plans = []
    for contender in work.contenders:
        f, g = contender.make(size, CPU)()
        assert marginal_error(x, y, eps, f, g) <= ACCURACY
        plans.append(torch.exp(f[:, None] + g + x @ y.T / eps) / TINY**2)
    for plan in plans[1:]:
        assert float((plan - plans[0]).abs().sum()) < 5 * ACCURACY


def test_the_marginal_error_is_that_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinkhorn, "_BLOCK", 7)
    x, y = rows_in_two(Size(20, 4), CPU)
    f, g = torch.randn(20), torch.randn(20)
    plan = torch.exp(f[:, None] + g + x @ y.T / 0.5).double() / 400
    direct = (plan.sum(0) - 0.05).abs().sum() + (plan.sum(1) - 0.05).abs().sum()
    assert marginal_error(x, y, 0.5, f, g) == pytest.approx(float(direct), rel=1e-5)


def test_the_fewest_iterations() -> None:
    assert fewest(lambda k: 1 / k, 0.25) == 4
    assert 60 <= fewest(lambda k: 1 / k, 1 / 60) <= 63
    assert fewest(lambda k: 1 / k, 1 / 13) == 13
    assert fewest(lambda k: 0.0, 0.1) == 1
    with pytest.raises(NotComparable, match=r"64 iterations leave .* 1.6e-02"):
        fewest(lambda k: 1 / k, 1e-3)


@pytest.mark.parametrize("work", [pytest.param(w, id=f"{s}/{w.name}") for s, w in WORKS if s in ("losses", "family")])
def test_every_loss_has_a_value_and_gradients_that_are_finite(work: Work) -> None:
    for contender in (work.ours, *(peer for peer in work.peers if peer.whole)):
        assert all(bool(x.isfinite().all()) for x in contender.make(tiny(work), CPU)())


@pytest.mark.parametrize(("name", "work"), WORKS, ids=[f"{name}/{work.name}" for name, work in WORKS])
def test_goals_name_peers_and_sizes_and_makes_can_be_sent_to_a_process(name: str, work: Work) -> None:
    assert {goal.against for goal in work.goals} <= {"", *(peer.name for peer in work.peers)}
    assert {rows for goal in work.goals for rows in goal.rows} <= {size.rows for size in work.sizes}
    for contender in work.contenders:
        assert not work.memory or pickle.loads(pickle.dumps(contender.make)) == contender.make
        assert not contender.package or importlib.util.find_spec(contender.package)


def test_inputs_are_the_same_for_all() -> None:
    size = Size(TINY, 8)
    for x, y in zip(views(size, CPU), views(size, CPU), strict=True):
        assert x.shape == (TINY // 2, 8)
        assert x.requires_grad
        assert torch.equal(x, y)
    assert labels(size, CPU).bincount().tolist() == [2] * 10


def test_the_bound_is_worth_its_flops() -> None:
    bound = SUITES["infonce"].works()[0].peers[-1]
    assert bound.share(Size(8192, 128)) * 2 * 2048**3 == 4 * 8192**2 * 128


def test_works_by_name() -> None:
    assert [suite.name for suite, _ in chosen([])] == [name for name, suite in SUITES.items() if suite.usual]
    assert "training" not in [suite.name for suite, _ in chosen([], quick=True)]
    ((suite, works),) = chosen(["sinkhorn/eps-0.2", "sinkhorn/eps-0.2"])
    assert (suite.name, [work.name for work in works]) == ("sinkhorn", ["eps-0.2"])
    with pytest.raises(InvalidInput, match="did you mean 'sinkhorn'"):
        chosen(["sinkorn"])
    with pytest.raises(InvalidInput, match="did you mean 'hcl'"):
        chosen(["family/hc"])


def test_a_solver_takes_the_iterations_it_is_given() -> None:
    seen = []

    def solve(x: torch.Tensor, y: torch.Tensor, eps: float, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(k)
        return x[:, 0], y[:, 0]

    Solver(solve, 0.2)(Size(4, 2, sweeps=3), CPU)()
    assert seen == [3]
