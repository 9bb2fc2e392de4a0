"""What is shown, learnt and raised over processes."""

from __future__ import annotations

from pathlib import Path

import calls
import pytest
import torch
from pool import Pool
from steps import SHARES
from torch import Tensor

from couplings import GCAINCE, Domains, InfoNCE, PairLoss
from couplings.losses.gather import in_words


def _near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("what", ["plan", "pair weights"])
def test_what_is_shown_is_the_whole_batch(pool: Pool, what: str) -> None:
    anchors = 2 * sum(SHARES["uneven"][pool.world])
    for found, wanted, _ in pool.run(calls.shown, what):
        assert found.shape == (anchors, anchors)
        _near(found, wanted)


@pytest.mark.parametrize("shares", SHARES)
def test_a_guide_gathers_as_the_loss_does(pool: Pool, shares: str) -> None:
    for found, wanted in pool.run(calls.guided, shares):
        _near(found, wanted)


@pytest.mark.parametrize(
    "make", [calls.learnable_clip, calls.learnable_siglip, calls.warm_gca_uot, calls.warm_gca_ince]
)
def test_what_the_loss_learns_gets_its_whole_gradient_on_every_process(pool: Pool, make: object) -> None:
    for found, wanted in pool.run(calls.learnt, make):
        for g, h in zip(found, wanted, strict=True):
            assert h != 0
            _near(g, h)


@pytest.mark.parametrize("order", ["wrapper outside", "wrapper inside"])
def test_two_pass_over_processes(pool: Pool, order: str) -> None:
    for found, wanted in pool.run(calls.two_pass, order):
        _near(found, wanted)


@pytest.mark.parametrize("size", [4, 11, 100])
def test_queues_of_all_processes_are_one(pool: Pool, size: int) -> None:
    for keys, wanted, ids, wanted_ids in pool.run(calls.queued, size):
        assert torch.equal(keys, wanted)
        assert torch.equal(ids, wanted_ids)


@pytest.mark.parametrize("large", [False, True], ids=["one matrix", "panels"])
@pytest.mark.parametrize("kind", ["group", "mesh"])
def test_a_group_shares_a_batch(pool: Pool, kind: str, large: bool) -> None:
    """Others hold the same rows, and are no part of it."""
    for pairs in pool.run(calls.grouped, kind, large):
        for found, wanted in pairs:
            _near(found, wanted)


def test_groups_that_cannot_share_a_batch(pool: Pool) -> None:
    for mesh, word, stranger in pool.run(calls.in_no_group):
        assert "gather is a mesh of 2 dimensions ('data', 'model'): pass the one that shares the batch" in mesh
        assert "got 'data'" in word
        assert "process group" in stranger


def test_half_precision(pool: Pool) -> None:
    for found, wanted in pool.run(calls.halved):
        assert found.dtype == torch.float32
        # A score is D products over a temperature of 0.2, rounded in another order, and so is the mean of rows.
        torch.testing.assert_close(found, wanted, rtol=0, atol=(calls.D / 0.2 + 100) * 2.0**-24)


def test_rows_are_gathered_in_rank_order(pool: Pool) -> None:
    """Process k has k rows; the gradient is the slice of the global one, times the number of processes."""
    ranks = [float(rank) for rank in range(pool.world) for _ in range(rank)]
    for rank, (everybody, rows, grad) in enumerate(pool.run(calls.rows_in_turn)):
        assert everybody[:, 0].tolist() == ranks
        assert len(rows) == rank
        assert grad[:, 0].tolist() == [float(pool.world * i) for i, owner in enumerate(ranks) if owner == rank]


@pytest.mark.parametrize("mistake", calls.MISTAKES)
def test_a_mistake_on_one_process_raises_on_all(pool: Pool, mistake: str) -> None:
    bad = pool.world - 1
    wanted = calls.MISTAKES[mistake][2].format(bad=bad, world=pool.world)
    for message in pool.run(calls.mistaken, bad, mistake, patience=120):
        assert wanted in message


def test_a_mistake_on_the_first_process_names_it(pool: Pool) -> None:
    for message in pool.run(calls.mistaken, 0, "NaN", patience=120):
        assert "view 2 of process 0 holds NaN" in message


def test_checks_are_on_everywhere_or_nowhere(pool: Pool) -> None:
    for message, passed in pool.run(calls.without_checks, patience=120):
        assert passed
        assert "set_checks is True on process 1 but False on process 0" in message


def test_a_queue_refuses_on_all_processes(pool: Pool) -> None:
    for width, nan, ids, length in pool.run(calls.bad_queue, 1, patience=120):
        assert "process 1: keys have 3 dimensions but the queue holds keys of 5" in width
        assert "process 1: keys holds NaN" in nan
        assert "ids is passed on process 1 but not passed on process 0" in ids
        assert length == "0"


def test_losses_made_otherwise_are_refused(pool: Pool) -> None:
    """A temperature, or a class, that differs gives another value on each process, or messages that never meet."""
    for temperature, kind, guide, caller in pool.run(calls.different_callers, 1, patience=120):
        assert "the loss is InfoNCE(temperature=0.1, learnable=False" in temperature
        assert "but InfoNCE(temperature=0.2, learnable=False" in temperature
        assert "the loss is HCL(temperature=0.3, beta=1.0" in kind
        assert "the guide is Guide(margin=0.1, repeat=1) on process 1 but Guide(margin=0.2, repeat=1) on" in guide
        assert "the guide is nothing on process 1 but Guide(margin=0.0, repeat=1) on process 0" in caller


def test_settings_are_the_same_words_everywhere() -> None:
    """No address and no number that is learnt."""
    functions = [in_words(PairLoss, {"phi": lambda x: x, "psi": torch.log1p}) for _ in range(2)]
    assert functions[0] == functions[1]
    assert "0x" not in functions[0]
    learnt = [in_words(InfoNCE, {"temperature": torch.tensor(t, requires_grad=True)}) for t in (0.1, 0.2)]
    assert learnt == ["InfoNCE(temperature=a tensor ())"] * 2
    assert in_words(GCAINCE, {"target": Domains(0.2, 0.4), "sweeps": None}) == (
        "GCAINCE(target=Domains(within=0.2, across=0.4, shares=False), sweeps=None)"
    )


def test_a_loss_on_one_process_only_says_so(tmp_path: Path) -> None:
    """The commonest mistake of an evaluation, after the timeout and where the others make another call."""
    pool = Pool(2, tmp_path, timeout=1)
    try:
        assert pool.run(calls.on_one_by_itself) == [True, True]
        for function in (calls.beside_another_call, calls.on_the_first):
            message = pool.run(function, patience=120)[0]
            assert "process 0 could not agree with the other processes" in message
            assert "make them with gather=False" in message
        assert "gloo" in message  # what torch says is still there
    finally:
        pool.close()


def test_a_hanging_process_fails_its_test(pool: Pool) -> None:
    """So that none hangs the others; the pool starts anew."""
    with pytest.raises(AssertionError, match=r"process 0 of [24] hangs"):
        pool.run(calls.hang, patience=1)
    assert pool.run(calls.mistaken, 0, "NaN")
