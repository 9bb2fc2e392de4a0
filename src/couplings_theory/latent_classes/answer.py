"""A user's own question: what class probabilities, numbers of negatives and a scale lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from torch import Tensor

from couplings.basics.checks import require

from ..claim import Picture
from ..figures.latent_classes.answer import Measure, draw_answer, draw_grams
from .collisions import coverage, no_collision
from .downstream import downstream
from .gram import OptimalGram, optimal_gram
from .population import collision_loss
from .prior import negatives, probabilities

MOST_GRAMS = 8
"""Grams that are drawn."""
ABREAST = 4
"""Of them in a row."""


@dataclass(frozen=True)
class Row:
    """The optimum for one number of negatives; losses in nats.

    Attributes:
        k: negatives of each anchor, drawn independently.
        loss: the smallest population loss.
        gap: what `loss` is proved to exceed the smallest one by at most.
        collisions_alone: the part of the loss that no representation avoids.
        margin: smallest G_cc - max_{c' != c} G_cc' over classes, in [0, 2]; 0 where classes have merged.
        cross_entropy: of the mean classifier, logits at the same scale.
        accuracy: of the mean classifier, ties broken by a fair draw, in [0, 1].
        merged: groups of classes that share one vector, numbered from 0.
        collision: probability that a negative, or several, are of the anchor's class.
        coverage: expected number of different classes among the negatives.
        gram: inner products of the optimal class vectors, row by row.
    """

    k: int
    loss: float
    gap: float
    collisions_alone: float
    margin: float
    cross_entropy: float
    accuracy: float
    merged: tuple[tuple[int, ...], ...]
    collision: float
    coverage: float
    gram: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Answer:
    """What `answer` found.

    Attributes:
        prior: class probabilities, summing to one.
        scale: s.
        rows: one a number of negatives, from few to many.
        pictures: the optimal grams; loss, margin and cross entropy over k.
        sentences: what the numbers say, in plain words.
    """

    prior: tuple[float, ...]
    scale: float
    rows: tuple[Row, ...]
    pictures: tuple[Picture, Picture]
    sentences: tuple[str, ...]


def answer(prior: Sequence[float] | Tensor, ks: Sequence[int], *, scale: float = 1.0) -> Answer:
    """The optimum of the latent-class model for each number of negatives, and what it is worth.

    Args:
        prior: rho, two or more numbers above zero with sum one.
        ks: numbers of negatives, each >= 1; put in order, each once.
        scale: s in [1e-4, 300], one over the temperature.

    Raises:
        InvalidInput: a prior that is none or has one class only, no ks, a k that is no integer >= 1, a bad scale.
        NotConverged: an optimum that could not be certified.

    Cost:
        One `optimal_gram` for each k: about 0.1 s with three classes, 10 s with thirty.

    Example:
        >>> from couplings_theory.latent_classes.answer import answer
        >>> found = answer([0.85, 0.1, 0.05], [1, 16])
        >>> [(row.k, row.merged, round(row.margin, 3)) for row in found.rows]
        [(1, ((1, 2),), 0.0), (16, (), 0.351)]
        >>> print(found.sentences[0])
        With k = 1 classes 2 and 3 (counted from 1) share one vector and cannot be told apart.
    """
    rho = probabilities(prior)
    require(len(rho) > 1, "prior must have two classes or more: with one there is nothing to tell apart")
    require(len(ks) > 0, "ks must hold at least one number of negatives, got none")
    best = [optimal_gram(rho, k=k, scale=scale) for k in sorted({negatives(k) for k in ks})]
    rows = tuple(_row(found) for found in best)
    return Answer(tuple(rho.tolist()), float(scale), rows, _pictures(rows, float(scale)), _sentences(rows))


def _row(best: OptimalGram) -> Row:
    worth = downstream(best.gram, best.prior, scale=best.scale)
    missed = no_collision(best.prior, k=best.k)
    return Row(
        k=best.k,
        loss=best.loss,
        gap=best.gap,
        collisions_alone=float(collision_loss(best.prior, k=best.k)),
        margin=worth.margin,
        cross_entropy=worth.cross_entropy,
        accuracy=worth.accuracy,
        merged=best.merged,
        collision=float(best.prior @ (1 - missed)),
        coverage=coverage(best.prior, k=best.k),
        gram=tuple(tuple(line) for line in best.gram.tolist()),
    )


def _pictures(rows: tuple[Row, ...], scale: float) -> tuple[Picture, Picture]:
    return _of_grams(rows, scale), _over_k(rows)


def _of_grams(rows: tuple[Row, ...], scale: float) -> Picture:
    shown = rows if len(rows) <= MOST_GRAMS else (*rows[: MOST_GRAMS - 1], rows[-1])
    grams = [(f"$k = {row.k}$", row.gram) for row in shown]
    size = (max(4.6, 2.4 * min(len(grams), ABREAST)), 0.6 + 2.5 * -(-len(grams) // ABREAST))
    return Picture(
        partial(draw_grams, grams=grams, abreast=ABREAST),
        size,
        "Optimal inner products of class vectors",
        f"One table for each number of negatives k, at scale {scale:g}; red: alike, blue: opposite.",
    )


def _over_k(rows: tuple[Row, ...]) -> Picture:
    measures = (
        Measure("optimal loss (nats)", [row.loss for row in rows], [row.collisions_alone for row in rows]),
        Measure("margin", [row.margin for row in rows]),
        Measure("cross entropy (nats)", [row.cross_entropy for row in rows]),
    )
    return Picture(
        partial(draw_answer, ks=[row.k for row in rows], measures=measures),
        (11, 3.8),
        "Loss and classification over the number of negatives",
        "Dashed: what collisions alone cost, which no representation gets below.",
    )


def _sentences(rows: tuple[Row, ...]) -> tuple[str, ...]:
    merging = (_on_merging(merged, list(same)) for merged, same in groupby(rows, key=lambda row: row.merged))
    return (*merging, *_on_margins(rows), _on_collisions(rows))


def _on_merging(merged: tuple[tuple[int, ...], ...], rows: list[Row]) -> str:
    ks = _in_words([row.k for row in rows]) if len(rows) < 4 else f"{rows[0].k} to {rows[-1].k}"
    if not merged:
        return f"With k = {ks} all classes have vectors of their own."
    groups = "; ".join(_in_words([member + 1 for member in group]) for group in merged)
    return f"With k = {ks} classes {groups} (counted from 1) share one vector and cannot be told apart."


def _in_words(numbers: Sequence[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _on_margins(rows: tuple[Row, ...]) -> tuple[str, ...]:
    if len(rows) == 1:
        return ()
    few, many = rows[0], rows[-1]
    margin = _change("the margin", few.margin, many.margin)
    entropy = _change("the cross entropy of the mean classifier", few.cross_entropy, many.cross_entropy)
    return (f"From k = {few.k} to {many.k} {margin} and {entropy}.",)


def _change(what: str, before: float, after: float) -> str:
    if abs(after - before) < 5e-5:
        return f"{what} stays at {after:.4f}"
    return f"{what} {'rises' if after > before else 'falls'} from {before:.4f} to {after:.4f}"


def _on_collisions(rows: tuple[Row, ...]) -> str:
    many = rows[-1]
    share = many.collisions_alone / many.loss
    return (
        f"With k = {many.k} a share of {many.collision:.1%} of the anchors meets negatives of its own class, and these "
        f"collisions alone make {share:.0%} of the loss. The loss grows with k by itself: compare margins over k, not "
        "losses."
    )
