"""A long run and the memory of its process: the figures of training.md. `python docs/soak.py [--steps N]`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from couplings.train import Silent, StepRecord, preset, train, with_overrides

SETTINGS = {
    "momentum.decay": 0.99,
    "momentum.queue": 1000,
    "log_every": 10,
    "diagnose_every": 50,
    "checkpoint_every": 100,
}


def resident() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@dataclass
class Watch(Silent):
    """Notes the memory every so often."""

    every: int
    seen: list[tuple[int, float]] = field(default_factory=list)

    def on_step(self, step: StepRecord) -> None:
        """Look."""
        if step.step % self.every == 0:
            self.seen.append((step.step, round(resident(), 1)))
            print(*self.seen[-1], flush=True)


def main() -> None:
    """Train and sum up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps
    watch, start = Watch(max(1, steps // 20)), time.perf_counter()
    with TemporaryDirectory() as folder:
        train(with_overrides(preset("digits"), {**SETTINGS, "steps": steps}), Path(folder) / "run", watch)
    settled = [memory for step, memory in watch.seen if step >= steps // 10]
    found = {
        "steps": steps,
        "seconds": round(time.perf_counter() - start),
        "MB after a tenth": settled[0],
        "MB at the end": settled[-1],
        "most MB": max(settled),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
