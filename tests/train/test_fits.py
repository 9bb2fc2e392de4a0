from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from couplings.train import ConfigError, Dataset, RunConfig, from_arrays, train, with_overrides
from couplings.train.encoders import ImageShape, build_encoder
from couplings.train.fits import check_encoder_fits, check_fits

ZEROS = np.zeros((12, 8, 10))
GCA = {"loss.name": "gca-ince", "loss.target": {"within": 1.0, "across": 0.5}, "pairs.domains": True}
MISFITS: dict[str, tuple[Mapping[str, Any], dict[str, Any], str]] = {
    "batch": ({"batch_size": 13}, {}, "batch_size: 13 is more than the 12 training images; lower it"),
    "hue": ({"views.hue": 0.1}, {}, r"views\.hue: the images have 1 channel and no colour; set it to 0"),
    "local": (
        {"views.local": {"size": 9}},
        {},
        r"views\.local\.size: 9 is more than .* 8 x 10 pixels; take 4 ",
    ),
    "class": ({"pairs.positives": "class"}, {}, r"pairs\.positives=class: arrays has no labels; give some, or leave"),
    "class, unlabelled": (
        {"pairs.positives": "class"},
        {"labels": [-1] * 3 + [0, 1, 2] * 3},
        r"pairs\.positives=class: 3 of 12 training images of arrays have no label \(-1\); train on the labelled ones",
    ),
    "class of one": (
        {"pairs.positives": "class"},
        {"labels": ["ant"] * 10 + ["bee", "cat"]},
        r"pairs\.positives=class: class 'bee' \(and 1 more such classes\) has one training image.*raise data\.limit",
    ),
    "labels": ({"pairs.labels": True}, {}, r"pairs\.labels: arrays has no labels"),
    "domains": (GCA, {}, r"pairs\.domains: nothing says which domain .*data\.domains=true .*array of the \.npz"),
    "domains, unknown": (GCA, {"domains": [-1] * 2 + [0, 1] * 5}, r"pairs\.domains: 2 training images .*name theirs"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_the_data_cannot_serve_is_refused_before_anything_is_written(
    case: str, tiny_config: RunConfig, tmp_path: Path
) -> None:
    changes, arrays, message = MISFITS[case]
    config = with_overrides(tiny_config, {"batch_size": 4, **changes})
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path / "run", dataset=from_arrays(ZEROS, **arrays))
    assert not list(tmp_path.iterdir())


FITTING: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {
    "batch": ({"batch_size": 12}, {}),
    "local": ({"views.local": {"size": 8}}, {}),
    "class": ({"pairs.positives": "class"}, {"labels": [0, 1] * 6}),
    # A class may have test images alone.
    "class elsewhere": (
        {"pairs.positives": "class"},
        {"labels": [0, 1] * 6, "test_images": ZEROS[:1], "test_labels": [2]},
    ),
    "labels": ({"pairs.labels": True}, {"labels": [0, 1] * 6}),
    "unlabelled": ({}, {"labels": [-1] * 12}),
    "domains": (GCA, {"domains": [0, 1] * 6}),
}


@pytest.mark.parametrize("case", FITTING)
def test_what_fits_passes(case: str, tiny_config: RunConfig) -> None:
    changes, arrays = FITTING[case]
    check_fits(with_overrides(tiny_config, {"batch_size": 4, **changes}), from_arrays(ZEROS, **arrays))


def test_a_limit_may_leave_a_class_with_one_image(tiny_config: RunConfig, tiny_data: Dataset) -> None:
    config = with_overrides(tiny_config, {"batch_size": 2, "pairs.positives": "class"})
    check_fits(config, tiny_data)
    assert tiny_data.train_labels is not None
    one, *others = (tiny_data.train_labels == 0).nonzero()[:, 0], (tiny_data.train_labels == 1).nonzero()[:, 0]
    with pytest.raises(ConfigError, match="class '0' has one training image"):
        check_fits(config, tiny_data.keeping(torch.cat([one[:1], *others])))


def test_an_encoder_of_one_image_size_takes_no_local_views() -> None:
    plain = with_overrides(RunConfig(), {"encoder": "small-alexnet"})
    config = with_overrides(plain, {"views.local": {"size": 16}})
    shape = ImageShape(3, 32, 32)
    alexnet = build_encoder("small-alexnet", shape, {"width": 8}).train()
    with pytest.raises(ConfigError, match=r"views\.local\.size: the encoder 'small-alexnet' does not take .*16 x 16"):
        check_encoder_fits(config, alexnet)
    assert alexnet.training
    check_encoder_fits(plain, alexnet)
    check_encoder_fits(with_overrides(config, {"encoder": "small-cnn"}), build_encoder("small-cnn", shape))
