"""From an array of images to an encoder in one call."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from couplings.system.display import TrainingDisplay
from couplings.train.config import with_overrides
from couplings.train.data import from_arrays
from couplings.train.loop import train
from couplings.train.presets import preset
from couplings.train.records import Observer
from couplings.train.run import Run

__all__ = ["fit"]


def fit(
    images: Any,
    labels: Any = None,
    loss: str = "infonce",
    *,
    folder: Path | str | None = None,
    observer: Observer | None = None,
    **overrides: Any,
) -> Run:
    """Train an encoder on images without their labels.

    Args:
        images: ``(n, h, w)``, ``(n, c, h, w)`` or ``(n, h, w, c)``; integers 0 to 255 or floats 0 to 1.
        labels: ``(n,)``; they colour the picture and are not trained on.
        loss: a name in ``couplings.losses.LOSSES``.
        folder: of the run; a temporary one if None.
        observer: is told of progress; a bar is shown if None, nothing with ``Silent()``.
        overrides: settings of :class:`~couplings.train.config.RunConfig` such as ``steps=300``; dotted keys
            (``**{"loss.temperature": 0.2}``) reach inside.

    Raises:
        DataError: images or labels of the wrong shape or range.
        ConfigError: an unknown setting or one that does not fit.

    Example:
        >>> import torch
        >>> from couplings.train import Silent
        >>> pictures = torch.randint(256, (64, 8, 8))
        >>> run = fit(pictures, batch_size=32, steps=2, observer=Silent())
        >>> run.embed(pictures).shape
        torch.Size([64, 128])
    """
    data = from_arrays(images, labels)
    settings = {"batch_size": min(128, len(data.train_images)), "loss": loss, **overrides}
    config = with_overrides(preset("arrays"), settings)
    place = Path(mkdtemp(prefix="couplings-")) if folder is None else Path(folder)
    if observer is not None:
        return train(config, place, observer, data)
    with TrainingDisplay() as display:
        return train(config, place, display, data)
