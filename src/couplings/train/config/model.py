"""Which network, what it is trained against, and by which loss."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator
from typing_extensions import Self

from couplings.train.config.base import Fraction, Settings, Width, refuse_unknown
from couplings.train.encoders import ENCODERS, TIMM
from couplings.train.errors import did_you_mean, shown

if TYPE_CHECKING:
    from couplings.losses import Loss

__all__ = ["EncoderConfig", "LossConfig", "MomentumConfig", "PredictorConfig", "ProjectorConfig"]


_WEIGHTS_OF_ELSEWHERE = ("pretrained", "checkpoint_path")
"""Parameters of timm that load weights."""


class EncoderConfig(Settings):
    """Which encoder: ``small-cnn``, ``resnet18``, ``resnet50``, ``small-alexnet`` or ``timm:NAME``.

    ``params`` go to its constructor (``width`` of small-cnn and small-alexnet; timm's own keywords).
    """

    name: str = "small-cnn"
    params: dict[str, Any] = Field(default_factory=dict)

    @property
    def pretrained(self) -> bool:
        """Whether training begins from weights of elsewhere."""
        return any(self.params.get(key) for key in _WEIGHTS_OF_ELSEWHERE)

    @property
    def from_scratch(self) -> Self:
        """The same network with random weights."""
        params = {key: value for key, value in self.params.items() if key not in _WEIGHTS_OF_ELSEWHERE}
        return self.model_copy(update={"params": params})

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.name.startswith(TIMM):
            if self.name not in ENCODERS:
                hint = did_you_mean(self.name, [*ENCODERS, f"{TIMM}NAME"])
                raise ValueError(f"name: unknown name '{self.name}'; {hint}")
            refuse_unknown(list(inspect.signature(ENCODERS[self.name]).parameters)[1:], self.params)
        return self


class ProjectorConfig(Settings):
    """SimCLR's projector; ``hidden=None`` makes it one linear layer.

    Attributes:
        hidden: outputs of its first layer.
        dim: outputs of its last, which the loss sees.
        batch_norm: normalise the hidden layer over the batch; without it that layer has a bias.
    """

    hidden: Width | None = 256
    dim: Width = 64
    batch_norm: bool = True

    @model_validator(mode="after")
    def _no_ignored_key(self) -> Self:
        if self.hidden is None and not self.batch_norm:
            raise ValueError("batch_norm: one linear layer has none; leave it out, or set projector.hidden")
        return self


class PredictorConfig(Settings):
    """BYOL's predictor on top of the projector: the other views are constants then (stop-gradient)."""

    hidden: Width | None = 256


class MomentumConfig(Settings):
    """A slow copy of the network, whose projections are constants that the trained one is compared with.

    Attributes:
        decay: the copy becomes decay * copy + (1 - decay) * network after each step; 0 makes it the network itself.
        rise: let the decay rise to 1 along a cosine (BYOL).
        queue: keep that many of its last projections as further negatives (MoCo).
    """

    decay: Fraction = 0.99
    rise: bool = False
    queue: Annotated[int, Field(ge=0, le=2**24)] = 0


_LARGEST = 10**6


class LossConfig(Settings):
    """A loss by its name in ``couplings.losses.LOSSES`` or ``FAMILIES``, and its constructor's parameters.

    A parameter that is an object is said by its name in ``couplings.losses.NAMED`` and parameters of its own:
    ``cost: {"name": "rbf", "t": 0.5}``.
    """

    name: str = "infonce"
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.build()
        return self

    def build(self) -> Loss:
        """The loss; raises ``ValueError`` on an unknown name or parameter."""
        from couplings.losses import argument, known_objects, losses_by_name, parameters_of

        losses = losses_by_name()
        if self.name not in losses:
            raise ValueError(f"name: unknown name '{self.name}'; {did_you_mean(self.name, losses)}")
        takes = parameters_of(losses[self.name])
        refuse_unknown(takes, self.params)
        for key, part in takes.items():
            if part.default is part.empty and key not in self.params:
                raise ValueError(f"{key}: missing; {self.name} needs one of {', '.join(known_objects(part))}")
        _refuse_large(self.params)
        return losses[self.name](**{key: argument(takes[key], value) for key, value in self.params.items()})


def _refuse_large(params: Mapping[str, Any], of: str = "") -> None:
    for key, value in params.items():
        if isinstance(value, Mapping):
            _refuse_large(value, f"{of}{key}.")
        elif isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(f"{of}{key}: {shown(value)} came; no parameter of a loss is larger than {_LARGEST}")
