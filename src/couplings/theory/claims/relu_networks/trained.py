"""What InfoNCE, normalised outputs and SGD make of the same networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from couplings import InfoNCE
from couplings.diagnostics import effective_rank
from couplings.theory.claim import Finding, Picture, at_least, at_most, equal
from couplings.theory.figures.relu_networks import draw_curves, draw_rotations, draw_spectra, draw_strip
from couplings.theory.relu_networks import (
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


def briefly(activation: Activation, seed: int) -> Trained:
    """A run of 300 steps: enough where the statement holds for any weights."""
    return train(activation, Training(steps=300), seed=seed)


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
        at_least("mean concentration, ReLU - linear", float(apart[:, 0].mean()), 0.05),
        at_least("mean coverage, ReLU - linear", float(apart[:, 1].mean()), 0.05),
        at_least("lowest coverage of ReLU - linear with the same seed", float(apart[:, 1].min()), 0.0),
        at_least("mean rise of ReLU's concentration since the start", float(rise[Activation.RELU][0]), 0.05),
        equal("mean rise of linear concentration since the start", float(rise[Activation.LINEAR][0]), 0.0, 0.06),
        equal("mean rise of linear coverage since the start", float(rise[Activation.LINEAR][1]), 0.0, 0.06),
    )
    picture = Picture(
        partial(draw_curves, steps=runs[Activation.RELU][0].steps, curves={a.value: curves[a] for a in Activation}),
        (10, 4.2),
        "ReLU neurons take coordinates, linear ones stay mixed",
        "Left: how much of a neuron lies on its strongest coordinate. Right: how well each coordinate is covered by "
        "some neuron. Lines are means over seeds, bands reach from the lowest to the highest seed.",
    )
    return Finding(checks, picture, tuple(_told(a, ends[a]) for a in Activation))


def rotated(trainer: Trainer = briefly, seed: int = 0, rotations: int = 50) -> Finding:
    """Rotate the hidden layers of two trained networks."""
    own = {a: trainer(a, seed).network for a in Activation}
    turned = {a: [_turned(own[a], number) for number in range(rotations)] for a in Activation}
    change = {a: torch.tensor([_loss(network) - _loss(own[a]) for network in turned[a]]) for a in Activation}
    share = {a: torch.tensor([concentration(network.w1) for network in turned[a]]) for a in Activation}
    as_trained = {a: concentration(own[a].w1) for a in Activation}
    linear, relu = Activation.LINEAR, Activation.RELU
    decay = max(abs(_squares(network) - _squares(own[linear])) for network in turned[linear])
    apart = as_trained[linear] - float(share[linear].mean())
    checks = (
        equal("largest change of InfoNCE by a rotation, linear (nats)", float(change[linear].abs().max()), 0.0, 1e-9),
        equal("largest change of |W1|^2 + |W2|^2", decay, 0.0, 1e-9),
        at_least("smallest rise of InfoNCE by a rotation, ReLU (nats)", float(change[relu].min()), 0.01),
        at_least(
            "spread of concentration over rotations, linear", float(share[linear].max() - share[linear].min()), 0.05
        ),
        equal("concentration, linear - its mean over rotations", apart, 0.0, 0.1),
    )
    dots = {a.value: (change[a], share[a]) for a in Activation}
    picture = Picture(
        partial(draw_rotations, rotations=dots, own={a.value: as_trained[a] for a in Activation}),
        (8, 4.4),
        "Rotating the hidden layer costs a linear network nothing",
        "InfoNCE and concentration of trained networks whose hidden layers were rotated at random and back by W2. All "
        "linear ones have the loss of the trained one, whatever their concentration.",
    )
    return Finding(checks, picture)


def batch_normalised(trainer: Trainer = normalised, seeds: Sequence[int] = range(2)) -> Finding:
    """The same training with batch normalisation of the hidden layer."""
    runs = {a: [trainer(a, seed) for seed in seeds] for a in Activation}
    ends = {a: torch.tensor([_measured(run, -1) for run in runs[a]]) for a in Activation}
    apart = (ends[Activation.RELU] - ends[Activation.LINEAR]).mean(0)
    checks = (
        at_least("mean concentration, ReLU - linear", float(apart[0]), 0.08),
        at_least("mean coverage, ReLU - linear", float(apart[1]), 0.08),
        at_least("lowest concentration, ReLU", float(ends[Activation.RELU][:, 0].min()), 0.85),
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
