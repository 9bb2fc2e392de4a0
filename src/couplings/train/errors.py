"""Errors of the training package: mistakes of a user, each told in one message with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from couplings.basics.errors import UserError, brief, did_you_mean, shown

__all__ = ["ConfigError", "DataError", "Interrupted", "brief", "did_you_mean", "one_of", "shown"]


class ConfigError(UserError):
    """A setting that is unknown, out of range or does not fit the data."""


class DataError(UserError):
    """Images or labels that are missing, damaged or of the wrong shape."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during training; after ``step`` steps, from which the run in ``folder`` goes on."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(
            f"interrupted after {step} steps; the same command (without --overwrite) goes on from there ({folder})"
        )
        self.folder = folder
        self.step = step


def one_of(value: str, known: Iterable[str]) -> str:
    """Return ``value`` if it is known, else raise ``ValueError`` with the nearest name."""
    names = list(known)
    if value not in names:
        raise ValueError(f"unknown name '{value}'; {did_you_mean(value, names)}")
    return value
