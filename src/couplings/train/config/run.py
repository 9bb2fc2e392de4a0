"""How long and how fast it is trained, what is measured, and everything together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from typing_extensions import Self

from couplings.train.config.base import Count, Fraction, Seed, Settings, Steps
from couplings.train.config.images import DataConfig, PairsConfig, ViewsConfig
from couplings.train.config.model import EncoderConfig, LossConfig, MomentumConfig, PredictorConfig, ProjectorConfig

__all__ = ["EvaluationConfig", "OptimiserConfig", "RunConfig"]

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
_WITH_MOMENTUM, _MOMENTUM = ("sgd", "lars"), 0.9


class OptimiserConfig(Settings):
    """The optimiser and its learning rate: a linear warm-up (over half of the steps at most), then the schedule.

    Attributes:
        name: ``adamw``, ``adam`` (its decay is added to the gradient), ``sgd`` or ``lars``.
        lr: the highest learning rate.
        momentum: of ``sgd`` and ``lars`` (0.9 if None).
        nesterov: let ``sgd`` look ahead along its momentum.
        schedule: ``cosine`` to zero, ``step`` by ``factor`` at each of the ``milestones``, or ``constant``.
        milestones: shares of all steps, as in (0.6, 0.8).
    """

    name: Literal["adamw", "adam", "sgd", "lars"] = "adamw"
    lr: PositiveFloat = 4e-3
    weight_decay: NonNegativeFloat = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    nesterov: bool = False
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 20
    milestones: tuple[Fraction, ...] = ()
    factor: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _no_ignored_key(self) -> Self:
        if self.momentum is not None and self.name not in _WITH_MOMENTUM:
            raise ValueError(f"momentum: '{self.name}' has none; leave it out, or set optimiser.name=sgd")
        if self.nesterov and not (self.name == "sgd" and self.inertia):
            raise ValueError(f"nesterov: '{self.name}' has no such momentum; leave it out, or set optimiser.name=sgd")
        stepped = self.schedule == "step"
        if stepped and not self.milestones:
            raise ValueError("milestones: missing; say where the rate falls, as in optimiser.milestones=[0.6, 0.8]")
        if not stepped and (self.milestones or self.factor is not None):
            key = "milestones" if self.milestones else "factor"
            raise ValueError(f"{key}: schedule '{self.schedule}' has no steps; set optimiser.schedule=step")
        return self

    @property
    def inertia(self) -> float:
        """The momentum, given or not."""
        return _MOMENTUM if self.momentum is None else self.momentum


class EvaluationConfig(Settings):
    """What is measured on frozen features after the last step.

    Attributes:
        neighbours: k of the kNN vote.
        probe_limit: a seeded subset of that many training images is the kNN bank and trains the probes.
        few_labels: labels a class of the few-label probe.
        draws: how many times these labels are drawn; the mean is reported.
    """

    neighbours: Count = 20
    probe_limit: Count = 10_000
    few_labels: Count = 10
    draws: Annotated[int, Field(gt=0, le=1000)] = 5


class RunConfig(Settings):
    """Everything that decides a run.

    Attributes:
        batch_size: images of a step over all processes, each in all its views.
        micro_batch: images that the encoder holds at a time, each in all its views: two passes (GradCache, see
            :class:`couplings.TwoPass`), for a batch whose activations do not fit. None encodes the batch in one pass.
        steps: of training.
        log_every: steps between two records of the loss.
        diagnose_every: steps between two records of alignment, uniformity, plan entropy and effective rank.
        checkpoint_every: steps between two checkpoints, from which the run continues after whatever stopped it.
    """

    data: DataConfig = DataConfig()
    views: ViewsConfig = ViewsConfig()
    pairs: PairsConfig = PairsConfig()
    encoder: EncoderConfig = EncoderConfig()
    projector: ProjectorConfig = ProjectorConfig()
    predictor: PredictorConfig | None = None
    momentum: MomentumConfig | None = None
    loss: LossConfig = Field(default_factory=LossConfig)
    optimiser: OptimiserConfig = OptimiserConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    batch_size: Count = 128
    micro_batch: Count | None = None
    steps: Steps = 250
    precision: Precision = "32-true"
    seed: Seed = 0
    log_every: Steps = 10
    diagnose_every: Steps = 50
    checkpoint_every: Steps = 100

    def begins(self, longer: RunConfig) -> bool:
        """Whether a run of more steps has the steps of this one: no rate, no decay depends on their number."""
        fixed = self.optimiser.schedule == "constant" and 2 * self.optimiser.warmup_steps <= self.steps
        rising = self.momentum is not None and self.momentum.rise
        return fixed and not rising and self.steps < longer.steps

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise ValueError(
                f"micro_batch: {self.micro_batch} is more than batch_size, {self.batch_size}; "
                "lower it, or leave it out to encode the batch in one pass"
            )
        queue = 0 if self.momentum is None else self.momentum.queue
        if self.batch_size < 2 and self.pairs.negatives is None:
            raise ValueError(
                "batch_size: got 1, and one image has no negatives; take 2 or more, or set pairs.negatives"
            )
        if queue and self.pairs.negatives is not None:
            raise ValueError("momentum.queue: pairs.negatives replaces all other negatives; drop one")
        return self
