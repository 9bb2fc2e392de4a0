"""A run that was stopped ends with the weights, and the log, of one that never was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from couplings import CouplingWarning
from couplings.train import ConfigError, Dataset, Interrupted, Run, RunConfig, Silent, StepRecord, evaluate, train
from couplings.train import with_overrides as changed
from couplings.train.checkpoint import checkpoints

MOCO = {"momentum.decay": 0.9, "momentum.queue": 24, "momentum.rise": True}
VARIANTS = {
    "plain": {},
    "bfloat16": {"precision": "bf16-mixed"},
    "a learnt temperature": {"loss": "clip", "loss.learnable": True},
    "momentum and a queue that wraps": MOCO,
    "a predictor": {"predictor.hidden": 8, "loss": "alignment"},
    "two passes": {"micro_batch": 5},
    "own negatives": {"pairs.negatives": 3, "pairs.positives": "class"},
    "sgd": {"optimiser.name": "sgd"},
    "lars": {"optimiser.name": "lars", "optimiser.schedule": "step", "optimiser.milestones": (0.5,)},
    "dropout": {"encoder": "timm:resnet10t", "encoder.drop_rate": 0.5},
}


class Stopper(Silent):
    """Stops a run after some steps, as Ctrl-C does or as a crash does."""

    def __init__(self, after: int, crash: bool = False) -> None:
        self.after, self.crash, self.said = after, crash, list[str]()

    def on_step(self, step: StepRecord) -> None:
        if step.step == self.after:
            raise SystemError("a crash") if self.crash else KeyboardInterrupt

    def on_message(self, text: str) -> None:
        self.said.append(text)


def _same(one: Run, two: Run) -> bool:
    states = one.model.state_dict(), two.model.state_dict()
    losses = one.loss.state_dict(), two.loss.state_dict()
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in (states, losses))


def _log(run: Run) -> list[dict[str, object]]:
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in run.metrics()]


@pytest.fixture
def config(tiny_config: RunConfig) -> RunConfig:
    return changed(tiny_config, {"steps": 9, "checkpoint_every": 2})


@pytest.mark.parametrize("name", list(VARIANTS))
@pytest.mark.filterwarnings("ignore::couplings.CouplingWarning")
def test_stopped_runs_end_as_others(name: str, config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    config = changed(config, VARIANTS[name])
    whole = train(config, tmp_path / "whole", dataset=tiny_data)
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", Stopper(5, crash=True), tiny_data)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(7), tiny_data)
    listener = Stopper(0)
    run = train(config, tmp_path / "run", listener, tiny_data)
    assert "Continuing after step 7 of 9." in listener.said
    assert _same(run, whole)
    assert _log(run) == _log(whole)
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "weights.safetensors",
    ]


def test_the_seed_of_one_variant_is_not_that_of_another(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    one = train(config, tmp_path / "one", dataset=tiny_data)
    two = train(changed(config, MOCO), tmp_path / "two", dataset=tiny_data)
    assert not _same(one, two)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_used(
    damage: str, config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    whole = train(config, tmp_path / "whole", dataset=tiny_data)
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", Stopper(7, crash=True), tiny_data)
    newest, older = checkpoints(tmp_path / "run")
    data = bytearray(newest.read_bytes())
    data[-9] ^= 1
    newest.write_bytes({"cut": bytes(data[:-100]), "flipped": bytes(data), "empty": b""}[damage])
    listener = Stopper(0)
    run = train(config, tmp_path / "run", listener, tiny_data)
    assert any(newest.name in said and "the one before it is used" in said for said in listener.said)
    assert "Continuing after step 4 of 9." in listener.said
    assert older.name == "checkpoint-000000004.safetensors"
    assert _same(run, whole)


def test_without_a_whole_checkpoint_it_starts_anew(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    whole = train(config, tmp_path / "whole", dataset=tiny_data)
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", Stopper(5, crash=True), tiny_data)
    for path in checkpoints(tmp_path / "run"):
        path.write_bytes(b"nothing")
    run = train(config, tmp_path / "run", dataset=tiny_data)
    assert _same(run, whole)
    assert _log(run) == _log(whole)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 12}, "steps is 9 there, 12 here"),
        ({"loss.temperature": 0.7}, "loss.params.temperature is 0.2 there, 0.7 here"),
        ({"seed": 3, "views.flip": 0.5}, "views.flip is 0.0 there, 0.5 here; seed is 0 there, 3 here"),
        ({"momentum.decay": 0.9}, "momentum.decay is None there, 0.9 here"),
    ],
)
def test_a_changed_config_is_refused_by_its_keys(
    changes: dict[str, object], words: str, config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(3), tiny_data)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ConfigError) as refusal:
        train(changed(config, changes), tmp_path / "run", dataset=tiny_data)
    assert words in str(refusal.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_settings_that_change_nothing_may_differ(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(3), tiny_data)
    assert train(changed(config, {"checkpoint_every": 5}), tmp_path / "run", dataset=tiny_data).finished


def test_other_images_are_refused(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(3), tiny_data)
    others = type(tiny_data)(**{**vars(tiny_data), "train_images": 255 - tiny_data.train_images})
    with pytest.raises(ConfigError, match="its training images are others"):
        train(config, tmp_path / "run", dataset=others)


def test_an_unreadable_config_is_refused(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    train(config, tmp_path / "run", dataset=tiny_data)
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json cannot be read .*--overwrite"):
        train(config, tmp_path / "run", dataset=tiny_data)


def test_two_checkpoints_are_kept_and_none_at_the_end(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", Stopper(9, crash=True), tiny_data)
    assert [path.name[-6 - 12 : -12] for path in checkpoints(tmp_path / "run")] == ["000008", "000006"]
    assert not checkpoints(train(config, tmp_path / "run", dataset=tiny_data).folder)


def test_an_unfinished_run_can_be_used(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", Stopper(5, crash=True), tiny_data)
    run = Run.load(tmp_path / "run")
    assert (run.step, run.finished) == (4, False)
    assert run.embed(tiny_data.test_images).isfinite().all()


def test_what_a_killed_process_left_half_written_goes(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(3), tiny_data)
    (tmp_path / "run" / ".checkpoint-000000004.safetensors.0a1b2c3d.part").write_bytes(b"half")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    run = train(config, tmp_path / "run", dataset=tiny_data)
    assert len([json.dumps(line) for line in run.metrics()]) == len({line["step"] for line in run.metrics()})
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".")]


def test_what_was_measured_halfway_is_forgotten(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(3), tiny_data)
    evaluate(Run.load(tmp_path / "run"), tiny_data)
    assert (tmp_path / "run" / "evaluation.json").is_file()
    assert not (train(config, tmp_path / "run", dataset=tiny_data).folder / "evaluation.json").exists()


def test_a_kill_before_the_config_has_its_name_is_no_obstacle(
    config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.0a1b2c3d.part").write_bytes(b"{")
    assert train(config, tmp_path / "run", dataset=tiny_data).finished
    assert not list((tmp_path / "run").glob(".*"))


def test_half_of_a_line_is_cut_off(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    """A power cut can leave less of the log than the checkpoint counts on."""
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(5), tiny_data)
    log = tmp_path / "run" / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    steps = [line["step"] for line in train(config, tmp_path / "run", dataset=tiny_data).metrics()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("changes", [{"encoder": "timm:resnet18x"}, {"precision": "16-mixed"}])
def test_what_cannot_be_built_costs_nothing(
    changes: dict[str, object], config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    train(config, tmp_path / "run", dataset=tiny_data)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ConfigError):
        train(changed(config, changes), tmp_path / "run", dataset=tiny_data, overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("part", ["train_labels", "test_images"])
def test_other_labels_and_test_images_are_refused(
    part: str, config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", Stopper(3), tiny_data)
    others = type(tiny_data)(**{**vars(tiny_data), part: getattr(tiny_data, part).flip(0)})
    with pytest.raises(ConfigError, match="its training images are others"):
        train(config, tmp_path / "run", dataset=others)


def test_checkpoints_that_a_kill_left_behind_go(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(config, tmp_path / "run", dataset=tiny_data)
    (run.folder / "checkpoint-000000008.safetensors").write_bytes(b"old")
    assert not checkpoints(train(config, tmp_path / "run", dataset=tiny_data).folder)


def test_no_image_is_left_over_alone(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    """One image has no batch statistics."""
    pool = {"batch_size": 16, "micro_batch": 3, "pairs.negatives": 3, "pairs.pool": 10}
    with pytest.warns(CouplingWarning, match="batch norm"):
        assert train(changed(config, pool), tmp_path / "run", dataset=tiny_data).finished


CONSTANT = {"optimiser.schedule": "constant", "optimiser.warmup_steps": 2}


def test_a_run_is_trained_longer(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    short, long = changed(config, {**CONSTANT, "steps": 5}), changed(config, {**CONSTANT, "steps": 9})
    whole = train(long, tmp_path / "whole", dataset=tiny_data)
    first = train(short, tmp_path / "run", dataset=tiny_data)
    assert [path.name for path in checkpoints(first.folder)] == ["checkpoint-000000005.safetensors"]
    evaluate(first, tiny_data)
    # A run that is finished and asked for again keeps what it needs.
    assert _same(train(short, tmp_path / "run", dataset=tiny_data), first)
    with pytest.raises(SystemError):
        train(long, tmp_path / "run", Stopper(6, crash=True), tiny_data)
    assert Run.load(first.folder).config.steps == 9
    run = train(long, tmp_path / "run", dataset=tiny_data)
    assert _same(run, whole)
    assert run.step == 9
    assert not (run.folder / "evaluation.json").exists()
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4, 5, 6, 8, 9]


def test_a_run_that_is_not_finished_is_trained_longer(config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(changed(config, {**CONSTANT, "steps": 5}), tmp_path / "run", Stopper(3), tiny_data)
    long = changed(config, {**CONSTANT, "steps": 9})
    assert _same(train(long, tmp_path / "run", dataset=tiny_data), train(long, tmp_path / "whole", dataset=tiny_data))


@pytest.mark.parametrize(
    "changes",
    [{}, {**CONSTANT, "optimiser.warmup_steps": 4}, {**CONSTANT, "momentum.decay": 0.9, "momentum.rise": True}],
    ids=["cosine", "a warm-up of half the steps", "a rising decay"],
)
def test_a_run_whose_steps_depend_on_their_number_is_not(
    changes: dict[str, object], config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    run = train(changed(config, {**changes, "steps": 5}), tmp_path / "run", dataset=tiny_data)
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    assert sorted(before) == ["config.json", "metrics.jsonl", "weights.safetensors"]
    with pytest.raises(ConfigError, match=r"steps is 5 there, 9 here, and more steps go on .*schedule=constant"):
        train(changed(config, {**changes, "steps": 9}), tmp_path / "run", dataset=tiny_data)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_without_its_last_checkpoint_a_run_is_not_trained_longer(
    config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    run = train(changed(config, {**CONSTANT, "steps": 5}), tmp_path / "run", dataset=tiny_data)
    (last,) = checkpoints(run.folder)
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="and from the last checkpoint"):
        train(changed(config, {**CONSTANT, "steps": 9}), tmp_path / "run", dataset=tiny_data)
    assert Run.load(run.folder).finished
