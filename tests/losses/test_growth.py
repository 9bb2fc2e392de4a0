"""Losses keep nothing of a call: after many calls there are no more tensors and objects than after one."""

from __future__ import annotations

import gc
import os
from contextlib import ExitStack

import pytest
import torch

from couplings.basics.sizes import limited
from helpers import CASES

CALLS = int(os.environ.get("COUPLINGS_CALLS", "40"))
"""COUPLINGS_CALLS=20000 looks longer."""
SLACK = 20
"""Objects that come and go in the interpreter's own caches."""
STORAGES = {"one matrix": {}, "tiles": {"tiled": 0, "tile": 16}, "panels": {"tiled": 0, "dense": 0, "panel": 400}}


def _alive() -> tuple[int, int]:
    """Tensors, and all objects that the garbage collector knows."""
    gc.collect()
    objects = gc.get_objects()
    return sum(type(found) is torch.Tensor for found in objects), len(objects)


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize("name", ["InfoNCE", "GCAINCE", "HCL", "AlphaCL", "CACR", "SigLIP"])
def test_nothing_stays_of_a_call(name: str, storage: dict[str, int]) -> None:
    """Sizes change from call to call, as those of last batches and of growing queues do."""
    loss = CASES[name]()

    def call(number: int) -> None:
        with ExitStack() as stack:
            if storage:
                stack.enter_context(limited(**storage, budget=0))
            n = 6 + number % 7
            views = torch.randn(2, n, 4, requires_grad=True)
            loss(*views, ids=torch.arange(n) % (n - 1)).backward()

    for number in range(2 * 7):  # every size is seen, and its indices are shared from then on
        call(number)
    tensors, objects = _alive()
    for number in range(CALLS):
        call(number)
    assert _alive()[0] <= tensors
    assert _alive()[1] <= objects + SLACK
