from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from couplings.losses import LOSSES
from couplings.train import (
    ConfigError,
    Dataset,
    Interrupted,
    Plan,
    Run,
    RunConfig,
    Silent,
    StepRecord,
    from_arrays,
    train,
    with_overrides,
)
from couplings.train.run import build_model


class Listener(Silent):
    """Remembers what it was told, and presses Ctrl-C after a step if asked to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.told: list[Plan | StepRecord] = []
        self.stop_after = stop_after

    def on_start(self, plan: Plan) -> None:
        self.told.append(plan)

    def on_step(self, step: StepRecord) -> None:
        self.told.append(step)
        if step.step == self.stop_after:
            raise KeyboardInterrupt


def _weights(run: Run) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in run.model.state_dict().values()])


def test_a_run_is_a_folder(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(tiny_config, tmp_path / "deep" / "run", dataset=tiny_data)
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "weights.safetensors",
    ]
    saved = json.loads((run.folder / "config.json").read_text())
    assert RunConfig(**saved["config"]) == tiny_config
    assert saved["versions"]["torch"] == torch.__version__.split("+")[0]
    assert run.finished
    assert [path.name for path in run.folder.parent.iterdir()] == ["run"]


def test_the_plan_comes_first_and_every_step_is_told(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    listener = Listener()
    run = train(tiny_config, tmp_path / "run", listener, tiny_data)
    plan, *steps = listener.told
    assert isinstance(plan, Plan)
    assert (plan.steps, plan.images_per_step, plan.train_images, plan.loss) == (6, 16, 48, "infonce")
    assert plan.seconds > 0
    assert plan.parameters == sum(part.numel() for part in run.model.parameters())
    records = [step for step in steps if isinstance(step, StepRecord)]
    assert [record.step for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.epoch for record in records] == [0, 0, 0, 1, 1, 1]
    assert [record.step for record in records if record.loss is not None] == [1, 2, 3, 4, 6]
    assert [record.step for record in records if record.plan_entropy is not None] == [1, 3, 6]


def test_the_last_step_is_looked_at_whatever_its_number(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    config = with_overrides(tiny_config, {"steps": 5, "diagnose_every": 3})
    metrics = train(config, tmp_path / "run", dataset=tiny_data).metrics()
    assert [line["step"] for line in metrics if "plan_entropy" in line] == [1, 3, 5]


def test_metrics_are_json_lines(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    metrics = train(tiny_config, tmp_path / "run", dataset=tiny_data).metrics()
    assert [line["step"] for line in metrics] == [1, 2, 3, 4, 6]
    assert all(line["images_per_second"] > 0 for line in metrics)
    last = metrics[-1]
    assert set(last) == set(StepRecord.__dataclass_fields__)
    assert 0 <= last["alignment"] <= 4
    assert last["uniformity"] <= 0
    assert 1 <= last["effective_rank"] <= 16
    assert last["plan_entropy"]["plan"] > 0


def test_the_rate_warms_up_and_falls_to_nothing(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    config = with_overrides(tiny_config, {"steps": 12, "optimiser.warmup_steps": 4, "optimiser.lr": 0.01})
    listener = Listener()
    train(config, tmp_path / "run", listener, tiny_data)
    rates = [step.lr for step in listener.told if isinstance(step, StepRecord)]
    assert rates[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.0005


def test_one_step_is_enough(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(with_overrides(tiny_config, {"steps": 1}), tmp_path / "run", dataset=tiny_data)
    assert len(run.metrics()) == 1


def test_a_seed_decides_everything(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = train(tiny_config, tmp_path / "a", dataset=tiny_data)
    torch.manual_seed(2)
    again = train(tiny_config, tmp_path / "b", dataset=tiny_data)
    other = train(with_overrides(tiny_config, {"seed": 1}), tmp_path / "c", dataset=tiny_data)
    assert torch.equal(_weights(first), _weights(again))
    assert not torch.equal(_weights(first), _weights(other))


def test_the_timed_rehearsal_leaves_the_run_untouched(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed = train(tiny_config, tmp_path / "a", dataset=tiny_data)
    monkeypatch.setattr("couplings.train.trainer.Trainer.seconds_per_step", lambda _: 1.0)
    assert torch.equal(_weights(train(tiny_config, tmp_path / "b", dataset=tiny_data)), _weights(rehearsed))


def test_the_global_random_state_is_left_alone(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train(tiny_config, tmp_path / "run", dataset=tiny_data)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_loss_trains(name: str, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    changes = {"loss": name, "steps": 40, "log_every": 1, "diagnose_every": 40, "batch_size": 32}
    metrics = train(with_overrides(tiny_config, changes), tmp_path / "run", dataset=tiny_data).metrics()
    losses = [line["loss"] for line in metrics]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert all(entropy >= 0 for entropy in metrics[-1]["plan_entropy"].values())


@pytest.mark.parametrize("changes", [{"views.count": 3}, {"precision": "bf16-mixed"}, {"precision": "64-true"}])
def test_views_and_precisions(
    changes: dict[str, object], tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    run = train(with_overrides(tiny_config, changes), tmp_path / "run", dataset=tiny_data)
    assert run.embed(tiny_data.test_images).isfinite().all()


def test_ctrl_c_leaves_a_checkpoint(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stop:
        train(tiny_config, tmp_path / "run", Listener(stop_after=4), tiny_data)
    assert (stop.value.step, stop.value.folder) == (4, tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert (run.step, run.finished) == (4, False)
    torch.manual_seed(tiny_config.seed)
    start = build_model(tiny_config, tiny_data.shape)
    assert not torch.equal(run.encoder.backbone[0].weight, start.encoder.backbone[0].weight)
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4]


def test_ctrl_c_before_the_first_step_leaves_a_checkpoint_too(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    class Hasty(Silent):
        def on_start(self, plan: Plan) -> None:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        train(tiny_config, tmp_path / "run", Hasty(), tiny_data)
    assert Run.load(tmp_path / "run").step == 0


def test_a_run_is_not_overwritten_unasked(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    old = train(tiny_config, tmp_path / "run", dataset=tiny_data)
    longer = with_overrides(tiny_config, {"steps": 8})
    with pytest.raises(ConfigError, match=r"other settings .steps is 6 there, 8 here.*--overwrite .overwrite=True"):
        train(longer, tmp_path / "run", dataset=tiny_data)
    assert torch.equal(_weights(Run.load(tmp_path / "run")), _weights(old))
    (tmp_path / "run" / "evaluation.json").write_text("{}")
    train(longer, tmp_path / "run", dataset=tiny_data, overwrite=True)
    assert Run.load(tmp_path / "run").step == 8
    assert not (tmp_path / "run" / "evaluation.json").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_never_touched(
    overwrite: bool, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="exists and is no run"):
        train(tiny_config, tmp_path, dataset=tiny_data, overwrite=overwrite)
    with pytest.raises(ConfigError, match="exists and is no run"):
        train(tiny_config, tmp_path / "thesis.tex", dataset=tiny_data, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_written(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="batch_size: 49 is more than the 48 training images"):
        train(with_overrides(tiny_config, {"batch_size": 49}), tmp_path / "run", dataset=tiny_data)
    assert not list(tmp_path.iterdir())


def test_colour_operations_on_grey_images_write_nothing(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"views\.hue"):
        train(with_overrides(tiny_config, {"views.hue": 0.1}), tmp_path / "run", dataset=tiny_data)
    assert not list(tmp_path.iterdir())


def test_colour_images_train(tiny_config: RunConfig, tmp_path: Path) -> None:
    data = from_arrays(torch.randint(256, (40, 12, 10, 3)))
    config = with_overrides(tiny_config, {"views.hue": 0.1, "views.grayscale": 0.2, "views.blur": 0.5})
    assert train(config, tmp_path / "run", dataset=data).embed(data.train_images).shape == (40, 16)


def test_a_diverging_run_says_what_to_change(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    config = with_overrides(tiny_config, {"optimiser.lr": 1e30, "optimiser.warmup_steps": 0, "log_every": 1})
    with pytest.raises(ConfigError, match=r"diverged at step \d.*lower optimiser\.lr"):
        train(config, tmp_path / "run", dataset=tiny_data)
    assert not list(tmp_path.iterdir())


def test_a_diverging_run_takes_only_its_own_files_and_folders_along(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    config = with_overrides(tiny_config, {"optimiser.lr": 1e30, "optimiser.warmup_steps": 0, "log_every": 1})
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="diverged"):
        train(config, tmp_path / "mine" / "deep" / "run", dataset=tiny_data)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl", "weights.safetensors"])
def test_a_full_disk_names_the_file_and_leaves_nothing(
    file: str, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_for(whole: Callable[..., object], place: int) -> Callable[..., object]:
        def call(*paths: object, **more: object) -> object:
            if Path(str(paths[place])).name == file:
                raise OSError(errno.ENOSPC, "No space left on device")
            return whole(*paths, **more)

        return call

    monkeypatch.setattr(Path, "open", full_for(Path.open, 0))
    monkeypatch.setattr("os.replace", full_for(os.replace, 1))
    with pytest.raises(OSError, match="No space left") as failure:
        train(tiny_config, tmp_path / "run", dataset=tiny_data)
    assert str(failure.value.filename) == str(tmp_path / "run" / file)
    assert not list(tmp_path.iterdir())


def test_two_runs_never_share_a_folder(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    refusals = []

    class Second(Silent):
        def on_step(self, step: StepRecord) -> None:
            for overwrite in (False, True):
                with pytest.raises(ConfigError) as refusal:
                    train(tiny_config, tmp_path / "run", dataset=tiny_data, overwrite=overwrite)
                refusals.append(str(refusal.value))

    run = train(with_overrides(tiny_config, {"steps": 1}), tmp_path / "run", Second(), tiny_data)
    assert len(refusals) == 2
    assert all(f"process {os.getpid()} is writing a run into {run.folder}" in said for said in refusals)
    assert torch.equal(_weights(Run.load(run.folder)), _weights(run))


def test_a_finished_run_is_returned_as_it_is(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    old = train(tiny_config, tmp_path / "run", dataset=tiny_data)
    before = (old.folder / "metrics.jsonl").read_bytes()
    again = train(tiny_config, old.folder, Listener(stop_after=1), tiny_data)
    assert torch.equal(_weights(again), _weights(old))
    assert (old.folder / "metrics.jsonl").read_bytes() == before


def test_the_lock_of_a_dead_process_is_taken_over(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text(str(dead.pid))
    run = train(tiny_config, tmp_path / "run", dataset=tiny_data)
    assert not (run.folder / ".lock").exists()
