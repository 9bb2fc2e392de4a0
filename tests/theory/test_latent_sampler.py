"""Draws have the frequencies and the independence that the model says."""

from __future__ import annotations

import pytest
import torch

from couplings.basics.errors import InvalidInput
from couplings_theory.latent_classes import LabelledSamples, LatentClasses, no_collision

PRIOR = [0.6, 0.3, 0.1]
LABELS = torch.tensor([5, 2, 2, 9, 5, 2, 9, 2, 5, 2])


def chi_square(counts: torch.Tensor, expected: torch.Tensor) -> float:
    """In standard deviations above its mean."""
    degrees = counts.numel() - 1
    statistic = ((counts - expected).square() / expected).sum()
    return float((statistic - degrees) / (2 * degrees) ** 0.5)


def test_classes_of_an_anchor_and_two_negatives_are_independent() -> None:
    drawn = LatentClasses(PRIOR).draw(40_000, k=2, seed=0)
    cells = drawn.anchors * 9 + drawn.negatives[:, 0] * 3 + drawn.negatives[:, 1]
    rho = torch.tensor(PRIOR, dtype=torch.float64)
    joint = torch.einsum("a,b,c->abc", rho, rho, rho).flatten()
    assert chi_square(cells.bincount(minlength=27), 40_000 * joint) < 4


def test_collisions_are_allowed_as_often_as_they_come() -> None:
    drawn = LatentClasses(PRIOR).draw(40_000, k=3, seed=1)
    assert drawn.collisions.max() == 3
    for c, chance in enumerate(no_collision(PRIOR, k=3)):
        mine = drawn.collisions[drawn.anchors == c]
        error = (chance * (1 - chance) / len(mine)) ** 0.5
        assert ((mine == 0).double().mean() - chance).abs() < 4 * error


def test_anchors_of_a_batch_share_no_negatives() -> None:
    stream = LatentClasses(PRIOR).stream(32, k=4, seed=2)
    first = torch.stack([next(stream).negatives[:2].flatten() for _ in range(4000)]).double()
    correlation = torch.corrcoef(first.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / 4000**0.5


def test_a_seed_decides_and_a_stream_goes_on() -> None:
    model = LatentClasses(PRIOR)
    stream = model.stream(50, k=2, seed=3)
    first, second = next(stream), next(stream)
    again = model.draw(50, k=2, seed=3)
    assert torch.equal(first.negatives, again.negatives)
    assert torch.equal(first.anchors, again.anchors)
    assert not torch.equal(first.negatives, second.negatives)
    assert not torch.equal(first.negatives, model.draw(50, k=2, seed=4).negatives)


def test_global_random_numbers_are_left_alone() -> None:
    state = torch.get_rng_state()
    LabelledSamples(LABELS).draw(10, k=2, seed=0)
    assert torch.equal(state, torch.get_rng_state())


def test_samples_of_a_data_set_come_alike_and_independently() -> None:
    drawn = LabelledSamples(LABELS).draw(60_000, k=1, seed=0)
    cells = drawn.anchors * 10 + drawn.negatives[:, 0]
    assert chi_square(cells.bincount(minlength=100), torch.full((100,), 600.0)) < 4


def test_positives_are_other_samples_of_the_class_all_alike() -> None:
    drawn = LabelledSamples(LABELS).draw(60_000, k=1, seed=1)
    assert torch.equal(LABELS[drawn.anchors], LABELS[drawn.positives])
    assert not (drawn.anchors == drawn.positives).any()
    mine = drawn.positives[drawn.anchors == 1]  # of class 2, which has samples 1, 2, 5, 7, 9
    counts = mine.bincount(minlength=10)[torch.tensor([2, 5, 7, 9])]
    assert counts.sum() == len(mine)
    assert chi_square(counts, torch.full((4,), len(mine) / 4)) < 4


def test_a_prior_of_ones_own_weighs_classes_in_the_order_of_their_ids() -> None:
    prior = [0.1, 0.2, 0.7]  # of classes 2, 5, 9
    drawn = LabelledSamples(LABELS, prior).draw(20_000, k=2, seed=0)
    for indices in (drawn.anchors, drawn.negatives.flatten()):
        counts = torch.stack([(LABELS[indices] == name).sum() for name in (2, 5, 9)])
        assert chi_square(counts, len(indices) * torch.tensor(prior, dtype=torch.float64)) < 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LatentClasses([0.5, 0.6]), "prior must sum to one"),
        (lambda: LatentClasses(PRIOR).draw(10, k=0, seed=0), "k .*must be an integer >= 1"),
        (lambda: LatentClasses(PRIOR).draw(0, k=1, seed=0), "n must be at least 1"),
        (lambda: LabelledSamples(torch.tensor([0, 0, 1])), r"classes \[1\] have one sample"),
        (lambda: LabelledSamples(LABELS, [0.5, 0.5]), "prior has 2 entries but the labels have 3 classes"),
        (lambda: LabelledSamples([0, 0]), "labels must be a torch.Tensor"),  # type: ignore[arg-type]
        (lambda: LabelledSamples(LABELS.float()), "labels must be integers"),
    ],
)
def test_bad_input_is_told(call: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()  # type: ignore[operator]
