"""Ctrl-C that waits for the end of what must not be cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Stop", "stoppable"]


@dataclass
class Stop:
    """Whether somebody asked to stop."""

    asked: bool = False


@contextmanager
def stoppable(signals: Sequence[signal.Signals]) -> Iterator[Stop]:
    """Let the first of these signals be noted, and only a second one raise KeyboardInterrupt.

    A process that ignores a signal, such as a worker whose parent answers Ctrl-C, goes on ignoring it. In other threads
    than the main one, which signals do not reach, nothing is changed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in signals}

    def ask(number: int, frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    heard = [number for number in signals if before[number] != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number in heard:
            signal.signal(number, before[number])
