"""A monitor exchanges nothing: one process may watch alone."""

from __future__ import annotations

import torch
import watching
from pool import Pool

from couplings import InfoNCE
from couplings.diagnostics import effective_negatives, repulsion


def test_one_process_watches_its_own_part(pool: Pool) -> None:
    results = pool.run(watching.watched_by_the_first, 3)
    seen = results[0][1]
    assert [figures.call for figures in seen] == [1, 3]
    assert [records for _, records in results[1:]] == [[]] * (pool.world - 1)
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    alone = effective_negatives(repulsion(InfoNCE(0.5), z, z + 0.1)).mean()
    torch.testing.assert_close(seen[0].effective_negatives, alone.item())
    assert seen[0].loss == results[0][0][0]
