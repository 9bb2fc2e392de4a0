"""The mean classifier, collisions and coverage, scatter of embeddings, exact expectations, against other ways."""

from __future__ import annotations

import itertools
import math
import re
from io import BytesIO
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from couplings import InfoNCE
from couplings.basics.errors import InvalidInput
from couplings_theory.latent_classes import (
    class_means,
    class_vectors,
    collision_loss,
    coverage,
    critical_scale,
    downstream,
    expected_collisions,
    expected_loss,
    margins,
    merging_balance,
    no_collision,
    optimal_gram,
    population_loss,
    scatter,
    simplex_gram,
)
from couplings_theory.latent_classes.answer import answer

F64 = torch.float64
PAGE = Path(__file__).parents[2] / "docs" / "theory" / "latent-classes.md"
SKEWED = [0.6, 0.3, 0.1]


def _gram(classes: int, seed: int, dims: int = 3) -> torch.Tensor:
    v = torch.randn(classes, dims, generator=torch.Generator().manual_seed(seed), dtype=F64)
    v = torch.nn.functional.normalize(v, dim=1)
    return v @ v.T


def test_cross_entropy_is_torchs() -> None:
    gram = _gram(3, 1)
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    expected = torch.nn.functional.cross_entropy(2.5 * gram[labels], labels)
    assert downstream(gram, SKEWED, scale=2.5).cross_entropy == pytest.approx(float(expected), abs=1e-7)


def test_the_margin_and_accuracy_of_known_vectors() -> None:
    gram = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
    found = downstream(gram, [0.85, 0.1, 0.05])
    assert (found.margin, found.accuracy) == (0.0, pytest.approx(0.925, abs=1e-7))
    assert margins(simplex_gram(4)).tolist() == pytest.approx([4 / 3] * 4)
    assert downstream(torch.ones(1, 1), [1.0]).margin == math.inf


def test_a_class_that_is_taken_for_another_is_always_wrong() -> None:
    v = torch.tensor([[1.0, 0.0], [0.4, 0.0]], dtype=F64)  # shorter, along the first
    found = downstream(v @ v.T, [0.7, 0.3])
    assert found.margin == pytest.approx(-0.24)
    assert found.accuracy == pytest.approx(0.7, abs=1e-7)


def test_scatter_adds_up_and_says_how_far_classes_have_collapsed() -> None:
    z = torch.randn(60, 4, dtype=F64)
    labels = torch.arange(60) % 3
    found = scatter(z, labels)
    total = (z - z.mean(0)).square().sum(1).mean()
    assert found.within + found.between == pytest.approx(float(total))
    points = class_means(z, labels)[labels]
    assert scatter(points, labels).collapse == pytest.approx(0.0, abs=1e-15)
    assert scatter(z - points, labels).collapse == pytest.approx(1.0)


