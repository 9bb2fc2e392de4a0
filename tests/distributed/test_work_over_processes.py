"""A large batch's work and memory shrink with the number of processes, and what is asked of its plans is the same."""

from __future__ import annotations

import pytest
import torch
import work
from pool import Pool

N = 2 * work.SAMPLES
TILED = ["InfoNCE", "HCL", "SigLIP", "SupCon"]
SWEPT = ["GCAINCE", "SparseGCA", "GCAUOT"]


@pytest.mark.parametrize("name", TILED)
def test_tiles_are_shared_out(pool: Pool, name: str) -> None:
    """Each process makes its share of the tiles, and nothing as large as the matrix of pairs."""
    results = pool.run(work.shares, name, 0, None)
    for mine, alone in results:
        assert alone.tiles > 0
        assert mine.tiles < 1.35 * alone.tiles / pool.world
        assert mine.largest < N * N / 8
    assert sum(mine.tiles for mine, _ in results) <= 1.2 * results[0][1].tiles


@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.parametrize("budget", [0, 1 << 40], ids=["remade", "kept"])
def test_panels_are_shared_out(pool: Pool, name: str, budget: int) -> None:
    """Each process holds its rows; potentials are vectors."""
    if pool.world > 2 and name != "GCAINCE":  # one will do
        return
    results = pool.run(work.shares, name, budget, 3)
    total = sum(mine.panels for mine, _ in results)
    for mine, alone in results:
        assert N < alone.panels <= total <= 1.25 * alone.panels
        assert mine.panels == total / pool.world
        assert mine.largest <= (N * N / pool.world if budget else N * N / 8)
        assert not budget or alone.largest == N * N


@pytest.mark.parametrize("name", ["InfoNCE", "GCAINCE", "SparseGCA", "SinkhornCACR"])
def test_what_a_plan_answers_is_the_same(pool: Pool, name: str) -> None:
    if pool.world > 2 and name != "InfoNCE":
        return
    for answers in pool.run(work.verbs, name):
        assert sum(verb.startswith("gradient") for verb in answers) > 5
        for verb, (over, alone) in answers.items():
            torch.testing.assert_close(over, alone, rtol=1e-8, atol=1e-10, msg=lambda text, verb=verb: f"{verb} {text}")


def test_a_function_that_learns_gets_its_whole_gradient(pool: Pool) -> None:
    for pairs in pool.run(work.captured):
        for over, alone in pairs:
            assert alone != 0
            torch.testing.assert_close(over, alone)


def test_second_derivatives_are_refused_on_all_processes(pool: Pool) -> None:
    for message in pool.run(work.second_derivative):
        assert "second derivative" in message


def test_a_frozen_encoder_on_one_process_keeps_no_other_waiting(pool: Pool) -> None:
    for found, wanted in pool.run(work.a_view_without_gradient):
        torch.testing.assert_close(found, wanted)
