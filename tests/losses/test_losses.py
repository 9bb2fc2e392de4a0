"""The six losses: gradients, pair weights, couplings, and the relations their docstrings state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from couplings import CACR, GCAINCE, HCL, HCLOT, RBF, AlphaCLDirect, InfoNCE, InvalidInput, Loss, SquaredEuclidean
from couplings._storage.grams import GivenDots
from couplings.losses import LOSSES
from couplings.losses.batch import as_matrix
from helpers import DETACHED, F64, SIX, central_differences, gradients, unit_views

every_loss = pytest.mark.parametrize("name", SIX)
any_views = pytest.mark.parametrize("count", [2, 5], ids=["2 views", "5 views"])


def _frozen(loss: Loss, name: str, views: list[Tensor]) -> object:
    """The value as a function of the views, with couplings that are constants by definition held still."""
    if name not in DETACHED:
        return loss
    couplings = {key: plan.detach() for key, plan in loss.coupling(*views).items()}
    return lambda *v: loss.value(loss.batch(*v), couplings)


# Gradients


@every_loss
@any_views
@pytest.mark.parametrize("normalize", [True, False], ids=["unit rows", "raw rows"])
def test_the_gradient_in_the_views(name: str, count: int, normalize: bool) -> None:
    loss = SIX[name](normalize=normalize)
    views = [(1 + 0.3 * k) * v for k, v in enumerate(unit_views(n=4, d=3, count=count))]
    value = _frozen(loss, name, views)
    assert torch.autograd.gradcheck(value, [v.clone().requires_grad_() for v in views], atol=1e-7, rtol=1e-5)
    for ours, frozen in zip(gradients(loss, views), gradients(value, views), strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(ours, frozen)


@every_loss
def test_raw_rows_have_gradients_along_themselves_and_unit_rows_do_not(name: str) -> None:
    views = unit_views(n=5)
    along = [
        (gradients(SIX[name](normalize=normalize), views)[0] * views[0]).sum(1).abs().max()
        for normalize in (True, False)
    ]
    assert along[0] < 1e-12
    assert along[1] > 1e-3


@pytest.mark.parametrize("name", [name for name in SIX if name not in ("CACR", "AlphaCLDirect")])
@any_views
def test_the_gradient_in_the_temperature(name: str, count: int) -> None:
    views = unit_views(n=4, d=3, count=count)
    temperature = torch.tensor(0.4, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: SIX[name](t)(*views), temperature, atol=1e-7)
    assert gradients(lambda t: SIX[name](t)(*views), [temperature])[0].abs() > 1e-3


def test_the_temperature_of_constant_weights_cannot_be_learnt() -> None:
    with pytest.raises(InvalidInput, match="temperature cannot be learnt"):
        AlphaCLDirect(torch.nn.Parameter(torch.tensor(0.4)))


def test_a_learned_temperature_is_a_parameter_of_the_loss() -> None:
    loss = InfoNCE(torch.nn.Parameter(torch.tensor(0.3)))
    loss(*unit_views()).backward()
    (parameter,) = loss.parameters()
    assert parameter.grad is not None
    assert parameter.grad.isfinite()


@pytest.mark.parametrize("name", ["HCL", "CACR"])
def test_detached_weights_change_the_gradient_and_not_the_value(name: str) -> None:
    views = unit_views(count=3)
    free, detached = SIX[name](), SIX[name](detach_weights=True)
    torch.testing.assert_close(free(*views), detached(*views))
    assert (gradients(free, views)[0] - gradients(detached, views)[0]).abs().max() > 1e-4
    frozen = {key: plan.detach() for key, plan in free.coupling(*views).items()}
    for ours, held in zip(
        gradients(detached, views), gradients(lambda *v: free.value(free.batch(*v), frozen), views), strict=True
    ):
        torch.testing.assert_close(ours, held)


# Pair weights


@every_loss
@pytest.mark.parametrize("count", [2, 3])
def test_pair_weights_are_derivatives_in_single_scores(name: str, count: int) -> None:
    loss = SIX[name]()
    batch = loss.batch(*unit_views(n=3, d=3, count=count))
    matrix, gram = as_matrix(batch.gram)
    couplings = {k: p.detach() for k, p in loss.couplings(batch).items()} if name in DETACHED else None

    def value(dots: Tensor) -> Tensor:
        moved = batch.with_gram(GivenDots(dots, *gram.norms))
        return loss.value(moved, loss.couplings(moved) if couplings is None else couplings)

    weights = loss.pair_weights(*unit_views(n=3, d=3, count=count))
    torch.testing.assert_close(weights, central_differences(value, matrix), atol=1e-8, rtol=1e-6)


@every_loss
@any_views
def test_pair_weights_drive_the_embeddings(name: str, count: int) -> None:
    """dL/dz = (W + W^T) z, minus its part along z."""
    loss, views = SIX[name](), unit_views(count=count)
    weights, z = loss.pair_weights(*views), torch.cat(views)
    force = (weights + weights.T) @ z
    tangent = force - (force * z).sum(1, keepdim=True) * z
    torch.testing.assert_close(torch.cat(gradients(loss, views)), tangent, atol=1e-12, rtol=1e-9)


@every_loss
def test_positives_attract_and_negatives_repel(name: str) -> None:
    """Entry by entry, except where a balanced plan's unfinished sweeps or a differentiable weight mix the signs."""
    views = unit_views()
    weights = SIX[name]().pair_weights(*views)
    partner = torch.arange(12).roll(6)
    positive = torch.zeros(12, 12, dtype=torch.bool)
    positive[torch.arange(12), partner] = True
    assert (weights[positive] < 0).all()
    assert weights[~positive].sum() > 0
    assert (weights.diagonal() == 0).all()
    if name in ("InfoNCE", "HCLOT", "AlphaCLDirect"):
        assert (weights[~positive] >= 0).all()


