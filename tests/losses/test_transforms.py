"""torch.compile leaves a loss as it is; torch.func gets the right gradient or an error in our words."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch._dynamo as dynamo

from couplings import Scores
from couplings.basics.sizes import limited
from helpers import CASES, unit_views

every_loss = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    dynamo.reset()
    dynamo.utils.counters.clear()


@every_loss
def test_a_compiled_step_breaks_at_the_loss_alone(name: str) -> None:
    """Before it one graph, after it one."""
    torch.manual_seed(0)
    encoder, loss, (a, b) = torch.nn.Linear(3, 3).double(), CASES[name](), unit_views(n=5, d=3)

    def step() -> torch.Tensor:
        return loss(encoder(a), encoder(b)) * 2

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Dynamo")
        compiled = torch.compile(step, backend="eager")
        found = [torch.autograd.grad(compiled(), encoder.weight)[0] for _ in range(3)]
    for gradient in found:
        torch.testing.assert_close(gradient, torch.autograd.grad(step(), encoder.weight)[0])
    assert dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert sum(dynamo.utils.counters["graph_break"].values()) == 1


def test_a_full_graph_is_refused_in_our_words() -> None:
    loss, views = CASES["InfoNCE"](), unit_views(n=5, d=3)
    for compiled in (torch.compile(loss, fullgraph=True), torch.compile(lambda *v: loss(*v), fullgraph=True)):
        with pytest.raises(Exception, match=r"couplings computes losses and couplings outside of compiled graphs"):
            compiled(*views)


@every_loss
@pytest.mark.parametrize("tiled", [False, True], ids=["one matrix", "tiles"])
def test_a_functional_gradient_is_right_or_refused(name: str, tiled: bool) -> None:
    loss, (a, b) = CASES[name](), unit_views(n=5, d=3)
    with limited(tiled=0, tile=4) if tiled else limited():
        leaf = a.clone().requires_grad_()
        expected = torch.autograd.grad(loss(leaf, b), leaf)[0]
        try:
            found = torch.func.grad(lambda x: loss(x, b))(a)
        except NotImplementedError as error:
            assert "couplings gives torch.func no derivative" in str(error)  # noqa: PT017
            assert tiled or CASES[name].takes("sweeps")
        else:
            torch.testing.assert_close(found, expected)


@every_loss
def test_a_loss_over_many_batches_at_once_is_refused(name: str) -> None:
    views = [view[None] for view in unit_views(n=5, d=3)]
    with pytest.raises(NotImplementedError, match="couplings has no vmap"):
        torch.vmap(CASES[name]())(*views)


def test_scores_over_many_batches_at_once_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="couplings has no vmap"):
        torch.vmap(lambda z: Scores(z).matrix())(torch.randn(2, 4, 3))
