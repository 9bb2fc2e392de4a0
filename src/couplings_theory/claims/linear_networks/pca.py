"""The energy of a linear encoder is a quadratic form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from couplings.losses.exponential import ScaledInfoNCE

from ...claim import Check, Finding, Picture, at_least, at_most, equal
from ...figures import linear_networks as figures
from ...linear_networks import LinearNetwork, random_network
from ...pair_importance import contrastive_covariance, energy, importance, negatives, noisy_views
from ..pair_importance.common import MEMBERS, Views, largest

Covariance = Callable[[Tensor, Views], Tensor]


def pca(covariance: Covariance = contrastive_covariance) -> Finding:
    """Compare energies with quadratic forms, random maps with the largest eigenvalue, and directions with PCA."""
    views = noisy_views(16, 6)
    alphas = {name: importance(make(True), views) for name, make in MEMBERS.items()}
    forms = {name: covariance(alpha, views) for name, alpha in alphas.items()}
    nets = (random_network((6, 4), seed=0), random_network((6, 8, 8, 4), seed=1))
    errors = [_error(net, alphas[name], form, views) for net in nets for name, form in forms.items()]
    skews = [largest(form - form.T) / largest(form) for form in forms.values()]
    form = forms["InfoNCE"]
    values, vectors = torch.linalg.eigh((form + form.T) / 2)
    top, drawn = float(values[-1]), _random_energies(form, 2000)
    return Finding(
        checks=(
            equal("|E - tr(W X W^T) / 2| / |E|, largest of nine losses and two networks", max(errors), 0.0, 1e-10),
            equal("|X - X^T| / |X|, largest of nine losses", max(skews), 0.0, 1e-12),
            equal(
                "|dE/dW - W X| / |W X|, InfoNCE, one layer",
                _pull_error(nets[0], alphas["InfoNCE"], form, views),
                0.0,
                1e-10,
            ),
            equal(
                "2 E of the top eigenvector - lambda_max",
                _twice(vectors[:, -1:].T, alphas["InfoNCE"], views) - top,
                0.0,
                1e-9,
            ),
            *_around(vectors[:, -1], alphas["InfoNCE"], views, top),
            equal(
                "|X - 2 N^2 covariance| / |X|, equal weights, no augmentation", _plain(covariance, views[0]), 0.0, 1e-12
            ),
            *_directions(covariance),
        ),
        picture=_picture(covariance, values, drawn),
    )


def _twice(weights: Tensor, alpha: Tensor, views: Views) -> float:
    """2 E of a linear map, from the distances of its outputs."""
    return 2 * float(energy(alpha, [view @ weights.T for view in views]))


def _error(net: LinearNetwork, alpha: Tensor, form: Tensor, views: Views) -> float:
    direct = _twice(net.product, alpha, views)
    return abs(2 * float(net.energy(form)) - direct) / abs(direct)


def _pull_error(net: LinearNetwork, alpha: Tensor, form: Tensor, views: Views) -> float:
    weights = net.product.clone().requires_grad_()
    (pull,) = torch.autograd.grad(energy(alpha, [view @ weights.T for view in views]), weights)
    return float((pull - net.product @ form).norm() / pull.norm())


def _random_energies(form: Tensor, count: int) -> Tensor:
    """2 E of random maps (4, 6) of norm one, (count,)."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(count, 4, len(form), generator=generator, dtype=form.dtype)
    maps = maps / maps.flatten(1).norm(dim=1)[:, None, None]
    energies: Tensor = ((maps @ form) * maps).sum((1, 2))
    return energies


def _around(direction: Tensor, alpha: Tensor, views: Views, top: float, count: int = 500) -> tuple[Check, ...]:
    """2 E of maps at a tenth from the one that reads `direction`, from the distances of their outputs."""
    generator = torch.Generator().manual_seed(3)
    ways = torch.randn(count, 4, len(direction), generator=generator, dtype=direction.dtype)
    maps = 0.1 * ways / ways.flatten(1).norm(dim=1)[:, None, None]
    maps[:, 0] += direction
    maps = maps / maps.flatten(1).norm(dim=1)[:, None, None]
    shares = [_twice(weights, alpha, views) / top for weights in maps]
    return (
        at_most(f"2 E / lambda_max of {count} maps at 0.1 from the top one, largest", max(shares), 1.0),
        at_least("the smallest of them, so that they are near", min(shares), 0.95),
    )


def _plain(covariance: Covariance, x: Tensor) -> float:
    """How far X of equal weights without augmentation is from PCA's matrix."""
    rows = torch.cat([x, x])
    centred = rows - rows.mean(0)
    expected = 2 * len(rows) * centred.T @ centred
    found = covariance(negatives(len(x)).to(x), (x, x))
    return largest(found - expected) / largest(expected)


def _plane() -> tuple[Tensor, Tensor]:
    """Two views in the plane: content along the first axis, and more variance that augmentation makes up anew."""
    content, first, second = (
        part[0] for part in (noisy_views(30, 1), noisy_views(30, 2, seed=1), noisy_views(30, 2, seed=2))
    )
    own = content * torch.tensor([1.5, 0.0])
    return tuple(own + noise * torch.tensor([0.2, 2.0]) for noise in (first, second))  # type: ignore[return-value]


def _axes(covariance: Covariance) -> tuple[Tensor, Tensor]:
    """The top eigenvectors of contrastive covariance and of covariance, in the plane."""
    views = _plane()
    contrast = covariance(importance(ScaledInfoNCE(0.3), views), views)
    spread = torch.cat(views).T.cov()
    return torch.linalg.eigh((contrast + contrast.T) / 2)[1][:, -1], torch.linalg.eigh(spread)[1][:, -1]


def _directions(covariance: Covariance) -> tuple[Check, ...]:
    ours, plain = _axes(covariance)
    return (
        at_least("|cosine| of the top direction with content, in the plane", abs(float(ours[0])), 0.9),
        at_most("|cosine| of PCA's first direction with content, in the plane", abs(float(plain[0])), 0.5),
    )


def _picture(covariance: Covariance, values: Tensor, drawn: Tensor) -> Picture:
    ours, plain = _axes(covariance)
    return Picture(
        partial(
            figures.pca,
            values=values.flip(0).numpy(),
            drawn=drawn.numpy(),
            views=[view.numpy() for view in _plane()],
            ours=ours.numpy(),
            plain=plain.numpy(),
        ),
        (12, 4.8),
        "A linear encoder learns the top direction of the contrastive covariance",
        "Left: segments join the two views of a sample; PCA follows all variance, the contrastive direction what "
        "views share. Right: twice the energy of random maps stays below the largest eigenvalue.",
    )
