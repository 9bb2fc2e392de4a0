"""The settings of a run: frozen pydantic models that refuse unknown keys and say what was meant.

>>> config = with_overrides(RunConfig(), {"loss.temperature": 0.2, "steps": 300})
>>> config.loss.params, config.steps
({'temperature': 0.2}, 300)
"""

from couplings.train.config.base import Settings
from couplings.train.config.images import DATA_NAMES, DataConfig, LocalViewsConfig, PairsConfig, ViewsConfig
from couplings.train.config.model import EncoderConfig, LossConfig, MomentumConfig, PredictorConfig, ProjectorConfig
from couplings.train.config.overrides import differences, images_with, with_overrides
from couplings.train.config.run import EvaluationConfig, OptimiserConfig, RunConfig
from couplings.train.errors import ConfigError

__all__ = [
    "DATA_NAMES",
    "ConfigError",
    "DataConfig",
    "EncoderConfig",
    "EvaluationConfig",
    "LocalViewsConfig",
    "LossConfig",
    "MomentumConfig",
    "OptimiserConfig",
    "PairsConfig",
    "PredictorConfig",
    "ProjectorConfig",
    "RunConfig",
    "Settings",
    "ViewsConfig",
    "differences",
    "images_with",
    "with_overrides",
]
