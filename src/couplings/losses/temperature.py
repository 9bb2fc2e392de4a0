"""Losses with a temperature, given or learnt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..basics import checks
from .base import Loss, Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

COLDEST = 0.01
"""The lowest temperature that a learnt one may reach."""


class TemperedOptions(Options, total=False):
    """What a loss with a temperature takes beside its own parameters; see `Loss`."""

    learnable: bool


class Tempered(Loss):
    """A loss with a temperature, which may be learnt as a log-scale: `temperature` is then read off `log_scale`."""

    tempered: ClassVar[bool] = True
    temperature: float | Tensor

    def __init__(self, temperature: float | Tensor, *, learnable: bool = False, **options: Unpack[Options]) -> None:
        unknown: dict[str, Any] = {"learnable": learnable} if learnable and not self.tempered else {}
        Loss.__init__(self, **options, **unknown)
        checks.temperature(temperature)
        checks.flag("learnable", learnable)
        self.learnable = learnable
        if not learnable:
            self.temperature = temperature
            return
        own = not isinstance(temperature, Tensor) and temperature >= COLDEST
        checks.require(own, f"learnable=True makes its own parameter: pass temperature as a number >= {COLDEST}")
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def __getattr__(self, name: str) -> Any:
        """The learnt temperature; below the coldest the parameter itself is moved back, so that it can rise again."""
        if name != "temperature" or "log_scale" not in self._parameters:
            return super().__getattr__(name)
        with torch.no_grad():
            self.log_scale.clamp_(max=-math.log(COLDEST))
        return torch.exp(-self.log_scale)
