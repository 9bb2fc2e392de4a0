"""w_ij = dL/ds_ij: derivatives in single scores, closed forms, and the energy that they are the force of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings import CACR, GCAINCE, Guide, InfoNCE, Loss
from couplings.engine.grams import GivenDots
from couplings.losses.batch import as_matrix
from helpers import CASES, F64, central_differences, gradients, unit_views, with_shift

every_loss = pytest.mark.parametrize("name", CASES)
TAKE_KEYS = [name for name, case in CASES.items() if case.keys]
TAKE_NEGATIVES = [name for name, case in CASES.items() if case.negatives]


def _assert_derivatives(name: str, loss: Loss, views: list[Tensor], **sides: Any) -> None:
    """Against central differences of single entries; plans that are constants by definition held still."""
    moving = with_shift(loss, views, **sides)
    batch = loss.batch(*views, **sides)
    matrix, gram = as_matrix(batch.gram)
    held = {k: p.detach() for k, p in loss.couplings(batch).items()} if CASES[name].constant else None

    def value(dots: Tensor) -> Tensor:
        moved = batch.with_gram(GivenDots(dots, *gram.norms, gram.own_columns))
        return moving.value(moved, moving.couplings(moved) if held is None else held)

    weights = loss.pair_weights(*views, **sides)
    assert weights.abs().max() > 1e-3
    torch.testing.assert_close(weights, central_differences(value, matrix), atol=1e-8, rtol=1e-6)


@every_loss
@pytest.mark.parametrize(("n", "count"), [(3, 2), (2, 3)])
def test_derivatives_in_single_scores(name: str, n: int, count: int) -> None:
    _assert_derivatives(name, CASES[name](), unit_views(n=n, d=3, count=count))


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_derivatives_in_the_scores_of_a_queue(name: str) -> None:
    _assert_derivatives(name, CASES[name](), unit_views(n=2, d=3), keys=torch.randn(3, 3, dtype=F64))


@pytest.mark.parametrize("name", TAKE_NEGATIVES)
def test_derivatives_in_the_scores_of_given_negatives(name: str) -> None:
    _assert_derivatives(name, CASES[name](), unit_views(n=2, d=3), negatives=torch.randn(2, 3, 3, dtype=F64))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("across_views")])
def test_derivatives_with_negatives_of_other_views_only(name: str) -> None:
    views = unit_views(n=3, d=3)
    _assert_derivatives(name, CASES[name](across_views=True), views)
    weights = CASES[name](across_views=True).pair_weights(*views)
    assert (weights[:3, :3] == 0).all()
    assert (weights[3:, 3:] == 0).all()


# The energy: a loss moves embeddings as sum_ij w_ij s_ij does, weights held still


def _energy(weights: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def value(rows: Tensor, columns: Tensor) -> Tensor:
        unit = [torch.nn.functional.normalize(x, dim=-1) for x in (rows, columns)]
        return (weights * (unit[0] @ unit[1].T)).sum()

    return value


@every_loss
@pytest.mark.parametrize("count", [2, 5])
def test_the_gradient_is_that_of_the_energy(name: str, count: int) -> None:
    loss, views = CASES[name](), [(1 + 0.3 * k) * v for k, v in enumerate(unit_views(count=count))]
    energy = _energy(loss.pair_weights(*views))
    ours = gradients(loss, views)
    theirs = gradients(lambda *v: energy(torch.cat(v), torch.cat(v)), views)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_the_gradient_is_that_of_the_energy_with_a_queue(name: str) -> None:
    loss, views, keys = CASES[name](), unit_views(), 2 * torch.randn(5, 4, dtype=F64)
    energy = _energy(loss.pair_weights(*views, keys=keys))
    ours = gradients(lambda a, b, k: loss(a, b, keys=k), [*views, keys])
    theirs = gradients(lambda a, b, k: energy(torch.cat([a, b]), torch.cat([a, b, k])), [*views, keys])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


# Signs


@every_loss
def test_positives_attract_and_negatives_repel(name: str) -> None:
    """Entry by entry, except where a balanced plan's unfinished sweeps or a differentiable weight mix the signs."""
    views = unit_views()
    weights = CASES[name](**({"sweeps": 300} if name == "SparseGCA" else {})).pair_weights(*views)  # finished
    positive = _target(2, 6) > 0
    assert (weights[positive] < 0).all()
    assert (weights.diagonal() == 0).all()
    repulsion = weights[~positive]
    assert repulsion.sum() > 0 or not CASES[name].repels or name == "SpectralContrastive"
    assert (repulsion > -1e-14).all() or name in MIXED