def _target(views: int, n: int) -> Tensor:
    """The plan with mass 1/N a row, in equal parts on the other views."""
    sample = torch.arange(n).repeat(views)
    same = (sample[:, None] == sample).double() - torch.eye(n * views, dtype=F64)
    return same / (n * views * (views - 1))


def test_closed_form_pair_weights() -> None:
    views = unit_views()
    plan = InfoNCE(0.3).coupling(*views)["plan"].plan()
    torch.testing.assert_close(InfoNCE(0.3).pair_weights(*views), (plan - _target(2, 6)) / 0.3)
    direct = AlphaCLDirect(0.3)
    plan = direct.coupling(*views)["negatives"].plan()
    torch.testing.assert_close(direct.pair_weights(*views), plan - _target(2, 6))


@any_views
def test_closed_form_pair_weights_of_cacr(count: int) -> None:
    """-2 alpha w+ / N over positives, +2 beta w- / (n view pairs) over negatives, |z_i - z_j|^2 being 2 - 2 s."""
    views, n = unit_views(count=count), 6
    loss = CACR(t_positive=0.0, alpha=0.7, beta=0.4, detach_weights=True)
    expected = -2 * 0.7 * _target(count, n)
    couplings = loss.coupling(*views)
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    for a, b in pairs:
        plan = couplings[f"view {a + 1} to view {b + 1}"].plan()
        expected[a * n : (a + 1) * n, b * n : (b + 1) * n] += 2 * 0.4 * plan / len(pairs)
    torch.testing.assert_close(loss.pair_weights(*views), expected)


def test_pair_weights_need_no_gradient_mode_and_leave_the_views_alone() -> None:
    views = [v.requires_grad_() for v in unit_views()]
    with torch.no_grad():
        weights = InfoNCE().pair_weights(*views)
    assert not weights.requires_grad
    assert views[0].grad is None
    torch.testing.assert_close(weights, InfoNCE().pair_weights(*views))


# Couplings


PLANS = {
    "InfoNCE": {2: ["plan"], 3: ["positive 1", "positive 2"]},
    "HCL": {2: ["negatives"], 3: ["negatives"]},
    "HCLOT": {2: ["negatives"], 3: ["negatives"]},
    "GCAINCE": {2: ["plan"], 3: ["plan"]},
    "AlphaCLDirect": {2: ["negatives"], 3: ["negatives"]},
    "CACR": {
        2: ["attraction", "view 1 to view 2", "view 2 to view 1"],
        3: ["attraction", *(f"view {a} to view {b}" for a, b in ((1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)))],
    },
}


