"""Values and weights: attraction is zero only when aligned, repulsion least on the simplex, hard pairs weigh most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from couplings import CACR
from couplings_theory import attraction_repulsion as model
from couplings_theory.claim import Check, Finding, Picture, at_least, at_most, equal
from couplings_theory.figures import attraction_repulsion as figures

__all__ = ["attraction", "drawn_views", "simplex", "sphere_strip", "weights"]

Value = Callable[[Tensor, float], Tensor]
_HARDNESSES = (0.5, 1.0, 5.0)
_SHOWN = (0.0, 0.5, 1.0, 2.0)
_DEBIASED = CACR(alpha=0.0, beta=2.0, tau_plus=0.1)


def attraction(pull: Value = model.attraction, debiased: CACR = _DEBIASED) -> Finding:
    """At least the plain mean squared distance; the debiased repulsion's pull on positives."""
    drawn = [drawn_views(5, 6, 4, seed) for seed in range(20)]
    plain = torch.stack([_mean_squared(views) for views in drawn])
    above = torch.stack([torch.stack([pull(views, t) for views in drawn]) - plain for t in _HARDNESSES])
    pair = drawn_views(2, 6, 4, 0)
    aligned = drawn[0][:1].expand(5, -1, -1)
    checks = (
        equal("attraction of views that coincide, at t+ = 5", pull(aligned, 5.0).item(), 0.0, 1e-9),
        at_least("least excess over the mean squared distance, 20 sets of 5 views", above.min().item(), 0.0, 1e-12),
        equal("one view of one sample moved by 0.001, relative to its two shares", _moved(pull, aligned), 1.0, 1e-3),
        equal("one positive, t+ = 5", pull(pair, 5.0).item(), _mean_squared(pair).item(), 1e-12),
        _debiased_pull(debiased, pair),
    )
    return Finding(checks, _attraction_picture(pull))


def _attraction_picture(pull: Value) -> Picture:
    angles = torch.linspace(0, 120, 61, dtype=torch.float64)
    curves = {f"$t_+$ = {t:g}": torch.stack([pull(_fan(a), t) for a in angles]).numpy() for t in (1.0, 5.0)}
    draw = partial(figures.draw_attraction, fan=_drawn_fan(), spread=angles.numpy(), values=curves)
    caption = (
        "A query and its four other views on a circle: lines are as thick as their weight. Harder attraction spends "
        "itself on the farthest view; its value is zero only where all views coincide."
    )
    return Picture(draw, (12, 3.6), "Attraction pulls the farthest views and ends at zero", caption)


def _debiased_pull(loss: CACR, pair: Tensor) -> Check:
    """dL / d(mean squared distance of positives): minus half of the pair weights, d^2 being 2 - 2 s."""
    n = pair.shape[1]
    rows = torch.arange(2 * n)
    pull = -loss.pair_weights(*pair)[rows, (rows + n) % (2 * n)].sum() / 2
    wanted = loss.beta * loss.tau_plus / (1 - loss.tau_plus)
    return equal("pull of the debiased repulsion on positives (beta = 2, tau+ = 0.1)", pull.item(), wanted, 1e-9)


def _moved(pull: Value, aligned: Tensor, by: float = 1e-3) -> float:
    """Attraction over 2 |move|^2 / (V M): a view that leaves is far for itself and, in all as much, for the others."""
    views = aligned.clone()
    views[0, 0] = torch.nn.functional.normalize(views[0, 0] + by * views[0, 1], dim=0)
    move = (views[0, 0] - views[1, 0]).square().sum()
    return (pull(views, 1.0) * views.shape[0] * views.shape[1] / (2 * move)).item()


def _mean_squared(views: Tensor) -> Tensor:
    """Of all pairs of views of a sample."""
    apart = (views[:, None] - views).square().sum(-1)
    return apart.sum() / (len(views) * (len(views) - 1) * views.shape[1])


def drawn_views(count: int, samples: int, dimension: int, seed: int) -> Tensor:
    """Noisy views of random samples, unit rows (V, M, d)."""
    draw = torch.Generator().manual_seed(seed)
    base = torch.randn(1, samples, dimension, generator=draw, dtype=torch.float64)
    noise = torch.randn(count, samples, dimension, generator=draw, dtype=torch.float64)
    return torch.nn.functional.normalize(base + 0.5 * noise, dim=-1)


