"""A label of -1 is no label: the sample attracts its own views and repels everybody else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from couplings.losses import LOSSES
from helpers import CASES, unit_views

LABELS = torch.tensor([0, -1, 0, 1, -1, 1])
ALONE = torch.tensor([0, 7, 0, 1, 8, 1])
"""What no label means, spelled out: a class of one's own."""
TAKING = [name for name, case in CASES.items() if case.repels and case.name in LOSSES]


@pytest.mark.parametrize("name", TAKING)
@pytest.mark.parametrize("labels", [LABELS, torch.where(LABELS == -1, -1, LABELS - 9)], ids=["from 0", "below 0"])
def test_no_two_unlabelled_samples_are_of_one_class(name: str, labels: Tensor) -> None:
    views, loss = unit_views(count=3), CASES[name]()
    torch.testing.assert_close(
        loss.pair_weights(*views, labels=labels), loss.pair_weights(*views, labels=ALONE), rtol=0, atol=0
    )


@pytest.mark.parametrize("name", ["SupCon", "GCAINCE", "IOT", "SparseGCA"])
def test_an_unlabelled_sample_attracts_its_own_views_alone(name: str) -> None:
    options = {} if name == "SupCon" else {"target": "labels", "sweeps": 300}
    weights = CASES[name](**options).pair_weights(*unit_views(), labels=LABELS)
    attracted = (weights[1] < -1e-9).nonzero().flatten().tolist()
    assert attracted == [7]


def test_an_unlabelled_sample_repels_as_without_labels() -> None:
    views, loss = unit_views(), CASES["InfoNCE"]()
    torch.testing.assert_close(loss.pair_weights(*views, labels=LABELS)[1], loss.pair_weights(*views)[1])


def test_the_keys_of_a_queue_have_no_class_either() -> None:
    views, keys = unit_views(), torch.randn(5, 4, dtype=torch.float64)
    loss = CASES["SupCon"]()
    assert loss(*views, labels=LABELS, keys=keys) == loss(*views, labels=ALONE, keys=keys)
