"""What a measurement was made on: processor, versions, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import torch

from .peers import LARGE, Product
from .timing import Pace, clock_of, in_turns, spread
from .work import Size

__all__ = ["Machine", "described"]

_SHAPES = {
    "2048 x 2048 x 2048": LARGE,
    "scores of a tile, 1024 x 128 x 1024": Product(1024, 128, 1024),
    "gradient of a tile, 1024 x 1024 x 128": Product(1024, 1024, 128),
}
_PACKAGES = ("torch", "couplings", "lightly", "pytorch-metric-learning", "POT", "geomloss", "kornia")
_BRIEF = Pace(seconds=1.0)
_ENOUGH_FLOPS = 1e10
"""A small product is repeated until a round has as much to do."""


@dataclass(frozen=True)
class Machine:
    """Where and when, and float32 rates in GFLOP/s by the shape of the product.

    Attributes:
        waiting: how idle threads wait, `OMP_WAIT_POLICY`; "default" where it is not set.
    """

    device: str
    processor: str
    threads: int
    waiting: str
    memory: int
    versions: dict[str, str]
    rates: dict[str, float]
    date: str

    @property
    def line(self) -> str:
        """One line for a page."""
        rates = ", ".join(f"{rate:,.0f} ({shape})" for shape, rate in self.rates.items())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.date}; {self.device}, {self.processor}, {self.threads} threads, OMP_WAIT_POLICY {self.waiting}, "
            f"{self.memory / 1e9:.0f} GB; {versions}. Matrix products in float32, GFLOP/s: {rates}."
        )


def described(device: torch.device, pace: Pace = _BRIEF) -> Machine:
    """This machine, now."""
    return Machine(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        processor=_processor(),
        threads=torch.get_num_threads(),
        waiting=os.environ.get("OMP_WAIT_POLICY", "default"),
        memory=_memory(device),
        versions=dict(_versions()),
        rates={shape: _rate(product, device, pace) for shape, product in _SHAPES.items()},
        date=datetime.now(timezone.utc).date().isoformat(),
    )


def _rate(product: Product, device: torch.device, pace: Pace) -> float:
    times = max(1, round(_ENOUGH_FLOPS / product.flops))
    call = product(Size(1), device)
    (seconds,) = in_turns([lambda: [call() for _ in range(times)]], pace, clock_of(device))
    return times * product.flops / spread(seconds).median / 1e9


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def _versions() -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
