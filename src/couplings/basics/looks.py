"""One look at the values of a call: what must hold is computed where the data are, and read once, at the end.

A check is a 0-dim number, finite exactly if all is well, and a diagnosis that finds out what is wrong and raises.
On an accelerator the look does not wait: the number is copied to the host and read by a later call, which then raises
in the place of the one that was wrong (`set_checks(True, wait=True)` waits instead).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Diagnosis = Callable[[], None]
"""Raises, or warns, if its part is wrong."""


@dataclass(frozen=True)
class Expected:
    """A number that is finite if all is well, and what to do where it is not."""

    number: Tensor
    diagnose: Diagnosis


_open: ContextVar[list[Expected] | None] = ContextVar("expected", default=None)


def expect_finite(number: Tensor, diagnose: Diagnosis) -> None:
    """Have `diagnose` called if the 0-dim number is not finite: at the end of `one_look`, or now where none is open."""
    expected, now = _open.get(), Expected(number.detach() if number.requires_grad else number, diagnose)
    if expected is None:
        _read([now])
    else:
        expected.append(now)


@contextmanager
def one_look() -> Iterator[None]:
    """What is expected within is read together at the end; within another look, at the end of that."""
    if _open.get() is not None:
        yield
        return
    expected: list[Expected] = []
    token = _open.set(expected)
    try:
        yield
    except Exception:  # which what was expected before may explain
        _open.reset(token)
        _read(expected, wait=True)
        raise
    _open.reset(token)
    _read(expected)


def look_now() -> None:
    """Read what is expected so far: before an algorithm that reads values anyway goes on with wrong ones."""
    expected = _open.get()
    if expected:
        several, expected[:] = list(expected), []
        _read(several, wait=True)


class Late(Protocol):
    """A number on its way to the host."""

    def ready(self) -> bool:
        """Whether it has come."""
        ...

    def value(self) -> float:
        """The number; waits for it."""
        ...


class _Copied:
    """A copy in pinned memory, and the event that says that it is there."""

    def __init__(self, number: Tensor) -> None:
        self.host = torch.empty((), dtype=number.dtype, pin_memory=True)
        self.host.copy_(number, non_blocking=True)
        self.event: Any = torch.Event(number.device)
        self.event.record()

    def ready(self) -> bool:
        return bool(self.event.query())

    def value(self) -> float:
        self.event.synchronize()
        return float(self.host)


class LateLooks:
    """Looks whose numbers have not come yet; at most a few, for each keeps what its diagnoses look at.

    Args:
        copy: sends a number to the host.
        most: how many may wait; one more waits for the first of them.
    """

    def __init__(self, copy: Callable[[Tensor], Late], most: int = 4) -> None:
        self.copy, self.most = copy, most
        self.waiting: deque[tuple[Late, list[Expected]]] = deque()

    def add(self, number: Tensor, expected: list[Expected]) -> None:
        """Look at what has come, then send this one."""
        self.look()
        self.waiting.append((self.copy(number), expected))

    def look(self) -> None:
        """Diagnose what has come and is not finite."""
        while self.waiting and (self.waiting[0][0].ready() or len(self.waiting) >= self.most):
            late, expected = self.waiting.popleft()
            if not math.isfinite(late.value()):
                _diagnose(expected)


_late = LateLooks(_Copied)
"""Of all accelerators."""
_wait = False


def set_wait(wait: bool) -> None:
    """Whether looks at an accelerator's numbers wait for them."""
    global _wait
    _wait = wait


def _read(expected: list[Expected], *, wait: bool = False) -> None:
    if not expected:
        return
    number = _together([one.number for one in expected])
    if type(number) is not Tensor:  # a fake tensor has no numbers
        return
    if number.device.type == "cpu" or wait or _wait:
        if not math.isfinite(float(number)):
            _diagnose(expected)
    else:
        _late.add(number, expected)


def _together(numbers: list[Tensor]) -> Tensor:
    """Finite if all are."""
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in numbers) else torch.float32
    first, *others = (x if x.dtype == dtype else x.to(dtype) for x in numbers)
    return sum(others, start=first)


def _diagnose(expected: list[Expected]) -> None:
    for one in expected:
        one.diagnose()
