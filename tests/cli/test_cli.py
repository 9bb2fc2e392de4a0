"""The command line as a user meets it: exit codes, messages, files."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from couplings import CouplingWarning, cli
from couplings.compare import Comparison
from couplings.system.display import bar, duration, short_warnings

TINY = (
    *("--steps", "4", "--batch-size", "32", "--limit", "200"),
    *("--set", "evaluation.draws=1", "--set", "evaluation.probe_limit=100", "--set", "optimiser.warmup_steps=0"),
)
FILES = {"config.json", "coupling.png", "curves.png", "evaluation.json", "metrics.jsonl", "weights.safetensors"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "couplings", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("trian", ["trian", 'mean "train"']),
        ("train --los hcl", ["--los", "--loss"]),
        ("train --steps many", ["--steps", "many", "int"]),
        ("train --steps 0", ["steps", "greater than 0", "got 0"]),
        ("train --loss hclot", ["loss.name", "hclot", "'hcl-ot'"]),
        ("train --data digit", ["data.name", "digit", "'digits'"]),
        ("train --encoder resnet81", ["encoder.name", "resnet81"]),
        ("train --precision fp16", ["precision", "fp16", "16-mixed"]),
        ("train --seed -1", ["seed", "-1"]),
        ("train --batch-size 5000", ["batch_size", "5000", "1297"]),
        ("train --set loss.temprature=0.2", ["loss.temprature", "'temperature'"]),
        ("train --set loss.temperature=-1", ["temperature", "> 0", "-1"]),
        ("train --set loss.temperature=warm", ["temperature", "warm"]),
        ("train --set optimizer.lr=1", ["optimizer", "'optimiser'"]),
        ("train --set temperature", ["--set", "key=value"]),
        ("train --set .=1", ["--set", "'.=1'", "key=value"]),
        ("train --set loss=3", ["loss: 3", "loss.name"]),
        ("train --steps 1.5", ["--steps", "'1.5'", "whole number"]),
        ("demo --seeds 1.5", ["--seeds", "'1.5'", "whole number"]),
        ("train --seed 99999999999999999999", ["seed", "9223372036854775807"]),
        ("train --steps 3 --set steps=5", ["--steps 3", "--set steps=5", "keep one"]),
        ("train --loss cacr --set loss=hcl", ["--loss cacr", "--set loss=hcl", "keep one"]),
        ("train --set loss.reg=1 --set loss.params.reg=2", ["loss.reg=1", "loss.params.reg=2", "keep one"]),
        ("train --set data.name=npz", ["--set data.name=npz", "--data npz"]),
        ("train --steps 30 --set optimiser.lr=1e30 --set log_every=1", ["diverged", "optimiser.lr"]),
        ("train --data npz --data-folder missing.npz", ["missing.npz"]),
        ("train --data images --data-folder missing", ["missing"]),
        ("train --output taken.txt", ["taken.txt"]),
        ("evaluate", ["RUN"]),
        ("evaluate missing", ["missing", "run folder"]),
        ("demo --seeds 0", ["seeds", "0"]),
        ("demo --steps 0", ["steps", "0"]),
        ("demo --output taken.txt", ["taken.txt", "folder"]),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(
    command: str, words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("taken.txt").write_text("mine")
    assert cli.main(command.split()) == 2
    message = capsys.readouterr().err
    assert message.startswith("couplings: error: ")
    assert [word for word in words if word.lower() not in message.lower()] == []
    assert [path.name for path in tmp_path.rglob("*")] == ["taken.txt"]


def test_a_mistake_of_ours_is_not_blamed_on_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr("couplings.cli.work.train.preset", broken)
    with pytest.raises(ValueError, match="broadcast"):
        cli.main(["train"])


def test_a_missing_extra_says_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "couplings.cli.work.evaluate", raising=False)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    for name in [name for name in sys.modules if name.startswith("couplings.train")]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["train"]) == 2
    assert "pydantic is not installed; pip install 'couplings[train,report]'" in capsys.readouterr().err


_ABSENT = "import sys; sys.modules.update(dict.fromkeys({!r}.split())); from couplings import cli; sys.exit(cli.main())"


@pytest.mark.parametrize(
    ("absent", "command", "extras"),
    [
        ("cyclopts rich", "", "train,report"),
        ("cyclopts rich", "--help", "train,report"),
        ("rich", "train", "train,report"),
        ("rich", "theory --list", "theory"),
        ("matplotlib", "train --steps 2", "train,report"),
        ("matplotlib", "compare --losses infonce --steps 2", "train,report"),
        ("matplotlib", "bench sphere --quick", "train,bench"),
    ],
)
def test_a_missing_library_is_told_before_any_work(absent: str, command: str, extras: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", _ABSENT.format(absent), *command.split()]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    missing = absent.split()[0]
    assert done.stderr == f"couplings: error: {missing} is not installed; pip install 'couplings[{extras}]' brings it\n"
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["--help", "train --help", "evaluate --help", "demo --help"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command.split()) == 0
    assert "Usage: couplings" in capsys.readouterr().out


def test_train_then_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--loss", "hcl-ot", "--set", "loss.reg=0.5", "--output", "run", *TINY]) == 0
    said = capsys.readouterr().out
    assert {path.name for path in Path("run").iterdir()} == FILES
    assert json.loads(Path("run/config.json").read_text())["config"]["loss"]["params"] == {"reg": 0.5}
    for words in ("raw pixels", "untrained encoder", "hcl-ot, 4 steps", "Effective rank", "Written to run", "about"):
        assert words in said
    assert len([line for line in said.splitlines() if line[:1] not in "┏┃┡│└"]) <= 15

    Path("run/evaluation.json").unlink()
    assert cli.main(["evaluate", "run"]) == 0
    assert {path.name for path in Path("run").iterdir()} == FILES

    assert cli.main(["train", "--output", "run", *TINY]) == 2
    assert "overwrite" in capsys.readouterr().err
    assert cli.main(["train", "--output", "run", "--overwrite", *TINY]) == 0


def test_images_without_labels_are_learnt_from(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("mine.npz", images=np.random.default_rng(0).integers(0, 255, (80, 8, 8), dtype=np.uint8))
    assert cli.main(["train", "--data", "npz", "--data-folder", "mine.npz", *TINY]) == 0
    said = capsys.readouterr().out
    assert "No accuracies" in said
    assert {path.name for path in Path("runs/npz-infonce-seed0").iterdir()} == FILES - {"evaluation.json"}


def test_a_process_says_at_once_what_it_does_and_exits_with_2() -> None:
    process = start("train", "--loss", "nope")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert out.startswith("couplings 0.1.0: training on digits")
    assert "nope" in err
    assert "Traceback" not in err


def test_ctrl_c_keeps_the_weights() -> None:
    process = start("train", "--output", "run", "--steps", "100000", "--set", "log_every=1")
    assert process.stdout is not None
    for line in process.stdout:
        if "steps of" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    files = {path.name.split("-")[0] for path in Path("run").iterdir()}
    assert files == {"config.json", "metrics.jsonl", "checkpoint"}
    assert not list(Path("run").glob(".*"))


def test_ctrl_c_while_measuring_says_what_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def impatient(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("couplings.cli.work.evaluate.draw_run", impatient)
    assert cli.main(["train", "--output", "my run", *TINY]) == 130
    said = capsys.readouterr().err
    assert "the weights are saved" in said
    assert "couplings evaluate 'my run'" in said
    assert Path("my run/weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("finished", "said"), [(False, "no run was finished"), (True, "finished runs are in mine/runs")]
)
def test_ctrl_c_in_the_demo_says_what_is_left(
    finished: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def impatient(comparison: Comparison, *_: object) -> None:
        if finished:
            comparison.runs.mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("couplings.cli.work.compare.demo", impatient)
    assert cli.main(["demo", "--output", "mine"]) == 130
    assert said in capsys.readouterr().err


def test_the_comparison_repeats_the_users_words(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("my own.npz", images=np.zeros((40, 8, 8)))
    words = [
        "--data",
        "npz",
        "--data-folder",
        "my own.npz",
        "--steps",
        "1",
        "--batch-size",
        "8",
        "--set",
        "loss.beta=2",
    ]
    assert cli.main(["train", *words, "--loss", "hcl", "--output", "run", "--set", "views.crop=[0.5,1]"]) == 0
    assert capsys.readouterr().out.endswith(
        "Compare: couplings train --data npz --loss hcl-ot --data-folder 'my own.npz' --steps 1 --batch-size 8"
        " --set 'views.crop=[0.5,1]'\n"
    )


def test_a_kind_of_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with short_warnings():
        for error in (0.5, 1e-3, 7):
            warnings.warn(f"an error of {error}", CouplingWarning, stacklevel=1)
        warnings.warn("another", CouplingWarning, stacklevel=1)
    assert capsys.readouterr().out == "Warning: an error of 0.5\nWarning: another\n"


def test_other_warnings_are_left_alone() -> None:
    with pytest.warns(UserWarning, match="not ours"), short_warnings():
        warnings.warn("not ours", UserWarning, stacklevel=1)


def test_a_note_is_said_while_it_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    with bar(8, "training") as progress:
        for done, note in ((2, "loss 3"), (4, "loss 3"), (6, "loss 3"), (8, "loss 2")):
            progress.update(done, note)
    lines = [line.partition(":")[2].split(", ")[:2] for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == [" 2/8", " 4/8", " 6/8", " 8/8"]
    assert ["loss 3" in line for line in lines] == [True, False, False, False]
    assert "loss 2" in lines[3]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.01, "1 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (7300, "2 h 1 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "couplings.cli",
            "couplings.cli.options.settings",
            "couplings.system.display",
            "couplings.compare.demo",
            "couplings.report.comparison",
        ),
        *("couplings.report.coupling", "couplings.report.curves", "couplings.report.embedding"),
    ],
)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert (found.failed, found.attempted > 0) == (0, True)
