"""Every test starts from the same random numbers, on the number of threads that small tensors like."""

from __future__ import annotations

import os

# Torch reads these when it is loaded; they hold for its other threads and for processes that tests start, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hypothesis import settings

from tiers import choose

settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("reproducible")


THREADS = torch.get_num_threads()
"""One, unless the environment says otherwise."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)


def pytest_itemcollected(item: pytest.Item) -> None:
    choose(item)
