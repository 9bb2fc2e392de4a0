"""The figures of a space while it is trained: in a plain loop, in Lightning, and in neither's way."""

from __future__ import annotations

import copy
import io
import math
import pickle
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from couplings import CouplingWarning, InfoNCE, InvalidInput
from couplings.diagnostics import (
    Figures,
    Monitor,
    alignment,
    effective_negatives,
    effective_rank,
    repulsion,
    uniformity,
)


def _train(loss: InfoNCE, steps: int, **sides: torch.Tensor) -> list[torch.Tensor]:
    """Values of a few steps."""
    torch.manual_seed(0)
    network = nn.Linear(6, 4)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    values = []
    for _ in range(steps):
        x = torch.randn(12, 6)
        value = loss(network(x), network(x + 0.1 * torch.randn(12, 6)), **sides)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.detach())
    return values


def test_every_nth_call_is_looked_at() -> None:
    loss, told = InfoNCE(0.5), list[Figures]()
    with Monitor(loss, every=3, then=told.append) as monitor:
        values = _train(loss, 7)
    assert [figures.call for figures in monitor.records] == [1, 4, 7]
    assert [figures.loss for figures in monitor.records] == [values[step].item() for step in (0, 3, 6)]
    assert told == monitor.records


def test_training_is_the_same_with_and_without() -> None:
    plain, watched = InfoNCE(0.5), InfoNCE(0.5)
    with Monitor(watched, every=1):
        assert _train(watched, 4) == _train(plain, 4)


def test_the_figures_are_those_of_the_functions() -> None:
    loss, views = InfoNCE(0.5), [torch.randn(16, 6).requires_grad_() for _ in range(2)]
    ids = torch.arange(16) // 2
    with Monitor(loss, samples=16) as monitor:
        value = loss(*views, ids=ids)
    some = [view.detach() for view in views]
    pushed = repulsion(loss, *some, ids=ids)
    assert monitor.records == [
        Figures(
            1,
            value.item(),
            alignment(*some).item(),
            uniformity(some[0]).item(),
            effective_rank(some[0]).item(),
            effective_negatives(pushed).mean().item(),
            (pushed.sum(0).max() / pushed.sum(0).mean()).item(),
        )
    ]


