"""Contenders for tests: functions of a module, so that another process finds them."""

from __future__ import annotations

import os
import signal

import torch

from couplings.benchmarks.work import Call, Contender, NotComparable, Size, Work

BYTES_A_ROW = 1 << 20


def allocates(size: Size, device: torch.device) -> Call:
    """A megabyte a row, each page touched."""
    return lambda: (torch.ones(size.rows * BYTES_A_ROW // 4),)


def frees(size: Size, device: torch.device) -> Call:
    """Gives its memory back before it returns."""
    return lambda: (torch.ones(size.rows * BYTES_A_ROW // 4).sum(),)


def refuses(size: Size, device: torch.device) -> Call:
    raise NotComparable("not today")


def breaks(size: Size, device: torch.device) -> Call:
    raise RuntimeError("some defect\nand where")


def breaks_when_called(size: Size, device: torch.device) -> Call:
    def call() -> tuple[torch.Tensor, ...]:
        raise AttributeError("np.bool is gone")

    return call


def imports_badly(size: Size, device: torch.device) -> Call:
    raise ImportError("cannot import name 'x' from 'y'")


def dies(size: Size, device: torch.device) -> Call:
    os._exit(3)


def is_killed(size: Size, device: torch.device) -> Call:
    os.kill(os.getpid(), signal.SIGKILL)
    return lambda: ()


def crashes(size: Size, device: torch.device) -> Call:
    os.kill(os.getpid(), signal.SIGTERM)
    return lambda: ()


def asks_for_too_much(size: Size, device: torch.device) -> Call:
    return lambda: (torch.empty(1 << 60),)


def tiny(size: Size, device: torch.device) -> Call:
    return lambda: (torch.zeros(()),)


def work(*peers: Contender, rows: tuple[int, ...] = (64,), **more: object) -> Work:
    sizes = tuple(Size(n) for n in rows)
    return Work("test", "a test", sizes, Contender("ours", tiny), peers, **more)  # type: ignore[arg-type]
