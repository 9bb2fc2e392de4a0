from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from couplings.train import ConfigError, DataError
from couplings.train.checkpoint import fill
from couplings.train.encoders import ENCODERS, ImageShape, Model, build_encoder, head

SHAPES = [ImageShape(1, 15, 16), ImageShape(1, 28, 28), ImageShape(3, 32, 32), ImageShape(3, 64, 48)]
NARROW: dict[str, dict[str, int]] = {"small-cnn": {"width": 4}, "small-alexnet": {"width": 32}}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["small-cnn", "small-alexnet", "resnet18"])
def test_encoders_take_images_at_their_own_resolution(name: str, shape: ImageShape) -> None:
    encoder = build_encoder(name, shape, NARROW.get(name))
    assert encoder(torch.rand(2, *shape)).shape == (2, encoder.dim)
    assert encoder.training


@pytest.mark.parametrize(("name", "dim"), [("small-cnn", 128), ("resnet18", 512), ("resnet50", 2048)])
def test_feature_dimensions(name: str, dim: int) -> None:
    assert build_encoder(name, ImageShape(3, 8, 8)).dim == dim


def test_small_cnn_keeps_the_resolution_of_small_images() -> None:
    def first(side: int) -> tuple[int, ...]:
        conv = next(
            p for p in build_encoder("small-cnn", ImageShape(1, side, side)).modules() if isinstance(p, nn.Conv2d)
        )
        return conv.stride

    assert (first(8), first(28)) == ((1, 1), (2, 2))


def test_small_cnn_ends_in_the_mean_over_pixels_with_a_gradient_in_the_layout_of_images() -> None:
    average = list(build_encoder("small-cnn", ImageShape(1, 28, 28)).backbone)[-1]
    maps = torch.rand(3, 5, 4, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.testing.assert_close(average(maps), maps.mean((2, 3)))
    layouts: list[bool] = []
    maps.register_hook(lambda grad: layouts.append(grad.is_contiguous(memory_format=torch.channels_last)))
    weights = torch.rand(3, 5)
    (average(maps) * weights).sum().backward()
    assert layouts == [True]
    torch.testing.assert_close(maps.grad, (weights / 24)[:, :, None, None].expand(3, 5, 4, 6))


def test_the_resnets_have_the_stem_of_cifar() -> None:
    net = build_encoder("resnet18", ImageShape(1, 32, 32)).backbone
    assert (net.conv1.kernel_size, net.conv1.stride, net.conv1.in_channels) == ((3, 3), (1, 1), 1)
    # Without the first pooling and stride, 32 pixels become 4 before the average, not 1.
    inside: list[torch.Tensor] = []
    net.layer4.register_forward_hook(lambda _module, _inputs, output: inside.append(output))
    net(torch.rand(2, 1, 32, 32))
    assert inside[0].shape == (2, 512, 4, 4)


def _released_alexnet(side: int) -> int:
    """Its parameters, from the list of layers of CACR's small_scale_experiments/*/encoder.py."""
    convolutions = 9 * (3 * 96 + 96 * 192 + 192 * 384 + 384 * 384 + 384 * 192)
    wide = 192 * side * side * 4096 + 4096 * 4096
    norms = 2 * (96 + 192 + 384 + 384 + 192 + 4096 + 4096)
    return convolutions + wide + norms + (4096 * 128 + 128)


@pytest.mark.parametrize(("pixels", "side", "parameters"), [(32, 3, 27_221_088), (64, 7, 58_678_368)])
def test_small_alexnet_has_the_parameters_of_the_released_one(pixels: int, side: int, parameters: int) -> None:
    encoder = build_encoder("small-alexnet", ImageShape(3, pixels, pixels))
    model = Model(encoder, head(encoder.dim, None, 128))
    assert sum(weight.numel() for weight in model.parameters()) == _released_alexnet(side) == parameters
    first = next(layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d))
    # 2,592 draws of N(0, 0.02^2): their deviation is off by 0.02 / sqrt(2 * 2592), here five times that at most.
    assert abs(first.weight.std().item() - 0.02) < 5 * 0.02 / math.sqrt(2 * 2592)


