from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from couplings.losses import LOSSES, InfoNCE, parameters_of
from couplings.train import ConfigError, RunConfig, ViewsConfig, preset, with_overrides
from couplings.train.config import DATA_NAMES, DataConfig, EncoderConfig, LossConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_szie": 3}, r"batch_szie: unknown key; did you mean 'batch_size'\?"),
        ({"optimizer.lr": 0.1}, r"optimizer: unknown key; did you mean 'optimiser'\?"),
        ({"optimiser.wieght_decay": 0.1}, r"optimiser\.wieght_decay: unknown key; did you mean 'weight_decay'"),
        ({"loss.temperatur": 0.1}, r"^loss\.temperatur: unknown parameter; did you mean 'temperature'"),
        ({"loss.name": "infonec"}, r"loss\.name: unknown name 'infonec'; did you mean 'infonce'\?"),
        ({"data.name": "digit"}, r"data\.name: unknown name 'digit'; did you mean 'digits'\?"),
        ({"encoder": "resnet81"}, r"encoder\.name: unknown name 'resnet81'; did you mean 'resnet18'\?"),
        ({"encoder.widht": 3}, r"^encoder\.widht: unknown parameter; did you mean 'width'\?"),
        ({"steps": 0}, r"steps: .*greater than 0, got 0"),
        ({"steps": -5}, r"steps: .*greater than 0, got -5"),
        ({"steps": "many"}, r"steps: .*integer.*got 'many'"),
        ({"batch_size": 1}, r"batch_size: .*got 1"),
        ({"optimiser.lr": float("nan")}, r"optimiser\.lr: .*got nan"),
        ({"views.crop": (1.0, 0.5)}, r"views\.crop: a range is written \(low, high\), got \(1\.0, 0\.5\)"),
        ({"views.blur": (0.1, 3)}, r"views\.blur: a probability is from 0 to 1, or a list of one .*got \(0\.1, 3\)"),
        ({"views.solarise": "often"}, r"views\.solarise: a probability is from 0 to 1.*got 'often'"),
        ({"views.blur": (0.1, 0.2, 0.3)}, r"views\.blur: 3 probabilities for 2 views; give each view one"),
        (
            {"views.jitter": 0.8, "views.contrast": 0},
            r"views\.jitter: there is nothing to leave out; set one of bright",
        ),
        (
            {"projector.hidden": None, "projector.batch_norm": False},
            r"projector\.batch_norm: one linear layer has none",
        ),
        (
            {"optimiser.name": "sgd", "optimiser.momentum": 0.0, "optimiser.nesterov": True},
            r"optimiser\.nesterov: 'sgd' has no such momentum; leave it out",
        ),
        ({"views.count": 1}, r"views\.count: .*got 1"),
        ({"precision": "float8"}, r"precision: .*'32-true'.*got 'float8'"),
        ({"seed": 2**63}, rf"seed: .*{2**63 - 1}, got {2**63}"),
        ({"loss": 3}, r"^loss: 3 came for a group of settings; set one of them, as in loss\.name"),
        ({"views": 0.5}, r"^views: 0\.5 came .*views\.count"),
        ({"loss": InfoNCE()}, r"^loss: InfoNCE\(.*\) came .*pass its name 'infonce'"),
        ({"steps.deep": 1}, r"steps: .*integer"),
        ({"data.folder": "x"}, r"data\.folder: 'digits' reads no files"),
        ({"data.download": True}, r"data\.download: 'digits' has nothing to fetch"),
        ({"data.test_fraction": 0.5}, r"data\.test_fraction: 'digits' has its own test images"),
        ({"data.name": "npz"}, r"data\.folder: missing; data\.folder names the \.npz file"),
    ],
)
def test_mistakes_name_the_key_the_value_and_the_remedy(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_overrides(preset("digits"), changes)


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_loss_parameter_can_be_set_and_misspelt_ones_are_refused(name: str) -> None:
    first, parameter = next(iter(parameters_of(LOSSES[name]).items()))
    default = parameter.default
    config = with_overrides(RunConfig(), {"loss": name, f"loss.{first}": default})
    assert config.loss == LossConfig(name=name, params={first: default})
    assert isinstance(config.loss.build(), LOSSES[name])
    with pytest.raises(ConfigError, match=f"^{first}x: unknown parameter; did you mean '{first}'"):
        LossConfig(name=name, params={first + "x": 1})


def test_the_loss_checks_its_own_parameters_when_the_config_is_made() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        with_overrides(preset("digits"), {"loss.temperature": -1.0})


def test_a_new_loss_drops_the_parameters_of_the_old_one() -> None:
    old = preset("fashion-mnist")
    assert old.loss.params == {"temperature": 0.2}
    assert with_overrides(old, {"loss.name": "gca-ince"}).loss.params == {}
    both = with_overrides(old, {"loss.sweeps": 2, "loss": "gca-ince"})
    assert both.loss == LossConfig(name="gca-ince", params={"sweeps": 2})
    assert with_overrides(old, {"loss": "infonce"}).loss.params == {"temperature": 0.2}


def test_overrides_leave_the_original_alone_and_reach_inside() -> None:
    old = preset("digits")
    new = with_overrides(old, {"views": ViewsConfig(flip=0.5), "encoder.width": 8, "loss.params.temperature": 1.0})
    assert (new.views.flip, new.encoder.params, new.loss.params) == (0.5, {"width": 8}, {"temperature": 1.0})
    assert old == preset("digits")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", DATA_NAMES)
def test_presets_survive_json(name: str) -> None:
    config = preset(name)
    assert config.data.name == name
    assert RunConfig(**json.loads(json.dumps(config.model_dump(mode="json")))) == config


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'fashion-mnist'"):
        preset("fashion_mnist")


def test_nested_settings_report_their_own_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"^nmae: unknown key; did you mean 'name'"):
        DataConfig(nmae="digits")
    with pytest.raises(ConfigError, match="timm:NAME"):
        EncoderConfig(name="zzz")