@every_loss
@pytest.mark.parametrize("count", [2, 3])
def test_coupling_names_shapes_and_mass(name: str, count: int) -> None:
    n, views = 6, unit_views(count=count)
    couplings = SIX[name]().coupling(*views)
    assert list(couplings) == PLANS[name][count]
    for key, coupling in couplings.items():
        shape = (n * count, n * count)
        shape = (n * count, count - 1) if key == "attraction" else (n, n) if key.startswith("view") else shape
        assert tuple(coupling.plan().shape) == shape
        torch.testing.assert_close(coupling.row_mass(), torch.full(shape[:1], 1 / shape[0], dtype=F64))


@every_loss
def test_rows_are_in_block_order_and_nothing_meets_itself(name: str) -> None:
    views = unit_views(n=5, count=2, noise=0.05)
    for key, coupling in SIX[name]().coupling(*views).items():
        if key == "plan":
            _, row, column = coupling.top(10)
            assert set(zip(row.tolist(), column.tolist(), strict=True)) == {(i, (i + 5) % 10) for i in range(10)}
        elif key != "attraction":
            plan = coupling.plan()
            assert (plan.diagonal() == 0).all()
            assert len(plan) == 5 or (plan.roll(5, dims=1).diagonal() == 0).all()


@every_loss
def test_a_loss_is_a_module_without_state(name: str) -> None:
    loss = SIX[name]()
    assert not list(loss.parameters())
    assert not list(loss.buffers())
    assert name in repr(loss)
    assert "normalize=True" in repr(loss)
    assert loss(*unit_views()).shape == ()


def test_the_registry_holds_the_six() -> None:
    assert list(LOSSES) == ["infonce", "hcl", "hcl-ot", "gca-ince", "alpha-cl-direct", "cacr"]
    assert set(LOSSES.values()) == set(SIX.values())


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
    torch.testing.assert_close(InfoNCE(tau)(*views), torch.stack(terms).mean())


def _equal(one: Loss, other: Loss, count: int = 2, tol: float = 1e-10) -> None:
    views = unit_views(count=count)
    torch.testing.assert_close(one(*views), other(*views), atol=tol, rtol=0)
    for a, b in zip(gradients(one, views), gradients(other, views), strict=True):
        torch.testing.assert_close(a, b, atol=tol, rtol=0)


def test_gca_ince_without_sweeps_is_info_nce() -> None:
    _equal(GCAINCE(0.3, sweeps=0), InfoNCE(0.3))


def test_hcl_without_hardness_and_debiasing_is_info_nce() -> None:
    _equal(HCL(0.3, beta=0.0, tau_plus=0.0), InfoNCE(0.3))
    _equal(HCL(0.3, beta=0.0, tau_plus=0.0), InfoNCE(0.3), count=4)


@pytest.mark.parametrize("tau_plus", [0.0, 0.1])
def test_hcl_ot_with_large_reg_is_debiased_info_nce(tau_plus: float) -> None:
    _equal(HCLOT(0.3, reg=1e7, tau_plus=tau_plus), HCL(0.3, beta=0.0, tau_plus=tau_plus), tol=1e-6)


def test_hcl_ot_costs_by_name_and_by_object() -> None:
    _equal(HCLOT(), HCLOT(cost=SquaredEuclidean()))
    views = unit_views()
    assert HCLOT()(*views) != HCLOT(cost="exp")(*views)


def test_hcl_ot_with_given_sweeps_stops_there_and_converges_to_the_default() -> None:
    views = unit_views()
    default = HCLOT(reg=0.3).coupling(*views)["negatives"]
    assert default.error() <= 2e-10
    assert HCLOT(reg=0.3, sweeps=1).coupling(*views)["negatives"].error() > 1e-3
    _equal(HCLOT(reg=0.3), HCLOT(reg=0.3, sweeps=500), tol=1e-8)


def test_cacr_rbf_by_name_and_by_object() -> None:
    _equal(CACR(cost="rbf"), CACR(cost=RBF(2.0)))


def test_gca_ince_of_more_views_targets_all_of_them() -> None:
    """Perfect alignment far from everything else reaches 0: the target's row is 1/(V - 1)."""
    z = torch.eye(8, dtype=F64)
    assert GCAINCE(0.02, sweeps=3)(z, z, z, z).item() == pytest.approx(0, abs=1e-12)
    assert GCAINCE(0.5, sweeps=3)(*unit_views(count=4)) > 0.01


@every_loss
def test_identical_views_are_best_aligned(name: str) -> None:
    z = torch.eye(8, dtype=F64)
    loss = SIX[name]()
    assert loss(z, z) < loss(z, z.roll(1, 0))
