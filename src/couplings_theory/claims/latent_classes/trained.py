"""A network that is trained on samples lands on the gram that the convex program predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from couplings_theory.claim import Claim, Finding, Paper, Picture, Standing, at_least, at_most
from couplings_theory.claims.latent_classes.priors import MILD, RARE, THIRDS, Prior, in_percent
from couplings_theory.figures.latent_classes.trained import Landing, draw_encoder
from couplings_theory.latent_classes import OptimalGram, TrainedEncoder, optimal_gram, population_loss, train_encoder

Setting = tuple[Prior, int, float]
"""Prior, k, s."""

_SETTINGS: tuple[Setting, ...] = ((THIRDS, 4, 1.0), (MILD, 4, 1.0), (RARE, 1, 1.0), (RARE, 16, 1.0))
_ENTRY = 0.1
"""By how much an entry of a trained gram may miss: the loss is flat around its optimum, and samples are noisy.

Seeds 0 to 11 at each of the four settings: at most 0.042, 0.013 on average; excess at most 0.0002, collapse 0.0005.
"""
_EXCESS = 1e-3
"""Nats above the optimum."""
_COLLAPSED = 0.003
"""Of the total scatter, within classes."""


def encoder(
    train: Callable[..., TrainedEncoder] = train_encoder,
    predict: Callable[..., OptimalGram] = optimal_gram,
    settings: Sequence[Setting] = _SETTINGS,
    seeds: Sequence[int] = (0, 1, 2),
) -> Finding:
    """Train on samples for several priors and k, and compare with the prediction of each."""
    predicted = {setting: predict(setting[0], k=setting[1], scale=setting[2]) for setting in settings}
    runs = [(at, seed, train(at[0], k=at[1], scale=at[2], seed=seed)) for at in settings for seed in seeds]
    missed = [_distance(run, predicted[at]) for at, _, run in runs]
    others = [min(_distance(run, predicted[other]) for other in settings if other != at) for at, _, run in runs]
    excess = [float(population_loss(run.gram, at[0], k=at[1], scale=at[2])) - predicted[at].loss for at, _, run in runs]
    many = f"{len(settings)} settings, {len(seeds)} seeds"
    checks = (
        at_most(f"largest distance of an entry of the trained gram from the prediction, {many}", max(missed), _ENTRY),
        at_most("largest population loss of a trained gram above the optimum (nats)", max(excess), _EXCESS),
        at_least("smallest such loss above the optimum (nats)", min(excess), 0.0, 1e-9),
        at_most("largest share of the scatter that is left within classes", _widest(runs), _COLLAPSED),
        at_least(
            "smallest distance to the prediction of another setting, minus that to its own",
            min(other - own for own, other in zip(missed, others, strict=True)),
            0.0,
        ),
    )
    landings = [_landing(at, [run for each, _, run in runs if each == at], predicted[at]) for at in settings]
    caption = (
        "Left: training losses of a small network on samples (InfoNCE with k negatives for each anchor, mean of 20 "
        "steps), and the optimum that the convex program predicts (dashed). Right: inner products of its class means."
    )
    title = "A trained encoder lands on the predicted Gram matrix"
    return Finding(checks, Picture(partial(draw_encoder, landings=landings), (11, 4.8), title, caption))


def _distance(run: TrainedEncoder, best: OptimalGram) -> float:
    return float((run.gram - best.gram).abs().max())


def _widest(runs: Sequence[tuple[Setting, int, TrainedEncoder]]) -> float:
    return max(run.scatter.collapse for _, _, run in runs)


def _landing(setting: Setting, runs: Sequence[TrainedEncoder], best: OptimalGram) -> Landing:
    prior, k, _ = setting
    label = f"{len(prior)} equal" if len(set(prior)) == 1 else in_percent(prior)
    pairs = [(i, j) for i in range(len(prior)) for j in range(i)]
    smooth = runs[0].losses.unfold(0, min(20, len(runs[0].losses)), 1).mean(dim=1)
    return Landing(
        label=f"{label}, $k = {k}$",
        optimum=best.loss,
        losses=tuple(smooth.tolist()),
        predicted=tuple(float(best.gram[i, j]) for _ in runs for i, j in pairs),
        trained=tuple(float(run.gram[i, j]) for run in runs for i, j in pairs),
    )


TRAINED = (
    Claim(
        "latent-classes/encoder",
        "A trained encoder lands there",
        "A network of one hidden layer, trained by Adam with InfoNCE and k independent negatives on samples of three "
        "classes (basis vectors plus bounded noise), maps classes to points whose inner products are those of the "
        "convex program; merged classes included.",
        Paper.NEGATIVES,
        Standing.MEASURED,
        encoder,
    ),
)
