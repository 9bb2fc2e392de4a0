"""Losses of other libraries, as they are used under data parallel training, and some that are wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from couplings import InfoNCE, SupCon

Loss = Callable[..., Tensor]


def ours() -> Loss:
    return InfoNCE(0.2)


def ours_with_labels() -> Loss:
    return lambda a, b, labels: SupCon(0.2)(a, b, labels=labels)


def lightly_gathering() -> Loss:
    from lightly.loss import NTXentLoss

    return NTXentLoss(temperature=0.2, gather_distributed=True)


def lightly_alone() -> Loss:
    from lightly.loss import NTXentLoss

    return NTXentLoss(temperature=0.2)


def info_nce() -> Loss:
    from info_nce import InfoNCE as Theirs

    return Theirs(temperature=0.2)


def metric_learning() -> Loss:
    from pytorch_metric_learning.losses import SupConLoss
    from pytorch_metric_learning.utils.distributed import DistributedLossWrapper

    loss = DistributedLossWrapper(SupConLoss(temperature=0.2))
    return lambda a, b, labels: loss(torch.cat([a, b]), torch.cat([labels, labels]))


def _open_clip(**options: bool) -> Loss:
    from open_clip.loss import ClipLoss

    loss = ClipLoss(rank=dist.get_rank(), world_size=dist.get_world_size(), **options)
    return lambda a, b: loss(a, b, logit_scale=torch.tensor(5.0, dtype=a.dtype))


def open_clip_global() -> Loss:
    return _open_clip(gather_with_grad=True, local_loss=False)


def open_clip_local() -> Loss:
    return _open_clip(gather_with_grad=True, local_loss=True)


def open_clip_without_gradient() -> Loss:
    return _open_clip(gather_with_grad=False, local_loss=False)


def _everybody(rows: Tensor) -> Tensor:
    return torch.cat(all_gather(rows)) if dist.get_world_size() > 1 else rows


def _cross_entropy(shift: bool, scale: float = 1.0) -> Loss:
    """View 1 of this process's samples against view 2 of all processes'."""

    def loss(a: Tensor, b: Tensor) -> Tensor:
        first = dist.get_rank() * len(a) if shift else 0
        return scale * torch.nn.functional.cross_entropy(5 * a @ _everybody(b).T, torch.arange(len(a)) + first)

    return loss


def shifted() -> Loss:
    return _cross_entropy(True)


def unshifted() -> Loss:
    """Positives where process 0 has them, on all processes."""
    return _cross_entropy(False)


def summed() -> Loss:
    """The sum over processes where the mean is averaged already."""
    return _cross_entropy(True, scale=float(dist.get_world_size()))


def not_there() -> Loss:
    raise RuntimeError("no licence")
