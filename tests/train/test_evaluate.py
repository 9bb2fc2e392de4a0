from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from couplings import CouplingWarning
from couplings.train import (
    DataError,
    Dataset,
    Evaluation,
    Run,
    RunConfig,
    baselines,
    evaluate,
    from_arrays,
    train,
    with_overrides,
)
from couplings.train.encoders import ENCODERS, ImageShape
from couplings.train.evaluate import _draw, _start, untrained_encoder
from couplings.train.neighbours import knn_predict, leave_one_out_accuracy


def test_knn_agrees_with_scikit_learn() -> None:
    bank, queries = torch.randn(200, 6), torch.randn(50, 6)
    labels = torch.randint(4, (200,))

    def weigh(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances) / 0.07)

    judge = KNeighborsClassifier(9, metric="cosine", weights=weigh).fit(bank.numpy(), labels.numpy())
    ours = knn_predict(bank, labels, queries, neighbours=9)
    assert np.array_equal(ours.numpy(), judge.predict(queries.numpy()))


def test_knn_takes_fewer_in_the_bank_than_neighbours() -> None:
    assert knn_predict(torch.eye(3), torch.tensor([0, 1, 2]), torch.eye(3), neighbours=20).tolist() == [0, 1, 2]


def test_leave_one_out_never_asks_the_row_itself() -> None:
    # Two rows of each direction with different labels: the nearest other is always wrong.
    features = torch.eye(3).repeat(2, 1)
    assert leave_one_out_accuracy(features, ["a", "a", "a", "b", "b", "b"], neighbours=1) == 0
    assert leave_one_out_accuracy(features, [0, 1, 2, 0, 1, 2], neighbours=1) == 1


def test_few_labels_are_drawn_evenly_and_differently() -> None:
    labels = np.array([0] * 50 + [1] * 30 + [2] * 4)
    rows = _draw(labels, 10, seed=0)
    assert np.bincount(labels[rows]).tolist() == [10, 10, 4]
    assert len(set(rows)) == 24
    assert set(rows) != set(_draw(labels, 10, seed=1))


def test_the_untrained_encoder_has_its_batch_norm_statistics_set(tiny_config: RunConfig, tiny_data: Dataset) -> None:
    encoder = untrained_encoder(tiny_config, tiny_data)
    inside: list[torch.Tensor] = []
    first = next(part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d))
    first.register_forward_hook(lambda _module, _inputs, output: inside.append(output))
    encoder(tiny_data.train_images.float() / 255)
    torch.testing.assert_close(inside[0].mean((0, 2, 3)), torch.zeros(4), atol=0.02, rtol=0)
    torch.testing.assert_close(inside[0].std((0, 2, 3)), torch.ones(4), atol=0.02, rtol=0)
    assert not encoder.training


def test_the_untrained_encoder_is_where_training_starts(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    slow = with_overrides(tiny_config, {"optimiser.lr": 1e-12, "optimiser.weight_decay": 0.0, "steps": 1})
    run = train(slow, tmp_path / "run", dataset=tiny_data)
    start = untrained_encoder(slow, tiny_data)
    for ours, theirs in zip(run.encoder.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


def test_an_evaluation_stands_beside_its_baselines(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(tiny_config, tmp_path / "run", dataset=tiny_data)
    result = evaluate(run)
    assert result.baselines == baselines(tiny_data, tiny_config)
    assert result == replace(evaluate(Run.load(run.folder), tiny_data), seconds=result.seconds)
    saved = json.loads((run.folder / "evaluation.json").read_text())
    assert Evaluation.from_json(saved) == replace(result, seconds=saved["seconds"])
    # Which half is bright can be read off the pixels.
    assert result.pixels.linear == 1
    assert result.feature_dim == run.encoder.dim == 16
    assert 1 <= result.effective_rank <= 16
    for probe in (result.trained, result.pixels, result.untrained):
        assert all(0 <= value <= 1 for value in probe)


class _Loaded(nn.Sequential):
    """Random weights, or those of elsewhere."""

    def __init__(self, shape: ImageShape, pretrained: bool = False) -> None:
        super().__init__(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, 4), nn.BatchNorm1d(4))
        if pretrained:
            if Path("gone").exists():
                raise OSError
            nn.init.constant_(self[1].weight, 0.25)


def test_a_pretrained_encoder_has_a_row_of_its_own(
    tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ENCODERS, "loaded", _Loaded)
    config = with_overrides(tiny_config, {"encoder": "loaded", "encoder.pretrained": True, "steps": 1})
    random, start = untrained_encoder(config, tiny_data), _start(config, tiny_data)
    run = train(with_overrides(config, {"optimiser.lr": 1e-12}), tmp_path / "run", dataset=tiny_data)
    assert random.backbone[1].weight.std() > 0.01
    torch.testing.assert_close(start.backbone[1].weight, run.encoder.backbone[1].weight, rtol=0, atol=1e-9)
    result = evaluate(run)
    assert list(result.baselines.rows()) == ["raw pixels", "untrained encoder", "pretrained encoder"]
    assert result.pretrained != result.untrained
    assert (
        Evaluation.from_json(json.loads((run.folder / "evaluation.json").read_text())).pretrained == result.pretrained
    )

    Path("gone").touch()
    with pytest.warns(CouplingWarning, match=r"the pretrained encoder is not measured: .*\(OSError\)"):
        again = evaluate(Run.load(run.folder), tiny_data)
    assert (again.pretrained, again.untrained, again.trained) == (None, result.untrained, result.trained)


def test_given_baselines_are_not_computed_again(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(tiny_config, tmp_path / "run", dataset=tiny_data)
    given = baselines(tiny_data, with_overrides(tiny_config, {"seed": 3}))
    result = evaluate(run, baseline=given)
    assert result.baselines == given


def test_unlabelled_training_images_are_left_out_of_the_probes(tiny_config: RunConfig, tiny_data: Dataset) -> None:
    assert tiny_data.train_labels is not None
    more = replace(
        tiny_data,
        train_images=tiny_data.train_images.repeat(3, 1, 1, 1),
        train_labels=torch.cat([tiny_data.train_labels, torch.full((96,), -1)]),
        train_ids=None,
    )
    assert baselines(more, tiny_config).pixels == baselines(tiny_data, tiny_config).pixels


@pytest.mark.parametrize(
    ("labels", "test_images", "message"),
    [
        (None, True, "needs labels of training and test images"),
        ([3] * 20, True, "needs at least two classes, got 1"),
        ([0, 1] * 10, False, "needs labelled test images|needs labels of training and test images"),
    ],
)
def test_data_that_cannot_be_probed_is_refused(
    labels: list[int] | None, test_images: bool, message: str, tiny_config: RunConfig, tmp_path: Path
) -> None:
    images = torch.randint(256, (20, 8, 8))
    test = (images, labels) if test_images else (None, None)
    data = from_arrays(images, labels, *test)
    run = train(tiny_config, tmp_path / "run", dataset=data)
    with pytest.raises(DataError, match=message):
        evaluate(run)
    assert not (run.folder / "evaluation.json").exists()
