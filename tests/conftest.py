"""Every test starts from the same random numbers, on the number of threads that small tensors like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
