"""Losses called at random: tiles give what one matrix gives, single and half precision what float64 gives."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from random_calls import Call, drawn, faults

from couplings import InvalidInput, SpectralContrastive, set_checks
from couplings.basics.checks import LONG_ROWS, LONGEST_ROWS


def _assert_sound(seeds: range) -> None:
    found: list[tuple[Call, list[str]]] = []
    for call in map(drawn, seeds):
        torch.manual_seed(0)
        if wrong := faults(call):
            found.append((call, wrong))
    assert not found, "\n".join(f"{call}: {wrong}" for call, wrong in found)


@pytest.mark.parametrize("first", range(10, 90, 20))
def test_calls_drawn_at_random(first: int) -> None:
    _assert_sound(range(first, first + 20))


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 9000, 100))
def test_many_calls_drawn_at_random(first: int) -> None:
    _assert_sound(range(first, first + 100))


def test_the_check_sees_a_wrong_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value in single precision that is 1e-3 off is a find."""
    call = next(c for c in map(drawn, range(1000)) if c.name == "InfoNCE" and c.dtype == "float32" and not faults(c))
    kind = type(call.loss())
    right = kind.value
    monkeypatch.setattr(
        kind,
        "value",
        lambda self, batch, plans: right(self, batch, plans) * (1 + 1e-3 * (batch.gram.dtype == torch.float32)),
    )
    assert faults(call)


def test_long_rows_are_computed_in_double_precision() -> None:
    """Without normalisation scores of 1e10 leave single precision no digit of their differences."""
    call = dataclasses.replace(
        drawn(0), name="TripletContrastive", options={"normalize": False}, magnitude=1e5, kind="noisy", sides=()
    )
    call = dataclasses.replace(call, dtype="float32", n=12, d=8, views=2)
    assert not faults(call)
    views, _ = call.inputs()
    assert max(float(v.norm(dim=1).max()) for v in views) > LONG_ROWS
    assert call.loss()(*views).dtype == torch.float32


def test_rows_too_long_for_double_precision_are_refused() -> None:
    views = [2 * LONGEST_ROWS * torch.eye(4, dtype=torch.float64) for _ in range(2)]
    with pytest.raises(
        InvalidInput, match=r"view 1 and view 2 have a row of norm 2e\+06.*scale them down, or normalise"
    ):
        SpectralContrastive(normalize=False)(*views)
    set_checks(False)
    try:
        assert SpectralContrastive(normalize=False)(*views).isfinite()
    finally:
        set_checks(True)
