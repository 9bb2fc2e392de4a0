"""The q-power losses have one scale at every temperature, batch size and power, whatever the kernels weigh."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from couplings import GCARINCE, GCAUOT, RINCE, InfoNCE, Loss
from helpers import F64, gradients

LOSSES = [RINCE, GCARINCE, GCAUOT]
TEMPERATURES = torch.logspace(-2, 0, 41, dtype=F64).tolist()
"""12 % from one to the next; 0.1 among them."""


def _untrained(n: int, d: int = 64) -> list[Tensor]:
    """Views that have little in common, as an encoder sees them at first."""
    generator = torch.Generator().manual_seed(0)
    base, *noise = torch.randn(3, n, d, generator=generator, dtype=F64)
    return [base + 2 * part for part in noise]


def _ratio(temperature: float, n: int, q: float, lam: float) -> float:
    """The gradient of the RINCE term over that of the KL term."""
    views = _untrained(n)
    sizes = [
        torch.cat(gradients(GCAUOT(temperature, r1=r1, r2=r2, q=q, lam=lam), views)).norm()
        for r1, r2 in ((1.0, 0.0), (0.0, 1.0))
    ]
    return float(sizes[1] / sizes[0])


@pytest.mark.parametrize(("q", "lam"), [(0.6, 0.01), (0.5, 0.5), (0.1, 0.1)])
def test_the_two_terms_of_gca_uot_keep_their_balance_over_temperatures(q: float, lam: float) -> None:
    ratios = torch.tensor([_ratio(t, 32, q, lam) for t in TEMPERATURES])
    assert (ratios.log().diff().abs() < 0.2).all()
    assert ratios.min() > 0.3
    assert ratios.max() < 5


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_and_over_batch_sizes(temperature: float) -> None:
    ratios = [_ratio(temperature, n, 0.6, 0.01) for n in (16, 64, 256)]
    assert max(ratios) / min(ratios) < 1.2
    assert min(ratios) > 0.8


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("q", [0.1, 1.0])
def test_single_precision_is_finite_where_positives_are_opposite(loss: type[Loss], q: float) -> None:
    """exp((s_ij - s_ip) / 0.01) is e^200, which no float32 holds."""
    z = torch.nn.functional.normalize(torch.randn(8, 4) + 4, dim=1).requires_grad_()
    for temperature in (0.01, 0.05, 1.0):
        value = loss(temperature, q=q)(z, -z)
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()


@pytest.mark.parametrize("loss", [RINCE, GCARINCE])
def test_all_anchors_are_scaled_alike(loss: type[Loss]) -> None:
    views = _untrained(6, 4)
    ours, published = (kind.pair_weights(*views) for kind in (loss(0.3), loss(0.3, shift=0.0)))
    factor = loss(0.3)(*views) / loss(0.3, shift=0.0)(*views)
    torch.testing.assert_close(ours, factor * published, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", [RINCE, GCARINCE])
@pytest.mark.parametrize("n", [4, 32])
def test_lam_is_the_share_at_which_pull_and_push_are_equal(loss: type[Loss], n: int) -> None:
    z, share = torch.eye(n, dtype=F64), 1 / (1 + (2 * n - 2) * math.exp(-1 / 0.3))
    for lam, sign in ((share, 0.0), (0.8 * share, -1.0), (1.2 * share, 1.0)):
        excess = loss(0.3, lam=lam).pair_weights(z, z).sum(1)
        assert (torch.where(excess.abs() < 1e-12, 0.0, excess.sign()) == sign).all()


def test_a_learnt_temperature_moves_as_that_of_info_nce() -> None:
    z, share = torch.eye(8, dtype=F64), 1 / (1 + 14 * math.exp(-1 / 0.3))
    slopes = []
    for kind in (InfoNCE, lambda t: RINCE(t, q=0.4, lam=0.2)):
        t = torch.tensor(0.3, dtype=F64, requires_grad=True)
        slopes.append(torch.autograd.grad(kind(t)(z, z), t)[0])
    torch.testing.assert_close(slopes[1], (0.2 / share) ** 0.4 * slopes[0], rtol=1e-10, atol=0)
