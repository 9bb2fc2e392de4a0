"""GCA-UOT's two terms weigh against each other in the recipes as they do in the released modules.

Those are written down here from their formulas. With C = 1 - cosine (negative cosines cut to 0, the self pair at the
largest C), K = exp(-C / eps) and l = rho / (rho + eps):

    CIFAR      u = (1/N / K v)^l, v = (1/N / K^T u)^l, P = u K v
               KL = -mean log(P_ip / sum_j P_ij),   RINCE = mean[ (lam / u_i)^q - (P_ip / u_i)^q ] / q
    ImageNet   P_ij <- P_ij / (sum_j P_ij)^l, P_ij <- P_ij / (sum_j P_ji)^l from K on
               KL = -mean log P_ip,   RINCE = mean[ (lam sum_{j != i} P_ij)^q - P_ip^q ] / q
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from couplings.train.config import LossConfig
from couplings.train.recipes import read_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
EPSILON, SWEEPS, LAM = 0.5, 10, 0.01


class Released(NamedTuple):
    """Numbers of a released configuration, and the weights of its KL and its RINCE term."""

    batch: int
    rho: float
    q: float
    kl: float
    rince: float


def _kernel(z: Tensor) -> Tensor:
    cost = 1 - (z @ z.T).clamp_min(1e-7)
    same = torch.eye(len(z), dtype=torch.bool)
    return torch.exp(-torch.where(same, cost.max(), cost) / EPSILON)


def _partners(plan: Tensor) -> Tensor:
    rows = torch.arange(len(plan))
    return plan[rows, rows.roll(len(rows) // 2)]


def _terms_for_cifar(z: Tensor, of: Released) -> tuple[Tensor, Tensor]:
    kernel, mass, power = _kernel(z), 1 / len(z), of.rho / (of.rho + EPSILON)
    u = v = torch.full((len(z),), mass, dtype=z.dtype)
    for _ in range(SWEEPS):
        u = (mass / (kernel @ v)) ** power
        v = (mass / (kernel.T @ u)) ** power
    plan = u[:, None] * kernel * v
    positive = _partners(plan)
    rince = ((LAM / u) ** of.q - (positive / u) ** of.q).mean() / of.q
    return -of.kl * torch.log(positive / plan.sum(1)).mean(), of.rince * rince


def _terms_for_imagenet(z: Tensor, of: Released) -> tuple[Tensor, Tensor]:
    plan, power = _kernel(z), of.rho / (of.rho + EPSILON)
    for _ in range(SWEEPS):
        plan = plan / plan.sum(1, keepdim=True) ** power
        plan = plan / plan.sum(0)[:, None] ** power
    positive, others = _partners(plan), plan.sum(1) - plan.diagonal()
    rince = ((LAM * others) ** of.q - positive**of.q).mean() / of.q
    return -of.kl * torch.log(positive).mean(), of.rince * rince


def _ours(name: str) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    config = read_recipe(FOLDER / f"{name}.yaml").config.loss
    kl, rince = (LossConfig(name=config.name, params={**config.params, off: 0.0}).build() for off in ("r2", "r1"))
    return lambda z: (kl(*z.chunk(2)), rince(*z.chunk(2)))


def _ratio(terms: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor) -> float:
    """How much longer the gradient of the RINCE term is than that of the KL term, along the sphere."""
    z = z.detach().requires_grad_()
    kl, rince = terms(z)
    lengths = []
    for term in (kl, rince):
        (gradient,) = torch.autograd.grad(term, z, retain_graph=True)
        lengths.append((gradient - (gradient * z).sum(1, keepdim=True) * z).norm().item())
    return lengths[1] / lengths[0]


def _batch(images: int, common: float, noise: float) -> Tensor:
    """Two views of some images on the sphere, around a common direction: with it no cosine is below 0."""
    generator = torch.Generator().manual_seed(0)
    centre, samples = (torch.randn(rows, 16, generator=generator, dtype=torch.float64) for rows in (1, images))
    views = [samples + common * centre + noise * torch.randn(samples.shape, generator=generator) for _ in range(2)]
    return F.normalize(torch.cat(views), dim=1)


CIFAR = {
    "gca-uot-cifar10": Released(512, rho=0.2, q=0.98, kl=1.0, rince=0.02),
    "gca-uot-cifar100": Released(512, rho=0.2, q=0.98, kl=1.0, rince=1.0),
}
LARGE = {
    "gca-uot-svhn": Released(512, rho=0.2, q=0.6, kl=0.02, rince=1.0),
    "gca-uot-imagenet100": Released(128, rho=0.5, q=0.6, kl=0.02, rince=1.0),
}


@pytest.mark.parametrize("name", list(CIFAR))
def test_converted_weights_give_the_released_ratio(name: str) -> None:
    """Up to three digits of the recipe's numbers, and to the self pair, one of 1,024 terms of each sum."""
    of, z = CIFAR[name], _batch(512, common=3.0, noise=0.5)
    share, inverse = of.rho / (2 * of.rho + EPSILON), math.exp(1 / EPSILON)
    factor = (inverse / len(z) ** 2) ** share
    given = read_recipe(FOLDER / f"{name}.yaml").config.loss.params
    assert given["r2"] == pytest.approx(of.rince * factor**of.q, rel=5e-3)
    assert given["lam"] == pytest.approx(LAM * inverse / (len(z) * factor**2), rel=5e-3)
    assert (z @ z.T).min() > 0
    released = _ratio(lambda views: _terms_for_cifar(views, of), z)
    assert _ratio(_ours(name), z) == pytest.approx(released, rel=5e-3)


@pytest.mark.parametrize("name", list(LARGE))
def test_the_other_module_is_met_within_a_fifth(name: str) -> None:
    for common, noise in ((1.0, 0.2), (0.0, 0.3)):
        of = LARGE[name]
        z = _batch(of.batch, common, noise)
        released = _ratio(lambda views, of=of: _terms_for_imagenet(views, of), z)  # type: ignore[misc]
        assert _ratio(_ours(name), z) == pytest.approx(released, rel=0.2)


SAME = [file.stem for file in sorted(FOLDER.glob("gca-uot-*.yaml")) if "fashion-mnist" not in file.stem]


@pytest.mark.parametrize("name", SAME)
def test_all_recipes_of_one_size_have_the_weights_that_were_compared(name: str) -> None:
    mine = read_recipe(FOLDER / f"{name}.yaml").config
    like = name if name in {**CIFAR, **LARGE} else "gca-uot-cifar10"
    other = read_recipe(FOLDER / f"{like}.yaml").config
    keys = ("temperature", "rho1", "rho2", "r1", "r2", "q", "lam", "sweeps", "shift")
    assert mine.batch_size == other.batch_size == {**CIFAR, **LARGE}[like].batch
    assert [mine.loss.params[key] for key in keys] == [other.loss.params[key] for key in keys]
