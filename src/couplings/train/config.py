"""The settings of a run: frozen pydantic models that refuse unknown keys and say what was meant.

>>> config = with_overrides(RunConfig(), {"loss.temperature": 0.2, "steps": 300})
>>> config.loss.params, config.steps
({'temperature': 0.2}, 300)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from couplings.train.encoders import ENCODERS, TIMM
from couplings.train.errors import ConfigError, did_you_mean, one_of

if TYPE_CHECKING:
    from couplings.losses import Loss

__all__ = [
    "ConfigError",
    "DataConfig",
    "EncoderConfig",
    "EvaluationConfig",
    "LossConfig",
    "OptimiserConfig",
    "ProjectorConfig",
    "RunConfig",
    "ViewsConfig",
    "with_overrides",
]

FETCHED = ("fashion-mnist", "cifar10", "cifar100", "stl10", "svhn")
OWN_FILES = ("images", "npz")
# "arrays" stands for images handed over in Python: they cannot be loaded again from the config alone.
DATA_NAMES = ("digits", *FETCHED, *OWN_FILES, "arrays")

# The largest that every generator takes.
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, one readable error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_explain(type(self), error)) from None


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
    return f"{place}: {first['msg']}, got {first['input']!r}"


class DataConfig(Settings):
    """Which images.

    Attributes:
        name: one of ``digits``, ``fashion-mnist``, ``cifar10``, ``cifar100``, ``stl10``, ``svhn``,
            ``images`` (a folder of image files), ``npz`` (a file of arrays), ``arrays`` (given in Python).
        folder: the folder of the files; for ``npz`` the file itself.
        download: let torchvision fetch the files into ``folder`` if they are missing.
        size: resize to this height and width (pixels); None keeps the native resolution.
        limit: keep a seeded subset of that many training images.
        test_fraction: share held out for evaluation where the source has no test images of its own
            (a fifth if None).
    """

    name: Annotated[str, AfterValidator(partial(one_of, known=DATA_NAMES))] = "digits"
    folder: Path | None = None
    download: bool = False
    size: PositiveInt | None = None
    limit: PositiveInt | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _no_ignored_key(self) -> Self:
        if self.folder is not None and self.name not in (*FETCHED, *OWN_FILES):
            raise ValueError(f"folder: '{self.name}' reads no files; leave data.folder out")
        if self.folder is None and self.name in OWN_FILES:
            what = "folder of images" if self.name == "images" else ".npz file"
            raise ValueError(f"folder: missing; data.folder names the {what}")
        if self.download and self.name not in FETCHED:
            raise ValueError(f"download: '{self.name}' has nothing to fetch; leave data.download out")
        if self.test_fraction is not None and self.name not in OWN_FILES:
            raise ValueError(f"test_fraction: '{self.name}' has its own test images; leave it out")
        return self


class ViewsConfig(Settings):
    """Random augmentation, drawn anew for each image and view.

    Attributes:
        count: views of an image.
        crop: range of the crop's area, as a share of the image.
        aspect: range of the crop's width over its height.
        rotation: largest angle, in degrees.
        flip: probability of a horizontal flip.
        brightness: largest value added to or taken from all pixels (pixels are in [0, 1]).
        contrast: the factor is drawn from 1 - contrast to 1 + contrast.
        gamma: the exponent is exp(u) with u from -gamma to gamma.
        saturation: as contrast, for the saturation of colour images.
        hue: largest turn of the hue, as a share of the colour circle.
        grayscale: probability of losing all colour.
        blur: probability of a Gaussian blur (sigma 0.1 to 2 pixels).
    """

    count: Annotated[int, Field(ge=2)] = 2
    crop: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.6, 1.0)
    aspect: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    flip: Fraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    gamma: NonNegativeFloat = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    grayscale: Fraction = 0.0
    blur: Fraction = 0.0

    @field_validator("crop", "aspect")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"a range is written (low, high), got {value}")
        return value


def _unknown_params(known: Collection[str], given: Iterable[str]) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{key}: unknown parameter; {did_you_mean(key, known)}")


class EncoderConfig(Settings):
    """Which encoder: ``small-cnn``, ``resnet18``, ``resnet50``, ``small-alexnet`` or ``timm:NAME``.

    ``params`` go to its constructor (``width`` of small-cnn and small-alexnet; timm's own keywords).
    """

    name: str = "small-cnn"
    params: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.name.startswith(TIMM):
            if self.name not in ENCODERS:
                hint = did_you_mean(self.name, [*ENCODERS, f"{TIMM}NAME"])
                raise ValueError(f"name: unknown name '{self.name}'; {hint}")
            _unknown_params(list(inspect.signature(ENCODERS[self.name]).parameters)[1:], self.params)
        return self


class ProjectorConfig(Settings):
    """SimCLR's projector; ``hidden=None`` makes it one linear layer."""

    hidden: PositiveInt | None = 256
    dim: PositiveInt = 64


class LossConfig(Settings):
    """A loss by its name in ``couplings.losses.LOSSES``, and its constructor's parameters."""

    name: str = "infonce"
    params: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.build()
        return self

    def build(self) -> Loss:
        """The loss; raises ``ValueError`` on an unknown name or parameter."""
        from couplings.losses import LOSSES, parameters_of

        if self.name not in LOSSES:
            raise ValueError(f"name: unknown name '{self.name}'; {did_you_mean(self.name, LOSSES)}")
        _unknown_params(parameters_of(LOSSES[self.name]), self.params)
        return LOSSES[self.name](**self.params)


class OptimiserConfig(Settings):
    """AdamW with linear warm-up (over half of the steps at most), then a cosine to zero."""

    lr: PositiveFloat = 4e-3
    weight_decay: NonNegativeFloat = 1e-4
    warmup_steps: NonNegativeInt = 20


class EvaluationConfig(Settings):
    """What is measured on frozen features after the last step.

    Attributes:
        neighbours: k of the kNN vote.
        probe_limit: a seeded subset of that many training images is the kNN bank and trains the probes.
        few_labels: labels a class of the few-label probe.
        draws: how many times these labels are drawn; the mean is reported.
    """

    neighbours: PositiveInt = 20
    probe_limit: PositiveInt = 10_000
    few_labels: PositiveInt = 10
    draws: PositiveInt = 5


class RunConfig(Settings):
    """Everything that decides a run.

    Attributes:
        batch_size: images of a step, each in all its views.
        micro_batch: images that the encoder holds at a time, each in all its views: two passes (GradCache, see
            :class:`couplings.TwoPass`), for a batch whose activations do not fit. None encodes the batch in one pass.
        steps: of training.
        log_every: steps between two records of the loss.
        diagnose_every: steps between two records of alignment, uniformity, plan entropy and effective rank.
    """

    data: DataConfig = DataConfig()
    views: ViewsConfig = ViewsConfig()
    encoder: EncoderConfig = EncoderConfig()
    projector: ProjectorConfig = ProjectorConfig()
    loss: LossConfig = Field(default_factory=LossConfig)
    optimiser: OptimiserConfig = OptimiserConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    batch_size: Annotated[int, Field(ge=2)] = 128
    micro_batch: PositiveInt | None = None
    steps: PositiveInt = 250
    precision: Precision = "32-true"
    seed: Seed = 0
    log_every: PositiveInt = 10
    diagnose_every: PositiveInt = 50

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> Self:
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise ValueError(
                f"micro_batch: {self.micro_batch} is more than batch_size, {self.batch_size}; "
                "lower it, or leave it out to encode the batch in one pass"
            )
        return self


def with_overrides(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A copy of ``config`` with some keys changed; dots reach inside (``"loss.temperature"``).

    A key of ``loss`` or ``encoder`` that is no setting of theirs goes to ``params``; a new ``name`` starts
    from its own defaults. ``{"loss": "hcl"}`` is short for ``{"loss.name": "hcl"}``.

    Raises:
        ConfigError: an unknown key (with the nearest known one) or a value that does not fit.
    """
    values = config.model_dump()
    # Names come first, because a new name drops the parameters of the old one.
    for key, value in sorted(changes.items(), key=lambda change: not _is_name(*change)):
        _assign(values, key, value)
    return type(config)(**values)


def _is_name(key: str, value: Any) -> bool:
    return key.endswith(".name") or ("." not in key and isinstance(value, str | Settings))


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    section, _, rest = key.partition(".")
    inner = values.get(section)
    if isinstance(value, Settings):
        value = value.model_dump()
    if isinstance(inner, dict) and (rest or isinstance(value, str)):
        _assign_inside(inner, rest or "name", value)
    elif isinstance(inner, dict) and not isinstance(value, dict):
        raise ConfigError(f"{key}: {value!r} came for a group of settings; {_group_hint(key, inner, value)}")
    else:
        values[section] = {rest: value} if rest else value


def _group_hint(key: str, inner: Mapping[str, Any], value: Any) -> str:
    from couplings.losses import LOSSES

    names = [name for name, kind in LOSSES.items() if type(value) is kind]
    if names:
        return f"pass its name '{names[0]}', and its parameters as in {{'{key}.temperature': 0.2}}"
    return f"set one of them, as in {key}.{next(iter(inner))}"


def _assign_inside(inner: dict[str, Any], key: str, value: Any) -> None:
    if "params" in inner and key not in inner and not key.startswith("params."):
        inner["params"] = {**inner["params"], key: value}
    elif key == "name" and "params" in inner and value != inner["name"]:
        inner.update(name=value, params={})
    else:
        _assign(inner, key, value)
