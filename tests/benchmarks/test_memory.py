"""Peak growth in a process of its own."""

from __future__ import annotations

from contextlib import nullcontext

import contenders
import pytest
import torch

from couplings.benchmarks.memory import available, footprint
from couplings.benchmarks.work import Make, NotComparable, Size

CPU = torch.device("cpu")
MEGABYTES_64 = Size(64)


@pytest.mark.parametrize("make", [contenders.allocates, contenders.frees])
def test_64_megabytes_are_seen_whether_or_not_they_are_freed(make: Make) -> None:
    growth = footprint(make, MEGABYTES_64, CPU, limit=60).growth
    assert growth == pytest.approx(64 * contenders.BYTES_A_ROW, rel=0.1)


def test_what_was_there_before_does_not_count() -> None:
    torch.ones(1 << 26)
    assert footprint(contenders.tiny, MEGABYTES_64, CPU, limit=60).growth < 2e6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (contenders.refuses, "not today"),
        (contenders.breaks, "failed: some defect$"),
        (contenders.breaks_when_called, "failed: np.bool is gone$"),
        (contenders.imports_badly, r"failed to import: .* 'y'; pip install 'couplings\[bench\]'$"),
        (contenders.dies, "failed: its process ended with exit code 3$"),
        (contenders.crashes, "failed: its process died of SIGTERM$"),
        (contenders.is_killed, "killed: out of memory$"),
        (contenders.asks_for_too_much, "out of memory"),
    ],
)
def test_why_something_could_not_be_measured(make: Make, words: str) -> None:
    with pytest.raises(NotComparable, match=words):
        footprint(make, MEGABYTES_64, CPU, limit=60)


def test_what_takes_too_long_is_stopped() -> None:
    with pytest.raises(NotComparable, match="stopped after 0 s"), nullcontext():
        footprint(contenders.tiny, MEGABYTES_64, CPU, limit=0.0)


def test_free_memory_is_known() -> None:
    assert available(CPU) > 1e6
