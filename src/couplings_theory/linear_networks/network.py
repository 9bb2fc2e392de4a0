"""Deep linear networks with layers of norm one, and the energy that contrastive learning ascends over them.

    z = W x,   W = W_L ... W_1,   |W_l|_F = 1,   E(W) = tr(W X W^T) / 2

with X = C_alpha[x, x], the contrastive covariance under constant pair weights: symmetric, not always positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise

import torch
from torch import Tensor

from couplings.basics import checks


@dataclass(frozen=True, eq=False)
class LinearNetwork:
    """The layers W_1, ..., W_L of a linear network, first layer first.

    Attributes:
        layers: matrices (width_l, width_(l-1)), float64. Where the theory speaks of them, of Frobenius norm one.

    Example:
        >>> import torch
        >>> network = LinearNetwork((torch.diag(torch.tensor([1.0, 0.0])), torch.tensor([[3.0, 4.0]]))).normalised()
        >>> round(network.energy(torch.eye(2)).item(), 4)
        0.18
    """

    layers: tuple[Tensor, ...]

    @property
    def depth(self) -> int:
        """How many layers."""
        return len(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the input, the hidden layers and the output."""
        return (self.layers[0].shape[1], *(len(layer) for layer in self.layers))

    @cached_property
    def product(self) -> Tensor:
        """W = W_L ... W_1, (output, input)."""
        return reduce(lambda below, layer: layer @ below, self.layers)

    def energy(self, covariance: Tensor) -> Tensor:
        """E = tr(W X W^T) / 2, 0-dim, differentiable in the layers."""
        return ((self.product @ covariance) * self.product).sum() / 2

    def gradients(self, covariance: Tensor) -> tuple[Tensor, ...]:
        """dE/dW_l = (W_L ... W_(l+1))^T W X (W_(l-1) ... W_1)^T for a symmetric X."""
        below, above = [torch.eye(self.widths[0]).to(covariance)], [torch.eye(self.widths[-1]).to(covariance)]
        for layer in self.layers[:-1]:
            below.append(layer @ below[-1])
        for layer in self.layers[:0:-1]:
            above.append(above[-1] @ layer)
        pull = self.product @ covariance
        return tuple(up.T @ pull @ low.T for up, low in zip(reversed(above), below, strict=True))

    def slope(self, pulls: Sequence[Tensor]) -> float:
        """The norm of the part of the gradients along the spheres, dE/dW_l - 2 E W_l: zero at critical points alone."""
        pairs = zip(pulls, self.layers, strict=True)
        return float(torch.stack([(pull - (pull * layer).sum() * layer).norm() for pull, layer in pairs]).norm())

    def moved(self, steps: Sequence[Tensor], rate: float) -> LinearNetwork:
        """The network with W_l + rate step_l, layers scaled back to norm one."""
        moved = tuple(layer + rate * step for layer, step in zip(self.layers, steps, strict=True))
        return LinearNetwork(moved).normalised()

    def normalised(self) -> LinearNetwork:
        """The same directions with layers of Frobenius norm one.

        Raises:
            InvalidInput: a layer is zero.
        """
        norms = [float(layer.norm()) for layer in self.layers]
        checks.require(
            min(norms) > 0, f"layer {norms.index(min(norms)) + 1} is zero and has no direction: draw another"
        )
        return LinearNetwork(tuple(layer / norm for layer, norm in zip(self.layers, norms, strict=True)))

    @property
    def singular_values(self) -> tuple[Tensor, ...]:
        """Of each layer, descending."""
        return tuple(torch.linalg.svdvals(layer) for layer in self.layers)

    @property
    def rank_ratio(self) -> float:
        """The largest second over first singular value of any layer: zero where all layers have rank one."""
        return max(float(s[1] / s[0]) if len(s) > 1 else 0.0 for s in self.singular_values)

    @property
    def direction(self) -> Tensor:
        """v_0, the input direction that the first layer reads most strongly, (input,), up to its sign."""
        direction: Tensor = torch.linalg.svd(self.layers[0]).Vh[0]
        return direction

    @property
    def joints(self) -> tuple[float, ...]:
        """|<u_l, v_(l+1)>| for neighbouring layers: does a layer read what the one below writes? One where it does."""
        bases = [torch.linalg.svd(layer) for layer in self.layers]
        pairs = pairwise(bases)
        return tuple(float((low.U[:, 0] @ high.Vh[0]).abs()) for low, high in pairs)

    @property
    def imbalance(self) -> float:
        """sqrt(sum_l |W_l W_l^T - W_(l+1)^T W_(l+1)|^2): zero where neighbours share singular values and vectors."""
        pairs = pairwise(self.layers)
        return float(torch.stack([(low @ low.T - high.T @ high).norm() for low, high in pairs]).norm())


