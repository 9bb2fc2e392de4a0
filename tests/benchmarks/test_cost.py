"""The model of what a loss costs."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from couplings.basics.sizes import limited
from couplings.benchmarks import cost as module
from couplings.benchmarks import growth
from couplings.benchmarks.cost import FLOAT, Hardware, cost, seconds
from couplings.benchmarks.ours import ours
from couplings.benchmarks.work import Size

BATCH = Size(4096, 128)


def test_two_products_for_a_softmax() -> None:
    assert cost(BATCH).flops == 4 * 4096**2 * 128


def test_twice_the_rows_cost_four_times_the_time_and_twice_the_memory() -> None:
    small, large = cost(BATCH, tile=1), cost(Size(8192, 128), tile=1)
    assert large.flops == 4 * small.flops
    assert large.memory == pytest.approx(2 * small.memory, rel=1e-4)


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_share_twice_the_work_and_exchange_rows(processes: int) -> None:
    one, many = cost(BATCH), cost(BATCH, processes=processes)
    assert processes * many.flops == 2 * one.flops
    assert one.traffic == 0
    rows_of_others = 4096 * (1 - 1 / processes)
    assert many.traffic == pytest.approx(FLOAT * rows_of_others * (2 * 128 + 1))


def test_a_sweep_adds_a_full_visit_each_way() -> None:
    swept = [cost(Size(4096, 128, t)).flops for t in (1, 2, 3)]
    assert swept[1] - swept[0] == swept[2] - swept[1] == 4096**2 * (4 * 128 + 12)


def test_sweeps_lose_nothing_by_processes() -> None:
    size = Size(4096, 128, 10)
    assert 8 * cost(size, processes=8).flops == cost(size).flops


def test_a_stored_kernel_is_made_once_each_way_and_takes_memory() -> None:
    size = Size(4096, 128, 10)
    made, stored = cost(size), cost(size, stored=True)
    assert made.flops - stored.flops == 2 * 10 * 2 * 4096**2 * 128
    assert stored.memory - made.memory == FLOAT * 4096**2


class _Products(TorchDispatchMode):
    """Counts the flops of matrix and matrix-vector products."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        if name in ("mm", "mv", "addmm", "addmv"):
            left, right = args[-2:]
            self.flops += 2 * left.numel() * (right.shape[1] if right.ndim == 2 else 1)
        return func(*args, **(kwargs or {}))


def _done(name: str, size: Size, **limits: int) -> int:
    with limited(tiled=1, dense=1, **limits):
        call = ours(name, temperature=0.1).make(size, torch.device("cpu"))
        with _Products() as products:
            call()
    return products.flops


@pytest.mark.parametrize("stored", [False, True])
def test_the_products_of_sweeps_are_those_that_are_done(stored: bool) -> None:
    size = Size(512, 64, 3)
    done = _done("gca-ince", size, panel=1 << 14, buffer=1 << 14, budget=(1 << 30) * stored)
    assert done == pytest.approx(cost(size, stored=stored).flops, rel=0.01)


def test_the_products_of_a_softmax_are_those_that_are_done() -> None:
    size = Size(1024, 64)
    assert _done("infonce", size, tile=32) == pytest.approx(cost(size).flops, rel=0.04)


def test_the_slower_of_both_decides() -> None:
    size = Size(65_536, 128)
    computing = seconds(size, Hardware(flops=1e12, bandwidth=1e18))
    assert computing == pytest.approx(4 * 65_536**2 * 128 / 1e12)
    moving = seconds(size, Hardware(flops=1e18, bandwidth=1e12))
    assert moving == pytest.approx(cost(size).bytes / 1e12)
    assert seconds(size, Hardware(1e18, 1e12, cached=True)) < moving / 10
    assert seconds(size, Hardware(1e12, 1e18, link=1e9), processes=4) > computing / 2


@pytest.mark.parametrize("name", [module, growth])
def test_examples(name: object) -> None:
    found = doctest.testmod(name)  # type: ignore[arg-type]
    assert (found.failed, found.attempted > 0) == (0, True)


def test_the_example_of_the_page() -> None:
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert (found.failed, found.attempted > 0) == (0, True)
