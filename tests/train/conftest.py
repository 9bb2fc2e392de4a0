from __future__ import annotations

import tempfile

import pytest
import torch

from couplings.train import Dataset, RunConfig, from_arrays, preset, with_overrides


@pytest.fixture
def tiny_data() -> Dataset:
    """Two classes that differ in which half is bright: 48 training and 12 test images of 8 x 8 pixels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    images = torch.rand(60, 8, 8, generator=generator) * 0.5
    images[labels == 0, :4] += 0.5
    images[labels == 1, 4:] += 0.5
    return from_arrays(images, labels, test_fraction=0.2)


@pytest.fixture
def tiny_config() -> RunConfig:
    """Six steps of sixteen images with a narrow encoder."""
    changes = {"encoder.width": 4, "batch_size": 16, "steps": 6, "log_every": 2, "diagnose_every": 3}
    return with_overrides(preset("arrays"), {**changes, "projector.hidden": 16, "projector.dim": 8})


@pytest.fixture(autouse=True)
def _no_litter(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without a folder go where pytest cleans up."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("runs")))
