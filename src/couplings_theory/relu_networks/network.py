"""The network, and its energy with the same weight for every pair."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional

from couplings.basics import checks

from .inputs import at_least, generator_of
from .mixture import Views


class Activation(Enum):
    """What follows the first layer."""

    LINEAR = "linear"
    RELU = "ReLU"

    def __call__(self, x: Tensor) -> Tensor:
        """The activation of every entry."""
        return x if self is Activation.LINEAR else functional.relu(x)


@dataclass(frozen=True)
class TwoLayer:
    """The network z = W2 a(W1 x), without biases.

    Attributes:
        w1: (h, d), a row w_k for each hidden neuron.
        w2: (o, h).
        activation: a.

    Raises:
        InvalidInput: layers that are no matrices or do not fit each other, an activation that is no `Activation`.

    Example:
        >>> import torch
        >>> network = TwoLayer(torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0]]), Activation.RELU)
        >>> network(torch.eye(2)).tolist()
        [[2.0], [0.0]]
    """

    w1: Tensor
    w2: Tensor
    activation: Activation

    def __post_init__(self) -> None:
        checks.matrix("w1", self.w1)
        checks.matrix("w2", self.w2)
        fits = self.w2.shape[1] == self.w1.shape[0]
        shapes = f"{tuple(self.w1.shape)} and {tuple(self.w2.shape)}"
        checks.require(fits, f"w1 and w2 must have shapes (h, d) and (o, h), got {shapes}: transpose one of them")
        known = isinstance(self.activation, Activation)
        checks.require(known, f"activation must be Activation.LINEAR or Activation.RELU, got {self.activation!r}")

    @classmethod
    def random(cls, inputs: int, hidden: int, outputs: int, activation: Activation, *, seed: int) -> TwoLayer:
        """Rows of W1 in directions drawn evenly from the sphere, W2 likewise as a whole: |w_k| = 1, |W2|_F = 1.

        Raises:
            InvalidInput: a size below one, a negative seed, an activation that is no `Activation`.
        """
        for name, size in (("inputs", inputs), ("hidden", hidden), ("outputs", outputs)):
            at_least(name, size, 1)
        generator = generator_of(seed)
        w1 = torch.randn(hidden, inputs, generator=generator, dtype=torch.float64)
        w2 = torch.randn(outputs, hidden, generator=generator, dtype=torch.float64)
        return cls(unit_rows(w1), unit_matrix(w2), activation)

    def hidden(self, x: Tensor) -> Tensor:
        """a(W1 x) for rows x (n, d): (n, h)."""
        return self.activation(x @ self.w1.T)

    def __call__(self, x: Tensor) -> Tensor:
        """The outputs (n, o) of rows x (n, d)."""
        return self.hidden(x) @ self.w2.T


def uniform_covariance(one: Tensor, two: Tensor) -> Tensor:
    """C[f, f] (h, h) of two views (n, h) with equal weights: the mean over 2n anchors i and their 2n - 2 negatives j of

        (f_i - f_j)(f_i - f_j)^T - (f_i - f_p)(f_i - f_p)^T,   p the other view of i.

    1/2 tr(W C W^T) is minus `TripletContrastive(normalize=False)` of the views W f, divided by 2n - 2. O(n h^2).

    Raises:
        InvalidInput: views of unequal shape, or fewer than two samples.

    Example:
        >>> import torch
        >>> uniform_covariance(torch.eye(2), torch.eye(2)).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    checks.matrix("one", one)
    checks.same_shape(("one", "two"), (one, two))
    at_least("the number of samples", len(one), 2)
    both, apart = torch.cat((one, two)), one - two
    n, total = len(both), both.sum(0)
    # Over all ordered pairs, less the pairs of one sample, less every anchor's own positive n - 2 times.
    pairs = 2 * n * both.T @ both - 2 * torch.outer(total, total) - 2 * (n - 1) * apart.T @ apart
    return pairs / (n * (n - 2))


def energy(network: TwoLayer, views: Views) -> Tensor:
    """E = 1/2 tr(W2 C[f, f] W2^T), 0-dim, differentiable in both layers.

    Example:
        >>> import torch
        >>> network = TwoLayer(torch.eye(2), torch.eye(2), Activation.RELU)
        >>> energy(network, (torch.eye(2), torch.eye(2))).item()
        1.0
    """
    covariance = uniform_covariance(network.hidden(views[0]), network.hidden(views[1]))
    return ((network.w2 @ covariance) * network.w2).sum() / 2


def unit_rows(matrix: Tensor) -> Tensor:
    """Every row scaled to norm one."""
    return functional.normalize(matrix, dim=1)


def unit_matrix(matrix: Tensor) -> Tensor:
    """The matrix scaled to Frobenius norm one."""
    scaled: Tensor = matrix / matrix.norm()
    return scaled
