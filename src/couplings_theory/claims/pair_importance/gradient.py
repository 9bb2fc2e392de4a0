"""The gradient of a loss is that of an energy with constant weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from couplings.losses.pairs import PairLoss

from ...claim import Finding, Picture, at_least, equal
from ...figures import pair_importance as figures
from ...pair_importance import blob_views, energy, gaps, importance, negatives, small_encoder, unit
from .common import MEMBERS, Views, Weights, largest


def gradient(weights: Weights = importance, network: Callable[[], nn.Module] = small_encoder) -> Finding:
    """Compare the gradients of loss and energy in the parameters of a deep network."""
    net, images = network(), blob_views(8)
    sphere, space = (
        {name: _error(make(on), weights, net, images) for name, make in MEMBERS.items()} for on in (True, False)
    )
    ratio = _slope_ratio(weights, net, images)
    views = [view.detach() for view in _embedded(net, images)]
    alphas = {name: weights(make(True), views).detach() for name, make in MEMBERS.items()}
    shipped = max(largest(alpha - _from_pair_weights(MEMBERS[name](True), views)) for name, alpha in alphas.items())
    return Finding(
        checks=(
            equal("|dL + dE/N| / |dL|, largest of nine losses, unit rows", max(sphere.values()), 0.0, 1e-10),
            equal("|dL + dE/N| / |dL|, largest of nine losses, rows of any norm", max(space.values()), 0.0, 1e-10),
            equal("slope of InfoNCE along dE by central differences / (-|dE|^2 / N)", ratio, 1.0, 1e-5),
            equal("|alpha - N x pair weights of the loss|, largest of all pairs", shipped, 0.0, 1e-12),
            at_least("smallest importance of a pair", min(float(alpha.min()) for alpha in alphas.values()), 0.0),
        ),
        picture=_picture(views, alphas, {name: max(sphere[name], space[name]) for name in MEMBERS}),
        remarks=("Gradient that flows through the weights is another direction, except where they are constant.",),
    )


def _from_pair_weights(loss: PairLoss, views: Views) -> Tensor:
    """What the library says that the loss weighs negatives by, times the number of anchors."""
    admitted = negatives(len(views[0]))
    return len(admitted) * loss.pair_weights(*views) * admitted


def _picture(views: Views, alphas: dict[str, Tensor], errors: dict[str, float]) -> Picture:
    admitted = negatives(len(views[0]))
    return Picture(
        partial(
            figures.importances,
            gap=gaps(unit(views))[admitted].numpy(),
            alphas={name: alpha[admitted].numpy() for name, alpha in alphas.items()},
            errors=errors,
        ),
        (11, 7.6),
        "Nine losses, one gradient: each descends where its energy ascends",
        "Every dot is a pair of different samples: how much nearer the negative is than the positive, and how much the "
        "loss cares. With these weights held still, the gradient of the energy is that of the loss, up to rounding.",
    )


def _embedded(net: nn.Module, images: Views) -> tuple[Tensor, ...]:
    """Both views in one pass, so that they share the statistics of batch normalisation."""
    embeddings: Tensor = net(torch.cat(list(images)))
    return embeddings[: len(images[0])], embeddings[len(images[0]) :]


def _pulls(loss: PairLoss, weights: Weights, net: nn.Module, images: Views) -> tuple[Tensor, Tensor]:
    """dL/dtheta and dE/dtheta / N, both flat."""
    views = _embedded(net, images)
    shown = unit(views) if loss.normalize else views
    ascended = energy(weights(loss, views), shown) / (2 * len(views[0]))
    return _flat(loss(*views), net), _flat(ascended, net)


def _flat(value: Tensor, net: nn.Module) -> Tensor:
    parameters = list(net.parameters())
    pulls = torch.autograd.grad(value, parameters, retain_graph=True)
    return torch.cat([pull.flatten() for pull in pulls])


def _error(loss: PairLoss, weights: Weights, net: nn.Module, images: Views) -> float:
    down, up = _pulls(loss, weights, net, images)
    return float((down + up).norm() / down.norm())


def _slope_ratio(weights: Weights, net: nn.Module, images: Views, step: float = 1e-6) -> float:
    """What moving the parameters along dE/N does to the loss, measured, over -|dE/N|^2."""
    loss = MEMBERS["InfoNCE"](True)
    _, up = _pulls(loss, weights, net, images)
    way, start = up / up.norm(), nn.utils.parameters_to_vector(net.parameters()).detach()
    ahead, behind = (_moved_loss(loss, net, start + sign * step * way, images) for sign in (1, -1))
    nn.utils.vector_to_parameters(start, net.parameters())
    return (behind - ahead) / (2 * step * float(up.norm()))


def _moved_loss(loss: PairLoss, net: nn.Module, parameters: Tensor, images: Views) -> float:
    with torch.no_grad():
        nn.utils.vector_to_parameters(parameters, net.parameters())
        return float(loss(*_embedded(net, images)))
