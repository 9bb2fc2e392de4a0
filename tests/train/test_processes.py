"""One run by two processes: the weights of one process, whatever the batch is made of."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from couplings.train import ConfigError, Run, RunConfig, Silent, StepRecord, train, with_overrides
from couplings.train.checkpoint import checkpoints
from couplings.train.trainer import Trainer

TINY = {
    "encoder": "timm:test_vit",
    "encoder.patch_size": 4,
    "projector.hidden": None,
    "projector.dim": 8,
    "data.limit": 64,
    "batch_size": 15,
    "steps": 5,
    "log_every": 1,
    "checkpoint_every": 2,
    "precision": "64-true",
    "optimiser.name": "sgd",
    "optimiser.lr": 0.1,
    "views.rotation": 10,
}
EXCLUDED = Path(__file__).with_name("excluded_digits.csv")
"""One in seven of all pairs among the 64 images."""
VARIANTS: dict[str, dict[str, Any]] = {
    "infonce": {},
    "three views": {"views.count": 3, "loss": "hcl"},
    "column marginals": {"loss": "gca-ince"},
    "labels": {"loss": "supcon", "pairs.labels": True},
    "a learnt temperature": {"loss": "clip", "loss.learnable": True},
    "momentum and a queue": {"momentum.decay": 0.9, "momentum.queue": 40},
    "own negatives": {"pairs.negatives": 3, "pairs.positives": "class"},
    "a pool": {"pairs.negatives": 3, "pairs.pool": 7},
    "two passes": {"micro_batch": 4},
    "excluded pairs": {"pairs.exclude": EXCLUDED, "loss": "hcl"},
    "excluded keys": {"pairs.exclude": EXCLUDED, "momentum.decay": 0.9, "momentum.queue": 40},
}


def _config(name: str) -> RunConfig:
    return with_overrides(RunConfig(), {**TINY, **VARIANTS[name]})


class _Stop(Silent):
    def on_step(self, step: StepRecord) -> None:
        if step.step == 3:
            raise SystemError("a crash")


def _as_torchrun(rank: int, port: int) -> None:
    torch.set_num_threads(1)
    env = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
        "MASTER_PORT": port,
        "GROUP_RANK": 0,
    }
    os.environ.update({key: str(value) for key, value in env.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="test")


def _train_all(rank: int, port: int, folder: Path) -> None:
    """The body of each of the two processes."""
    _as_torchrun(rank, port)
    for name in VARIANTS:
        train(_config(name), folder / name)


def _train_one(rank: int, port: int, folder: Path) -> None:
    _as_torchrun(rank, port)
    train(_config("momentum and a queue"), folder)


def _hold_one(rank: int, port: int, folder: Path) -> None:
    """The second process is held in its third step; the first says who does not answer."""
    _as_torchrun(rank, port)
    real = Trainer.step

    def step(self: Trainer, lr: float) -> Any:
        if rank == 1 and self.done == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(self, lr)

    Trainer.step = step  # type: ignore[method-assign]
    Trainer.seconds_per_step = lambda self: 0.0  # type: ignore[method-assign]
    (folder / f"here-{rank}").touch()
    while len(list(folder.glob("here-*"))) < 2:
        time.sleep(0.05)
    with pytest.raises(ConfigError) as refusal:
        train(_config("infonce"), folder / "run", timeout=0.15)
    (folder / "said").write_text(str(refusal.value))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _two(body: Any, folder: Path) -> None:
    """Run a body in two processes, none of which may hang."""
    context, port = multiprocessing.get_context("spawn"), _free_port()
    both = [context.Process(target=body, args=(rank, port, folder), daemon=True) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(240)
    codes = [process.exitcode for process in both]
    for process in both:
        process.kill()
    assert codes == [0, 0]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, one a variant, trained by two processes."""
    folder = tmp_path_factory.mktemp("two")
    _two(_train_all, folder)
    return folder


TOLERANCE = 0.1 * 15 * (45 * 5) * 2.0**-24
"""Views are made in single precision, whose roundings differ with the size of a share on some processors; a gradient is
a sum over five tokens of 45 images at most. Descent with momentum adds up five steps of rate 0.1, 1 + 2 + 3 + 4 + 5
times a gradient of the size of one: 2e-5. Adam would divide small gradients by their size, and blow up their roundings.
"""


def _equal(one: Run, two: Run) -> None:
    """In double precision, as the file has them: a loaded encoder rounds them to single."""
    weights, others = (load_file(run.folder / "weights.safetensors") for run in (one, two))
    torch.testing.assert_close(others, weights, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_two_processes_end_where_one_does(name: str, by_two: Path, tmp_path: Path) -> None:
    one, two = train(_config(name), tmp_path / "one"), Run.load(by_two / name)
    _equal(one, two)
    losses = [[line["loss"] for line in run.metrics()] for run in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)  # single precision of the views
    spread = [[line[key] for line in run.metrics()[:1] for key in ("alignment", "uniformity")] for run in (one, two)]
    assert spread[1] == pytest.approx(spread[0], rel=1e-6)
    assert sorted(path.name for path in two.folder.iterdir()) == sorted(path.name for path in one.folder.iterdir())


def test_two_processes_continue_what_one_began(tmp_path: Path) -> None:
    config = _config("momentum and a queue")
    whole = train(config, tmp_path / "whole")
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", _Stop())
    assert checkpoints(tmp_path / "run")
    _two(_train_one, tmp_path / "run")
    _equal(whole, Run.load(tmp_path / "run"))


def test_a_process_that_does_not_answer_is_named(tmp_path: Path) -> None:
    context, port = multiprocessing.get_context("spawn"), _free_port()
    both = [context.Process(target=_hold_one, args=(rank, port, tmp_path), daemon=True) for rank in range(2)]
    for process in both:
        process.start()
    both[0].join(240)
    both[1].kill()
    assert both[0].exitcode == 0
    said = (tmp_path / "said").read_text()
    assert said.startswith("process 1 of 2 (counted from 0) has not answered for 0.15 minutes")
    assert "--timeout" in said
    # From here the same command goes on.
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-000000002.safetensors"]


@pytest.mark.parametrize("start", ["--devices", "torchrun"])
def test_the_command(start: str, tmp_path: Path) -> None:
    words = ["train", "--output", str(tmp_path / "run"), "--steps", "3", "--limit", "64", "--batch-size", "16"]
    words += ["--set", "evaluation.draws=1", "--set", "encoder.width=4"]
    run = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "couplings",
        *words,
    ]
    if start == "--devices":
        run = [sys.executable, "-m", "couplings", *words, "--devices", "2"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training on digits") == 1
    assert done.stdout.count("Written to") == 1
    assert "batch norms, which torch synchronises on GPUs only" in done.stdout.replace("\n", " ")
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["trained"]["knn"] > 0.3


def test_a_batch_that_is_smaller_than_the_processes_is_refused(tmp_path: Path) -> None:
    words = [
        "train",
        "--output",
        str(tmp_path / "run"),
        "--devices",
        "2",
        "--batch-size",
        "1",
        "--set",
        "pairs.negatives=2",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "couplings", *words], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 2
    assert "batch_size" in done.stderr
    assert not (tmp_path / "run").exists()
