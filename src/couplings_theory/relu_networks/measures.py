"""Numbers of a first layer: its rank, the neurons that matter, and how its rows share out the coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from couplings.basics import checks

from .network import TwoLayer


def numerical_rank(matrix: Tensor, tolerance: float = 1e-2) -> int:
    """How many singular values are above `tolerance` times the largest; 0 for the zero matrix.

    Raises:
        InvalidInput: no matrix, or a tolerance outside of [0, 1).

    Example:
        >>> import torch
        >>> numerical_rank(torch.diag(torch.tensor([5.0, 1.0, 0.01])))
        2
    """
    checks.matrix("matrix", matrix)
    checks.fraction("tolerance", tolerance)
    values = torch.linalg.svdvals(matrix)
    return int((values > tolerance * values[0]).sum())


def alive(network: TwoLayer, share: float = 1e-2) -> Tensor:
    """(h,), which hidden neurons the output reads: |column k of W2| above `share` of the longest column.

    A ReLU neuron that is off for all data has no gradient: its row keeps a direction that means nothing.

    Raises:
        InvalidInput: a share outside of [0, 1).

    Example:
        >>> import torch
        >>> from couplings_theory.relu_networks import Activation
        >>> alive(TwoLayer(torch.eye(2), torch.tensor([[1.0, 0.0]]), Activation.RELU)).tolist()
        [True, False]
    """
    checks.fraction("share", share)
    lengths = network.w2.norm(dim=0)
    read: Tensor = lengths > share * lengths.max()
    return read


def concentration(w1: Tensor) -> float:
    """mean_k max_m of W1's positive part with unit rows (h, d), in [0, 1]: 1 where each neuron has one coordinate.

    Raises:
        InvalidInput: no matrix.

    Source:
        Code released with Tian 2022 (arXiv 2201.12680).

    Example:
        >>> import torch
        >>> concentration(torch.tensor([[1.0, 0.0], [3.0, 4.0]]).double())
        0.9
    """
    return float(_shares(w1).amax(1).mean())


def coverage(w1: Tensor) -> float:
    """mean_m max_k of W1's positive part with unit rows (h, d), in [0, 1]: 1 where each coordinate has a neuron.

    Raises:
        InvalidInput: no matrix.

    Source:
        Code released with Tian 2022 (arXiv 2201.12680).

    Example:
        >>> import torch
        >>> coverage(torch.tensor([[1.0, 0.0], [3.0, 4.0]]).double())
        0.9
    """
    return float(_shares(w1).amax(0).mean())


def _shares(w1: Tensor) -> Tensor:
    """Positive part, rows to norm one; a row without positive entries stays zero."""
    checks.matrix("w1", w1)
    return torch.nn.functional.normalize(w1.clamp_min(0), dim=1)
