"""Arguments that are objects, said by name: from settings, recipes and the command line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from couplings import (
    CACR,
    GCAINCE,
    HCLOT,
    KL,
    RBF,
    AlphaCL,
    Domains,
    LogDistance,
    Loss,
    Marginal,
    ModifiedTriplet,
    PairLoss,
    Power,
    ScaledInfoNCE,
    Triplet,
)
from couplings.compare.variants import losses_named
from couplings.losses import NAMED, argument, known_objects, parameters_of
from couplings.losses.named import FUNCTIONS
from couplings.train.config import ConfigError, LossConfig, RunConfig, with_overrides
from couplings.train.config.values import parsed
from couplings.train.recipes import read_recipe
from helpers import unit_views

_OBJECTS: list[tuple[str, str, str, Any]] = [
    ("cacr", "cost", "{name: rbf, t: 0.5}", RBF(0.5)),
    ("hcl-ot", "cost", "{name: log-distance, shift: 0.2, power: 3}", LogDistance(0.2, 3)),
    ("hcl-ot", "rule", "{name: power, q: 3}", Power(3)),
    ("alpha-cl", "cost", "log-distance", LogDistance()),
    ("gca-ince", "target", "{within: 0.3, across: 0.1}", Domains(0.3, 0.1)),
    ("gca-ince", "target", "{name: domains, within: 0.3, across: 0.1}", Domains(0.3, 0.1)),
]


@pytest.mark.parametrize(("loss", "key", "text", "wanted"), _OBJECTS)
def test_settings_recipes_and_options_say_objects(loss: str, key: str, text: str, wanted: Any, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"loss:\n  name: {loss}\n  {key}: {text}\n")
    (variant,) = losses_named(
        [f"{loss}:temperature=0.5,{key}={text}" if loss != "cacr" else f"{loss}:{key}={text}"], parsed
    )
    configs = (
        with_overrides(RunConfig(), {"loss": loss, f"loss.{key}": parsed(text)}),
        read_recipe(tmp_path / "r.yaml").config,
        with_overrides(RunConfig(), variant.overrides),
    )
    for config in configs:
        assert getattr(config.loss.build(), key) == wanted
        assert RunConfig(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("phi", "psi", "member"),
    [
        ("{name: log1p, factor: 0.5}", "{name: exp, scale: 2}", ScaledInfoNCE(temperature=0.5)),
        ("identity", "{name: relu, shift: 0.5}", Triplet(margin=0.5)),
        ("identity", "{name: sigmoid, scale: 5}", ModifiedTriplet(slope=5.0)),
    ],
)
def test_pair_losses_have_names(phi: str, psi: str, member: Loss) -> None:
    views = [view.double() for view in unit_views()]
    loss = LossConfig(name="pair-loss", params={"phi": parsed(phi), "psi": parsed(psi)}).build()
    assert isinstance(loss, PairLoss)
    torch.testing.assert_close(loss(*views), member(*views), rtol=1e-12, atol=1e-12)


def test_functions_are_increasing_where_the_family_needs_them() -> None:
    x = torch.linspace(0.1, 3, 50)
    for name in FUNCTIONS:
        made = NAMED["Callable"][name](scale=2.0, shift=0.1, factor=0.5)
        assert (made(x).diff() > 0).all(), name
        torch.testing.assert_close(made(x), 0.5 * FUNCTIONS[name](2 * x + 0.1))


class _Mine(Loss):
    def __init__(self, rows: Marginal | None = None, repulsion: "RBF | Cost" = None) -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
        super().__init__()
        self.rows, self.repulsion = rows, repulsion

    def value(self, batch: Any, couplings: Any) -> torch.Tensor:
        return batch.scores(1.0, batch.same).at(batch.rows, batch.positives).mean()


def test_losses_of_ones_own_take_objects_by_their_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMED["Cost"], "mine", lambda width=1.0: ("mine", width))
    takes = parameters_of(_Mine)
    made = argument(takes["rows"], {"name": "kl", "rho": 0.5})
    assert isinstance(made, KL)
    assert made.rho == 0.5
    assert argument(takes["repulsion"], {"name": "mine", "width": 2}) == ("mine", 2)
    assert not known_objects(parameters_of(Triplet)["margin"])


@pytest.mark.parametrize(
    ("loss", "params", "message"),
    [
        ("cacr", {"cost": {"name": "rbff"}}, "cost: unknown name 'rbff'; did you mean 'rbf'?"),
        ("cacr", {"cost": {"t": 0.5}}, "cost.name: missing; known: inner-product, cosine, "),
        ("cacr", {"cost": {"name": ["rbf"]}}, "cost: unknown name '['rbf']'; did you mean 'rbf'?"),
        ("cacr", {"cost": {"name": "rbf", "s": 1}}, "cost.s: 'rbf' has no such parameter; did you mean 't'|known: t"),
        ("cacr", {"cost": {"name": "rbf", "t": -1}}, "cost: t must be > 0, got -1"),
        ("cacr", {"cost": {"name": "rbf", "t": "wide"}}, "cost: t must be a number, got 'wide'"),
        ("cacr", {"cost": {"name": "rbf", "t": 10**7}}, "cost.t: 10000000 came; no parameter"),
        ("hcl-ot", {"rule": {"name": "power", "q": "three"}}, "rule: q must be a number, got 'three'"),
        ("gca-ince", {"target": {"within": 1}}, "target.across: missing; 'domains' needs within and across"),
        ("pair-loss", {"phi": "log1p"}, "psi: missing; pair-loss needs one of identity, exp, "),
        ("pair-loss", {"phi": "log1q", "psi": "exp"}, "phi: unknown name 'log1q'; did you mean 'log1p'?"),
        ("pair-loss", {"phi": 3, "psi": "exp"}, "phi must be a function of a tensor, got 3"),
        ("triplet", {"margin": {"name": "rbf"}}, "margin must be a number, got {'name': 'rbf'}"),
    ],
)
def test_what_cannot_be_said_is_told(loss: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as told:
        LossConfig(name=loss, params=params)
    assert any(part in str(told.value) for part in message.split("|"))


def test_every_object_that_a_constructor_takes_has_a_name() -> None:
    losses = (CACR, HCLOT, AlphaCL, GCAINCE)
    assert {key for loss in losses for key, part in parameters_of(loss).items() if known_objects(part)} == {
        "cost",
        "rule",
        "target",
    }
    named = {made for kind in ("Cost", "Rule", "Marginal") for made in NAMED[kind].values()}
    public = __import__("couplings")
    kinds = [getattr(public, name) for name in public.__all__]
    ours = ("couplings.pieces.costs", "couplings.pieces.rules", "couplings.pieces.marginals")
    wanted = {
        kind for kind in kinds if inspect.isclass(kind) and kind.__module__ in ours and not inspect.isabstract(kind)
    }
    assert wanted - named == {public.Cost, public.Marginal}
