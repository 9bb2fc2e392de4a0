"""The members that only this design has, between the ones that it shares. `docs/identities.md` lists them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from closeness import near, near_relatively, other_view, show
from couplings import (
    CACR,
    GCAINCE,
    HCL,
    HCLOT,
    AlphaCL,
    BalancedAlphaCL,
    Quadratic,
    RelaxedHCLOT,
    SinkhornCACR,
    SparseGCA,
)
from helpers import F64, gradients, unit_views

TAU = 0.3


def test_N1_sinkhorn_repulsion_has_exact_columns() -> None:
    """No sample is everybody's negative; CACR, the row plan of the same scores, has hubs."""
    views = unit_views(n=8, count=3)
    balanced, tilted = (cls(t_negative=2.0).coupling(*views) for cls in (SinkhornCACR, CACR))
    names = [name for name in balanced if name != "attraction"]
    assert len(names) in (3, 6)
    for name in names:
        near(8 * balanced[name].column_mass(), torch.ones(8, dtype=F64), within=1e-12)
        hub = (8 * tilted[name].column_mass() - 1).abs().max()
        show(hub=hub.item())
        assert hub > 0.05


def test_N1_at_hardness_zero_it_is_cacr() -> None:
    """A constant plan has full columns already; at any other hardness the two differ."""
    views = unit_views(n=8, count=3)
    near(SinkhornCACR(t_negative=0.0)(*views), CACR(t_negative=0.0)(*views), within=1e-12)
    few, many = (SinkhornCACR(t_negative=3.0, sweeps=sweeps)(*views) for sweeps in (80, 160))
    near(few, many, within=1e-8)
    gap = CACR(t_negative=3.0)(*views) - many
    show(gap=gap.item())
    assert abs(gap) > 1e-4


def _positives(rows: int) -> Tensor:
    return torch.eye(rows, dtype=F64)[other_view(rows)] / rows


def _sparse(*views: Tensor, rule: str, sweeps: int = 100) -> tuple[SparseGCA, Tensor]:
    loss = SparseGCA(TAU, sweeps=sweeps, rule=rule)
    return loss, loss.coupling(*views)["plan"].plan()


@pytest.mark.parametrize("rule", ["quadratic", "entropic"])
def test_N2_sparse_gca_pulls_by_plan_minus_target(rule: str) -> None:
    views = unit_views(n=8)
    loss, plan = _sparse(*views, rule=rule)
    near(loss.pair_weights(*views), plan.detach() - _positives(16), within=1e-8)


def test_N2_sparse_gca_is_zero_where_the_plan_is_the_target() -> None:
    """Never below zero, and zero at a finite distance of the scores: many pairs carry exactly nothing."""
    views = unit_views(n=8)
    loss, plan = _sparse(*views, rule="quadratic")
    show(value=loss(*views).item(), share_of_zeros=(plan == 0).double().mean().item())
    assert loss(*views) > 1e-3
    assert (plan == 0).double().mean() > 0.2
    apart = torch.eye(8, dtype=F64)
    met, target = _sparse(apart, apart, rule="quadratic", sweeps=20)
    near(met(apart, apart), torch.zeros((), dtype=F64), within=1e-12)
    near(target, _positives(16), within=1e-12)
    near(met.pair_weights(apart, apart), torch.zeros(16, 16, dtype=F64), within=1e-12)


@pytest.mark.parametrize("sweeps", [0, 1, 5])
def test_N2_sparse_gca_is_never_negative(sweeps: int) -> None:
    """However few the sweeps: the dual objective bounds the primal one at any potentials."""
    values = [SparseGCA(TAU, sweeps=sweeps)(*unit_views(n=5, seed=s, noise=0.1 * s)).item() for s in range(12)]
    show(lowest=min(values), highest=max(values))
    assert min(values) >= -1e-12
    assert max(values) > 0.05


def test_N2_the_entropic_rule_gives_gca_ince_times_temperature() -> None:
    views = unit_views(n=8)
    ours, theirs = SparseGCA(TAU, sweeps=300, rule="entropic"), GCAINCE(TAU, sweeps=300)
    near(ours(*views), TAU * theirs(*views), within=1e-10)
    near_relatively(gradients(ours, views), [TAU * g for g in gradients(theirs, views)], within=1e-8)


def test_N3_balanced_alpha_cl_has_exact_columns() -> None:
    """After any number of sweeps; solved to a tolerance, rows are exact too and the weights symmetric."""
    views, ones = unit_views(n=8), torch.ones(16, dtype=F64)
    few, solved = (BalancedAlphaCL(TAU, sweeps=sweeps).coupling(*views)["negatives"] for sweeps in (3, None))
    near(16 * few.column_mass(), ones, within=1e-12)
    near(16 * solved.column_mass(), ones, within=1e-12)
    near(16 * solved.row_mass(), ones, within=1e-8)
    near(16 * solved.plan(), 16 * solved.plan().T, within=1e-8)
    hub = (16 * AlphaCL(TAU).coupling(*views)["negatives"].column_mass() - 1).abs().max()
    show(hub=hub.item())
    assert hub > 0.1


def test_N4_relaxed_negatives_lie_between_hcl_and_hcl_ot() -> None:
    """rho -> 0: HCL at beta = 2 tau / reg with constant weights; rho -> infinity: HCL-OT."""
    views, reg = unit_views(n=8), 0.3
    hcl, hcl_ot = HCL(TAU, 2 * TAU / reg, 0.1, detach_weights=True), HCLOT(TAU, reg, 0.1)
    for rho, limit in ((1e-9, hcl), (1e9, hcl_ot)):
        relaxed = RelaxedHCLOT(TAU, reg, rho, 0.1)
        near(relaxed(*views), limit(*views), within=1e-7)
        near_relatively(gradients(relaxed, views), gradients(limit, views), within=1e-6)


def test_N4_hubs_shrink_as_rho_grows() -> None:
    views, rhos = unit_views(n=8), (1e-3, 0.1, 0.5, 2.0, 10.0)
    columns = [RelaxedHCLOT(TAU, 0.3, rho).coupling(*views)["negatives"].column_mass() for rho in rhos]
    hubs = [(16 * mass - 1).abs().max().item() for mass in columns]
    show(**{f"rho {rho:g}": hub for rho, hub in zip(rhos, hubs, strict=True)})
    assert hubs == sorted(hubs, reverse=True)
    assert hubs[0] > 10 * hubs[-1]


def test_N4_the_rules_differ_in_support_only() -> None:
    views = unit_views(n=8)
    sparse, dense = (HCLOT(TAU, 0.7, rule=rule).coupling(*views)["negatives"] for rule in (Quadratic(), "entropic"))
    for plan in (sparse, dense):
        near(16 * plan.column_mass(), torch.ones(16, dtype=F64), within=1e-6)
    zeros = [int((plan.conditional() == 0).sum()) for plan in (sparse, dense)]
    show(sparse=zeros[0], dense=zeros[1])
    assert zeros[0] > zeros[1] == 32
