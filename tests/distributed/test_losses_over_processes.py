"""Gradients at the encoder's parameters, under DDP, are those of one process with the whole batch; for every loss."""

from __future__ import annotations

import pytest
from pool import Pool
from steps import OPTIONS, compare_all, compare_large, compare_options

from helpers import CASES

TINY = {"dense": 0, "tiled": 0, "tile": 8, "panel": 100}
STORAGES = {"remade": {**TINY, "budget": 0}, "kept": {**TINY, "budget": 1 << 40}}
CALLS = ("uneven", "three views, ids", "keys", "class target")
"""Where every message counts: what differs in how tiles and panels are made."""
FEW = ("empty", "three views, ids", "negatives, empty", "class target")
"""What more processes could do otherwise than two: several shares, some of them empty, cut and put together."""
every_loss = pytest.mark.parametrize("name", CASES)


@every_loss
def test_gradients_and_values_are_those_of_one_process(pool: Pool, name: str) -> None:
    """Uneven and empty shares, labels, ids, domains, targets, masks, queues, own negatives, three views."""
    for rank, outcomes in enumerate(pool.run(compare_all, name, None if pool.world == 2 else FEW)):
        for title, outcome in outcomes.items():
            assert outcome.gradient < 1e-10, (rank, title, outcome)
            assert outcome.value < 1e-10, (rank, title, outcome)


@every_loss
@pytest.mark.parametrize("storage", STORAGES)
def test_large_batches_are_shared_work(pool: Pool, name: str, storage: str) -> None:
    """Tiles and panels split over the processes; the reference is one process's, by tiles and panels too."""
    if storage == "kept" and not CASES[name].loss.shares_columns:
        return
    titles = CALLS if pool.world == 2 and storage == "remade" else CALLS[:1]
    for rank, outcomes in enumerate(pool.run(compare_large, name, STORAGES[storage], titles)):
        assert outcomes
        for title, outcome in outcomes.items():
            assert outcome.gradient < 1e-9, (rank, title, outcome)
            assert outcome.value < 1e-9, (rank, title, outcome)


@pytest.mark.parametrize("pool", [2], indirect=True, ids=["processes2"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("number", range(len(OPTIONS)), ids=lambda number: str(OPTIONS[number]))
def test_every_branch_of_the_engines_is_shared_work(pool: Pool, number: int, storage: str) -> None:
    if storage == "kept" and not CASES[OPTIONS[number][0]].loss.shares_columns:
        return
    for outcome in pool.run(compare_options, number, STORAGES[storage]):
        assert outcome.gradient < 1e-9, outcome
        assert outcome.value < 1e-9, outcome
