"""The pictures of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from couplings.losses import LOSSES
from couplings.train import Dataset, RunConfig, evaluate, pictures, train, with_overrides
from couplings.train.pictures import draw_coupling, draw_run, title


@pytest.mark.parametrize(
    ("loss", "params", "said"),
    [
        ("infonce", {}, f"temperature {LOSSES['infonce']().temperature}"),
        ("hcl", {"beta": 2.0}, "temperature 0.3, beta 2, tau_plus 0"),
        ("cacr", {"ordered": True}, "alpha 1, beta 1, cost sqeuclidean, tau_plus 0, ordered True"),
    ],
)
def test_the_title_tells_the_parameters_of_every_loss(
    loss: str, params: dict[str, object], said: str, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    changes = {"loss": loss, "steps": 1, **{f"loss.{name}": value for name, value in params.items()}}
    run = train(with_overrides(tiny_config, changes), tmp_path / "run", dataset=tiny_data)
    first, second = title(run, ", 1 step").splitlines()
    assert first == f"{loss} on arrays, seed 0, 1 step"
    assert second.endswith(said)
    assert all(path.is_file() for path in draw_run(run, tiny_data))


def test_the_picture_of_cacr_with_five_views_shows_its_repulsion(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the attraction of all rows to four views each has as many numbers as the plan between two views."""
    run = train(
        with_overrides(tiny_config, {"loss": "cacr", "views.count": 5, "steps": 1}), tmp_path / "run", dataset=tiny_data
    )
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(pictures, "coupling_picture", lambda plan, *_, **kept: drawn.update(kept, plan=plan))
    draw_coupling(run, tiny_data, tmp_path / "coupling.png")
    assert drawn["plan"].shape == (20, 20)
    assert (drawn["plan"].diagonal() == 0).all()
    assert "coupling (view 1 to view 2)" in drawn["title"]


def test_names_of_classes_are_no_formulas(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    named = replace(tiny_data, classes=("Ke$$ha", "$x_1$ \udce9\x1b[31m\n[red]"))
    run = train(with_overrides(tiny_config, {"steps": 1}), tmp_path / "run", dataset=named)
    assert all(path.is_file() for path in draw_run(run, named))
    evaluate(run, named)
    assert (run.folder / "evaluation.json").is_file()
