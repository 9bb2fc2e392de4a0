"""What `couplings.diagnostics.Monitor` adds to training at its default interval, as a share of the time of a step.

Run `python docs/monitor_cost.py`: the preset small-cnn for Fashion-MNIST, on noise of that shape. Steps that are
looked at and steps that are not take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import inspect
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from couplings.diagnostics import Monitor
from couplings.train.data import from_arrays
from couplings.train.presets import preset
from couplings.train.processes import opened_fabric
from couplings.train.trainer import Trainer, prepare

_TURNS, _WARM = 25, 2


def trainer() -> Trainer:
    """The preset before its first step."""
    config = preset("fashion-mnist")
    data = from_arrays(torch.randint(256, (4096, 28, 28), generator=torch.Generator().manual_seed(0)), None)
    with opened_fabric(config.precision, 1) as fabric:
        return prepare(config, data, fabric)


def seconds(training: Trainer) -> float:
    """Time of one step."""
    start = time.perf_counter()
    training.step(1e-3)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians and the share."""
    training = trainer()
    every = inspect.signature(Monitor).parameters["every"].default
    with Monitor(training.learner.loss, every=2) as monitor:
        turns = [(seconds(training), seconds(training)) for _ in range(_WARM + _TURNS)][_WARM:]
    assert len(monitor.records) == _WARM + _TURNS
    step = statistics.median(plain for _, plain in turns)
    look = statistics.median(looked - plain for looked, plain in turns)
    print(f"batch of {training.config.batch_size}, {torch.get_num_threads()} threads, {_TURNS} turns")
    print(f"a step takes {1e3 * step:.1f} ms, a look {1e3 * look:.1f} ms more")
    print(f"at one look in {every} calls, watching adds {look / (every * step):.3%} to a step")


if __name__ == "__main__":
    main()
