"""Peak growth of memory while a call runs, in a process of its own.

On Linux the kernel's high-water mark is set back just before the call, so that what the imports took does not hide
what the call takes; elsewhere the mark of the whole process has to do; on CUDA the allocator keeps one.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from .work import Make, NotComparable, Size, reason

__all__ = ["Footprint", "available", "footprint", "growth_of"]

_PROC = Path("/proc/self")
_RESET_PEAK = "5"
_TINY = 64
"""Rows of the call that loads libraries and starts threads before anything is counted."""


@dataclass(frozen=True)
class Footprint:
    """What one call took: bytes at the peak above what was there before, and seconds."""

    growth: int
    seconds: float


def footprint(make: Make, size: Size, device: torch.device, limit: float) -> Footprint:
    """Measure one call in a fresh process.

    Raises:
        NotComparable: it ran out of memory, took longer than `limit` seconds, failed, or cannot do the work.
    """
    context = _context()
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(there, make, size, str(device)), daemon=True)
    child.start()
    there.close()
    try:
        return _answer(here, child, limit)
    finally:
        child.kill()
        child.join()


def _context() -> ForkServerContext | SpawnContext:
    """Processes that have the imports but no threads yet, where the system can split them off."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "couplings.losses", "couplings.benchmarks.suites"])
    return context


def _answer(pipe: Connection, child: BaseProcess, limit: float) -> Footprint:
    if not pipe.poll(limit):
        raise NotComparable(f"stopped after {limit:.0f} s")
    try:
        answer = pipe.recv()
    except EOFError:
        child.join()  # it has closed its end, so it is ending
        raise NotComparable(_end(child.exitcode or 0)) from None
    if isinstance(answer, Footprint):
        return answer
    raise NotComparable(answer)


def _end(code: int) -> str:
    """What an exit code, or minus a signal's number, says of a process that gave no answer."""
    if code >= 0:
        return f"failed: its process ended with exit code {code}"
    name = signal.Signals(-code).name
    return "its process was killed: out of memory" if name == "SIGKILL" else f"failed: its process died of {name}"


def _measure(pipe: Connection, make: Make, size: Size, device: str) -> None:
    """What the process does; errors go back as words."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who waits, and who ends this process
    try:
        where = torch.device(device)
        make(replace(size, rows=min(_TINY, size.rows)), where)()
        pipe.send(growth_of(make(size, where), where))
    except Exception as error:
        pipe.send(reason(error))


def growth_of(call: Callable[[], object], device: torch.device) -> Footprint:
    """Bytes at the peak of a call above what was there before it."""
    gc.collect()
    before = _reset(device)
    start = time.perf_counter()
    result = call()  # kept: gradients count
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    growth = _peak(device) - before
    del result
    return Footprint(max(0, growth), seconds)


def _reset(device: torch.device) -> int:
    """Set the high-water mark back; bytes in use now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        (_PROC / "clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return _highest()
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM") if _PROC.is_dir() else _highest()


def _status(key: str) -> int:
    lines = dict(line.split(":", 1) for line in (_PROC / "status").read_text().splitlines())
    return 1024 * int(lines[key].split()[0])


def _highest() -> int:
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def available(device: torch.device) -> float:
    """Bytes that are free; infinite where nobody says."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return float("inf")
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return 1024.0 * int(lines["MemAvailable"].split()[0])
