"""What a call of a small batch costs before any arithmetic: tensor operations, reads on the host, files it passes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import couplings
from couplings import CACR, GCAINCE, InfoNCE, Loss, SupCon
from couplings.losses import LOSSES

SOURCES = Path(couplings.__file__).parent
READS = ("_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero", "_unique2", "masked_select")
SOLVED_TO_A_TOLERANCE = {"HCLOT", "RelaxedHCLOT", "SparseGCA"}
"""Sweeps, or Newton's steps, that stop where a number says so."""
MOST = {
    **dict.fromkeys(("InfoNCE", "DecoupledInfoNCE"), 90),
    **dict.fromkeys(("HCL", "SupCon", "AlphaCL", "AlphaCLDirect"), 120),
    **dict.fromkeys(("Triplet", "SoftTriplet", "NPlusOneTuplet", "LiftedStructured", "ModifiedTriplet"), 120),
    **dict.fromkeys(("TripletContrastive", "ScaledInfoNCE", "MINE", "SpectralContrastive"), 120),
    **{"CACR": 300, "GCAINCE": 450, "SinkhornCACR": 1500},
}
"""Operations of value and gradient of 2 x 128 rows, checks on. Six lines of torch for InfoNCE take 45."""

KINDS = {kind.__name__: kind for name, kind in LOSSES.items() if name != "pair-loss"}


class Count(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[func.name().removeprefix("aten::").split(".")[0]] += 1
        return func(*args, **(kwargs or {}))

    @property
    def reads(self) -> int:
        """How often a value went to the host."""
        return sum(self.seen[name] for name in READS)


@contextmanager
def unchecked() -> Iterator[None]:
    couplings.set_checks(False)
    try:
        yield
    finally:
        couplings.set_checks(True)


def _views(n: int = 128) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, 128, generator=rng).requires_grad_() for _ in range(2))
    return first, second


def _counted(loss: Loss, **sides: Tensor) -> Count:
    views = _views()
    loss(*views, **sides).backward()  # what batches of a size share is made by the first
    with Count() as count:
        loss(*views, **sides).backward()
    return count


@pytest.mark.parametrize("name", KINDS)
def test_values_are_read_once_and_without_checks_never(name: str) -> None:
    loss = KINDS[name]()
    checked = _counted(loss)
    with unchecked():
        plain = _counted(loss)
    if name in SOLVED_TO_A_TOLERANCE:
        assert plain.reads > 0
    else:
        assert (checked.reads, plain.reads) == (1, 0), checked.seen
    assert sum(plain.seen.values()) < sum(checked.seen.values())


@pytest.mark.parametrize("name", MOST)
def test_operations(name: str) -> None:
    counted = _counted(KINDS[name]())
    assert sum(counted.seen.values()) <= MOST[name], counted.seen


def test_operations_with_labels() -> None:
    counted = _counted(SupCon(), labels=torch.arange(128) % 16)
    assert sum(counted.seen.values()) <= MOST["SupCon"]
    assert counted.reads == 1


def _files(call: Callable[[], object]) -> set[str]:
    """Files of the package that the call passes."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            seen.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return {str(Path(file).relative_to(SOURCES)) for file in seen if file.startswith(str(SOURCES))}


@pytest.mark.parametrize(("loss", "most"), [(InfoNCE(), 18), (GCAINCE(), 24), (CACR(), 19)], ids=str)
def test_files_that_a_call_passes(loss: Loss, most: int) -> None:
    views = _views(64)
    loss(*views).backward()
    passed = _files(lambda: loss(*views).backward())
    assert "engine/grams.py" in passed
    assert len(passed) <= most, sorted(passed)
