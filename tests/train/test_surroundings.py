"""The variables that whatever starts processes sets: read where they are whole, refused in one message where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from couplings.basics.errors import UserError
from couplings.cli import main
from couplings.system.rank import first_process
from couplings.train import ConfigError, Dataset, RunConfig, train

TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")


@pytest.fixture(autouse=True)
def _no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"RANK": "abc"}, "RANK is 'abc'"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"LOCAL_RANK": ""}, "LOCAL_RANK is ''"),
        ({"TORCHELASTIC_RUN_ID": "x"}, "LOCAL_WORLD_SIZE is not set"),
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2"}, "WORLD_SIZE is not set"),
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}, "LOCAL_RANK is not set"),
        (dict(zip(TORCHRUN, "0010x", strict=True)), "WORLD_SIZE is 1, LOCAL_WORLD_SIZE 0"),
    ],
    ids=str,
)
def test_half_a_torchrun_is_refused(
    found: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "--output", str(tmp_path / "run"), "--steps", "1", "--limit", "8", "--batch-size", "4"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "torchrun" in said
    assert not (tmp_path / "run").exists()


def test_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not first_process()
    monkeypatch.setenv("RANK", "0")
    assert first_process()
    monkeypatch.setenv("RANK", "0x1")
    with pytest.raises(UserError, match="RANK is '0x1'"):
        first_process()


def test_a_shell_of_slurm_changes_nothing(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SLURM_NTASKS": "4",
        "SLURM_JOB_NAME": "mine",
        "SLURM_JOB_ID": "7",
        "SLURM_PROCID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    assert train(tiny_config, tmp_path / "run", dataset=tiny_data).finished


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wait_is_some_minutes(minutes: float, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"timeout: .* minutes came; take more than 0"):
        train(tiny_config, tmp_path / "run", dataset=tiny_data, timeout=minutes)
    assert not (tmp_path / "run").exists()
