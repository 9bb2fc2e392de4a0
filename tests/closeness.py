"""How the tests of identities compare: the gap is printed (`pytest -rP` shows it) and must stay within a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from couplings import SameId


def near(ours: Tensor, theirs: Tensor, *, within: float) -> None:
    """The largest absolute difference is at most `within`."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    gap = float((ours - theirs).detach().abs().max())
    print(f"gap {gap:.1e} within {within:.0e}")
    assert gap <= within


def near_relatively(ours: Sequence[Tensor], theirs: Sequence[Tensor], *, within: float) -> None:
    """The norm of the difference is at most `within` times the norm of `theirs`, all tensors taken together."""
    a, b = (torch.cat([t.detach().flatten() for t in tensors]) for tensors in (ours, theirs))
    gap = float((a - b).norm() / b.norm())
    print(f"relative gap {gap:.1e} within {within:.0e}")
    assert gap <= within


def show(**figures: float) -> None:
    """Print figures of a statement that has no tolerance."""
    print(", ".join(f"{name} {figure:.6g}" for name, figure in figures.items()))


def parameter_gradients(net: nn.Module, value: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """d value(net(inputs)) / d parameters."""
    return torch.autograd.grad(value(*(net(x) for x in inputs)), list(net.parameters()))


def same_sample(n: int, views: int = 2) -> SameId:
    """Self and the sample's other views, rows in block order."""
    sample = torch.arange(n).repeat(views)
    return SameId(sample, sample)


def other_view(rows: int) -> Tensor:
    """The index of each row's positive, for two views in block order."""
    return torch.arange(rows).roll(rows // 2)


def half_distances(z: Tensor) -> Tensor:
    """|z_i - z_j|^2 / 2, by differences."""
    return (z[:, None] - z).square().sum(2) / 2
