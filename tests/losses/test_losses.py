"""Every loss: its couplings, what it is as a module, its documentation, and relations that docstrings state."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

import couplings
from couplings import RBF, Coupling, Loss, SquaredEuclidean
from couplings.losses import LOSSES
from helpers import CASES, F64, gradients, unit_views

every_loss = pytest.mark.parametrize("name", CASES)
any_views = pytest.mark.parametrize("count", [2, 5], ids=["2 views", "5 views"])


# The catalogue


def test_every_loss_has_a_row_in_the_catalogue_of_the_tests() -> None:
    """A loss without one would be tested by nothing: add it to `helpers._ROWS`."""
    assert sorted(LOSSES) == sorted(case.name for case in CASES.values())


@every_loss
def test_every_loss_is_public(name: str) -> None:
    loss = CASES[name].loss
    assert issubclass(loss, Loss)
    assert getattr(couplings, name) is getattr(couplings.losses, name) is loss
    assert name in couplings.__all__
    assert name in couplings.losses.__all__


@every_loss
def test_the_facts_of_the_catalogue(name: str) -> None:
    case = CASES[name]
    assert case.takes("normalize")
    assert case.takes("across_views") == (case.repels and not case.across and not case.within)
    assert all(case.takes(option) for option in case.learnable)
    assert case.repels == case.loss.repels
    assert case.negatives == (case.repels and not case.loss.shares_columns)
    with pytest.raises(TypeError):
        case.loss(*[0.5] * 20)  # normalize and across_views come by name only


@every_loss
def test_every_loss_has_defaults(name: str) -> None:
    assert CASES[name].loss()(*unit_views()).isfinite()


# Couplings


@every_loss
@pytest.mark.parametrize("count", [2, 3])
def test_couplings_are_plans_over_anchors_and_candidates(name: str, count: int) -> None:
    n, views = 6, unit_views(count=count)
    plans = CASES[name]().coupling(*views)
    assert plans
    for key, coupling in plans.items():
        assert isinstance(coupling, Coupling), key
        plan = coupling.plan()
        assert plan.shape in ((n * count, n * count), (n * count, count - 1), (n, n)), key
        assert plan.isfinite().all()
        assert (plan >= 0).all()
        assert plan.sum() > 0


PLANS = {
    "InfoNCE": {2: ["plan"], 3: ["positive 1", "positive 2"]},
    "HCL": {2: ["negatives"], 3: ["negatives"]},
    "HCLOT": {2: ["negatives"], 3: ["negatives"]},
    "GCAINCE": {2: ["plan"], 3: ["plan"]},
    "AlphaCLDirect": {2: ["negatives"], 3: ["negatives"]},
    "CACR": {
        2: ["attraction", "view 1 to view 2", "view 2 to view 1"],
        3: ["attraction", *(f"view {a} to view {b}" for a, b in ((1, 2), (1, 3), (2, 3), (2, 1), (3, 1), (3, 2)))],
    },
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("count", [2, 3])
def test_coupling_names_shapes_and_mass(name: str, count: int) -> None:
    n, views = 6, unit_views(count=count)
    plans = CASES[name]().coupling(*views)
    assert sorted(plans) == sorted(PLANS[name][count])
    for key, coupling in plans.items():
        shape = (n * count, n * count)
        shape = (n * count, count - 1) if key == "attraction" else (n, n) if key.startswith("view") else shape
        assert tuple(coupling.plan().shape) == shape
        torch.testing.assert_close(coupling.row_mass(), torch.full(shape[:1], 1 / shape[0], dtype=F64))


@every_loss
def test_rows_are_in_block_order_and_nothing_meets_itself(name: str) -> None:
    views = unit_views(n=5, count=2, noise=0.05)
    for key, coupling in CASES[name]().coupling(*views).items():
        plan = coupling.plan()
        if key == "plan":
            _, row, column = coupling.top(10)
            assert set(zip(row.tolist(), column.tolist(), strict=True)) == {(i, (i + 5) % 10) for i in range(10)}
        if plan.shape == (10, 10):
            assert (plan.diagonal() == 0).all()
            assert key not in ("negatives", "repulsion") or (plan.roll(5, dims=1).diagonal() == 0).all()


POINTWISE = {"SigLIP", "SpectralContrastive", "Triplet", "ModifiedTriplet", "TripletContrastive"}
"""Losses of pair weights alone."""


@every_loss
def test_the_plan_of_a_loss_without_one_is_that_of_its_repelling_weights(name: str) -> None:
    views, loss = unit_views(), CASES[name]()
    plans = loss.coupling(*views)
    assert ("repulsion" in plans) == (name in POINTWISE)
    if name in POINTWISE:
        assert list(plans) == ["repulsion"]
        torch.testing.assert_close(plans["repulsion"].plan(), loss.pair_weights(*views).clamp_min(0))


@pytest.mark.parametrize("name", ["InfoNCE", "CLIP"])
@pytest.mark.parametrize("count", [2, 3])
def test_plans_that_are_shown_hold_the_positive_that_the_solved_ones_lack(name: str, count: int) -> None:
    """What is solved is the softmax over the negatives; what is shown, P of KL(T, P), sums to the loss."""
    views, loss = unit_views(count=count), CASES[name]()
    batch = loss.batch(*views)
    for key, plan in loss.couplings(batch).items():
        conditional = plan.conditional()
        rows, columns = (batch.rows, batch.positives) if key == "negatives" else (torch.arange(6), torch.arange(6))
        assert (conditional[rows, columns] == 0).all()
    shown = loss.coupling(*views)
    assert "negatives" not in shown
    n = next(iter(shown.values())).plan().shape[0]
    at = [batch.positives.T[k] for k in range(count - 1)] if name == "InfoNCE" else [torch.arange(6)] * len(shown)
    surprise = [-plan.conditional()[torch.arange(n), j].log() for plan, j in zip(shown.values(), at, strict=True)]
    torch.testing.assert_close(torch.stack(surprise).mean(), loss(*views))


def test_alignment_shows_the_kernel_that_it_matches() -> None:
    views = unit_views()
    (plan,) = CASES["Alignment"](temperature=0.4).coupling(*views).values()
    z = torch.cat(views)
    kernel = torch.exp((z @ z.T - 1) / 0.4) * (1 - torch.eye(12, dtype=F64))
    torch.testing.assert_close(plan.plan() / plan.plan().sum(), kernel / kernel.sum())


# The module


@every_loss
def test_a_loss_is_a_module_without_state(name: str) -> None:
    loss = CASES[name]()
    assert not list(loss.parameters())
    assert not list(loss.buffers())
    assert repr(loss).startswith(f"{name}(")
    assert loss(*unit_views()).shape == ()


@every_loss
def test_the_representation_shows_what_was_passed(name: str) -> None:
    case = CASES[name]
    assert "normalize=False" in repr(case(normalize=False))
    if case.takes("temperature"):
        assert "temperature=0.37" in repr(case(temperature=0.37))
    if case.takes("across_views"):
        assert "across_views=True" in repr(case(across_views=True))


@every_loss
def test_a_loss_gives_the_same_number_every_time(name: str) -> None:
    loss, views = CASES[name](), unit_views()
    first = loss(*views)
    loss.pair_weights(*unit_views(seed=1))
    assert torch.equal(loss(*views), first)


# Documentation


@every_loss
def test_every_loss_documents_itself(name: str) -> None:
    """One docstring: an equation, parameters with their ranges, relations, source, an example that runs."""
    loss = CASES[name].loss
    text = inspect.getdoc(loss) or ""
    assert " = " in text.split("Args:")[0], "no equation before Args"
    sections = [text.find(f"\n{section}:\n") for section in ("Args", "Relations", "Source", "Example")]
    assert min(sections) > 0
    assert sections == sorted(sections)
    arguments = text[sections[0] : sections[1]]
    for parameter in inspect.signature(loss).parameters:
        assert f"\n    {parameter}" in arguments or f", {parameter}" in arguments, parameter
    assert f"{name}" in text[sections[-1] :]


# Relations that the docstrings state


@any_views
def test_info_nce_is_a_cross_entropy(count: int) -> None:
    """Two views: NT-Xent as everyone writes it; more: each positive against the negatives alone."""
    views, tau = unit_views(count=count), 0.2
    z, n = torch.cat(views), 6
    logits = (z @ z.T / tau).fill_diagonal_(-torch.inf)
    sample = torch.arange(n).repeat(count)
    negatives = logits.masked_fill(sample[:, None] == sample, -torch.inf)
    terms = []
    for shift in range(1, count):
        positive = logits.gather(1, torch.arange(n * count).add(shift * n).remainder(n * count)[:, None])
        every = torch.cat([positive, negatives], dim=1)
        terms.append(torch.nn.functional.cross_entropy(every, torch.zeros(n * count, dtype=torch.long)))
    torch.testing.assert_close(CASES["InfoNCE"](temperature=tau)(*views), torch.stack(terms).mean())


def _equal(one: Loss, other: Loss, count: int = 2, tol: float = 1e-10) -> None:
    views = unit_views(count=count)
    torch.testing.assert_close(one(*views), other(*views), atol=tol, rtol=0)
    for a, b in zip(gradients(one, views), gradients(other, views), strict=True):
        torch.testing.assert_close(a, b, atol=tol, rtol=0)


def test_hcl_ot_costs_by_name_and_by_object() -> None:
    make = CASES["HCLOT"]
    _equal(make(), make(cost=SquaredEuclidean()))
    views = unit_views()
    assert make()(*views) != make(cost="exp")(*views)


def test_hcl_ot_with_given_sweeps_stops_there_and_converges_to_the_default() -> None:
    make, views = CASES["HCLOT"], unit_views()
    assert make(reg=0.3).coupling(*views)["negatives"].error() <= 2e-10
    assert make(reg=0.3, sweeps=1).coupling(*views)["negatives"].error() > 1e-3
    _equal(make(reg=0.3), make(reg=0.3, sweeps=500), tol=1e-8)


def test_cacr_rbf_by_name_and_by_object() -> None:
    _equal(CASES["CACR"](cost="rbf"), CASES["CACR"](cost=RBF(2.0)))


def test_gca_ince_of_more_views_targets_all_of_them() -> None:
    """Perfect alignment far from everything else reaches 0: the target's row is 1/(V - 1)."""
    z, make = torch.eye(8, dtype=F64), CASES["GCAINCE"]
    assert make(temperature=0.02, sweeps=3)(z, z, z, z).item() == pytest.approx(0, abs=1e-12)
    assert make(temperature=0.5, sweeps=3)(*unit_views(count=4)) > 0.01


@every_loss
def test_identical_views_are_best_aligned(name: str) -> None:
    z = torch.eye(8, dtype=F64)
    loss = CASES[name]()
    assert loss(z, z) < loss(z, z.roll(1, 0))


def _sphere(n: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 3, dtype=F64), dim=1)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.repels])
def test_descent_spreads_samples(name: str) -> None:
    """Fifty steps from a crowded start: samples are further apart than they were."""
    z = (torch.tensor([[1.0, 0.0, 0.0]], dtype=F64) + 0.3 * _sphere(8)).requires_grad_()
    loss = CASES[name]()

    def spread() -> Tensor:
        unit = torch.nn.functional.normalize(z.detach(), dim=1)
        return torch.pdist(unit).mean()

    before, optimizer = spread(), torch.optim.SGD([z], lr=0.05)
    for _ in range(50):
        optimizer.zero_grad()
        loss(z, z).backward()
        torch.nn.utils.clip_grad_norm_([z], 1.0)
        optimizer.step()
    assert spread() > before + 0.05
