"""One small run, trained once a session and copied to every test that wants one."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp

from couplings.train import Dataset, Run, RunConfig, train

_ONCE: list[Path] = []


def copied_run(config: RunConfig, data: Dataset, folder: Path) -> Run:
    """The run of ``tiny_config`` on ``tiny_data`` in a folder of one's own."""
    if not _ONCE:
        _ONCE.append(train(config, Path(mkdtemp()) / "run", dataset=data).folder)
    shutil.copytree(_ONCE[0], folder)
    return Run.load(folder)
