"""Every claim about the number of negatives holds, and falls with a wrong ingredient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from io import BytesIO
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from couplings import DecoupledInfoNCE, InfoNCE
from couplings_theory.claim import Claim, Finding
from couplings_theory.claims.latent_classes import CLAIMS
from couplings_theory.claims.latent_classes.priors import MILD, RARE, RAREST
from couplings_theory.latent_classes import (
    ClassDraw,
    LatentClasses,
    OptimalGram,
    TrainedEncoder,
    Training,
    certify,
    class_means,
    critical_scale,
    optimal_gram,
    population_loss,
    simplex_gram,
    simplex_loss,
    train_encoder,
)


@cache
def _solved(prior: tuple[float, ...], k: int, scale: float) -> OptimalGram:
    return optimal_gram(prior, k=k, scale=scale)


def solved(prior: Any, *, k: int, scale: float = 1.0) -> OptimalGram:
    """`optimal_gram`, each problem once."""
    return _solved(tuple(torch.as_tensor(prior, dtype=torch.float64).tolist()), k, scale)


@cache
def trained(prior: tuple[float, ...], *, k: int, scale: float, seed: int) -> TrainedEncoder:
    """A short training, each once."""
    return train_encoder(prior, k=k, scale=scale, seed=seed, training=Training(steps=400, batch=64))


BY_NAME = {claim.name.split("/")[1]: claim for claim in CLAIMS}
FEW = ((RARE, 1, 1.0), (MILD, 4, 1.0))
QUICK: dict[str, dict[str, Any]] = {
    "collapse": {"solve": solved},
    "simplex": {"solve": solved, "settings": ((3, 4, 1.0), (4, 6, 1.0), (5, 8, 2.0), (2, 1, 1.0), (2, 4, 1.0))},
    "convex-program": {"solve": solved, "settings": FEW, "tries": 10},
    "rare-classes": {"solve": solved},
    "merging": {"solve": solved, "problems": 20},
    "downstream": {"solve": solved},
    "falling-margin": {"solve": solved},
    "collisions": {"solve": solved},
    "encoder": {"train": trained, "predict": solved, "settings": FEW, "seeds": (0,)},
}
"""Each problem is solved once; fewer settings of the slow ones."""


def unfinished(prior: Any, *, k: int, scale: float = 1.0) -> OptimalGram:
    """Stopped on the way from the identity to the optimum."""
    best = solved(prior, k=k, scale=scale)
    gram = 0.9 * best.gram + 0.1 * torch.eye(len(best.prior), dtype=torch.float64)
    certificate = certify(gram, prior, k=k, scale=scale)
    loss = float(population_loss(gram, prior, k=k, scale=scale))
    return replace(best, gram=gram, loss=loss, certificate=certificate)


def one_negative_more(prior: Any, *, k: int, scale: float = 1.0) -> OptimalGram:
    return solved(prior, k=k + 1, scale=scale)


def at_scale_one(prior: Any, *, k: int, scale: float = 1.0) -> OptimalGram:
    return solved(prior, k=k)


def skewed(classes: int) -> list[float]:
    return [(1 + 0.02 * c) / sum(1 + 0.02 * each for each in range(classes)) for c in range(classes)]


def wrong_angle(classes: int) -> torch.Tensor:
    return simplex_gram(classes + 1)[:classes, :classes]


def without_collisions(classes: int, *, k: int, scale: float) -> torch.Tensor:
    """The form with all k negatives of other classes."""
    return torch.tensor(math.log1p(k * math.exp(-scale * classes / (classes - 1))), dtype=torch.float64)


class Shared(LatentClasses):
    """All anchors of a batch have the same negatives, as with k = batch - 1."""

    def stream(self, n: int, *, k: int, seed: int) -> Iterator[ClassDraw]:
        for each in super().stream(n, k=k, seed=seed):
            yield ClassDraw(each.anchors, each.negatives[:1].expand(n, k))


class Cleaned(LatentClasses):
    """Negatives of the anchor's class are replaced by the next class."""

    def stream(self, n: int, *, k: int, seed: int) -> Iterator[ClassDraw]:
        for each in super().stream(n, k=k, seed=seed):
            met = each.negatives == each.anchors[:, None]
            yield ClassDraw(each.anchors, torch.where(met, (each.negatives + 1) % len(self.prior), each.negatives))


