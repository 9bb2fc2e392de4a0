"""The figures of a space while it is trained: in a plain loop, in Lightning, and in neither's way."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from couplings import InfoNCE, InvalidInput
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
    loss, views = InfoNCE(0.5), [torch.randn(40, 6).requires_grad_() for _ in range(2)]
    ids = torch.arange(40) // 2
    with Monitor(loss, samples=16) as monitor:
        value = loss(*views, ids=ids)
    some = [view[:16].detach() for view in views]
    pushed = repulsion(loss, *some, ids=ids[:16])
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