@torch.no_grad()
def test_one_image_through_a_narrow_small_alexnet_is_what_its_operations_say() -> None:
    encoder = build_encoder("small-alexnet", ImageShape(1, 16, 16), {"width": 3}).double().eval()
    image = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    weights = [layer.weight for layer in encoder.backbone if isinstance(layer, nn.Conv2d | nn.Linear)]

    def normed(seen: torch.Tensor) -> torch.Tensor:
        # Fresh batch norms in eval mode divide by sqrt(1 + 1e-5).
        return (seen / math.sqrt(1 + 1e-5)).relu()

    seen = (image - 0.5) / 0.25
    for number, weight in enumerate(weights[:5], 1):
        seen = normed(F.conv2d(seen, weight, padding=1))
        seen = F.max_pool2d(seen, 3, 2) if number in (1, 2, 5) else seen
    assert seen.shape == (2, 192, 1, 1)
    for weight in weights[5:]:
        seen = normed(seen.flatten(1) @ weight.T)
    # 1,728 + 192 terms a layer at most, seven layers: far below.
    torch.testing.assert_close(encoder(image), seen, rtol=1e-10, atol=1e-12)


def test_weights_of_the_earlier_small_alexnet_are_named() -> None:
    encoder = build_encoder("small-alexnet", ImageShape(1, 16, 16), {"width": 3})
    former = {**encoder.state_dict(), "backbone.4.weight": torch.zeros(192, 96, 5, 5)}
    with pytest.raises(DataError, match=r"old\.safetensors: .*an earlier small-alexnet, whose second convolution"):
        fill(Path("old.safetensors"), {"": encoder}, former)


@pytest.mark.parametrize("name", list(ENCODERS))
def test_every_parameter_gets_a_gradient(name: str) -> None:
    encoder = build_encoder(name, ImageShape(1, 16, 16), NARROW.get(name))
    model = Model(encoder, head(encoder.dim, 8, 4))
    features, projected, _ = model(torch.rand(4, 1, 16, 16))
    assert features.shape == (4, encoder.dim)
    projected.square().sum().backward()
    missing = [key for key, value in model.named_parameters() if value.grad is None]
    assert not missing


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:vit_tiny_patch16_224"])
def test_any_timm_model_at_native_resolution(name: str) -> None:
    encoder = build_encoder(name, ImageShape(1, 32, 32))
    assert encoder(torch.rand(2, 1, 32, 32)).shape == (2, encoder.dim)


def test_an_unknown_timm_model_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"timm has no model 'resnet5O'; did you mean 'resnet50'"):
        build_encoder("timm:resnet5O", ImageShape(3, 32, 32))


def test_a_network_that_cannot_take_the_images_says_so() -> None:
    with pytest.raises(ConfigError, match=r"does not take images of 8 x 8 pixels.*set data\.size"):
        build_encoder("timm:vit_tiny_patch16_224", ImageShape(3, 8, 8))


def test_images_are_standardised_by_their_own_statistics() -> None:
    encoder = build_encoder("small-cnn", ImageShape(3, 8, 8), {"width": 2})
    images = torch.randint(256, (500, 3, 8, 8), dtype=torch.uint8)
    images[:, 1] //= 4
    encoder.standardise_by(images)
    encoder.backbone = nn.Flatten()
    scaled = encoder(images.float() / 255).reshape(500, 3, 64)
    torch.testing.assert_close(scaled.mean((0, 2)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2)), torch.ones(3), atol=1e-3, rtol=0)
    assert {"mean", "std"} <= set(encoder.state_dict())


def test_constant_images_do_not_divide_by_zero() -> None:
    encoder = build_encoder("small-cnn", ImageShape(1, 8, 8), {"width": 2})
    encoder.standardise_by(torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    assert encoder(torch.zeros(2, 1, 8, 8)).isfinite().all()


def test_projectors() -> None:
    assert [type(part).__name__ for part in head(8, 16, 4)] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [type(part).__name__ for part in head(8, None, 4)] == ["Linear"]
    plain = head(8, 16, 4, batch_norm=False)
    assert [type(part).__name__ for part in plain] == ["Linear", "ReLU", "Linear"]
    assert plain[0].bias is not None


@pytest.mark.parametrize("name", ["small-cnn", "small-alexnet"])
@pytest.mark.parametrize("width", [0, -3, 1.5, "wide"])
def test_a_width_that_is_no_width_is_refused(name: str, width: object) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.width: must be a whole number of at least 1, got"):
        build_encoder(name, ImageShape(1, 8, 8), {"width": width})


def test_parameters_that_timm_does_not_know_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.params: 'timm:resnet10t' cannot be built with .*widht"):
        build_encoder("timm:resnet10t", ImageShape(1, 32, 32), {"widht": 3})
