"""The pictures of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from couplings.losses import LOSSES
from couplings.train import Dataset, RunConfig, train, with_overrides
from couplings.train.pictures import draw_run, title


@pytest.mark.parametrize(
    ("loss", "params", "said"),
    [
        ("infonce", {}, f"temperature {LOSSES['infonce']().temperature}"),
        ("hcl", {"beta": 2.0}, "temperature 0.5, beta 2, tau_plus 0.1"),
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
