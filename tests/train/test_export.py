from __future__ import annotations

import copy
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from trained import copied_run

from couplings.train import (
    ConfigError,
    DataError,
    Dataset,
    Run,
    RunConfig,
    load_encoder,
    load_model,
    train,
    with_overrides,
)
from couplings.train.export import export, is_export
from couplings.train.onnx_graph import BATCHES, TOLERANCE, Check, _largest

FILES = {"config.json", "model.safetensors", "README.md"}


@pytest.fixture
def run(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> Run:
    return copied_run(tiny_config, tiny_data, tmp_path / "run")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_encoder_comes_back_without_the_run(run: Run, tmp_path: Path) -> None:
    done = export(run, tmp_path / "out", onnx=False)
    assert set(done.files) == names(done.folder) == FILES
    assert done.onnx is None
    state = torch.random.get_rng_state()
    encoder = load_encoder(str(done.folder))
    assert torch.equal(torch.random.get_rng_state(), state)
    images = torch.rand(5, 1, 8, 8)
    assert not encoder.training
    assert torch.equal(encoder(images), run.encoder(images))
    with pytest.raises(DataError, match=r"without its projector; .*--with-projector"):
        load_model(done.folder)


def test_the_projector_comes_along(run: Run, tmp_path: Path) -> None:
    done = export(run, tmp_path / "out", with_projector=True, onnx=False)
    images = torch.rand(5, 1, 8, 8)
    found, wanted = load_model(done.folder)(images), run.model(images)
    assert torch.equal(found.features, wanted.features)
    assert torch.equal(found.projections, wanted.projections)
    assert torch.equal(load_encoder(done.folder)(images), wanted.features)


def test_a_predictor_stays_behind_and_double_becomes_single(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    config = with_overrides(tiny_config, {"predictor.hidden": 8, "precision": "64-true"})
    run = train(config, tmp_path / "run", dataset=tiny_data)
    export(run, tmp_path / "out", with_projector=True, onnx=False)
    loaded = load_model(tmp_path / "out")
    assert loaded.predictor is None
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("with_projector", [False, True])
def test_onnxruntime_computes_what_torch_computes(run: Run, tmp_path: Path, with_projector: bool) -> None:
    done = export(run, tmp_path / "out", with_projector=with_projector)
    assert names(done.folder) == set(done.files) == {*FILES, "encoder.onnx"}
    assert done.onnx is not None
    assert done.onnx.passed
    assert json.loads((done.folder / "config.json").read_text())["onnx"]["relative"] == done.onnx.relative
    session = onnxruntime.InferenceSession(done.folder / "encoder.onnx")
    assert [part.name for part in session.get_outputs()] == ["features", "projections"][: 1 + with_projector]
    # A size that the export itself did not try.
    images = torch.rand(29, 1, 8, 8)
    assert len(images) not in BATCHES
    with torch.no_grad():
        wanted = run.model(images)
    for came, right in zip(session.run(None, {"images": images.numpy()}), wanted, strict=False):
        np.testing.assert_allclose(came, right.numpy(), rtol=1e-4, atol=1e-5)
    assert (done.folder / "README.md").read_text() == done.usage
    assert [features_of(block) for block in done.usage.split("```python\n")[1:]] == 2 * [(16, run.encoder.dim)]


def features_of(block: str) -> tuple[int, ...]:
    """Run an example of the README."""
    known: dict[str, np.ndarray] = {}
    exec(block.split("```")[0], known)
    return tuple(known["features"].shape)


class _Wrong(nn.Module):
    """Says to an exporter something else than to torch."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        factor = 1.001 if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() else 1.0
        return images.flatten(1) * factor


class _Unwilling(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.sum().item() > 3:
            return images.flatten(1)
        return -images.flatten(1)


def broken(run: Run, network: nn.Module) -> Run:
    model = copy.deepcopy(run.model)
    model.encoder.backbone = network
    return Run(run.folder, run.config, model, run.loss, run.step, run.shape)


def test_a_graph_that_differs_is_not_left_behind(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path / "out", onnx=False)
    (tmp_path / "out" / "encoder.onnx").write_text("of the export before")
    with pytest.raises(DataError, match=r"differ by .* where 1e-04 is allowed; no encoder\.onnx is left"):
        export(broken(run, _Wrong()), tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == FILES
    assert json.loads((tmp_path / "out" / "config.json").read_text())["onnx"] is None
    assert "onnxruntime" not in (tmp_path / "out" / "README.md").read_text()


def test_a_network_that_cannot_be_traced_says_so(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ONNX: this network cannot be converted \(\w+: .*no encoder\.onnx is left"):
        export(broken(run, _Unwilling()), tmp_path / "out")
    assert names(tmp_path / "out") == FILES


@pytest.mark.parametrize(("relative", "passed"), [(0.0, True), (TOLERANCE, True), (1.1e-4, False), (math.nan, False)])
def test_what_passes(relative: float, passed: bool) -> None:
    assert Check(0.0, relative).passed == passed


def test_each_output_is_compared_on_its_own_scale() -> None:
    large, small = torch.tensor([1e3, -1e3]), torch.tensor([1e-3, 0.0])
    assert _largest([(large, large), (small + 1e-5, small)]).relative == pytest.approx(1e-2, rel=1e-3)
    assert _largest([(large + math.nan, large), (small, small)]).passed is False
    assert _largest([(small, small * 0)]).passed is False


def test_folders_of_something_else_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    for folder in (tmp_path / "mine", run.folder):
        before = names(folder)
        with pytest.raises(ConfigError, match=f"{folder.name} exists and is no export"):
            export(run, folder, onnx=False, overwrite=True)
        assert names(folder) == before
    export(run, tmp_path / "out", onnx=False)
    with pytest.raises(ConfigError, match="--overwrite"):
        export(run, tmp_path / "out", onnx=False)
    assert export(run, tmp_path / "out", onnx=False, overwrite=True).folder == tmp_path / "out"
    assert is_export(tmp_path / "out")
    assert not is_export(run.folder)


def test_a_missing_library_is_named_and_nothing_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs onnxscript.*pip install 'couplings\[export\]'"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "out/config.json")

    monkeypatch.setattr(sys.modules["couplings.train.export"], "write_json", full)
    with pytest.raises(OSError, match="No space"):
        export(run, tmp_path / "deep" / "out", onnx=False)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("written", range(4))
def test_an_export_that_was_killed_is_gone_on_with(run: Run, tmp_path: Path, written: int) -> None:
    """A kill leaves the files that have their names, in the order of writing, and a part of the next one."""
    done = export(run, tmp_path / "whole", onnx=False)
    in_order = sorted(done.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    (tmp_path / "out").mkdir()
    for path in in_order[:written]:
        (tmp_path / "out" / path.name).write_bytes(path.read_bytes())
    if written < len(in_order):
        (tmp_path / "out" / f".{in_order[written].name}.0a1b2c3d.part").write_bytes(b"half")
        assert names(export(run, tmp_path / "out", onnx=False).folder) == FILES
        assert torch.equal(load_encoder(tmp_path / "out").mean, run.encoder.mean)
    with pytest.raises(ConfigError, match="holds an export already"):
        export(run, tmp_path / "out", onnx=False)


def test_weights_are_not_fetched_again(run: Run, tmp_path: Path) -> None:
    config = run.config.encoder.model_copy(update={"name": "timm:resnet10t", "params": {"pretrained": True}})
    pretended = Run(
        run.folder, run.config.model_copy(update={"encoder": config}), run.model, run.loss, run.step, run.shape
    )
    export(pretended, tmp_path / "out", onnx=False)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["encoder"]["params"] == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "else"}, "is not of an exported encoder"),
        ({"version": 2}, "newer than this couplings"),
        ({"encoder": {"name": "small-cm"}}, "did you mean 'small-cnn'"),
        ({"image_shape": None}, "was not written by couplings export"),
        ({"encoder": {"name": "small-cnn", "params": {"width": 8}}}, r"model\.safetensors: no weights of this encoder"),
    ],
)
def test_a_damaged_export_is_named(run: Run, tmp_path: Path, change: dict[str, object], words: str) -> None:
    export(run, tmp_path / "out", onnx=False)
    path = tmp_path / "out" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises((DataError, ConfigError), match=words):
        load_encoder(tmp_path / "out")


def test_a_run_is_no_export(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Run\.load reads a run's folder"):
        load_encoder(run.folder)
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        load_encoder(tmp_path)
    export(run, tmp_path / "out", onnx=False)
    (tmp_path / "out" / "model.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_encoder(tmp_path / "out")
