"""The model of what a loss costs."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from couplings.benchmarks import cost as module
from couplings.benchmarks import growth
from couplings.benchmarks.cost import FLOAT, Hardware, cost, seconds
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


def test_a_sweep_adds_four_passes() -> None:
    swept = [cost(Size(4096, 128, t)).flops for t in (1, 2, 3)]
    assert swept[1] - swept[0] == swept[2] - swept[1] == 4096**2 * (4 * 128 + 4)


def test_a_stored_kernel_trades_products_for_memory() -> None:
    size = Size(4096, 128, 10)
    made, stored = cost(size), cost(size, stored=True)
    assert stored.flops < made.flops / 5
    assert stored.memory - made.memory == FLOAT * 4096**2


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