def test_the_samples_looked_at_are_spread_over_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[list[int]] = []

    def noted(loss: InfoNCE, one: torch.Tensor, two: torch.Tensor, *, ids: torch.Tensor) -> torch.Tensor:
        looked.append(ids.tolist())
        assert torch.equal(one, z[ids])
        assert torch.equal(two, -z[ids])
        return repulsion(loss, one, two, ids=ids)

    monkeypatch.setattr(sys.modules[Monitor.__module__], "repulsion", noted)
    loss, z = InfoNCE(0.5), torch.randn(40, 6).requires_grad_()
    with Monitor(loss, every=1, samples=16):
        for _ in range(50):
            loss(z, -z, ids=torch.arange(40))
    for rows in looked:
        # A whole row of each stretch of 40 / 16 rows.
        assert [((row + 1) * 16 - 1) // 40 for row in rows] == list(range(16))
    assert {row for rows in looked for row in rows} == {*range(40)}
    assert {row % 2 for row in looked[0]} == {0, 1}


@pytest.mark.parametrize("order", ["sorted", "in turn"])
def test_sorted_batches_do_not_bias_the_figures(order: str) -> None:
    """Half of the batch in one point, half spread; ids that leave no negatives among the first samples."""
    loss, part = InfoNCE(0.5), torch.arange(64) < 32 if order == "sorted" else torch.arange(64) % 2 == 0
    z = torch.where(part[:, None], torch.eye(8)[0], torch.randn(64, 8)).requires_grad_()
    ids = torch.where(part, 0, torch.arange(64) + 1)
    with Monitor(loss, samples=32) as some, Monitor(loss, samples=64) as every:
        loss(z, z + 0.1 * torch.randn(64, 8), ids=ids)
    assert some.records[0].effective_rank == pytest.approx(every.records[0].effective_rank, rel=0.2)


def test_a_look_without_figures_warns_once_and_training_goes_on() -> None:
    """The negatives are all among the keys, which no look takes."""
    loss, sides = InfoNCE(0.5), {"ids": torch.zeros(12, dtype=torch.int64), "keys": torch.randn(5, 4)}
    with (
        Monitor(loss, every=1, then=lambda _: pytest.fail("told of no figures")) as monitor,
        pytest.warns(CouplingWarning, match="call 1 leaves no record.*left no negative.*samples=") as caught,
    ):
        values = _train(loss, 3, **sides)
    assert len(caught) == 1
    assert len(values) == 3
    assert monitor.records == []


def test_a_copy_of_the_loss_is_not_watched() -> None:
    loss, told = InfoNCE(0.5), list[Figures]()
    stored = io.BytesIO()
    with Monitor(loss, every=1, then=lambda figures: told.append(figures)) as monitor:
        torch.save(loss, stored)
        stored.seek(0)
        for other in (
            copy.deepcopy(loss),
            pickle.loads(pickle.dumps(loss)),
            torch.load(stored, weights_only=False),
        ):
            assert _train(other, 2) == _train(InfoNCE(0.5), 2)
            assert (told, monitor.records) == ([], [])
            with Monitor(other, every=1) as own:
                _train(other, 2)
            assert len(own.records) == 2
        _train(loss, 1)
    assert len(told) == 1
    assert monitor.records == told


def test_a_monitor_adds_nothing_to_the_state() -> None:
    model = nn.ModuleDict({"network": nn.Linear(6, 4), "loss": InfoNCE(0.5)})
    keys = [*model.state_dict()]
    loss = model["loss"]
    assert isinstance(loss, InfoNCE)
    with Monitor(loss):
        assert [*model.state_dict()] == keys
        model.load_state_dict(copy.deepcopy(model).state_dict())


def test_validation_is_not_counted() -> None:
    loss, z = InfoNCE(0.5), torch.randn(8, 4)
    with Monitor(loss, every=2) as monitor:
        for _ in range(3):
            with torch.no_grad():
                loss(z, z)
            loss(z, z.clone().requires_grad_())
    assert [figures.call for figures in monitor.records] == [1, 3]


def test_a_monitor_that_was_removed_sees_nothing() -> None:
    loss = InfoNCE(0.5)
    monitor = Monitor(loss, every=1)
    _train(loss, 2)
    monitor.remove()
    _train(loss, 2)
    assert len(monitor.records) == 2


def test_half_precision_and_a_single_view_with_keys() -> None:
    loss, z = InfoNCE(0.5), torch.randn(8, 4).requires_grad_()
    with Monitor(loss, every=1) as monitor:
        loss(z.half(), z.half())
        loss(z, z, keys=torch.randn(5, 4))
        loss(z, z, mask=~torch.eye(16, dtype=torch.bool).logical_not())
    assert all(math.isfinite(number) for figures in monitor.records for number in figures)


def test_lightning_logs_the_figures(tmp_path: Any) -> None:
    import pytorch_lightning as lightning

    class Learner(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.loss = nn.Linear(6, 4), InfoNCE(0.5)
            self.monitor = Monitor(self.loss, every=2, then=lambda figures: self.log_dict(figures._asdict()))
            self.seen: list[dict[str, float]] = []

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            value: torch.Tensor = self.loss(self.network(batch), self.network(batch + 0.1))
            return value

        def validation_step(self, batch: torch.Tensor, _: int) -> None:
            self.loss(self.network(batch), self.network(batch))

        def on_train_batch_end(self, *_: Any) -> None:
            logged = self.trainer.logged_metrics
            self.seen.append({name: float(value) for name, value in logged.items()})

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    learner, loader = Learner(), DataLoader(torch.randn(32, 6), batch_size=8)
    trainer = lightning.Trainer(
        max_steps=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(learner, loader, loader)
    assert [figures.call for figures in learner.monitor.records] == [1, 3]
    assert learner.seen[0] == pytest.approx(learner.monitor.records[0]._asdict(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"every": 1.5}, "every must be an integer >= 0, got 1.5"),
        ({"samples": 1}, "samples must be at least 2, got 1"),
    ],
)
def test_refusals_of_monitors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Monitor(InfoNCE(), **options)
