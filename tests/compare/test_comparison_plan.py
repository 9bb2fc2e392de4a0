"""Which runs a comparison makes."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
import yaml
from made import loss, tiny

from couplings.compare import Comparison, losses_named, plan, variants_of
from couplings.compare.variants import SUPERVISED
from couplings.losses import LOSSES
from couplings.train import ConfigError, preset


def names(*words: str) -> list[str]:
    return [variant.name for variant in losses_named(words, yaml.safe_load)]


def test_losses_by_name() -> None:
    assert names("all") == list(LOSSES)
    assert names("infonce", "hcl-ot:reg=0.3,optimiser.lr=0.001") == ["infonce", "hcl-ot reg=0.3 optimiser.lr=0.001"]
    (variant,) = losses_named(["hcl-ot:reg=0.3,views.crop=[0.4,1]"], yaml.safe_load)
    assert variant.overrides == {"loss.name": "hcl-ot", "loss.reg": 0.3, "views.crop": [0.4, 1]}


def test_varied_settings_make_all_combinations() -> None:
    found = variants_of([loss("infonce"), loss("hcl")], {"steps": [3, 4], "views.crop": [[0.4, 1]]})
    assert [variant.name for variant in found] == [
        "infonce, steps=3, views.crop=[0.4,1]",
        "infonce, steps=4, views.crop=[0.4,1]",
        "hcl, steps=3, views.crop=[0.4,1]",
        "hcl, steps=4, views.crop=[0.4,1]",
    ]
    assert {variant.family for variant in found} == {"infonce", "hcl"}
    assert [variant.name for variant in variants_of([], {"steps": [3]})] == ["steps=3"]


def test_every_variant_has_the_same_seeds_and_a_folder_of_its_own(tmp_path: Path) -> None:
    rows = variants_of([loss("infonce"), loss("hcl", beta=2)], {"pairs.negatives": [1, 4]})
    comparison = Comparison.plan(tmp_path, {"a": tiny(), "b": tiny()}, rows, [3, 5], supervised=True)
    assert len(comparison.trials) == 2 * 2 * 5 == len({trial.folder for trial in comparison.trials})
    for row in comparison.variants:
        assert [t.config.seed for t in comparison.trials if t.variant == row] == [3, 5, 3, 5]
    trial = comparison.trials[3]
    assert trial.folder == tmp_path / "runs" / "a-hcl-beta=2-pairs.negatives=4-seed3"
    assert (trial.config.loss.params, trial.config.pairs.negatives) == ({"beta": 2}, 4)
    assert comparison.variants[-1] is SUPERVISED
    assert comparison.reference is comparison.variants[0]
    # Data sets one after the other: a worker holds one of them.
    assert [trial.data for trial in comparison.trials] == ["a"] * 10 + ["b"] * 10
    assert not list(tmp_path.iterdir())


def test_shared_settings_come_before_those_of_a_variant(tmp_path: Path) -> None:
    shared = {"loss.temperature": 0.3, "steps": 7}
    rows = [loss("infonce"), loss("hcl", temperature=0.9), loss("cacr")]
    comparison = Comparison.plan(tmp_path, {"a": tiny()}, rows, [0], shared=shared, supervised=True)
    assert [trial.config.loss.params.get("temperature") for trial in comparison.trials] == [0.3, 0.9, None]
    assert {trial.config.steps for trial in comparison.trials} == {7}
    (refused,) = comparison.refused
    assert (refused.variant, "loss.temperature" in refused.message) == ("cacr", True)


def test_a_setting_that_fits_no_variant_stops(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="temprature"):
        Comparison.plan(tmp_path, {"a": tiny()}, [loss("hcl")], [0], shared={"loss.temprature": 1}, supervised=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": []}, "seeds: 0 came"),
        ({"seeds": [1, 2, 1]}, "each seed once"),
        ({"workers": 0}, "workers: 0"),
        ({"reference": "hlc"}, "did you mean 'hcl'"),
        ({"folder": "file"}, "is a file"),
    ],
)
def test_refused_plans(change: dict[str, object], words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    settings: dict[str, object] = {"folder": "new", "seeds": [0], "workers": None, "reference": None, **change}
    folder = tmp_path / str(settings.pop("folder"))
    seeds = settings.pop("seeds")
    with pytest.raises(ConfigError, match=words):
        Comparison.plan(folder, {"a": tiny()}, [loss("hcl")], seeds, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "axes", "said"),
    [
        (["hclot"], {}, "did you mean 'hcl-ot'"),
        (["hcl-ot:reg"], {}, "hcl-ot:reg=0.3"),
        (["hcl-ot:reg=0.1,reg=0.2"], {}, r"gives loss\.reg twice; keep one"),
        (["hcl", "hcl"], {}, "'hcl' came twice"),
        (["all", "hcl"], {}, "'hcl' came twice"),
        ([], {}, "name some"),
        (["hcl"], {"seed": [1]}, "--seeds"),
        (["hcl"], {"data.name": ["npz"]}, "--data"),
    ],
)
def test_refused_variants(words: list[str], axes: dict[str, list[object]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        variants_of(losses_named(words, yaml.safe_load), axes)


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    rows = variants_of([], {"data.folder": ["a/b", "a_b"]})
    with pytest.raises(ConfigError, match="share a folder"):
        Comparison.plan(tmp_path, {"npz": preset("npz")}, rows, [0])


def test_examples_of_the_plan() -> None:
    found = doctest.testmod(plan)
    assert (found.failed, found.attempted > 0) == (0, True)