def random_network(widths: Sequence[int], seed: int) -> LinearNetwork:
    """Gaussian layers of norm one.

    Args:
        widths: input, hidden, ..., output; at least two, each >= 1.
        seed: of the random numbers, >= 0.

    Raises:
        InvalidInput: fewer than two widths, one that is no integer or below 1, or a seed that is none.

    Example:
        >>> random_network((6, 8, 4), seed=0).widths
        (6, 8, 4)
    """
    _layered(widths)
    checks.count("seed", seed)
    generator = torch.Generator().manual_seed(seed)
    shapes = zip(widths[1:], widths, strict=False)
    return LinearNetwork(
        tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    ).normalised()


def critical_network(covariance: Tensor, widths: Sequence[int], which: Sequence[int]) -> LinearNetwork:
    """A network at which the gradient is zero, made of the chosen eigenvectors of X.

    One eigenvector k: all layers have rank one and 2 E = lambda_k. Several: layers share singular values s_k with
    s_k^2 proportional to lambda_k^(-1 / (L - 1)), which makes lambda_k s_k^(2 L - 2) the same for all.

    Args:
        covariance: X (input, input), symmetric, float64.
        widths: input, hidden, ..., output.
        which: indices of eigenvalues in descending order; several need positive ones, L >= 2, and widths to hold them.

    Raises:
        InvalidInput: X is not symmetric, the indices are out of range, or one of the conditions on several fails.

    Source:
        Tian 2022 (arXiv 2201.12680) for the energy; this family of critical points is ours.

    Example:
        >>> import torch
        >>> spectrum = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
        >>> round(2 * critical_network(spectrum, (3, 4, 2), which=(1,)).energy(spectrum).item(), 6)
        2.0
    """
    values, vectors = descending(covariance)
    _layered(widths)
    _usable(values, widths, which)
    shares = values[list(which)] ** (-1 / max(len(widths) - 2, 1)) if len(which) > 1 else values.new_ones(1)
    scale = torch.diag((shares / shares.sum()).sqrt())
    bases = [vectors[:, list(which)], *(torch.eye(width, len(which)).to(values) for width in widths[1:])]
    return LinearNetwork(tuple(high @ scale @ low.T for low, high in pairwise(bases)))


def descending(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, largest first, and eigenvectors as columns, of a matrix that must be symmetric."""
    symmetric(covariance)
    values, vectors = torch.linalg.eigh(covariance)
    return values.flip(0), vectors.flip(1)


def symmetric(covariance: Tensor) -> None:
    """`covariance` must be a finite symmetric float64 matrix, up to rounding."""
    checks.matrix("covariance", covariance)
    double = covariance.dtype == torch.float64
    checks.require(double, f"covariance must be torch.float64, got {covariance.dtype}: call .double() on it")
    square = covariance.shape[0] == covariance.shape[1]
    checks.require(square, f"covariance must be square, got {tuple(covariance.shape)}")
    skew, size = (float(part.abs().max()) for part in (covariance - covariance.T, covariance))
    remedy = "pass (X + X^T) / 2, or a contrastive covariance of x with itself"
    checks.require(skew <= 1e-9 * size, f"covariance must be finite and symmetric, is off by {skew:.3g}: {remedy}")


def readable(name: str, network: LinearNetwork, covariance: Tensor) -> None:
    """`network` must have float64 layers that read what a symmetric `covariance` speaks of."""
    kind = type(network).__name__
    checks.require(isinstance(network, LinearNetwork), f"{name} must be a LinearNetwork, got {kind}")
    symmetric(covariance)
    reads, d = network.widths[0], len(covariance)
    checks.require(reads == d, f"{name} reads {reads} inputs, covariance has {d}: use equal widths")
    for place, layer in enumerate(network.layers, start=1):
        double = layer.dtype == torch.float64
        checks.require(
            double, f"layer {place} of {name} must be torch.float64, got {layer.dtype}: call .double() on it"
        )


def _layered(widths: Sequence[int]) -> None:
    _integers("widths", widths)
    checks.require(len(widths) >= 2, f"widths must name input and output at least, got {tuple(widths)}")
    checks.require(min(widths) >= 1, f"widths must be >= 1, got {tuple(widths)}")


def _integers(name: str, values: Sequence[int]) -> None:
    listed = isinstance(values, Sequence) and not isinstance(values, str)
    checks.require(listed, f"{name} must be a sequence of integers, got {values!r}")
    for value in values:
        checks.count(f"each of {name}", value)


def _usable(values: Tensor, widths: Sequence[int], which: Sequence[int]) -> None:
    _integers("which", which)
    d = len(values)
    checks.require(widths[0] == d, f"widths must start with {d}, the size of the covariance, got {widths[0]}")
    apart = len(which) >= 1 and len(set(which)) == len(which) and all(0 <= k < d for k in which)
    checks.require(apart, f"which must be different indices from 0 to {d - 1}, got {tuple(which)}")
    if len(which) > 1:
        lowest = float(values[list(which)].min())
        checks.require(lowest > 0, f"several eigenvectors need positive eigenvalues, got {lowest:g}: choose others")
        holds = len(widths) > 2 and min(widths) >= len(which)
        checks.require(holds, f"several eigenvectors need 2 layers and widths >= {len(which)}, got {tuple(widths)}")
