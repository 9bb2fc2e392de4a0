"""Files of tensors: whatever is damaged in one is told, never read."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from couplings.train import ConfigError, DataError, Dataset, Interrupted, RunConfig, train
from couplings.train import with_overrides as changed
from couplings.train.checkpoint import (
    Checkpoint,
    checkpoints,
    load_weights,
    newest_checkpoint,
    save_checkpoint,
    save_weights,
    saved_step,
)
from couplings.train.learner import Learner

STEPS = 20
TENSORS = {
    "left": torch.tensor([1, 2, 3]),
    "rest": torch.tensor([4, 5, 6]),
    "half": torch.tensor([0.5], dtype=torch.bfloat16),
    "none": torch.empty(0, 2),
}
ABOUT = {"precision": {}, "optimiser": {}, "metrics": 7}


def _two(folder: Path) -> tuple[Path, Path]:
    """Checkpoints of steps 6 and 12, the newer one first."""
    older = save_checkpoint(folder, Checkpoint(6, TENSORS, ABOUT))
    return save_checkpoint(folder, Checkpoint(12, TENSORS, ABOUT)), older


def _found(folder: Path, steps: int = STEPS) -> tuple[int | None, list[str]]:
    """The step of the checkpoint that is used, which holds what was saved; and what was said."""
    said: list[str] = []
    found = newest_checkpoint(folder, steps, said.append)
    if found is None:
        return None, said
    assert found.about == ABOUT
    assert found.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)
    return found.step, said


def _flipped(path: Path) -> Any:
    """A file with one bit flipped, for each of its bytes."""
    whole = path.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        yield


def test_no_flipped_bit_of_a_checkpoint_changes_what_is_read(tmp_path: Path) -> None:
    newest, _ = _two(tmp_path)
    used = []
    for _ in _flipped(newest):
        step, said = _found(tmp_path)
        assert bool(said) == (step == 6)
        used.append(step)
    # The newer one is whole where nothing is read back: in the padding of the head.
    assert set(used) <= {6, 12}
    assert used.count(6) > len(used) - 8


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"\"step\": \"12\"", rb"\"step\": \"92\""),
        (rb"\"step\": \"12\"", rb"\"step\": \"-3\""),
        (rb"\"step\": \"12\"", rb"\"step\": \"1e\""),
        (rb"\"step\": \"12\"", rb"\"stop\": \"12\""),
        (b'"I64"', b'"F64"'),
        (b"[0,2]", b"[0,3]"),
        (b'"left"', b'"reft"'),
        (b"seal", b"sea1"),
        (b'"facts"', b'"fact5"'),
    ],
)
def test_a_head_with_other_words_is_told(old: bytes, new: bytes, tmp_path: Path) -> None:
    newest, _ = _two(tmp_path)
    data = newest.read_bytes()
    assert old in data
    newest.write_bytes(data.replace(old, new))
    step, said = _found(tmp_path)
    assert step == 6
    assert newest.name in said[0]


def test_equal_checkpoints_are_equal_files(tmp_path: Path) -> None:
    """Facts under several keys would come in another order each time."""
    _, first = _two(tmp_path)
    data = first.read_bytes()
    assert all(_two(tmp_path)[1].read_bytes() == data for _ in range(20))


def test_no_step_is_later_than_the_last_or_another_than_the_name_says(tmp_path: Path) -> None:
    newest, older = _two(tmp_path)
    assert _found(tmp_path, steps=12)[0] == 12
    assert _found(tmp_path, steps=11)[0] == 6
    newest.write_bytes(older.read_bytes())
    step, said = _found(tmp_path)
    assert step == 6
    assert "it is of step 6; the name says 000000012" in said[0]


def _older(folder: Path, step: str = "12", names: tuple[str, ...] = ("half", "left", "none", "rest")) -> None:
    """A checkpoint as it was written before its checksum was of everything."""
    about = json.dumps(ABOUT)
    found = zlib.crc32(about.encode())
    for name in names:
        value = TENSORS[name]
        found = zlib.crc32(
            value.view(torch.uint8).numpy().tobytes() if len(value) else b"", zlib.crc32(name.encode(), found)
        )
    facts = {"step": step, "about": about, "checksum": f"{found:08x}"}
    save_file(TENSORS, str(folder / "checkpoint-000000012.safetensors"), facts)


def test_a_folder_whose_name_is_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    _two(folder)
    assert _found(folder) == (12, [])


def test_an_older_checkpoint_is_read(tmp_path: Path) -> None:
    _older(tmp_path)
    assert _found(tmp_path) == (12, [])
    _older(tmp_path, step="13")
    assert _found(tmp_path)[0] is None
    path = tmp_path / "checkpoint-000000012.safetensors"
    _older(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"rest"', b'"test"'))
    step, said = _found(tmp_path)
    assert step is None
    assert "its checksum differs" in said[0]


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def test_no_flipped_bit_of_weights_changes_what_is_read(tmp_path: Path) -> None:
    path, saved = tmp_path / "weights.safetensors", _network()
    save_weights(path, {"": saved}, 5)
    whole = []
    for _ in _flipped(path):
        read = _network()
        with suppress(DataError):
            assert load_weights(path, {"": read}) == 5
            assert all(torch.equal(read.state_dict()[name], value) for name, value in saved.state_dict().items())
            whole.append(path)
    # Nothing is read back from the padding of the head.
    assert len(whole) < 8


def test_weights_without_a_checksum_are_read(tmp_path: Path) -> None:
    path, saved = tmp_path / "weights.safetensors", _network()
    save_file(saved.state_dict(), str(path), {"step": "5"})
    read = _network()
    assert load_weights(path, {"": read}) == 5
    assert torch.equal(read[0].weight, saved[0].weight)
    save_file(saved.state_dict(), str(path), {"step": "x"})
    for reading in (lambda: load_weights(path, {"": read}), lambda: saved_step(path)):
        with pytest.raises(DataError, match=r"weights\.safetensors: damaged \(its step is 'x'"):
            reading()


@pytest.mark.parametrize(
    ("part", "value", "refused"),
    [
        ("0.bias", "nan", True),
        ("0.bias", "inf", True),
        ("1.running_mean", "nan", True),
        ("1.running_mean", "inf", False),
    ],
)
def test_weights_that_are_no_numbers_are_refused(part: str, value: str, refused: bool, tmp_path: Path) -> None:
    path, saved = tmp_path / "weights.safetensors", _network()
    saved.state_dict()[part][1] = float(value)
    save_weights(path, {"": saved}, 5)
    if not refused:
        assert load_weights(path, {"": _network()}) == 5
        return
    with pytest.raises(DataError, match=rf"{re.escape(part)} holds NaN or infinity; restore it"):
        load_weights(path, {"": _network()})


@pytest.fixture
def config(tiny_config: RunConfig) -> RunConfig:
    return changed(tiny_config, {"steps": 4, "checkpoint_every": 2, "log_every": 1})


def test_the_log_is_on_the_disk_before_the_checkpoint_that_counts_on_it(
    config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        settled.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        real_sync(handle)

    def replace(source: Any, target: Any) -> None:
        settled.append(Path(target).name)
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    train(config, tmp_path / "run", dataset=tiny_data)
    named = settled.index("checkpoint-000000002.safetensors")
    before = settled[:named]
    assert "metrics.jsonl" in before
    assert before[-1].startswith(".checkpoint-000000002")
    # One in the middle; after the last step come the weights, and no checkpoint.
    assert [name for name in settled if name.startswith("checkpoint")] == ["checkpoint-000000002.safetensors"]


def _raise_once(step: int) -> Callable[..., None]:
    real = Learner.follow

    def follow(self: Learner, done: int) -> None:
        if done == step:
            raise KeyboardInterrupt
        real(self, done)

    return follow


def test_nothing_is_saved_in_the_middle_of_a_step(
    config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second Ctrl-C comes between the optimiser and what follows it."""
    monkeypatch.setattr("couplings.train.trainer.Trainer.seconds_per_step", lambda self: 0.0)
    with monkeypatch.context() as cut:
        cut.setattr(Learner, "follow", _raise_once(3))
        with pytest.raises(Interrupted):
            train(config, tmp_path / "run", dataset=tiny_data)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-000000002.safetensors"]


def test_weights_that_are_no_numbers_are_not_saved(
    config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(self: Learner, done: int) -> None:
        if done == 3:
            next(self.model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr("couplings.train.trainer.Trainer.seconds_per_step", lambda self: 0.0)
    monkeypatch.setattr(Learner, "follow", spoil)
    with pytest.raises(ConfigError, match=r"diverged at step 4 \(.* holds NaN"):
        train(config, tmp_path / "run", dataset=tiny_data)
    assert not (tmp_path / "run" / "weights.safetensors").exists()
