"""Repulsion and information: what a negative tells about its query, and entropies in training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from couplings import CACR, Coupling
from couplings_theory import attraction_repulsion as model
from couplings_theory.claim import Check, Finding, Picture, at_least, at_most, equal
from couplings_theory.figures import attraction_repulsion as figures

from .pairs import sphere_strip

__all__ = ["entropies", "information"]

Flowing = Callable[[Tensor], model.Flow]
Planning = Callable[[Tensor, float], Coupling]

_SAMPLES = 10


def information(
    flow: Flowing = model.repelled, plan: Planning = model.repulsion_plan, seeds: Sequence[int] = tuple(range(6))
) -> Finding:
    """The least information, who has it, and where Adam on the repulsion ends."""
    least, bound = model.least_information(_SAMPLES), model.simplex_bound(_SAMPLES)
    flows = {d: [flow(model.random_rows(_SAMPLES, d, seed)) for seed in seeds] for d in (16, 4)}
    values = {d: torch.stack([each.values for each in runs]) for d, runs in flows.items()}
    told = {d: torch.stack([each.information for each in runs]) for d, runs in flows.items()}
    near = [flow(_close(seed)) for seed in seeds]
    checks = (
        *_card(flow),
        *_least(plan, least),
        equal("farthest end from the bound of repulsion, d = 16, all seeds", _farthest(values[16], bound), 0.0, 1e-6),
        equal("farthest end from the least information, d = 16, all seeds", _farthest(told[16], least), 0.0, 1e-6),
        at_least("least information anywhere along the flows, less log(10 / 9)", _lowest(told) - least, 0.0, 1e-9),
        at_most("largest rise of information from start to end, d = 16", _gain(told[16]).max().item(), -0.01),
        at_least(
            "least end of information where the simplex does not fit (d = 4)", told[4][:, -1].min().item(), least + 0.1
        ),
        *_from_close(near),
    )
    return Finding(checks, _information_picture(values, told), _remarks(values[4], told[4], flow))


def _close(seed: int) -> Tensor:
    """Starts around one point: nearly equal distances, so nearly equal weights and nearly the least information."""
    around = 0.05 * model.random_rows(_SAMPLES, 4, seed)
    return around + torch.eye(4, dtype=torch.float64)[0]


def _from_close(near: Sequence[model.Flow]) -> tuple[Check, Check]:
    fall = _gain(torch.stack([each.values for each in near]))
    rise = _gain(torch.stack([each.information for each in near]))
    return (
        at_most("points that start close together, d = 4: largest change of repulsion", fall.max().item(), -1.5),
        at_least("and the least rise of information meanwhile", rise.min().item(), 0.1),
    )


def _information_picture(values: Mapping[int, Tensor], told: Mapping[int, Tensor]) -> Picture:
    bound, least = model.simplex_bound(_SAMPLES), model.least_information(_SAMPLES)
    draw = partial(
        figures.draw_information,
        strip=sphere_strip(model.repulsion_flow(_SAMPLES, 3, seed=1), (0, 5, 15, 40, 130)),
        values={f"$d$ = {d}": runs.numpy() for d, runs in values.items()},
        information={f"$d$ = {d}": runs.numpy() for d, runs in told.items()},
        levels=(figures.Level(bound, "simplex: $-20/9$"), figures.Level(least, "least possible: log(10/9)")),
    )
    caption = (
        "Above: ten points repel each other on the sphere, seen along an axis; larger and darker discs are nearer to "
        "the eye, lines are as thick as the weights. Below: repulsion and information of query and negative from "
        f"random starts, a line for each of {len(values[4])} seeds; in 16 dimensions all end "
        "at the least possible, in 4 dimensions the simplex does not fit."
    )
    title = "Repulsion falls to the simplex where it fits, and information with it"
    return Picture(draw, (10.5, 6.5), title, caption)


def _card(flow: Flowing) -> tuple[Check, ...]:
    """Numbers of an earlier program of ours, from the same two draws of one stream of random numbers."""
    draw = torch.Generator().manual_seed(0)
    low, high = (flow(torch.randn(_SAMPLES, d, generator=draw, dtype=torch.float64)) for d in (4, 16))
    known = {
        (4, low): (-1.42787, 0.38373, -1.81865, 0.27488),
        (16, high): (-1.80982, 0.19461, -2.22222, 0.10536),
    }
    checks = []
    for (d, run), numbers in known.items():
        found = (run.values[0], run.information[0], run.values[-1], run.information[-1])
        names = ("repulsion at the start", "information at the start", "repulsion at the end", "information at the end")
        for name, obtained, expected in zip(names, found, numbers, strict=True):
            checks.append(equal(f"as an earlier program of ours, d = {d}: {name}", obtained.item(), expected, 1e-5))
    return tuple(checks)


def _least(plan: Planning, least: float) -> tuple[Check, ...]:
    z, corners = model.random_rows(_SAMPLES, 16, seed=0), model.simplex_rows(_SAMPLES)
    told = [model.mutual_information(plan(z, t).plan()).item() for t in (0.0, 0.5, 2.0, 10.0)]
    simplex = model.mutual_information(plan(corners, 3.0).plan()).item()
    hard = plan(z, 2.0).plan()
    conditional = model.row_entropies(hard * _SAMPLES).mean().item()
    column = torch.special.entr(hard.sum(0)).sum().item()
    return (
        equal("information with equal weights (t- = 0)", told[0], least, 1e-12),
        equal("information on the simplex, t- = 3", simplex, least, 1e-12),
        at_least("least rise of information from t- = 0 to 0.5, 2, 10", _least_rise(told), 0.01),
        equal("H(negative | query) less H(negative) - I, t- = 2", conditional - column + told[2], 0.0, 1e-12),
    )


def _least_rise(numbers: Sequence[float]) -> float:
    return min(later - earlier for earlier, later in pairwise(numbers))


def _farthest(runs: Tensor, level: float) -> float:
    """Of the ends from a level."""
    return (runs[:, -1] - level).abs().max().item()


def _lowest(told: dict[int, Tensor]) -> float:
    return min(runs.min().item() for runs in told.values())


def _remarks(values: Tensor, told: Tensor, flow: Flowing) -> tuple[str, ...]:
    ends, rising = values[:, -1], int((_gain(told) > 0).sum())
    angles = torch.arange(_SAMPLES, dtype=torch.float64) * 2 * math.pi / _SAMPLES
    even = model.repulsion(torch.stack([angles.cos(), angles.sin()], 1), 1.0)
    circle = flow(model.random_rows(_SAMPLES, 2, seed=0))
    nearest = torch.cdist(circle.embeddings[-1], circle.embeddings[-1]).fill_diagonal_(torch.inf).amin(1)
    return (
        f"In 4 dimensions the seeds end at {len({round(end, 3) for end in ends.tolist()})} different values, from "
        f"{ends.min():.5f} to {ends.max():.5f}: where the simplex does not fit, repulsion has several minima.",
        f"In 4 dimensions information rises from {rising} of {len(ends)} random starts while repulsion falls, and from "
        "points that are close together always: less repulsion is not always less information.",
        f"On the circle repulsion does not space ten points evenly: it ends at {circle.values[-1]:.5f}, below the "
        f"{even:.5f} of even spacing, with nearest neighbours {nearest.min():.2f} to {nearest.max():.2f} apart.",
    )


def entropies(
    trained: CACR | None = None,
    plain: CACR | None = None,
    seeds: Sequence[int] = tuple(range(4)),
    steps: int = 40,
) -> Finding:
    """Entropies of the weights of one loss while the encoder is trained with it, and with equal weights."""
    watched = CACR(t_positive=4.0, t_negative=2.0)
    losses = {"weighed": trained or watched, "equal": plain or CACR(t_positive=0.0, t_negative=0.0)}
    runs = {
        name: [model.weight_entropies(loss, watched, seed, steps=steps) for seed in seeds]
        for name, loss in losses.items()
    }
    pull = {name: torch.stack([run.attraction for run in each]) for name, each in runs.items()}
    push = {name: torch.stack([run.repulsion for run in each]) for name, each in runs.items()}
    number = {name: each[:, -1].exp() for name, each in push.items()}
    most = math.log(4), math.log(31)
    checks = (
        at_least(
            "repulsion: least rise of entropy from step 5 to the end", _gain(push["weighed"][:, 1:]).min().item(), 0.05
        ),
        at_least("repulsion: least effective number of images at the end", float(number["weighed"].min()), 19),
        at_most("repulsion, equal weights: mean effective number", float(number["equal"].mean()), 13),
        at_most("and the largest as a share of the other's", float((number["equal"] / number["weighed"]).max()), 0.85),
        at_most(
            "repulsion, equal weights: largest rise of entropy (it falls)", _gain(push["equal"]).max().item(), -0.3
        ),
        at_most("attraction: largest end less start (no gain)", _gain(pull["weighed"]).max().item(), -0.01),
        at_least("attraction: least regain after the dip", _regain(pull["weighed"]).min().item(), 0.005),
        at_most("repulsion: largest entropy", max(each.max().item() for each in push.values()), most[1], 1e-9),
        at_most("attraction: largest entropy", max(each.max().item() for each in pull.values()), most[0], 1e-9),
    )
    at = runs["weighed"][0].steps.double()
    return Finding(checks, _entropies_picture(at, push, pull, most), _collapse(push["equal"]))


def _entropies_picture(
    at: Tensor, push: Mapping[str, Tensor], pull: Mapping[str, Tensor], most: tuple[float, float]
) -> Picture:
    named = {"weighed": "trained with these weights", "equal": "trained with equal weights"}
    panels = {
        "Repulsion: over 31 other images": {named[name]: each.numpy() for name, each in push.items()},
        "Attraction: over 4 other views": {named[name]: each.numpy() for name, each in pull.items()},
    }
    levels = (figures.Level(most[1], "equal weights: log 31"), figures.Level(most[0], "equal weights: log 4"))
    draw = partial(figures.draw_entropies, steps=at.numpy(), panels=panels, levels=levels)
    caption = (
        f"Mean and range over {len(push['equal'])} seeds of the mean entropy of weights at t+ = 4 and t- = 2. With "
        "equal weights in the loss each group of images collapses, and its members would take all repulsion."
    )
    title = "Weighed repulsion spreads images evenly; with equal weights groups collapse"
    return Picture(draw, (10.5, 4.4), title, caption)


def _gain(runs: Tensor) -> Tensor:
    """From start to end, one a seed."""
    return runs[:, -1] - runs[:, 0]


def _regain(runs: Tensor) -> Tensor:
    """From the least to the end, one a seed."""
    return runs[:, -1] - runs.amin(1)


def _collapse(push: Tensor) -> tuple[str, ...]:
    ends = push[:, -1].exp()
    return (
        f"With equal weights the repulsion at t- = 2 would spread over {ends.min():.1f} to {ends.max():.1f} images "
        "(exponential of the entropy), about the 7 others of a group: equal weights ask only that rows sum to zero.",
        "Attraction's weights do not even out towards log 4: a negative result of this setting, where repulsion "
        "spreads the views of an image as well.",
    )
