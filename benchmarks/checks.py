"""What the checks of tensor values cost in a loss call, forward and backward at 2n = 512, d = 128, in turns.

Run: .venv/bin/python benchmarks/checks.py [NAME ...]
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

import couplings
from couplings.losses import LOSSES, Loss

ROUNDS, SECONDS, N, D = 400, 4.0, 256, 128
"""At most so many rounds and seconds a loss."""


def seconds(loss: Loss, views: list[torch.Tensor], checks: bool) -> float:
    couplings.set_checks(checks)
    start = time.perf_counter()
    torch.autograd.grad(loss(*views), views)
    return time.perf_counter() - start


def main() -> None:
    torch.manual_seed(0)
    first = torch.randn(N, D)
    views = [first.requires_grad_(), (first.detach() + 0.5 * torch.randn(N, D)).requires_grad_()]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of up to {ROUNDS} calls each way")
    for name in sys.argv[1:] or LOSSES:
        kind = LOSSES[name]
        loss, on, off = kind(), [], []
        rounds = min(ROUNDS, max(10, int(SECONDS / 2 / seconds(loss, views, True))))
        for turn in range(rounds):
            for checks in (True, False) if turn % 2 else (False, True):
                (on if checks else off).append(seconds(loss, views, checks))
        couplings.set_checks(True)
        share = statistics.median(on) / statistics.median(off) - 1
        print(f"{name:16} {1e3 * statistics.median(on):7.2f} ms with, {share:+.1%}")


if __name__ == "__main__":
    main()
