"""Encoders at native resolution and the SimCLR projector.

An encoder maps images in [0, 1] of shape ``(n, c, h, w)`` to features ``(n, dim)``. It carries the mean and
the deviation of its training images, so that a saved encoder takes plain images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from couplings.train.errors import ConfigError, brief, did_you_mean, shown

__all__ = ["ENCODERS", "TIMM", "Embedded", "Encoder", "ImageShape", "Model", "build_encoder", "head"]

TIMM = "timm:"
_WIDEST = 2**16


class ImageShape(NamedTuple):
    """Channels, height and width of the images."""

    channels: int
    height: int
    width: int


class Encoder(nn.Module):
    """Standardise the images, then apply a backbone; ``dim`` is the number of features."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, dim: int, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        self.register_buffer("mean", torch.full((1, channels, 1, 1), 0.5))
        self.register_buffer("std", torch.full((1, channels, 1, 1), 0.25))

    def standardise_by(self, images: Tensor) -> None:
        """Set mean and deviation a channel from uint8 images ``(n, c, h, w)``."""
        sample = images[:: max(1, len(images) // 2000)].float() / 255
        self.mean.copy_(sample.mean((0, 2, 3), keepdim=True))
        self.std.copy_(sample.std((0, 2, 3), keepdim=True).clamp_min(1e-2))

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(n, c, h, w)``, to features ``(n, dim)``."""
        scaled = (images - self.mean) / self.std
        return self.backbone(scaled.contiguous(memory_format=torch.channels_last))


class Embedded(NamedTuple):
    """Images on their way to the loss: features ``(n, dim)``, projections and predictions ``(n, d)``."""

    features: Tensor
    projections: Tensor
    predictions: Tensor


class Model(nn.Module):
    """What is trained: an encoder, the projector whose output the loss sees, and perhaps a predictor on top of it."""

    def __init__(self, encoder: Encoder, projector: nn.Module, predictor: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.predictor = predictor

    def forward(self, images: Tensor) -> Embedded:
        """Images ``(n, c, h, w)``; without a predictor the predictions are the projections."""
        features = self.encoder(images)
        projections = self.projector(features)
        return Embedded(features, projections, projections if self.predictor is None else self.predictor(projections))


def head(inputs: int, hidden: int | None, outputs: int, batch_norm: bool = True) -> nn.Sequential:
    """Projector or predictor: linear, batch norm, ReLU, linear; one linear layer if ``hidden`` is None."""
    if hidden is None:
        return nn.Sequential(nn.Linear(inputs, outputs))
    if not batch_norm:
        return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
    first = nn.Linear(inputs, hidden, bias=False)
    return nn.Sequential(first, nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def _check_width(width: int) -> None:
    if not isinstance(width, int) or width < 1:
        raise ConfigError(f"encoder.width: must be a whole number of at least 1, got {shown(width)}")
    if width > _WIDEST:
        raise ConfigError(f"encoder.width: must be at most {_WIDEST}, got {shown(width)}")


class _GlobalAverage(nn.Module):
    """Mean over all pixels, taken pixel by pixel: its gradient then comes in the layout of the images, channels last,
    which saves the layers before it a change of layout.
    """

    def forward(self, images: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c)``."""
        return images.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def small_cnn(shape: ImageShape, width: int = 32) -> nn.Module:
    """Three 3x3 convolutions of ``width``, twice and four times that, then a global average."""
    _check_width(width)
    # Images of 16 pixels or less keep their resolution in the first layer.
    first = 1 if min(shape.height, shape.width) <= 16 else 2
    layers = [
        *_conv(shape.channels, width, 3, first),
        *_conv(width, 2 * width, 3, 2),
        *_conv(2 * width, 4 * width, 3, 2),
    ]
    return nn.Sequential(*layers, _GlobalAverage())


def small_alexnet(shape: ImageShape, width: int = 4096) -> nn.Module:
    """SmallAlexNet of the released CACR code: five 3x3 convolutions and two wide layers, all with batch norm.

    Three unpadded poolings of 3 pixels and stride 2 follow convolutions 1, 2 and 5, so that 32 pixels end as 3 x 3 and
    64 as 7 x 7 in front of the first wide layer, which grows with the image. Weights begin as N(0, 0.02^2). With a
    linear projector of 128 outputs it is the whole network: 27,221,088 parameters at 32 pixels and three channels,
    58,678,368 at 64. Features are those of the second wide layer.

    Raises:
        ConfigError: images of fewer than 15 pixels, of which the poolings leave nothing.
    """
    _check_width(width)
    if min(shape.height, shape.width) < _ALEXNET_SIDE:
        raise ConfigError(
            f"encoder.name: 'small-alexnet' does not take images of {shape.height} x {shape.width} pixels (its "
            f"poolings want {_ALEXNET_SIDE}); set data.size"
        )
    pool = nn.MaxPool2d(3, 2)
    convs = [*_conv(shape.channels, 96, 3), pool, *_conv(96, 192, 3), pool, *_conv(192, 384, 3), *_conv(384, 384, 3)]
    body = nn.Sequential(*convs, *_conv(384, 192, 3), pool, nn.Flatten())
    wide = [nn.Linear(_features(body, shape), width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    wider = [nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    net = nn.Sequential(*body, *wide, *wider)
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
    net.register_load_state_dict_pre_hook(_tell_former_alexnet)
    return net


_ALEXNET_SIDE = 15


def _tell_former_alexnet(
    _module: nn.Module,
    state: dict[str, Any],
    prefix: str,
    _metadata: Any,
    _strict: bool,
    _missing: Any,
    _more: Any,
    errors: list[str],
) -> None:
    """Say of which network the weights are, before torch lists the shapes that differ."""
    second = state.get(f"{prefix}4.weight")
    if isinstance(second, Tensor) and second.shape[2:] == (5, 5):
        errors.append(
            "they are those of an earlier small-alexnet, whose second convolution was 5 x 5; the couplings that "
            "trained it reads it"
        )


def _cifar_resnet(name: str, shape: ImageShape) -> nn.Module:
    from torchvision.models import resnet

    net = getattr(resnet, name)()
    net.conv1 = nn.Conv2d(shape.channels, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    net.fc = nn.Identity()
    return net


def resnet18(shape: ImageShape) -> nn.Module:
    """ResNet-18 with a 3x3 stem and no first pooling, as for CIFAR: 512 features."""
    return _cifar_resnet("resnet18", shape)


def resnet50(shape: ImageShape) -> nn.Module:
    """ResNet-50 with a 3x3 stem and no first pooling, as for CIFAR: 2048 features."""
    return _cifar_resnet("resnet50", shape)


ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "small-cnn": small_cnn,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "small-alexnet": small_alexnet,
}


def _timm(name: str, shape: ImageShape, params: dict[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise ConfigError(f"encoder.name: timm has no model '{name}'; {_near_timm(name, timm.list_models())}")
    settings = {"num_classes": 0, "in_chans": shape.channels, **params}
    try:
        # Transformers need the image size up front; convolutional models refuse the word.
        return timm.create_model(name, img_size=(shape.height, shape.width), **settings)
    except TypeError:
        return timm.create_model(name, **settings)


def _near_timm(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did") else "timm.list_models() shows all"


def _features(backbone: nn.Module, shape: ImageShape) -> int:
    training = backbone.training
    with torch.no_grad():
        out = backbone.eval()(torch.zeros(1, *shape))
    backbone.train(training)
    if not isinstance(out, Tensor) or out.ndim != 2:
        came = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ConfigError(f"encoder: it must give features (n, d), got {came}; leave out what makes it give another")
    return int(out.shape[1])


def _backbone(name: str, shape: ImageShape, params: dict[str, Any]) -> nn.Module:
    try:
        if name.startswith(TIMM):
            return _timm(name.removeprefix(TIMM), shape, params)
        return ENCODERS[name](shape, **params)
    except ConfigError:
        raise
    # Timm hands parameters on to many places, and each raises what it likes.
    except Exception as error:
        if isinstance(error, MemoryError | ImportError) or not (name.startswith(TIMM) or isinstance(error, _REFUSALS)):
            raise
        raise _unfit(name, params, error) from None


_REFUSALS = (TypeError, ValueError, RuntimeError, OSError)


def _unfit(name: str, params: dict[str, Any], error: Exception) -> ConfigError:
    reason = brief(str(error)) or type(error).__name__
    return ConfigError(f"encoder.params: '{name}' cannot be built with {shown(params)} ({reason})")


def build_encoder(name: str, shape: ImageShape, params: dict[str, Any] | None = None) -> Encoder:
    """An encoder by name for images of ``shape``.

    ``name`` is a key of :data:`ENCODERS`, or ``timm:NAME`` for any model of timm (``params`` then go to
    ``timm.create_model``; ``{"pretrained": True}`` downloads weights).

    Raises:
        ConfigError: the name is unknown, a parameter does not fit, or the network does not take images of this
            size.

    Example:
        >>> build_encoder("small-cnn", ImageShape(1, 8, 8)).dim
        128
    """
    backbone = _backbone(name, shape, params or {})
    try:
        dim = _features(backbone, shape)
    except (RuntimeError, AssertionError) as error:
        size = f"{shape.height} x {shape.width}"
        raise ConfigError(
            f"encoder.name: '{name}' does not take images of {size} pixels ({error}); set data.size"
        ) from None
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError) or not params:
            raise
        raise _unfit(name, params, error) from None
    return Encoder(backbone.to(memory_format=torch.channels_last), dim, shape.channels)
