"""What a run tells while it goes on, and who listens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import Required, TypedDict

from couplings.train.errors import DataError, brief, shown
from couplings.train.texts import read_text

__all__ = ["Observer", "Plan", "Silent", "StepRecord", "first_mistake", "read_records"]


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


class _Saved(TypedDict, total=False):
    """A line of the log: what was measured of a :class:`StepRecord`, and what later versions add."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    step: Required[Annotated[int, Field(ge=0)]]
    epoch: int
    lr: float
    loss: float
    images_per_second: float
    plan_entropy: dict[str, float]
    alignment: float
    uniformity: float
    effective_rank: float


_SAVED = TypeAdapter(_Saved)
_LARGEST = 2**30


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, one a logged step; none where there is no file. What a kill cut off the last does not count.

    Raises:
        DataError: names the file and the line that no training wrote.
    """
    try:
        lines = read_text(path, _LARGEST).split("\n")[:-1] if path.is_file() else []
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})") from None
    return [_record(path, number, line) for number, line in enumerate(lines, 1)]


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        return dict(_SAVED.validate_python(json.loads(line)))
    except (ValueError, RecursionError) as error:
        reason = first_mistake(error) if isinstance(error, ValidationError) else brief(str(error))
        raise DataError(
            f"{path}: line {number} is no record of a training ({reason}); restore it, or remove it"
        ) from None


def first_mistake(error: ValidationError) -> str:
    """The key that is wrong, and why."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {shown(first['input'])}".removeprefix(": ")


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
