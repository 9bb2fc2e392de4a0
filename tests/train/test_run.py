from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from couplings.train import ConfigError, DataError, Dataset, Run, RunConfig, train, with_overrides
from couplings.train.checkpoint import read_json, write_bytes, write_json


@pytest.fixture
def run(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> Run:
    return train(tiny_config, tmp_path / "run", dataset=tiny_data)


def test_a_loaded_run_gives_the_same_features(run: Run, tiny_data: Dataset) -> None:
    loaded = Run.load(str(run.folder))
    assert loaded.config == run.config
    assert loaded.step == 6
    assert loaded.dataset is None
    assert torch.equal(loaded.embed(tiny_data.test_images), run.embed(tiny_data.test_images))
    assert not loaded.encoder.training


def test_features_do_not_depend_on_the_batch_or_the_kind_of_numbers(run: Run, tiny_data: Dataset) -> None:
    images = tiny_data.test_images
    whole = run.embed(images)
    assert whole.shape == (12, run.encoder.dim)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(run.embed(images, batch_size=5), whole)
    torch.testing.assert_close(run.embed(images.double().numpy() / 255), whole)


@pytest.mark.parametrize("shape", [(12, 3, 8, 8), (12, 1, 9, 8)])
def test_images_of_another_shape_are_refused(run: Run, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=rf"\({shape[1]}, {shape[2]}, 8\) came, .* trained on \(1, 8, 8\)"):
        Run.load(run.folder).embed(torch.rand(shape))


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
@pytest.mark.parametrize("damage", [None, b"", b"{}", b"no such thing"])
def test_a_damaged_or_missing_file_is_named(run: Run, name: str, damage: bytes | None) -> None:
    path = run.folder / name
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(DataError, match=name):
        Run.load(run.folder)


def test_weights_of_another_encoder_are_refused(run: Run) -> None:
    saved = read_json(run.folder / "config.json")
    saved["config"]["encoder"]["params"]["width"] = 8
    write_json(run.folder / "config.json", saved)
    with pytest.raises(DataError, match=r"weights\.safetensors: no weights of this encoder"):
        Run.load(run.folder)


def test_a_config_with_an_unknown_key_is_refused(run: Run) -> None:
    saved = read_json(run.folder / "config.json")
    saved["config"]["stepz"] = 3
    write_json(run.folder / "config.json", saved)
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        Run.load(run.folder)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full") as failure:
        write_bytes(path, b"new")
    assert failure.value.filename == str(path)
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_knn_accuracy_leaves_the_image_itself_out(run: Run, tiny_data: Dataset) -> None:
    assert tiny_data.train_labels is not None
    assert run.knn_accuracy(tiny_data.train_images, tiny_data.train_labels, neighbours=5) > 0.9
    # Labels that mean nothing: each image alone would still name its own.
    noise = torch.randint(2, (48,), generator=torch.Generator().manual_seed(0))
    assert run.knn_accuracy(tiny_data.train_images, noise, neighbours=1) < 0.8
    with pytest.raises(DataError, match="3 labels for 48 images"):
        run.knn_accuracy(tiny_data.train_images, [0, 1, 2])


def test_a_picture_is_drawn(run: Run, tiny_data: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run.picture(tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    loaded = Run.load(run.folder)
    with pytest.raises(DataError, match="pass the images to draw"):
        loaded.picture(tmp_path / "b.png")
    assert loaded.picture(tmp_path / "b.png", tiny_data.test_images, tiny_data.test_labels).is_file()


def test_a_learnt_temperature_is_trained_saved_and_read_again(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    settings = {"loss": "supcon", "loss.learnable": True}
    run = train(with_overrides(tiny_config, settings), tmp_path / "run", dataset=tiny_data)
    learnt = run.loss.temperature.item()  # type: ignore[union-attr]
    assert learnt != pytest.approx(0.1, rel=1e-4)
    assert Run.load(run.folder).loss.temperature.item() == learnt  # type: ignore[union-attr]