MIXED = ("GCAINCE", "GCARINCE", "GCAUOT", "IOT", "CACR", "SinkhornCACR", "HCL", "SpectralContrastive", "AlphaCLLowRank")
"""Unfinished sweeps, differentiable weights, scores as weights, truncated weights."""


def _target(views: int, n: int) -> Tensor:
    """The plan with mass 1/N a row, in equal parts on the other views."""
    sample = torch.arange(n).repeat(views)
    same = (sample[:, None] == sample).double() - torch.eye(n * views, dtype=F64)
    return same / (n * views * (views - 1))


# Closed forms


def _parts(views: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines (N, N), the target, and where the negatives are."""
    z, count, n = torch.cat(views), len(views), len(views[0])
    sample = torch.arange(n).repeat(count)
    return z @ z.T, _target(count, n), sample[:, None] != sample


def _softmax(logits: Tensor, where: Tensor) -> Tensor:
    return torch.softmax(logits.masked_fill(~where, -torch.inf), 1)


def _compare(name: str, expected: Tensor, views: list[Tensor], **options: Any) -> None:
    torch.testing.assert_close(CASES[name](**options).pair_weights(*views), expected, atol=1e-13, rtol=1e-10)


def test_info_nce() -> None:
    """(P - T) / tau."""
    views = unit_views()
    s, target, negative = _parts(views)
    plan = _softmax(s / 0.3, negative | (target > 0)) / 12
    _compare("InfoNCE", (plan - target) / 0.3, views, temperature=0.3)


@pytest.mark.parametrize("count", [2, 4])
def test_decoupled_info_nce(count: int) -> None:
    """(softmax over the negatives - T) / tau."""
    views = unit_views(count=count)
    s, target, negative = _parts(views)
    plan = _softmax(s / 0.3, negative) / len(s)
    _compare("DecoupledInfoNCE", (plan - target) / 0.3, views, temperature=0.3)


@pytest.mark.parametrize(("name", "power"), [("AlphaCLDirect", 3.0), ("AlphaCL", 2.0)])
@pytest.mark.parametrize("count", [2, 4])
def test_alpha_cl(name: str, power: float, count: int) -> None:
    """alpha - T, with alpha = softmax(-d^p / tau)."""
    views = unit_views(count=count)
    s, target, negative = _parts(views)
    alpha = _softmax(-((1 - s).clamp_min(0) ** (power / 2)) / 0.3, negative) / len(s)
    _compare(name, alpha - target, views, temperature=0.3, **({"p": power} if name == "AlphaCLDirect" else {}))


def _view_blocks(count: int, n: int) -> list[tuple[slice, slice]]:
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    return [(slice(a * n, a * n + n), slice(b * n, b * n + n)) for a, b in pairs]


@pytest.mark.parametrize("count", [2, 3])
def test_clip(count: int) -> None:
    """(P - 1 / n) / tau in each block of two views, averaged over the ordered pairs of views."""
    views, n = unit_views(count=count), 6
    s, _, _ = _parts(views)
    expected, blocks = torch.zeros_like(s), _view_blocks(count, n)
    for block in blocks:
        expected[block] = (torch.softmax(s[block] / 0.3, 1) - torch.eye(n, dtype=F64)) / (0.3 * n * len(blocks))
    _compare("CLIP", expected, views, temperature=0.3)


@pytest.mark.parametrize("count", [2, 3])
def test_siglip(count: int) -> None:
    """sigmoid(s / tau + b) - [i = j], over n tau, averaged over the ordered pairs of views."""
    views, n = unit_views(count=count), 6
    s, _, _ = _parts(views)
    expected, blocks = torch.zeros_like(s), _view_blocks(count, n)
    for block in blocks:
        expected[block] = (torch.sigmoid(s[block] / 0.3 - 1) - torch.eye(n, dtype=F64)) / (0.3 * n * len(blocks))
    _compare("SigLIP", expected, views, temperature=0.3, bias=-1.0)


@pytest.mark.parametrize("count", [2, 3])
def test_spectral(count: int) -> None:
    """2 scale^2 s over the negatives minus 2 scale T."""
    views = unit_views(count=count)
    s, target, negative = _parts(views)
    repulsion = 2 * 1.5**2 * s * negative / negative.sum(1, keepdim=True) / len(s)
    _compare("SpectralContrastive", repulsion - 2 * 1.5 * target, views, scale=1.5)


@pytest.mark.parametrize("count", [2, 3])
def test_alignment(count: int) -> None:
    views = unit_views(count=count)
    _compare("Alignment", -_parts(views)[1] / 0.3, views, temperature=0.3)


def _gaps(views: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """d_ip^2 - d_ij^2 (N, V - 1, N), the positives' columns (N, V - 1), and where the negatives are."""
    s, target, negative = _parts(views)
    columns = (target > 0).nonzero()[:, 1].reshape(len(s), -1)
    return s[:, None, :] - s.gather(1, columns)[:, :, None], columns, negative


def _family(
    views: list[Tensor], slope_phi: Callable[[Tensor], Tensor], psi: Any, slope_psi: Callable[[Tensor], Tensor]
) -> Tensor:
    """alpha_ipj = phi'(xi_ip) psi'(d_ip^2 - d_ij^2) / (N (V - 1)); the positive carries minus their sum."""
    gaps, columns, negative = _gaps(views)
    n, positives, _ = gaps.shape
    xi = (psi(gaps) * negative[:, None]).sum(2, keepdim=True)
    alpha = slope_phi(xi) * slope_psi(gaps) * negative[:, None] / (n * positives)
    return alpha.sum(1).scatter_add(1, columns, -alpha.sum(2))


FAMILY: dict[str, tuple[dict[str, Any], Any, Any, Any]] = {
    # name: (options, phi', psi, psi')
    "ScaledInfoNCE": (
        {"temperature": 0.3, "e0": 0.7},
        lambda x: 0.3 / (0.7 + x),
        lambda x: torch.exp(x / 0.3),
        lambda x: torch.exp(x / 0.3) / 0.3,
    ),
    "MINE": ({}, lambda x: 1 / x, torch.exp, torch.exp),
    "Triplet": ({"margin": 0.4}, torch.ones_like, lambda x: (x + 0.4).clamp_min(0), lambda x: (x > -0.4).double()),
    "SoftTriplet": (
        {"temperature": 0.3, "margin": 0.4},
        lambda x: 0.3 / (1 + x),
        lambda x: torch.exp(x / 0.3 + 0.4),
        lambda x: torch.exp(x / 0.3 + 0.4) / 0.3,
    ),
    "NPlusOneTuplet": ({}, lambda x: 1 / (1 + x), torch.exp, torch.exp),
    "LiftedStructured": (
        {"margin": -1.5},
        lambda x: 2 * x.log().clamp_min(0) / x,
        lambda x: torch.exp(x - 1.5),
        lambda x: torch.exp(x - 1.5),
    ),
    "ModifiedTriplet": (
        {"slope": 3.0},
        torch.ones_like,
        lambda x: torch.sigmoid(3 * x),
        lambda x: 3 * torch.sigmoid(3 * x) * torch.sigmoid(-3 * x),
    ),
    "TripletContrastive": ({}, torch.ones_like, lambda x: x, torch.ones_like),
}


@pytest.mark.parametrize("name", [name for name in FAMILY if name in CASES])
@pytest.mark.parametrize("count", [2, 3])
def test_the_phi_psi_family(name: str, count: int) -> None:
    options, slope_phi, psi, slope_psi = FAMILY[name]
    views = unit_views(count=count)
    expected = _family(views, slope_phi, psi, slope_psi)
    _compare(name, expected, views, **options)
    loss = CASES[name](**options)
    gaps, _, negative = _gaps(views)
    xi = (psi(gaps) * negative[:, None]).sum(2)
    torch.testing.assert_close(loss(*views), loss.phi(xi).mean())  # type: ignore[operator]
    torch.testing.assert_close(loss.psi(gaps), psi(gaps))  # type: ignore[operator]


@pytest.mark.parametrize("count", [2, 5])
def test_cacr(count: int) -> None:
    """-2 alpha w+ / N over positives, +2 beta w- / (n view pairs) over negatives, |z_i - z_j|^2 being 2 - 2 s."""
    views, n = unit_views(count=count), 6
    loss = CACR(t_positive=0.0, alpha=0.7, beta=0.4, detach_weights=True)
    expected = -2 * 0.7 * _target(count, n)
    couplings, blocks = loss.coupling(*views), _view_blocks(count, n)
    for rows, columns in blocks:
        plan = couplings[f"view {rows.start // n + 1} to view {columns.start // n + 1}"].plan()
        expected[rows, columns] += 2 * 0.4 * plan / len(blocks)
    torch.testing.assert_close(loss.pair_weights(*views), expected)


# The call


def test_they_need_no_gradient_mode_and_leave_the_views_alone() -> None:
    views = [v.requires_grad_() for v in unit_views()]
    with torch.no_grad():
        weights = InfoNCE().pair_weights(*views)
    assert not weights.requires_grad
    assert views[0].grad is None
    torch.testing.assert_close(weights, InfoNCE().pair_weights(*views))


def _in_inference_mode(loss: Loss, views: list[Tensor], **sides: Any) -> None:
    """Value, weights and plans of views and sides that were made there are those of ordinary ones."""
    with torch.inference_mode():
        inside = [v * 1 for v in views]
        moved = {k: v * 1 if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in sides.items()}
        got = loss(*inside, **moved), loss.pair_weights(*inside, **moved)
        plans = {k: plan.plan() for k, plan in loss.coupling(*inside, **moved).items()}
    assert inside[0].is_inference()
    torch.testing.assert_close(got, (loss(*views, **sides), loss.pair_weights(*views, **sides)))
    torch.testing.assert_close(plans, {k: plan.plan() for k, plan in loss.coupling(*views, **sides).items()})
    later = loss.pair_weights(*inside, **moved)
    torch.testing.assert_close(later, got[1])


@every_loss
def test_inference_mode(name: str) -> None:
    views, case = unit_views(n=4, count=3), CASES[name]
    _in_inference_mode(case(), views)
    if case.keys:
        _in_inference_mode(case(), views, keys=torch.randn(3, 4, dtype=F64), ids=torch.tensor([0, 1, 2, 1]))
    if case.negatives:
        _in_inference_mode(case(), views, negatives=torch.randn(4, 3, 4, dtype=F64))
    for option in case.learnable:
        _in_inference_mode(case(**{option: torch.nn.Parameter(torch.tensor(0.4, dtype=F64))}), views)
    if case.takes("learnable"):
        _in_inference_mode(case(learnable=True).double(), views)
    if case().takes_target:
        _in_inference_mode(case(), views, target=torch.rand(12, 12, dtype=F64).fill_diagonal_(0))


def test_masks_and_teachers_that_were_made_in_inference_mode() -> None:
    views, other = unit_views(), unit_views(seed=1)
    with torch.inference_mode():
        guide, teacher = Guide(*(v * 1 for v in other), margin=0.2), GCAINCE(0.3).coupling(*(v * 1 for v in other))
    for loss, side, outside in (
        (InfoNCE(), {"mask": guide}, {"mask": Guide(*other, margin=0.2)}),
        (GCAINCE(), {"target": teacher["plan"]}, {"target": GCAINCE(0.3).coupling(*other)["plan"]}),
    ):
        torch.testing.assert_close(loss.pair_weights(*views, **side), loss.pair_weights(*views, **outside))
        ours, theirs = (gradients(lambda *v, s=s, f=loss: f(*v, **s), views) for s in (side, outside))
        torch.testing.assert_close(ours, theirs)
