"""Excluded pairs: the mask of a batch, the step it changes, and the files they come from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from excluded import IMAGES, csv_of, dense, some_pairs
from lightning_fabric import Fabric
from torch import Tensor

from couplings import GivenMask, Mask, SameId
from couplings.basics.sizes import limited
from couplings.train import ConfigError, Dataset, Run, RunConfig, Silent, StepRecord, train
from couplings.train import with_overrides as changed
from couplings.train.exclusions import Exclusions, PairMask
from couplings.train.fits import check_fits
from couplings.train.pictures import _sides
from couplings.train.trainer import Trainer, prepare
from helpers import CASES, unit_views

PLAIN_SGD = {"optimiser.name": "sgd", "optimiser.momentum": 0.0, "optimiser.weight_decay": 0.0, "optimiser.lr": 0.1}
CONSTANT = {"optimiser.schedule": "constant", "optimiser.warmup_steps": 0}
QUEUE = {"momentum.decay": 0.9, "momentum.queue": 40}


# Masks


@pytest.mark.parametrize("queue", [0, 7])
def test_the_mask_of_a_batch(queue: int) -> None:
    random = torch.Generator().manual_seed(1)
    for _ in range(20):
        pairs = some_pairs(60, 20)
        rows = torch.randint(20, (10,), generator=random)  # an image may come more than once
        cols = torch.cat([rows, torch.randint(20, (queue,), generator=random)])
        mask = Exclusions.of(pairs, 20).mask(rows, cols)
        assert mask is not None
        assert torch.equal(mask.forbidden(), dense(pairs, rows, cols))
        assert mask.codes.unique_consecutive().numel() == mask.codes.numel()


@pytest.mark.parametrize("queue", [0, 7])
def test_groups_are_their_pairs(queue: int) -> None:
    random = torch.Generator().manual_seed(2)
    for _ in range(20):
        groups = torch.randint(12, (20,), generator=random)
        alike = [[a, b] for a in range(20) for b in range(a) if groups[a] == groups[b]]
        pairs = torch.cat([some_pairs(10, 20), torch.tensor(alike).reshape(-1, 2)])
        rows = torch.randint(20, (10,), generator=random)
        cols = torch.cat([rows, torch.randint(20, (queue,), generator=random)])
        found = Exclusions.of(some_pairs(10, 20), 20, groups)
        mask = found.mask(rows, cols)
        forbidden = torch.zeros(10, 10 + queue).bool() if mask is None else mask.forbidden()
        assert torch.equal(forbidden, dense(pairs, rows, cols))
        assert len(found) == len({frozenset(pair) for pair in pairs.tolist()})


def test_no_pair_is_no_mask() -> None:
    exclusions = Exclusions.of(torch.tensor([[0, 1]]), 5)
    assert exclusions.mask(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 3])) is None
    assert Exclusions.of(torch.empty(0, 2).long(), 5).mask(torch.arange(5), torch.arange(5)) is None
    assert len(exclusions) == 1
    alone = Exclusions.of(torch.empty(0, 2).long(), 5, torch.tensor([3, 1, 3, 0, 2]))
    assert alone.mask(torch.tensor([0, 1, 3]), torch.tensor([0, 1, 3])) is None


def _masks() -> list[tuple[PairMask, GivenMask]]:
    rows, more = torch.randperm(20)[:8].repeat(2), torch.randint(20, (5,))
    found = []
    for cols in (rows, torch.cat([rows, more])):
        mask = Exclusions.of(some_pairs(60, 20), 20).mask(rows, cols)
        assert mask is not None
        found.append((mask, GivenMask(dense(some_pairs(60, 20), rows, cols))))
    return found


CUTS: list[Any] = [
    slice(0, 5),
    slice(4, None),
    slice(2, 3),
    torch.tensor([3, 0, 9]),
    torch.tensor([], dtype=torch.long),
]


@pytest.mark.parametrize("rows", CUTS, ids=str)
@pytest.mark.parametrize("cols", CUTS, ids=str)
def test_a_part_of_a_mask(rows: Any, cols: Any) -> None:
    for mask, given in _masks():
        part, expected = mask.block(rows, cols), given.block(rows, cols)
        assert part.shape == expected.shape
        assert torch.equal(part.forbidden(), expected.forbidden())
        _assert_looked_up(part)


def _assert_looked_up(mask: Mask) -> None:
    """``at``, ``pairs`` and ``row_counts`` say what ``forbidden`` says."""
    matrix = mask.forbidden()
    n, m = mask.shape
    assert torch.equal(mask.at(torch.arange(n)[:, None], torch.arange(m)), matrix)
    listed = mask.pairs(n * m)
    assert listed is not None
    assert torch.equal(torch.stack(listed), torch.stack(matrix.nonzero(as_tuple=True)))
    assert torch.equal(mask.row_counts(), matrix.sum(1))


def test_masks_combine() -> None:
    for mask, given in _masks():
        _assert_looked_up(mask)
        assert mask.pairs(len(mask.codes) - 1) is None
        n, m = mask.shape
        ids = SameId(torch.arange(n) % 5, torch.arange(m) % 5)
        for one, two in ((mask | ids, given | ids), (ids | mask, ids | given), (ids - mask, ids - given)):
            assert torch.equal(one.forbidden(), two.forbidden())
            assert torch.equal(one.row_counts(), two.row_counts())


def test_transposes_are_known() -> None:
    square, wide = (mask for mask, _ in _masks())
    assert square.symmetric
    assert not wide.symmetric
    one, other = square.block(slice(0, 8), slice(8, 16)), square.block(slice(8, 16), slice(0, 8))
    assert one.is_transpose_of(other)
    assert not PairMask(torch.tensor([1]), (3, 3)).symmetric
    assert not one.is_transpose_of(GivenMask(other.forbidden()))


# Losses

_REPELLING = [name for name, case in CASES.items() if case.repels]


@pytest.mark.parametrize("name", _REPELLING)
@pytest.mark.parametrize("storage", ["dense", "blocked"])
def test_excluded_pairs_have_no_weight(name: str, storage: str) -> None:
    loss, views = CASES[name](), unit_views(n=6)
    rows = torch.arange(6).repeat(2)
    # Images 1 and 4 are alike.
    mask = Exclusions.of(torch.tensor([[0, 1], [2, 5]]), 6, torch.tensor([0, 1, 2, 3, 1, 5])).mask(rows, rows)
    assert mask is not None
    matrix = dense(torch.tensor([[0, 1], [2, 5], [4, 1]]), rows, rows)
    assert torch.equal(mask.forbidden(), matrix)
    reach = {} if storage == "dense" else {"dense": 0, "tiled": 0, "tile": 4, "panel": 50, "budget": 0}
    with limited(**reach):
        value = loss(*views, mask=mask)
        weights = loss.pair_weights(*views, mask=mask)
    torch.testing.assert_close(value, loss(*views, mask=matrix), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(weights, loss.pair_weights(*views, mask=matrix), rtol=1e-9, atol=1e-11)
    assert weights[matrix].abs().max() == 0
    assert CASES[name].sparse or loss.pair_weights(*views)[matrix & CASES[name].looks_at(6)].abs().min() > 0


# Steps


@pytest.fixture
def prepared(tiny_config: RunConfig, tiny_data: Dataset) -> Callable[..., Trainer]:
    """A trainer in double precision that excludes some pairs, before its first step."""

    def make(**changes: Any) -> Trainer:
        config = changed(tiny_config, {"precision": "64-true", **PLAIN_SGD, **CONSTANT, **changes})
        fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
        return prepare(config, tiny_data, fabric, Exclusions.of(some_pairs(), IMAGES))

    return make


STEPS: dict[str, dict[str, Any]] = {
    "infonce": {},
    "a plan of fixed sides": {"loss": "hcl-ot"},
    "labels": {"pairs.labels": True},
    "a class attracts": {"loss": "supcon", "pairs.labels": True},
    "positives of a class": {"pairs.positives": "class"},
    "wrong positives": {"pairs.wrong": 0.5},
    "two passes": {
        "micro_batch": 5,
        "encoder": "timm:test_vit",  # no batch norm, whose statistics are those of a part
        "encoder.patch_size": 4,
        "projector.hidden": None,
    },
    "local views": {"views.local": {"count": 2, "size": 4}},
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.filterwarnings("ignore::couplings.CouplingWarning")
def test_a_step_is_that_of_a_loop_with_the_mask(name: str, prepared: Callable[..., Trainer]) -> None:
    trainer = prepared(**STEPS[name])
    model = copy.deepcopy(trainer.learner.model.module)
    for _ in range(4):  # the fourth is of the second epoch
        seen = trainer._seen(trainer.sampler.draw(trainer.done))
        images = seen.shown.flatten()
        value = trainer.step(0.1).value
        z = _projected(model, seen.views)
        mask = dense(some_pairs(), images, images)
        assert mask.any()
        expected = trainer.config.loss.build().double()(*z, mask=mask, **seen.sides)
        assert value.item() == pytest.approx(expected.item(), rel=1e-9)
        _descend(model, expected)
        for new, old in zip(trainer.learner.model.module.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(new, old, rtol=1e-9, atol=1e-12)


def _projected(model: Any, views: tuple[Tensor, ...]) -> list[Tensor]:
    sizes = dict.fromkeys(view.shape[2] for view in views)
    found = []
    for size in sizes:
        alike = [view.double() for view in views if view.shape[2] == size]
        found += model(torch.cat(alike)).projections.chunk(len(alike))
    return found


def _descend(model: Any, value: Tensor) -> None:
    model.zero_grad()
    value.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0.1 * weight.grad


@pytest.mark.parametrize("loss", ["infonce", "cacr"])
def test_the_keys_of_a_queue_are_excluded_too(loss: str, prepared: Callable[..., Trainer]) -> None:
    trainer = prepared(**QUEUE, **{"loss": loss, "views.count": 3, "pairs.wrong": 0.3})
    trainer.step(0.1)
    trainer.step(0.1)
    queue = trainer.learner.queue
    assert queue is not None
    assert queue.ids is not None
    ids, seen = queue.ids.clone(), trainer._seen(trainer.sampler.draw(trainer.done))
    calls = _calls(trainer, seen)
    chosen = (
        [(0, 1, 2), (1, 0, 2), (2, 0, 1)] if loss == "cacr" else [(a, b) for a in range(3) for b in range(3) if a != b]
    )
    assert len(calls) == len(chosen)
    for call, views in zip(calls, chosen, strict=True):
        rows = torch.cat([seen.shown[view] for view in views])
        mask = call.sides.get("mask")
        assert isinstance(mask, PairMask)
        assert torch.equal(mask.forbidden(), dense(some_pairs(), rows, torch.cat([rows, ids])))
        weights = trainer.learner.loss.pair_weights(*call.views, **call.sides)
        kin = torch.arange(16).repeat(len(views))
        negative = torch.cat([kin[:, None] != kin, torch.ones(len(kin), len(ids)).bool()], dim=1)
        assert weights[mask.forbidden() & negative].abs().max() == 0


def _calls(trainer: Trainer, seen: Any) -> Any:
    """The calls of the loss in a step that sees this."""
    with torch.no_grad():
        views = trainer.learner._embed([view.double() for view in seen.views])
    return trainer.learner._calls(seen, views, [])


def test_a_predictor_s_calls_have_the_mask(prepared: Callable[..., Trainer]) -> None:
    trainer = prepared(**{"predictor.hidden": 8})
    seen = trainer._seen(trainer.sampler.draw(0))
    for call in _calls(trainer, seen):
        mask, images = call.sides.get("mask"), seen.shown[:2].flatten()
        assert isinstance(mask, PairMask)
        assert torch.equal(mask.forbidden(), dense(some_pairs(), images, images))


def test_what_is_recorded_is_under_the_mask(prepared: Callable[..., Trainer]) -> None:
    trainer = prepared()
    mask = trainer.step(0.1).call.sides.get("mask")
    assert isinstance(mask, PairMask)


# Runs


class _Told(Silent):
    def __init__(self, crash_after: int = 0) -> None:
        self.said: list[str] = []
        self.crash_after = crash_after

    def on_message(self, text: str) -> None:
        self.said.append(text)

    def on_step(self, step: StepRecord) -> None:
        if step.step == self.crash_after:
            raise SystemError("a crash")


def _weights(run: Run) -> Tensor:
    return torch.cat([weight.flatten() for weight in run.model.parameters()])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return csv_of(tmp_path / "pairs.csv", some_pairs())


def test_a_run_excludes_and_says_so(tiny_config: RunConfig, tiny_data: Dataset, file: Path, tmp_path: Path) -> None:
    config, told = changed(tiny_config, {"pairs.exclude": file}), _Told()
    one = train(config, tmp_path / "one", told, tiny_data)
    count = len(Exclusions.of(some_pairs(), IMAGES))
    assert f"Excluded pairs: {count:,} ({file}, by row numbers of the training part)." in told.said
    two = train(config, tmp_path / "two", dataset=tiny_data)
    assert torch.equal(_weights(one), _weights(two))
    plain = train(tiny_config, tmp_path / "plain", dataset=tiny_data)
    assert not torch.equal(_weights(one), _weights(plain))
    mask = _sides(one, tiny_data, torch.arange(20)).get("mask")
    assert isinstance(mask, PairMask)
    assert torch.equal(mask.forbidden(), dense(some_pairs(), torch.arange(20).repeat(2), torch.arange(20).repeat(2)))
    file.unlink()
    assert "mask" not in _sides(one, tiny_data, torch.arange(20))


def test_an_empty_list_excludes_nothing(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    empty, told = csv_of(tmp_path / "empty.csv", torch.empty(0, 2)), _Told()
    one = train(changed(tiny_config, {"pairs.exclude": empty}), tmp_path / "one", told, tiny_data)
    assert f"Excluded pairs: {empty} lists none, so nothing is excluded." in told.said
    assert torch.equal(_weights(one), _weights(train(tiny_config, tmp_path / "plain", dataset=tiny_data)))


@pytest.mark.parametrize("changes", [{}, QUEUE], ids=["plain", "queue"])
def test_a_stopped_run_ends_as_others(
    changes: dict[str, Any], tiny_config: RunConfig, tiny_data: Dataset, file: Path, tmp_path: Path
) -> None:
    config = changed(tiny_config, {"pairs.exclude": file, "checkpoint_every": 2, **changes})
    whole = train(config, tmp_path / "whole", dataset=tiny_data)
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", _Told(crash_after=3), tiny_data)
    # The file may move.
    moved = file.rename(tmp_path / "moved.csv")
    run = train(changed(config, {"pairs.exclude": moved}), tmp_path / "run", dataset=tiny_data)
    assert torch.equal(_weights(run), _weights(whole))
    assert json.loads((run.folder / "config.json").read_text())["config"]["pairs"]["exclude"] == str(file)


def test_another_file_is_another_run(tiny_config: RunConfig, tiny_data: Dataset, file: Path, tmp_path: Path) -> None:
    config = changed(tiny_config, {"pairs.exclude": file, "checkpoint_every": 2})
    with pytest.raises(SystemError):
        train(config, tmp_path / "run", _Told(crash_after=3), tiny_data)
    with pytest.raises(ConfigError, match=r"pairs\.exclude is .*pairs\.csv'\) there, None here"):
        train(changed(config, {"pairs.exclude": None}), tmp_path / "run", dataset=tiny_data)
    csv_of(file, some_pairs()[:-1])
    with pytest.raises(ConfigError, match=r"other settings \(pairs\.exclude lists other pairs there\); name another"):
        train(config, tmp_path / "run", dataset=tiny_data)
    train(config, tmp_path / "run", dataset=tiny_data, overwrite=True)


def test_an_image_without_negatives_is_explained(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    everyone = torch.tensor([[7, other] for other in range(IMAGES) if other != 7])
    config = changed(tiny_config, {"pairs.exclude": csv_of(tmp_path / "pairs.csv", everyone)})
    with pytest.raises(ConfigError, match=r"pairs\.exclude: at step \d an image is left no negative.*raise batch_size"):
        train(config, tmp_path / "run", dataset=tiny_data)
    assert not (tmp_path / "run").exists()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "repels nothing": ({"loss": "alignment"}, r"pairs\.exclude: not for alignment \(.*it repels nothing"),
    "own negatives": ({"pairs.negatives": 3}, r"pairs\.exclude: pairs\.negatives replaces .*drop one"),
    "a queue is the culprit": ({"loss": "gca-ince", **QUEUE}, r"momentum\.queue: not for gca-ince"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together(
    case: str, tiny_config: RunConfig, tiny_data: Dataset, file: Path, tmp_path: Path
) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        train(changed(tiny_config, {"pairs.exclude": file, **changes}), tmp_path / "run", dataset=tiny_data)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [case.name for case in CASES.values() if case.repels])
def test_every_loss_that_repels_takes_them(
    name: str, tiny_config: RunConfig, tiny_data: Dataset, file: Path, tmp_path: Path
) -> None:
    check_fits(changed(tiny_config, {"pairs.exclude": file, "loss": name}), tiny_data)