def _fan(degrees: float | Tensor) -> Tensor:
    """Five views of two opposite samples on the circle, up to an angle apart: (5, 2, 2)."""
    shares = torch.tensor([0.0, 0.3, 0.55, 0.8, 1.0], dtype=torch.float64)
    angles = torch.deg2rad(shares * degrees)[:, None] + torch.tensor([0.0, math.pi], dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], -1)


def _drawn_fan() -> figures.Fan:
    views = _fan(120.0)
    weights = {f"$t_+$ = {t:g}": model.attraction_weights(views, t)[0, 0].numpy() for t in (0.0, 1.0, 5.0)}
    return figures.Fan(views[0, 0].numpy(), views[1:, 0].numpy(), weights)


def simplex(push: Value = model.repulsion, weigh: Value = model.repulsion_weights, samples: int = 10) -> Finding:
    """The bound, who attains it, and who does not."""
    corners, bound = model.simplex_rows(samples), -2 * samples / (samples - 1)
    random = {d: [model.random_rows(samples, d, seed) for seed in range(100)] for d in (4, 16, 64)}
    seen = {d: torch.stack([push(z, 1.0) for z in drawn]) for d, drawn in random.items()}
    plain = torch.stack([_plain(z) for z in random[4]])
    off = ~torch.eye(samples, dtype=torch.bool)
    crossing, four = _crossing(samples), model.repulsion_flow(4, 3, seed=2)
    checks = (
        equal("repulsion on the simplex, t- = 1", push(corners, 1.0).item(), bound, 1e-9),
        equal("and at t- = 10", push(corners, 10.0).item(), bound, 1e-9),
        equal(
            "farthest weight on the simplex from 1 / (M - 1), t- = 5",
            (weigh(corners, 5.0)[off] - 1 / (samples - 1)).abs().max().item(),
            0.0,
            1e-12,
        ),
        at_least("least repulsion of 300 random configurations", torch.cat(list(seen.values())).min().item(), bound),
        at_least("least excess over equal weights (near ones weigh more)", (seen[4] - plain).min().item(), 0.0, 1e-12),
        equal("antipodal pairs: repulsion at t- = 0", push(crossing, 0.0).item(), bound, 1e-9),
        at_least("but at t- = 1, less the bound", push(crossing, 1.0).item() - bound, 0.01),
        equal("four points in space after 130 steps", four.values[-1].item(), -8 / 3, 1e-6),
    )
    return Finding(checks, _simplex_picture({f"$d$ = {d}": values.numpy() for d, values in seen.items()}, bound, four))


def _simplex_picture(named: Mapping[str, NDArray[np.float64]], bound: float, four: model.Flow) -> Picture:
    level = figures.Level(bound, f"bound $-2M/(M-1)$ = {bound:.4f},\nattained by the simplex")
    draw = partial(figures.draw_simplex, strip=sphere_strip(four, (0, 4, 10, 130)), seen=named, bound=level)
    caption = (
        "Above: four points repel each other on the sphere, seen along an axis, until they are a tetrahedron; larger "
        "and darker discs are nearer to the eye, lines are as thick as the weights. Below: no configuration of ten "
        "points is under the bound."
    )
    return Picture(draw, (10, 6.5), "Repulsion is least on the regular simplex", caption)


def _plain(z: Tensor) -> Tensor:
    """Minus the mean squared distance of different rows, from the sum of the rows."""
    n = len(z)
    return -(2 * n * n - 2 * z.sum(0).square().sum()) / (n * (n - 1))