@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=4), st.integers(1, 4))
def test_collisions_by_listing_all_draws(weights: list[float], k: int) -> None:
    rho = [w / sum(weights) for w in weights]
    draws = list(itertools.product(range(len(rho)), repeat=k))
    chance = [math.prod(rho[c] for c in draw) for draw in draws]

    def mean(value: object) -> float:
        return math.fsum(p * value(draw) for p, draw in zip(chance, draws, strict=True))  # type: ignore[operator]

    missed = [mean(lambda draw, c=c: c not in draw) for c in range(len(rho))]
    assert no_collision(rho, k=k).tolist() == pytest.approx(missed, abs=1e-12)
    assert coverage(rho, k=k) == pytest.approx(mean(lambda draw: len(set(draw))), abs=1e-12)
    met = sum(share * mean(lambda draw, c=c: draw.count(c)) for c, share in enumerate(rho))
    assert expected_collisions(rho, k=k) == pytest.approx(met, abs=1e-12)
    logs = sum(share * mean(lambda draw, c=c: math.log1p(draw.count(c))) for c, share in enumerate(rho))
    assert float(collision_loss(rho, k=k)) == pytest.approx(logs, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_librarys_loss_on_all_tuples_is_the_population_loss(k: int, scale: float) -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    gram = _gram(3, k, dims=2)
    found = expected_loss(InfoNCE(temperature=1 / scale), class_vectors(gram)[labels], labels, k=k)
    expected = population_loss(gram, torch.tensor([3, 2, 1], dtype=F64) / 6, k=k, scale=scale)
    assert float(found) == pytest.approx(float(expected), abs=1e-12)


def test_an_expected_loss_by_loops() -> None:
    z, labels = torch.nn.functional.normalize(torch.randn(4, 3, dtype=F64), dim=1), [0, 0, 1, 1]
    values = [
        math.log1p(sum(math.exp(3 * float(z[x] @ (z[other] - z[y]))) for other in draw))
        for x, y in itertools.product(range(4), repeat=2)
        if labels[x] == labels[y]
        for draw in itertools.product(range(4), repeat=2)
    ]
    found = expected_loss(InfoNCE(temperature=1 / 3), z, torch.tensor(labels), k=2)
    assert float(found) == pytest.approx(math.fsum(values) / len(values), abs=1e-12)


TABLE = re.findall(r"^\| (\.\d+ \.\d+ \.\d+) \| ([\d, ]+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
"""Prior, k, and numbers of the rows of the page."""


def test_the_page_has_a_table() -> None:
    assert len(TABLE) >= 9


@pytest.mark.parametrize(("prior", "ks", "numbers"), TABLE)
def test_the_table_of_unequal_classes(prior: str, ks: str, numbers: str) -> None:
    rho, written = [float(share) for share in prior.split()], numbers.split(" | ")
    *losses, written[3] = *written[3].split(", "), written[3]
    for k, loss in zip(map(int, ks.split(",")), losses, strict=True):
        best = optimal_gram(rho, k=k)
        worth = downstream(best.gram, rho)
        found = [*best.gram[(0, 0, 1), (1, 2, 2)].tolist(), best.loss, worth.margin, worth.cross_entropy]
        for text, value in zip([*written[:3], loss, *written[4:]], found, strict=True):
            digits = len(text.partition(".")[2]) or 3
            assert value == pytest.approx(float(text), abs=0.51 * 10**-digits), (prior, k)


def test_class_vectors_have_the_gram() -> None:
    gram = _gram(5, 0)
    v = class_vectors(gram)
    torch.testing.assert_close(v @ v.T, gram)
    assert v[:, 3:].abs().max() < 1e-7  # rank three: the rest of the coordinates is empty


def test_the_answer_is_one_row_a_k_in_order() -> None:
    found = answer([0.85, 0.1, 0.05], [8, 1, 8, 2])
    assert [row.k for row in found.rows] == [1, 2, 8]
    assert [row.merged for row in found.rows] == [((1, 2),), ((1, 2),), ()]
    assert found.rows[0].loss == pytest.approx(0.548761, abs=1e-6)
    assert all(row.collisions_alone < row.loss for row in found.rows)
    assert "classes 2 and 3" in found.sentences[0]
    assert "k = 8 all classes have vectors of their own" in found.sentences[1]
    assert len(found.pictures) == 2


@pytest.mark.parametrize("ks", [[1], [1, 2, 4], list(range(1, 12))])
def test_every_answer_can_be_drawn(ks: list[int]) -> None:
    found = answer([0.5, 0.5], ks)
    for picture in found.pictures:
        figure = Figure(figsize=picture.size)
        picture.draw(figure)
        figure.savefig(BytesIO(), format="png", dpi=30)
        assert figure.axes


@pytest.mark.parametrize("prior", [[0.7, 0.2, 0.1], [0.7, 0.29, 0.01], [0.7, 0.1, 0.1, 0.06, 0.04]])
@pytest.mark.parametrize("k", [1, 5])
def test_rare_classes_merge_below_the_critical_scale_however_they_are_split(prior: list[float], k: int) -> None:
    border = critical_scale(0.7, k=k)
    for scale, merged in ((0.95 * border, True), (1.05 * border, False)):
        rest = optimal_gram(prior, k=k, scale=scale).gram[1:, 1:]
        assert (float(rest.min()) > 1 - 1e-5) == merged
        assert (merging_balance(0.7, k=k, scale=scale) >= 0) == merged


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: downstream(torch.eye(2), [0.5, 0.4]), "prior must sum to one"),
        (lambda: downstream(torch.eye(3), [0.5, 0.5]), r"shape \(2, 2\)"),
        (lambda: downstream(torch.eye(2), [0.5, 0.5], scale=0.0), "scale must be > 0"),
        (lambda: no_collision([0.5, 0.5], k=0), "k .*must be an integer >= 1"),
        (lambda: coverage([0.5, 0.5], k=True), "k .*must be an integer >= 1"),
        (lambda: class_means(torch.eye(2), torch.tensor([0, 2])), r"classes \[1\] have no samples"),
        (lambda: class_means(torch.eye(2), torch.tensor([0, -1])), "labels must be 0 to C - 1"),
        (lambda: class_means(torch.eye(2), torch.tensor([0.0, 1.0])), "labels must be integers"),
        (lambda: expected_loss(InfoNCE(), torch.eye(9), torch.arange(9), k=6), "too many to visit"),
        (lambda: critical_scale(1.0, k=1), "share must lie between 0 and 1"),
        (lambda: merging_balance(0.6, k=0), "k .*must be an integer >= 1"),
        (lambda: answer([1.0], [1]), "two classes or more"),
        (lambda: answer([0.5, 0.5], []), "at least one number of negatives"),
        (lambda: answer([0.5, 0.5], [1, 0]), "k .*must be an integer >= 1"),
    ],
)
def test_bad_input_is_told(call: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()  # type: ignore[operator]
