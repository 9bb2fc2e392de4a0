"""What a run tells while it goes on, and who listens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Protocol

__all__ = ["Observer", "Plan", "Silent", "StepRecord"]


@dataclass(frozen=True)
class Plan:
    """What a run is about to do; ``seconds`` is an estimate from a few timed steps."""

    steps: int
    images_per_step: int
    seconds: float
    device: str
    parameters: int
    train_images: int
    loss: str


@dataclass(frozen=True)
class StepRecord:
    """One step; what is not measured at this step is None.

    ``plan_entropy`` maps the name of each coupling of the loss to its entropy in nats.
    """

    step: int
    epoch: int
    lr: float
    loss: float | None = None
    images_per_second: float | None = None
    plan_entropy: dict[str, float] | None = None
    alignment: float | None = None
    uniformity: float | None = None
    effective_rank: float | None = None

    def line(self) -> str:
        """The measured values as one line of JSON."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})


class Observer(Protocol):
    """Who wants to know how a run goes on."""

    def on_start(self, plan: Plan) -> None:
        """Called once, before the first step."""

    def on_step(self, step: StepRecord) -> None:
        """Called after each step."""

    def on_message(self, text: str) -> None:
        """Called with a line for the user."""


class Silent:
    """An observer that says nothing."""

    def on_start(self, plan: Plan) -> None:
        """Say nothing."""

    def on_step(self, step: StepRecord) -> None:
        """Say nothing."""

    def on_message(self, text: str) -> None:
        """Say nothing."""
