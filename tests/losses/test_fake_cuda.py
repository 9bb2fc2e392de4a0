"""Calls on an accelerator, without one: fake tensors show every mix of devices and every value read on the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import couplings
from couplings import InvalidInput
from couplings.losses import LOSSES

ALWAYS = {"HCLOT", "RelaxedHCLOT", "SparseGCA"}
"""Losses that solve to a tolerance: how far they are is read."""
LARGE = {"GCAINCE", "GCARINCE", "GCAUOT", "IOT", "BalancedAlphaCL", "SinkhornCACR"}
"""Losses whose sweeps, on large batches, go on with kernels or with logarithms: one read a solve, two with weights."""

KINDS = {kind.__name__: kind for name, kind in LOSSES.items() if name != "pair-loss"}
SIDES = ("nothing", "labels", "ids", "keys", "negatives", "mask")


def _sides(kind: str, n: int, d: int) -> dict[str, Tensor]:
    def ids(count: int = n) -> Tensor:
        return torch.randint(0, n, (count,), device="cuda")

    return {
        "nothing": {},
        "labels": {"labels": ids()},
        "ids": {"ids": ids()},
        "keys": {"keys": torch.randn(32, d, device="cuda"), "ids": ids(), "key_ids": ids(32)},
        "negatives": {"negatives": torch.randn(n, 3, d, device="cuda")},
        "mask": {"mask": torch.zeros(2 * n, 2 * n, dtype=torch.bool, device="cuda")},
    }[kind]


@contextmanager
def _checks(on: bool) -> Iterator[None]:
    couplings.set_checks(on)
    try:
        yield
    finally:
        couplings.set_checks(True)


def _called(name: str, n: int, side: str) -> Tensor | str:
    """The value, or "refused" for an argument that this loss has no use for, or "read"."""
    with FakeTensorMode():
        views = (torch.randn(n, 16, device="cuda") for _ in range(2))
        try:
            return KINDS[name]()(*views, **_sides(side, n, 16))
        except InvalidInput:
            return "refused"
        except DataDependentOutputException:
            return "read"


@pytest.mark.parametrize("checked", [False, True], ids=["unchecked", "checked"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("n", [32, 2048])
@pytest.mark.parametrize("name", KINDS)
def test_no_value_is_read_and_devices_agree(name: str, n: int, side: str, checked: bool) -> None:
    with _checks(checked):
        found = _called(name, n, side)
    allowed = {"read"} if name in ALWAYS or (name in LARGE and n > 1000) else set()
    allowed |= set() if side == "nothing" else {"refused"}
    assert isinstance(found, Tensor) or found in allowed
    assert isinstance(found, str) or (found.device.type, found.shape) == ("cuda", ())
