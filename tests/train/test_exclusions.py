"""Excluded pairs: the mask of a batch, the step it changes, and the files they come from."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from helpers import CASES, unit_views
from lightning_fabric import Fabric
from pyarrow import parquet
from torch import Tensor

from couplings import GivenMask, Mask, SameId
from couplings._storage.choice import limited
from couplings.train import (
    ConfigError,
    DataError,
    Dataset,
    Run,
    RunConfig,
    Silent,
    StepRecord,
    from_arrays,
    load,
    train,
)
from couplings.train import with_overrides as changed
from couplings.train.config import DataConfig
from couplings.train.embed_file import Part, embed_dataset
from couplings.train.exclusions import Exclusions, PairMask, read_exclusions
from couplings.train.fits import check_fits
from couplings.train.pair_file import read_pairs
from couplings.train.pictures import draw_coupling
from couplings.train.trainer import Trainer, prepare

PLAIN_SGD = {"optimiser.name": "sgd", "optimiser.momentum": 0.0, "optimiser.weight_decay": 0.0, "optimiser.lr": 0.1}
CONSTANT = {"optimiser.schedule": "constant", "optimiser.warmup_steps": 0}
QUEUE = {"momentum.decay": 0.9, "momentum.queue": 40}
IMAGES = 48
"""Of ``tiny_data``."""


def _some_pairs(count: int = 250, images: int = IMAGES, seed: int = 0) -> Tensor:
    """Different images, some pairs twice or in both orders."""
    pairs = torch.randint(images, (count, 2), generator=torch.Generator().manual_seed(seed))
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _dense(pairs: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Boolean (n, m): whether the image of a row is excluded with that of a column."""
    listed = {frozenset(pair) for pair in pairs.tolist()}
    return torch.tensor([[{a, b} in listed for b in cols.tolist()] for a in rows.tolist()]).bool()


def _csv(path: Path, pairs: Tensor, header: str = "a,b") -> Path:
    more = "" if header == "a,b" else ",0.5"
    path.write_text("\n".join([header, *(f"{a},{b}{more}" for a, b in pairs.tolist())]) + "\n")
    return path


# Masks


@pytest.mark.parametrize("queue", [0, 7])
def test_the_mask_of_a_batch(queue: int) -> None:
    random = torch.Generator().manual_seed(1)
    for _ in range(20):
        pairs = _some_pairs(60, 20)
        rows = torch.randint(20, (10,), generator=random)  # an image may come more than once
        cols = torch.cat([rows, torch.randint(20, (queue,), generator=random)])
        mask = Exclusions.of(pairs, 20).mask(rows, cols)
        assert mask is not None
        assert torch.equal(mask.forbidden(), _dense(pairs, rows, cols))
        assert mask.codes.unique_consecutive().numel() == mask.codes.numel()


def test_no_pair_is_no_mask() -> None:
    exclusions = Exclusions.of(torch.tensor([[0, 1]]), 5)
    assert exclusions.mask(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 3])) is None
    assert Exclusions.of(torch.empty(0, 2).long(), 5).mask(torch.arange(5), torch.arange(5)) is None
    assert len(exclusions) == 1


