"""Viewers of curves by name, as `couplings train --log` takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from couplings.train.config import RunConfig
    from couplings.train.loggers import Logger

__all__ = ["Viewer", "opened"]


class Viewer(Enum):
    """Where curves can be seen."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    TRACKIO = "trackio"


@contextmanager
def opened(viewers: Sequence[Viewer], folder: Path, config: RunConfig) -> Iterator[list[Logger]]:
    """Loggers of a run, closed when the block ends.

    Raises:
        ConfigError: a viewer's library is not installed.
    """
    from couplings.train.loggers import to_tensorboard, to_trackio, to_wandb

    settings = config.model_dump(mode="json")
    makers = {
        Viewer.TENSORBOARD: lambda: to_tensorboard(folder),
        Viewer.WANDB: lambda: to_wandb(folder, settings),
        Viewer.TRACKIO: lambda: to_trackio(folder, settings),
    }
    with ExitStack() as stack:
        yield [stack.enter_context(makers[viewer]()) for viewer in dict.fromkeys(viewers)]