def _crossing(samples: int) -> Tensor:
    """Rows and their opposites, which sum to zero."""
    half = model.random_rows(samples // 2, samples, seed=0)
    return torch.cat([half, -half])


def sphere_strip(flow: model.Flow, moments: tuple[int, ...], hardness: float = 1.0) -> figures.Strip:
    """A flow in space at several moments."""
    points = flow.embeddings[list(moments)]
    weights = torch.stack([model.repulsion_weights(z, hardness) for z in points])
    titles = [f"step {k}: {flow.values[k]:.3f}" for k in moments]
    return figures.Strip(points.numpy(), weights.numpy(), titles)


def weights(attracting: Value = model.attraction_weights, repelling: Value = model.repulsion_weights) -> Finding:
    """Order, limits, and how fast they are reached."""
    views = drawn_views(5, 6, 4, 0)
    z, apart = views[0], _apart(views)
    near = torch.cdist(z, z)[~torch.eye(len(z), dtype=torch.bool)].reshape(len(z), -1).square()

    def pushed(hardness: float) -> Tensor:
        square = repelling(z, hardness)
        return square[~torch.eye(len(z), dtype=torch.bool)].reshape(len(z), -1)

    def pulled(hardness: float) -> Tensor:
        return attracting(views, hardness).reshape(apart.shape)

    checks = (
        equal("positives out of the order of their distances, t+ = 0.5, 1, 5", _disorder(pulled, apart), 0, 0),
        equal("negatives out of the order of their nearness, t- = 0.5, 1, 5", _disorder(pushed, -near), 0, 0),
        equal("farthest weight of a positive from 1 / n at t+ = 0", _from_equal(pulled(0.0)), 0, 1e-12),
        equal("farthest weight of a negative from 1 / n at t- = 0", _from_equal(pushed(0.0)), 0, 1e-12),
        at_most("weight beside the farthest positive, less its bound, t+ = 30", _rest(pulled, apart, 30.0), 0, 1e-12),
        at_most("weight beside the nearest negative, less its bound, t- = 30", _rest(pushed, -near, 30.0), 0, 1e-12),
        equal("farthest weight of a negative from softmax(2 t s)", _from_cosines(repelling, z), 0.0, 1e-12),
    )
    return Finding(checks, _weights_picture(attracting, repelling))


def _weights_picture(attracting: Value, repelling: Value) -> Picture:
    squared, candidates = _meridian(40)
    far = {f"$t_+$ = {t:g}": 40 * attracting(candidates, t)[0, 0].numpy() for t in _SHOWN}
    near = {f"$t_-$ = {t:g}": 40 * repelling(candidates[:, 0], t)[0, 1:].numpy() for t in _SHOWN}
    draw = partial(figures.draw_weights, squared=squared.numpy(), far=far, near=near)
    caption = (
        "Forty positives and forty negatives between distance zero and the opposite pole. Hardness zero weighs "
        "all alike; with hardness t a step of one in squared distance is a factor of e^t."
    )
    return Picture(draw, (10.5, 4.2), "Hard pairs carry the gradient", caption)


def _from_equal(weights: Tensor) -> float:
    return (weights - 1 / weights.shape[1]).abs().max().item()


def _apart(views: Tensor) -> Tensor:
    """Squared distances of each view of each sample to its other views, counted round, (V M, V - 1)."""
    others = [views.roll(-v, 0)[1:] for v in range(len(views))]
    return torch.cat([(view - rest).square().sum(-1).T for view, rest in zip(views, others, strict=True)])


def _disorder(weigh: Callable[[float], Tensor], rank: Tensor) -> int:
    """How many weights are not where their rank says, over the hardnesses."""
    return sum(int((weigh(t).argsort(1) != rank.argsort(1)).sum()) for t in _HARDNESSES)


def _rest(weigh: Callable[[float], Tensor], rank: Tensor, hardness: float) -> float:
    """What the hardest pair leaves to the others, less (n - 1) exp(-hardness gap), at most over rows."""
    two, where = rank.topk(2, dim=1)
    rest = 1 - weigh(hardness).gather(1, where[:, :1])[:, 0]
    return (rest - (rank.shape[1] - 1) * torch.exp(-hardness * (two[:, 0] - two[:, 1]))).max().item()


def _from_cosines(repelling: Value, z: Tensor, hardness: float = 2.0) -> float:
    logits = (2 * hardness * z @ z.T).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return (repelling(z, hardness) - torch.softmax(logits, 1)).abs().max().item()


def _meridian(count: int) -> tuple[Tensor, Tensor]:
    """Squared distances up to 4, evenly; a query and points that far from it as views of two opposite samples."""
    squared = torch.linspace(0, 4, count + 1, dtype=torch.float64)
    angles = torch.arccos(1 - squared / 2)[:, None] + torch.tensor([0.0, math.pi], dtype=torch.float64)
    return squared[1:], torch.stack([angles.cos(), angles.sin()], -1)