def _masks() -> list[tuple[PairMask, GivenMask]]:
    rows, more = torch.randperm(20)[:8].repeat(2), torch.randint(20, (5,))
    found = []
    for cols in (rows, torch.cat([rows, more])):
        mask = Exclusions.of(_some_pairs(60, 20), 20).mask(rows, cols)
        assert mask is not None
        found.append((mask, GivenMask(_dense(_some_pairs(60, 20), rows, cols))))
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
    mask = Exclusions.of(torch.tensor([[0, 1], [2, 5], [4, 1]]), 6).mask(rows, rows)
    assert mask is not None
    dense = mask.forbidden()
    reach = {} if storage == "dense" else {"dense": 0, "tiled": 0, "tile": 4, "panel": 50, "budget": 0}
    with limited(**reach):
        value = loss(*views, mask=mask)
        weights = loss.pair_weights(*views, mask=mask)
    torch.testing.assert_close(value, loss(*views, mask=dense), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(weights, loss.pair_weights(*views, mask=dense), rtol=1e-9, atol=1e-11)
    assert weights[dense].abs().max() == 0
    assert CASES[name].sparse or loss.pair_weights(*views)[dense & CASES[name].looks_at(6)].abs().min() > 0


# Steps


@pytest.fixture
def prepared(tiny_config: RunConfig, tiny_data: Dataset) -> Callable[..., Trainer]:
    """A trainer in double precision that excludes some pairs, before its first step."""

    def make(**changes: Any) -> Trainer:
        config = changed(tiny_config, {"precision": "64-true", **PLAIN_SGD, **CONSTANT, **changes})
        fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
        return prepare(config, tiny_data, fabric, Exclusions.of(_some_pairs(), IMAGES))

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
        mask = _dense(_some_pairs(), images, images)
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
        assert torch.equal(mask.forbidden(), _dense(_some_pairs(), rows, torch.cat([rows, ids])))
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
        assert torch.equal(mask.forbidden(), _dense(_some_pairs(), images, images))


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
    return _csv(tmp_path / "pairs.csv", _some_pairs())


def test_a_run_excludes_and_says_so(tiny_config: RunConfig, tiny_data: Dataset, file: Path, tmp_path: Path) -> None:
    config, told = changed(tiny_config, {"pairs.exclude": file}), _Told()
    one = train(config, tmp_path / "one", told, tiny_data)
    count = len(Exclusions.of(_some_pairs(), IMAGES))
    assert f"Excluded pairs: {count:,} ({file})." in told.said
    two = train(config, tmp_path / "two", dataset=tiny_data)
    assert torch.equal(_weights(one), _weights(two))
    plain = train(tiny_config, tmp_path / "plain", dataset=tiny_data)
    assert not torch.equal(_weights(one), _weights(plain))
    assert draw_coupling(one, tiny_data, tmp_path / "coupling.png").is_file()
    file.unlink()
    assert draw_coupling(one, tiny_data, tmp_path / "again.png").is_file()


def test_an_empty_list_excludes_nothing(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    empty, told = _csv(tmp_path / "empty.csv", torch.empty(0, 2)), _Told()
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
    _csv(file, _some_pairs()[:-1])
    with pytest.raises(ConfigError, match=r"other settings \(pairs\.exclude lists other pairs there\); name another"):
        train(config, tmp_path / "run", dataset=tiny_data)
    train(config, tmp_path / "run", dataset=tiny_data, overwrite=True)


def test_an_image_without_negatives_is_explained(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    everyone = torch.tensor([[7, other] for other in range(IMAGES) if other != 7])
    config = changed(tiny_config, {"pairs.exclude": _csv(tmp_path / "pairs.csv", everyone)})
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


# Files


def test_formats_agree(tmp_path: Path) -> None:
    pairs = _some_pairs()
    a, b = pairs.int().numpy().T
    table = pyarrow.table({"score": np.zeros(len(pairs)), "b": b, "note": ["x"] * len(pairs), "a": a})
    parquet.write_table(table, tmp_path / "pairs.parquet")
    files = [_csv(tmp_path / "pairs.csv", pairs), _csv(tmp_path / "scored.csv", pairs, "a,b,score")]
    swapped = tmp_path / "swapped.csv"
    lines = ["b, a ,note", *(f'{b}, {a},"x,y"' for a, b in pairs.tolist()), ""]
    swapped.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig", newline="")
    for file in (*files, swapped, tmp_path / "pairs.parquet"):
        assert torch.equal(read_pairs(file, IMAGES), pairs)


def test_rows_count_the_images_before_some_are_left_out(tmp_path: Path) -> None:
    whole = load(DataConfig(name="digits"))
    for changes in ({"limit": 300}, {"imbalance": "linear"}, {"imbalance": "linear", "limit": 300, "size": 6}):
        some = load(DataConfig(name="digits", **changes))  # type: ignore[arg-type]
        assert some.places.count == len(whole.train_images)
        if "size" not in changes:
            assert torch.equal(whole.train_images[some.places.rows], some.train_images)
        assert some.train_labels is not None
        assert whole.train_labels is not None
        assert torch.equal(whole.train_labels[some.places.rows], some.train_labels)
        pairs = _some_pairs(4000, len(whole.train_images))
        read = read_exclusions(_csv(tmp_path / "pairs.csv", pairs), some)
        mask = read.exclusions.mask(torch.arange(len(some.train_images)), torch.arange(len(some.train_images)))
        assert mask is not None
        assert torch.equal(mask.forbidden(), _dense(pairs, some.places.rows, some.places.rows))
        assert str(read).startswith(f"Excluded pairs: {len(read.exclusions):,} of {read.listed:,}; the others have")


def test_the_index_of_an_embedding_is_such_a_row(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(changed(tiny_config, {"steps": 1}), tmp_path / "run", dataset=tiny_data)
    some = tiny_data.limited(10)
    found = embed_dataset(run, some, [Part.TEST, Part.TRAIN])
    assert found.index.tolist() == [*range(12), *some.places.rows.tolist()]
    torch.testing.assert_close(
        torch.from_numpy(found.features[12:]), run.embed(tiny_data.train_images[found.index[12:]])
    )


def test_what_is_held_out_counts_no_more() -> None:
    data = from_arrays(np.zeros((20, 8, 8)), np.arange(20) % 2, test_fraction=0.5)
    assert data.places.count == 10


def _parquet(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda at: at / "no.csv", r"no\.csv does not exist; name a \.csv or \.parquet file"),
    "a folder": (lambda at: (at / "x.csv").mkdir() or at / "x.csv", r"x\.csv is a folder"),  # type: ignore[func-returns-value]
    "suffix": (lambda at: _text(at / "x.txt", "a,b\n"), r"x\.txt ends in '\.txt'; \.csv and \.parquet are read"),
    "nothing": (lambda at: _text(at / "x.csv", ""), r"x\.csv has no one column 'a'; its header is nothing"),
    "columns": (lambda at: _text(at / "x.csv", "i,j\n1,2\n"), r"no one column 'a'; its header is 'i', 'j'"),
    "a twice": (lambda at: _text(at / "x.csv", "a,b,a\n1,2,3\n"), r"no one column 'a'; its header is 'a', 'b', 'a'"),
    "no header": (lambda at: _text(at / "x.csv", "1,2\n3,4\n"), r"no one column 'a'; its header is '1', '2'"),
    "short line": (lambda at: _text(at / "x.csv", "a,b\n1,2\n3\n"), r"x\.csv, line 3: 1 values for 2 columns"),
    "fraction": (lambda at: _text(at / "x.csv", "a,b\n1,2.5\n"), r"line 2: '2\.5' is no whole number"),
    "words": (lambda at: _text(at / "x.csv", "a,b\n1,2\ncat,dog\n"), r"line 3: 'cat' is no whole number"),
    "huge": (lambda at: _text(at / "x.csv", f"a,b\n1,{10**30}\n"), r"line 2: 10{30} is no row of anything"),
    "open quote": (lambda at: _text(at / "x.csv", 'a,b\n1,"2\n'), r"x\.csv is no text of commas and lines"),
    "bytes": (lambda at: _cut(_parquet(at / "x.parquet", a=[1], b=[2])).rename(at / "x.csv"), r"x\.csv (is|has) no"),
    "too large": (lambda at: _text(at / "x.csv", "a,b\n1,2\n3,48\n"), r"pair 2: a 3, b 48; the training images are 0 to 47"),
    "negative": (lambda at: _text(at / "x.csv", "a,b\n-1,2\n"), r"pair 1: a -1, b 2; the training images are 0 to 47"),
    "with itself": (lambda at: _text(at / "x.csv", "a,b\n5,5\n"), r"pair 1: a 5, b 5; an image never repels itself"),
    "cut parquet": (lambda at: _cut(_parquet(at / "x.parquet", a=[1], b=[2])), r"x\.parquet is no whole \.parquet file"),
    "no parquet": (lambda at: _text(at / "x.parquet", "a,b\n"), r"x\.parquet is no whole \.parquet file"),
    "parquet's columns": (lambda at: _parquet(at / "x.parquet", a=[1], c=[2]), r"no one column 'b'; its header is 'a', 'c'"),
    "parquet's kind": (lambda at: _parquet(at / "x.parquet", a=[1], b=[2.0]), r"column 'b' is of double, no whole"),
    "parquet's gaps": (lambda at: _parquet(at / "x.parquet", a=[1, None], b=[2, 3]), r"column 'a' has 1 empty places"),
    "parquet's range": (lambda at: _parquet(at / "x.parquet", a=[1], b=[48]), r"pair 1: a 1, b 48; the training"),
    "parquet's size": (
        lambda at: _parquet(at / "x.parquet", a=[1], b=pyarrow.array([2**63], pyarrow.uint64())),
        r"x\.parquet is no whole \.parquet file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_message_and_nothing_written(
    case: str, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    make, message = BROKEN[case]
    config = changed(tiny_config, {"pairs.exclude": make(tmp_path)})
    with pytest.raises((ConfigError, DataError), match=rf"pairs\.exclude: .*{message}") as caught:
        train(config, tmp_path / "run", dataset=tiny_data)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _parquet(tmp_path / "x.parquet", a=[1], b=[2])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"needs pyarrow\.parquet.*pip install 'couplings\[parquet\]'"):
        read_pairs(path, 5)
