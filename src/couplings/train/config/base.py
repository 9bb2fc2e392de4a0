"""What all settings share: frozen, no unknown keys, one readable error."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, ValidationError

from couplings.train.errors import ConfigError, brief, did_you_mean, shown

__all__ = [
    "Count",
    "Fraction",
    "PerView",
    "Pixels",
    "Place",
    "Range",
    "Ratios",
    "Seed",
    "Settings",
    "Share",
    "Steps",
    "Width",
    "refuse_unknown",
]

# The largest that every generator takes.
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Steps = Annotated[int, Field(gt=0, le=10**9)]
"""More than any run has; what is larger is a slip, told at once instead of by memory that runs out."""
Count = Annotated[int, Field(gt=0, le=10**9)]
"""Of images, labels or neighbours."""
Width = Annotated[int, Field(gt=0, le=2**20)]
"""Outputs of a layer."""
Pixels = Annotated[int, Field(gt=0, le=2**14)]
"""Height and width of an image."""


def _writable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no path holds a NUL byte")
    return path


Place = Annotated[Path, AfterValidator(_writable)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"a range is written (low, high), got {value}")
    return value


Range = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
"""Shares of a whole, low and high."""
Ratios = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]


def _probabilities(value: Any) -> Any:
    each = value if isinstance(value, list | tuple) else [value]
    if not each or not all(isinstance(one, int | float) and 0 <= one <= 1 for one in each):
        raise ValueError(f"a probability is from 0 to 1, or a list of one for each view, got {value!r}")
    return value


PerView = Annotated[float | tuple[float, ...], BeforeValidator(_probabilities)]
"""A probability, or one for each view in their order, the last one for all that follow."""


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, one readable error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(brief(_explain(type(self), error))) from None


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """The first mistake as ``key.of.it: what is wrong (what came)``."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown key; {did_you_mean(place, model.model_fields)}"
    if first["type"] == "value_error":
        inner = str(first["ctx"]["error"])
        # A nested model has already named its own key.
        joint = "." if re.match(r"[\w.]+: ", inner) else ": "
        return f"{place}{joint}{inner}" if place else inner
    return f"{place}: {first['msg']}, got {shown(first['input'])}"


def refuse_unknown(known: Collection[str], given: Iterable[str]) -> None:
    """Raise ``ValueError`` on the first parameter that nobody takes."""
    for key in given:
        if key not in known:
            raise ValueError(f"{key}: unknown parameter; {did_you_mean(key, known)}")
