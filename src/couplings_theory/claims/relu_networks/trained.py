"""What InfoNCE, normalised outputs and SGD make of the same networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from couplings import InfoNCE
from couplings.diagnostics import effective_rank
from couplings_theory.claim import Finding, Picture, at_least, at_most, equal
from couplings_theory.figures.relu_networks import draw_curves, draw_rotations, draw_spectra, draw_strip
from couplings_theory.relu_networks import (
    Activation,
    Trained,
    Training,
    TwoLayer,
    concentration,
    coverage,
    numerical_rank,
    one_hot_data,
    train,
)

Trainer = Callable[[Activation, int], Trained]
Measure = Callable[[Tensor], float]
_NORMALISED = Training(batch_norm=True)
MOMENTS = (0, 10, 50, 200, 500, 1000)


@cache
def trained(activation: Activation, seed: int) -> Trained:
    """A run with the default recipe; the claims share it."""
    return train(activation, seed=seed)


@cache
def normalised(activation: Activation, seed: int) -> Trained:
    """A run with batch normalisation in the hidden layer."""
    return train(activation, _NORMALISED, seed=seed)


def singular_values(trainer: Trainer = trained, seeds: Sequence[int] = range(2)) -> Finding:
    """Ranks of trained first layers."""
    layers = {a: [trainer(a, seed).network.w1 for seed in seeds] for a in Activation}
    ranks = {a: torch.tensor([numerical_rank(w1) for w1 in layers[a]]).double() for a in Activation}
    apart = float(ranks[Activation.RELU].mean() - ranks[Activation.LINEAR].mean())
    checks = (
        at_least("lowest rank of W1, linear (of 10)", float(ranks[Activation.LINEAR].min()), 7),
        at_least("lowest rank of W1, ReLU (of 10)", float(ranks[Activation.RELU].min()), 7),
        at_most("difference of the mean ranks, ReLU - linear", abs(apart), 2),
    )
    spectra = {a.value: [torch.linalg.svdvals(w1) for w1 in layers[a]] for a in Activation}
    soft = {a: float(torch.stack([effective_rank(w1) for w1 in layers[a]]).mean()) for a in Activation}
    remarks = (
        f"Effective rank (exp of the entropy of the singular values): linear {soft[Activation.LINEAR]:.1f}, "
        f"ReLU {soft[Activation.RELU]:.1f} of 10.",
    )
    picture = Picture(
        partial(draw_spectra, spectra=spectra, tolerance=1e-2),
        (8, 4.2),
        "After InfoNCE both first layers are nearly of full rank",
        "Singular values of W1 over the largest, a line for each seed; the dashed line is the tolerance of the rank.",
    )
    return Finding(checks, picture, remarks)


def concentrated(
    trainer: Trainer = trained,
    seeds: Sequence[int] = range(4),
    measures: tuple[Measure, Measure] = (concentration, coverage),
) -> Finding:
    """Concentration and coverage over the steps."""
    runs = {a: [trainer(a, seed) for seed in seeds] for a in Activation}
    curves = {a: torch.stack([_curves(run, measures) for run in runs[a]]) for a in Activation}
    ends = {a: curves[a][:, :, -1] for a in Activation}
    apart = ends[Activation.RELU] - ends[Activation.LINEAR]
    rise = {a: (curves[a][:, :, -1] - curves[a][:, :, 0]).mean(0) for a in Activation}
    checks = (
        at_least("mean concentration, ReLU - linear", float(apart[:, 0].mean()), 0.01),
        at_least("mean coverage, ReLU - linear", float(apart[:, 1].mean()), 0.02),
        at_least("mean rise of ReLU's concentration since the start", float(rise[Activation.RELU][0]), 0.03),
        at_least("mean rise of ReLU's coverage since the start", float(rise[Activation.RELU][1]), 0.03),
        equal("mean rise of linear concentration since the start", float(rise[Activation.LINEAR][0]), 0.0, 0.13),
        equal("mean rise of linear coverage since the start", float(rise[Activation.LINEAR][1]), 0.0, 0.1),
    )
    picture = Picture(
        partial(draw_curves, steps=runs[Activation.RELU][0].steps, curves={a.value: curves[a] for a in Activation}),
        (10, 4.2),
        "ReLU neurons take coordinates, linear ones stay mixed",
        "Left: how much of a neuron lies on its strongest coordinate. Right: how well each coordinate is covered by "
        "some neuron. Lines are means over seeds, bands reach from the lowest to the highest seed.",
    )
    return Finding(checks, picture, tuple(_told(a, ends[a]) for a in Activation))


@dataclass(frozen=True)
class _Rotations:
    """A trained network and what rotations of its hidden layer change: (rotations,) each, and its own numbers."""

    change: Tensor
    decay: Tensor
    concentration: Tensor
    coverage: Tensor
    own: tuple[float, float]


def rotated(trainer: Trainer = trained, seeds: Sequence[int] = range(2), rotations: int = 50) -> Finding:
    """Rotate the hidden layers of trained networks."""
    runs = {a: [_rotations(trainer(a, seed).network, rotations) for seed in seeds] for a in Activation}
    linear, relu = runs[Activation.LINEAR], runs[Activation.RELU]
    lost = [run.own[1] - float(run.coverage.mean()) for run in relu]
    change = max(float(run.change.abs().max()) for run in linear)
    decay = max(float(run.decay.abs().max()) for run in linear)
    spread = min(float(run.concentration.max() - run.concentration.min()) for run in linear)
    checks = (
        equal("largest change of InfoNCE by a rotation, linear (nats)", change, 0.0, 1e-9),
        equal("largest change of |W1|^2 + |W2|^2, linear", decay, 0.0, 1e-9),
        at_least("smallest spread of concentration over rotations, linear", spread, 0.05),
        at_least("smallest rise of InfoNCE by a rotation, ReLU (nats)", min(float(r.change.min()) for r in relu), 0.05),
        at_least("mean coverage, ReLU as trained - rotated", sum(lost) / len(lost), 0.02),
    )
    dots = {a.value: (torch.cat([r.change for r in runs[a]]), torch.cat([r.coverage for r in runs[a]])) for a in runs}
    picture = Picture(
        partial(draw_rotations, rotations=dots, own={a.value: [run.own[1] for run in runs[a]] for a in runs}),
        (8, 4.4),
        "Rotating the hidden layer costs a linear network nothing",
        "InfoNCE and coverage of trained networks, a star for each seed, and of the same with hidden layers rotated at "
        "random and back by W2. All linear ones have the loss of the trained one, whatever their coverage.",
    )
    return Finding(checks, picture, tuple(_turning(a, runs[a]) for a in runs))


def _rotations(network: TwoLayer, count: int) -> _Rotations:
    turned = [_turned(network, number) for number in range(count)]
    return _Rotations(
        change=torch.tensor([_loss(each) - _loss(network) for each in turned]),
        decay=torch.tensor([_squares(each) - _squares(network) for each in turned]),
        concentration=torch.tensor([concentration(each.w1) for each in turned]),
        coverage=torch.tensor([coverage(each.w1) for each in turned]),
        own=(concentration(network.w1), coverage(network.w1)),
    )


def _turning(activation: Activation, runs: Sequence[_Rotations]) -> str:
    own = torch.tensor([run.own for run in runs]).mean(0).tolist()
    turned = [
        float(torch.cat(parts).mean()) for parts in zip(*((r.concentration, r.coverage) for r in runs), strict=True)
    ]
    return (
        f"{activation.value}: concentration {own[0]:.2f} as trained and {turned[0]:.2f} rotated, coverage "
        f"{own[1]:.2f} and {turned[1]:.2f} (means over {len(runs)} seeds)."
    )


def batch_normalised(trainer: Trainer = normalised, seeds: Sequence[int] = range(2)) -> Finding:
    """The same training with batch normalisation of the hidden layer."""
    runs = {a: [trainer(a, seed) for seed in seeds] for a in Activation}
    ends = {a: torch.tensor([_measured(run, -1) for run in runs[a]]) for a in Activation}
    apart = (ends[Activation.RELU] - ends[Activation.LINEAR]).mean(0)
    checks = (
        at_least("mean concentration, ReLU - linear", float(apart[0]), 0.04),
        at_least("mean coverage, ReLU - linear", float(apart[1]), 0.05),
        at_least("lowest concentration, ReLU", float(ends[Activation.RELU][:, 0].min()), 0.8),
    )
    picture = Picture(
        partial(draw_strip, strips={a.value: _moments(runs[a][0]) for a in Activation}),
        (11, 4.3),
        "W1 in training: ReLU neurons settle on one coordinate each",
        "The positive part of W1, rows scaled to norm one, a row for each hidden neuron; each strip keeps the order "
        "that its last step has by strongest coordinate. Hidden layer batch normalised, first seed.",
    )
    return Finding(checks, picture, tuple(_told(a, ends[a]) for a in Activation))


def _curves(run: Trained, measures: tuple[Measure, Measure]) -> Tensor:
    return torch.tensor([[measure(w1) for w1 in run.w1] for measure in measures])


def _measured(run: Trained, record: int) -> tuple[float, float]:
    return concentration(run.w1[record]), coverage(run.w1[record])


def _told(activation: Activation, ends: Tensor) -> str:
    means, spread = ends.mean(0).tolist(), ends.std(0).tolist()
    numbers = [
        f"{name} {m:.2f} +- {s:.2f}" for name, m, s in zip(("concentration", "coverage"), means, spread, strict=True)
    ]
    return f"{activation.value}: {' and '.join(numbers)} (mean and standard deviation over {len(ends)} seeds)."


def _turned(network: TwoLayer, seed: int) -> TwoLayer:
    """The network with its hidden layer rotated, and rotated back by W2."""
    draws = torch.randn(
        len(network.w1), len(network.w1), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    rotation = torch.linalg.qr(draws)[0]
    return TwoLayer(rotation @ network.w1, network.w2 @ rotation.T, network.activation)


def _loss(network: TwoLayer) -> float:
    """InfoNCE of normalised outputs, duplicates masked by their coordinate."""
    views = one_hot_data(64, seed=0)
    units = [functional.normalize(network(view), dim=1) for view in views]
    return float(InfoNCE(temperature=0.1, normalize=False)(*units, ids=(views[0] != 0).long().argmax(1)))


def _squares(network: TwoLayer) -> float:
    return float(network.w1.square().sum() + network.w2.square().sum())


def _moments(run: Trained) -> list[tuple[int, Tensor]]:
    """Some steps, and W1 there with unit rows in the order of the strongest coordinates at the end."""
    units = functional.normalize(run.w1, dim=2)
    order = torch.argsort(units[-1].argmax(1) - units[-1].amax(1) / 2)
    steps = [step for step in MOMENTS if step <= int(run.steps[-1])]
    return [(step, units[int((run.steps - step).abs().argmin())][order]) for step in steps]
