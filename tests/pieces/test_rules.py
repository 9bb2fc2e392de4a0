"""The q-exponentials and their half-step."""

from __future__ import annotations

import pytest
import torch

from couplings import CouplingWarning, Entropic, Power, Quadratic, Rule, Scores, couple
from couplings.pieces import rules
from helpers import F64, central_differences

RULES = [Entropic(), Quadratic(), Power(1.3), Power(2.0), Power(4.0)]
UP_TO_TWO = [rule for rule in RULES if not (isinstance(rule, Power) and rule.q > 2)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
X = torch.tensor([-5.0, -2.5, -0.6, -0.1, 0.0, 0.2, 0.3], dtype=F64)


@every_rule
def test_the_family_is_defined_by_its_derivative(rule: Rule) -> None:
    """phi' = phi^q with phi(0) = 1: q = 1, 0 and the power's own."""
    q = {Entropic: 1.0, Quadratic: 0.0}.get(type(rule), getattr(rule, "q", 1.0))
    density = rule.density(X)
    expected = (density > 0).to(F64) if q == 0 else density**q
    torch.testing.assert_close(rule.slope(X), expected)
    numeric = central_differences(lambda x: rule.density(x).sum(), X)
    torch.testing.assert_close(rule.slope(X), numeric, atol=1e-8, rtol=1e-6)
    assert rule.density(torch.zeros(1, dtype=F64)).item() == 1


@every_rule
def test_logs_and_the_forbidden_pair(rule: Rule) -> None:
    torch.testing.assert_close(rule.log_density(X).exp(), rule.density(X))
    nowhere = torch.tensor([-torch.inf], dtype=F64)
    assert rule.density(nowhere).item() == 0
    assert rule.log_density(nowhere).item() == -torch.inf


def _residual(rule: Rule, c: float, dtype: torch.dtype, temperature: float, size: int = 48) -> tuple[float, float]:
    """How far the half-step is from its root, and what rounding the potential alone explains.

    A power's heaviest entry sits density^(1 - q) before the pole, so rounding of the potential counts density^(q - 1)
    times; beyond q = 2 that soon exceeds any precision.
    """
    logits = (2 * torch.rand(size, size, dtype=dtype) - 1) / temperature
    log_weights = torch.full((size,), 1 / size, dtype=dtype).log()
    f = rule.half_step(logits, torch.zeros(size, dtype=dtype), log_weights, torch.tensor(c, dtype=dtype))
    density = rule.density(logits + f[:, None])
    residual = (c * f + torch.log(density.mean(1))).abs().max().item()
    steep = density.max().item() ** (rule.q - 1) if isinstance(rule, Power) else 1.0
    return residual, 4 * torch.finfo(dtype).eps * (1 + 1 / temperature + f.abs().max().item()) * steep


@pytest.mark.parametrize("rule", UP_TO_TWO, ids=repr)
@pytest.mark.parametrize("c", [0.0, 0.5])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_newton_needs_few_steps(rule: Rule, c: float, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bisection alone takes over fifty steps to double precision."""
    monkeypatch.setattr(rules, "_MAX_ITERATIONS", 40)
    residual, rounding = _residual(rule, c, F64, temperature)
    assert residual <= rounding


@pytest.mark.parametrize("rule", UP_TO_TWO, ids=repr)
@pytest.mark.parametrize("c", [0.0, 0.5])
def test_single_precision_reaches_its_own_accuracy(rule: Rule, c: float) -> None:
    residual, rounding = _residual(rule, c, torch.float32, 0.1)
    assert residual <= rounding


@every_rule
def test_a_row_without_admissible_pairs_has_an_infinite_potential(rule: Rule) -> None:
    logits = torch.tensor([[0.0, 1.0], [-torch.inf, -torch.inf]], dtype=F64)
    f = rule.half_step(logits, torch.zeros(2, dtype=F64), torch.full((2,), -0.7, dtype=F64), torch.tensor(0.0))
    assert f[0].isfinite()
    assert f[1] == torch.inf


def test_power_says_when_the_dtype_is_too_coarse() -> None:
    scores = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    with pytest.warns(CouplingWarning, match="cannot resolve the heaviest pairs"):
        couple(Scores.given(scores, temperature=0.05), rule=Power(4.0))
    couple(Scores.given(scores.double(), temperature=0.5), rule=Power(2.0))
