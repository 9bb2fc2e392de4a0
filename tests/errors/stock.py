"""Images and finished runs, made once and copied where a case needs them."""

from __future__ import annotations

import errno
import io
import shlex
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from couplings import cli

IMAGES = "images.npz"
TINY = (
    f"--data npz --data-folder {IMAGES} --steps 4 --batch-size 8 --set encoder.width=4 --set projector.hidden=8"
    " --set projector.dim=8 --set checkpoint_every=1 --set log_every=1 --set evaluation.draws=1"
)
"""Settings of a run that takes a fraction of a second."""

LABELS = np.arange(40) % 2
PIXELS = np.random.default_rng(0).integers(0, 200, (40, 8, 8), dtype=np.uint8)
PIXELS[LABELS == 0, :4] += 55


def no_space(path: object = None) -> OSError:
    """What the system raises."""
    return OSError(errno.ENOSPC, "No space left on device", None if path is None else str(path))


class Stock:
    """Runs in every state, each in a folder beside its images.

    Attributes:
        stopped: the disk was full when the weights came: the checkpoints of steps 2 and 3 are there.
        finished: trained, neither drawn nor measured.
        measured: all is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        np.savez(folder / IMAGES, images=PIXELS, labels=LABELS)
        with mock.patch("couplings.train.loop.save_weights", side_effect=no_space("weights")):
            self.stopped = self._made("stopped", code=2)
        with mock.patch("couplings.cli.work.train.measure_once"):
            self.finished = self._made("finished", code=0)
        self.measured = self._made("measured", code=0)

    def copy(self, run: Path, target: Path) -> None:
        """Put a run into the folder ``target``, and the images it was trained on into the working folder."""
        shutil.copytree(run, target)
        shutil.copy(self._folder / IMAGES, IMAGES)

    def _made(self, name: str, code: int) -> Path:
        unheard = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(unheard), redirect_stderr(unheard):
            patch.chdir(self._folder)
            assert cli.main(shlex.split(f"train {TINY} --output {name}")) == code, unheard.getvalue()
        return self._folder / name