def examined(name: str, **ingredients: Any) -> Finding:
    return BY_NAME[name].examine(**{**QUICK.get(name, {}), **ingredients})


def next_class_means(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return class_means(z, (labels + 1) % 3)


def failed(finding: Finding) -> list[str]:
    return [check.what for check in finding.checks if not check.passed]


@pytest.mark.parametrize("name", BY_NAME)
def test_the_claim_holds_and_can_be_drawn(name: str) -> None:
    finding = examined(name)
    assert failed(finding) == []
    figure = Figure(figsize=finding.picture.size)
    finding.picture.draw(figure)
    figure.savefig(BytesIO(), format="png", dpi=30)
    assert figure.axes


@pytest.mark.parametrize(
    ("name", "wrong", "fails"),
    [
        ("collapse", {"loss": DecoupledInfoNCE(temperature=1.0)}, "InfoNCE of the simplex"),
        ("collapse", {"loss": InfoNCE(temperature=0.5)}, "InfoNCE of the simplex"),
        ("collapse", {"centre": next_class_means}, "move to their class mean"),
        ("collapse", {"solve": one_negative_more}, "population_loss"),
        ("simplex", {"prior": skewed}, "inner product"),
        ("simplex", {"solve": unfinished}, "certified gap of a solution"),
        ("simplex", {"gram": wrong_angle}, "the simplex itself"),
        ("closed-form", {"gram": wrong_angle}, "integral"),
        ("closed-form", {"form": without_collisions}, "the table"),
        ("closed-form", {"form": lambda c, *, k, scale: simplex_loss(c, k=k + 1, scale=scale)}, "the table"),
        ("convex-program", {"solve": unfinished}, "certified gap (nats)"),
        ("convex-program", {"solve": one_negative_more}, "two solvers' grams"),
        ("convex-program", {"second": lambda prior, **_: simplex_gram(len(prior))}, "two solvers' losses"),
        ("rare-classes", {"solve": unfinished}, "merged"),
        ("rare-classes", {"solve": one_negative_more}, "60/30/10"),
        ("rare-classes", {"rare": (0.8, 0.15, 0.05)}, "85/10/5"),
        ("rare-classes", {"mild": (0.6, 0.1, 0.3)}, "60/30/10"),
        ("merging", {"solve": unfinished}, "disagree"),
        ("merging", {"balance": lambda share, **_: share - 0.7}, "disagree"),
        ("merging", {"border": lambda share, k: critical_scale(share, k=k + 1)}, "closed form"),
        ("merging", {"border": lambda share, k: critical_scale(1.01 * share, k=k)}, "k to infinity"),
        ("downstream", {"solve": unfinished}, "margin C/(C - 1)"),
        ("downstream", {"equal_classes": (0.35, 0.33, 0.32)}, "range of the cross entropy"),
        ("downstream", {"skewed": (MILD, (0.8, 0.15, 0.05), RAREST)}, "85/10/5"),
        ("falling-margin", {"solve": one_negative_more}, "k = 4: margin"),
        ("falling-margin", {"solve": at_scale_one}, "k = 256 minus that at k = 4"),
        ("falling-margin", {"solve": unfinished}, "certified gap"),
        ("falling-margin", {"second": lambda prior, **_: simplex_gram(len(prior))}, "second solver"),
        ("falling-margin", {"prior": (0.0087, 0.2298, 0.4257, 0.0087, 0.3271)}, "k = 256: margin"),
        ("collisions", {"model": Shared}, "variance"),
        ("collisions", {"model": Cleaned}, "no collision"),
        ("collisions", {"model": lambda prior: LatentClasses([0.5, 0.4, 0.1])}, "classes covered"),
        ("encoder", {"predict": one_negative_more}, "above the optimum"),
        ("encoder", {"train": partial(train_encoder, training=Training(steps=3, batch=32))}, "prediction"),
        ("encoder", {"train": lambda prior, **rest: trained(prior[::-1], **rest)}, "prediction"),
    ],
)
def test_a_wrong_ingredient_is_seen(name: str, wrong: dict[str, Any], fails: str) -> None:
    finding = examined(name, **wrong)
    assert not finding.passed
    assert any(fails in what for what in failed(finding)), failed(finding)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claims_are_well_named(claim: Claim) -> None:
    assert claim.family == "latent-classes"
    assert claim.statement.endswith(".")
    assert len({each.name for each in CLAIMS}) == len(CLAIMS) == 10
