"""Gradients at the encoder's parameters, under DDP, are those of one process with the whole batch; for every loss."""

from __future__ import annotations

import pytest
from pool import Pool
from steps import compare_all

from helpers import CASES

every_loss = pytest.mark.parametrize("name", CASES)


@every_loss
def test_gradients_and_values_are_those_of_one_process(pool: Pool, name: str) -> None:
    """Uneven and empty shares, labels, ids, domains, targets, masks, queues, own negatives, three views."""
    for rank, outcomes in enumerate(pool.run(compare_all, name)):
        for title, outcome in outcomes.items():
            assert outcome.gradient < 1e-10, (rank, title, outcome)
            assert outcome.value < 1e-10, (rank, title, outcome)
