"""What processes do to see that one may watch while the others do not."""

from __future__ import annotations

import torch
import torch.distributed as dist

from couplings import InfoNCE
from couplings.diagnostics import Figures, Monitor


def watched_by_the_first(steps: int) -> tuple[list[float], list[Figures]]:
    """Values of a loss over all processes, and what the first one saw; each has a batch of its own."""
    loss = InfoNCE(0.5, gather=True)
    generator = torch.Generator().manual_seed(dist.get_rank())
    monitor = Monitor(loss, every=2) if dist.get_rank() == 0 else None
    values = []
    for _ in range(steps):
        z = torch.randn(6, 4, generator=generator).requires_grad_()
        value = loss(z, z + 0.1)
        value.backward()
        values.append(value.item())
    return values, [] if monitor is None else monitor.records
