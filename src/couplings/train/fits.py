"""Whether the settings of a run fit its data, told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from couplings.basics.errors import InvalidInput
from couplings.losses import Loss, Sides
from couplings.train.config import RunConfig
from couplings.train.data import Dataset
from couplings.train.encoders import Encoder
from couplings.train.errors import ConfigError
from couplings.train.views import Views

__all__ = ["check_encoder_fits", "check_fits"]


def check_fits(config: RunConfig, data: Dataset) -> None:
    """Refuse settings that these images cannot serve.

    Raises:
        ConfigError: a batch of more images than there are, a loss that does not take the pairs, colour operations on
            grey images, local views larger than the images, or pairs that want labels or domains which some images
            lack.

    Example:
        >>> check_fits(RunConfig(batch_size=64), from_arrays(np.zeros((32, 8, 8))))
        Traceback (most recent call last):
        ...
        couplings.train.errors.ConfigError: batch_size: 64 is more than the 32 training images; lower it
    """
    if config.batch_size > len(data.train_images):
        raise ConfigError(
            f"batch_size: {config.batch_size} is more than the {len(data.train_images)} training images; lower it"
        )
    _check_loss(config)
    Views(config.views, data.shape.channels)
    _check_local(config, data)
    if config.pairs.positives == "class":
        _check_partners(data, _labelled("pairs.positives=class", data))
    if config.pairs.labels and data.train_labels is None:
        raise ConfigError(f"pairs.labels: {data.name} has no labels; give some, or leave pairs.labels out")
    if config.pairs.domains:
        _check_domains(data)


def _check_loss(config: RunConfig) -> None:
    """Try the loss on random numbers, with all that it will be given."""
    loss, sides = config.loss.build(), _sides(config)
    try:
        loss(*_VIEWS, **_joined(sides.values()))
    except InvalidInput as error:
        culprits = [key for key in sides if _takes(loss, [part for other, part in sides.items() if other != key])]
        raise ConfigError(f"{culprits[0] if culprits else 'loss'}: not for {config.loss.name} ({error})") from None


_VIEWS = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))


def _sides(config: RunConfig) -> dict[str, Sides]:
    """What the settings give to the loss beside the views, by their key."""
    pairs, ids, found = config.pairs, torch.arange(4), dict[str, Sides]()
    if pairs.labels:
        found["pairs.labels"] = {"labels": ids % 2}
    if pairs.domains:
        found["pairs.domains"] = {"domains": ids % 2}
    if pairs.negatives is not None:
        found["pairs.negatives"] = {"negatives": _VIEWS.transpose(0, 1)}
    if pairs.exclude is not None:
        found["pairs.exclude"] = {"mask": torch.eye(8, dtype=torch.bool)}
    if config.momentum is not None and config.momentum.queue:
        found["momentum.queue"] = {"keys": _VIEWS[0] + 1, "ids": ids, "key_ids": ids + 4}
    return found


def _joined(parts: Iterable[Sides]) -> Sides:
    whole = Sides()
    for part in parts:
        whole |= part
    mask, keys = whole.get("mask"), whole.get("keys")
    if isinstance(mask, Tensor) and keys is not None:
        whole["mask"] = torch.cat([mask, mask.new_zeros(len(mask), len(keys))], dim=1)
    return whole


def _takes(loss: Loss, parts: Iterable[Sides]) -> bool:
    try:
        loss(*_VIEWS, **_joined(parts))
    except InvalidInput:
        return False
    return True


def _check_local(config: RunConfig, data: Dataset) -> None:
    local, smallest = config.views.local, min(data.shape.height, data.shape.width)
    if local is not None and local.size > smallest:
        raise ConfigError(
            f"views.local.size: {local.size} is more than the images' {data.shape.height} x {data.shape.width} pixels;"
            f" take {max(1, smallest // 2)} for half of them"
        )


def _labelled(key: str, data: Dataset) -> Tensor:
    """The labels of the training images, one each."""
    if data.train_labels is None:
        raise ConfigError(f"{key}: {data.name} has no labels; give some, or leave {key} out")
    unknown = int((data.train_labels < 0).sum())
    if unknown:
        raise ConfigError(
            f"{key}: {unknown} of {len(data.train_labels)} training images of {data.name} have no label (-1); train on"
            f" the labelled ones, or leave {key} out"
        )
    return data.train_labels


def _check_partners(data: Dataset, labels: Tensor) -> None:
    lonely = (labels.bincount(minlength=len(data.classes)) == 1).nonzero()[:, 0].tolist()
    if lonely:
        more = f" (and {len(lonely) - 1} more such classes)" if len(lonely) > 1 else ""
        raise ConfigError(
            f"pairs.positives=class: class '{data.classes[lonely[0]]}'{more} has one training image, which has no other"
            " to be paired with; raise data.limit, add images, or remove the class"
        )


def _check_domains(data: Dataset) -> None:
    if data.train_domains is None:
        remedy = "set data.domains=true for DOMAIN/CLASS/ folders, or give domains (an array of the .npz file)"
        raise ConfigError(f"pairs.domains: nothing says which domain an image of {data.name} comes from; {remedy}")
    unknown = int((data.train_domains < 0).sum())
    if unknown:
        raise ConfigError(f"pairs.domains: {unknown} training images of {data.name} have no domain (-1); name theirs")


@torch.no_grad()
def check_encoder_fits(config: RunConfig, encoder: Encoder) -> None:
    """Refuse local views of a size that the encoder does not take.

    Raises:
        ConfigError: names the size.
    """
    if config.views.local is None:
        return
    size, training = config.views.local.size, encoder.training
    try:
        encoder.eval()(encoder.mean.new_zeros(1, encoder.mean.shape[1], size, size))
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"views.local.size: the encoder '{config.encoder.name}' does not take views of {size} x {size} pixels"
            f" ({error}); take a convolutional one that ends in a global average, or leave views.local out"
        ) from None
    finally:
        encoder.train(training)
