"""Training encoders with the losses of couplings, and measuring what they learnt.

>>> from couplings.train import load, preset
>>> config = preset("digits")
>>> data = load(config.data)          # then: run = train(config, "runs/digits", dataset=data); evaluate(run)
"""

from couplings.train.config import (
    DataConfig,
    EncoderConfig,
    EvaluationConfig,
    LocalViewsConfig,
    LossConfig,
    MomentumConfig,
    OptimiserConfig,
    PairsConfig,
    PredictorConfig,
    ProjectorConfig,
    RunConfig,
    ViewsConfig,
    with_overrides,
)
from couplings.train.data import Dataset, from_arrays
from couplings.train.errors import ConfigError, DataError, Interrupted
from couplings.train.evaluate import Baselines, Evaluation, Probe, baselines, evaluate
from couplings.train.export import load_encoder, load_model
from couplings.train.fit import fit
from couplings.train.loggers import Several, to_tensorboard, to_tracker, to_trackio, to_wandb
from couplings.train.loop import train
from couplings.train.presets import preset
from couplings.train.recipes import Recipe, read_recipe
from couplings.train.records import Observer, Plan, Silent, StepRecord
from couplings.train.run import Run
from couplings.train.runs import find_runs
from couplings.train.sources import load

__all__ = [
    "Baselines",
    "ConfigError",
    "DataConfig",
    "DataError",
    "Dataset",
    "EncoderConfig",
    "Evaluation",
    "EvaluationConfig",
    "Interrupted",
    "LocalViewsConfig",
    "LossConfig",
    "MomentumConfig",
    "Observer",
    "OptimiserConfig",
    "PairsConfig",
    "Plan",
    "PredictorConfig",
    "Probe",
    "ProjectorConfig",
    "Recipe",
    "Run",
    "RunConfig",
    "Several",
    "Silent",
    "StepRecord",
    "ViewsConfig",
    "baselines",
    "evaluate",
    "find_runs",
    "fit",
    "from_arrays",
    "load",
    "load_encoder",
    "load_model",
    "preset",
    "read_recipe",
    "to_tensorboard",
    "to_tracker",
    "to_trackio",
    "to_wandb",
    "train",
    "with_overrides",
]
