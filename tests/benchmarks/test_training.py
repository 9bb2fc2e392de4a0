from __future__ import annotations

from typing import Any

import pytest
import torch

from couplings.benchmarks.training import Lightly, Ours, Setting, works
from couplings.benchmarks.work import NotComparable, Size
from couplings.train import DataError, Dataset, from_arrays, preset, with_overrides
from couplings.train.views import Views

CPU = torch.device("cpu")
SIZE = Size(32)


def _tiny() -> Dataset:
    """Images of 12 x 12 pixels, each of nine grey squares of its own."""
    squares = torch.rand(64, 3, 3, generator=torch.Generator().manual_seed(0))
    images = squares.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return from_arrays(images, torch.arange(64) % 2, test_fraction=0.25)


def _missing() -> Dataset:
    raise DataError("they are not here")


@pytest.fixture
def setting() -> Setting:
    tame = {"views.crop": (0.9, 1.0), "views.flip": 0.0, "views.gamma": 0.1}
    changes = {"encoder.width": 8, "projector.hidden": 32, "projector.dim": 16, "log_every": 2, "diagnose_every": 4}
    return Setting(with_overrides(preset("fashion-mnist"), {**tame, **changes}), _tiny, steps=8)


@pytest.mark.parametrize("side", ["ours", "lightly", "lightly with a worker"])
def test_both_sides_train(setting: Setting, side: str) -> None:
    torch.manual_seed(0)
    make = Ours(setting) if side == "ours" else Lightly(setting, int("worker" in side))
    call = make(SIZE, CPU)
    losses = [float(call()[0]) for _ in range(8)]
    assert sum(losses[-3:]) / 3 < losses[0] - 0.1


def test_both_sides_see_as_many_images(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = Views.of

    def counted(self: Views, images: torch.Tensor, index: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, ...]:
        seen.append(index.shape[1])
        return whole(self, images, index, *rest)

    monkeypatch.setattr(Views, "of", counted)
    Ours(setting)(SIZE, CPU)()
    theirs = [len(first) for (first, _), _ in Lightly(setting, 0)._loader(_tiny(), setting.sized(SIZE))]
    assert seen == theirs == [16] * 8
    assert setting.units(SIZE) == sum(seen)


def test_the_transform_has_our_ranges_and_gives_two_views_in_unit_range(setting: Setting) -> None:
    loader = Lightly(setting, 0)._loader(_tiny(), setting.sized(SIZE))
    (first, second), _ = next(iter(loader))
    assert first.shape == second.shape == (16, 1, 12, 12)
    assert not torch.equal(first, second)
    assert 0 <= first.min() < first.max() <= 1


def test_both_sides_train_the_same_recipe() -> None:
    (work,) = works()
    assert {contender.make.setting for contender in work.contenders} == {work.ours.make.setting}
    assert [goal.against for goal in work.goals] == [peer.name for peer in work.peers]


def test_missing_images_are_a_note_not_a_failure(setting: Setting) -> None:
    for make in (Ours(Setting(setting.config, _missing)), Lightly(Setting(setting.config, _missing), 0)):
        with pytest.raises(NotComparable, match="they are not here"):
            make(SIZE, CPU)
