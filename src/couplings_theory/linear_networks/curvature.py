"""The second derivative of the energy along layers of norm one: maxima have none above zero, saddles have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .network import LinearNetwork, readable


def curvature(network: LinearNetwork, covariance: Tensor) -> Tensor:
    """Eigenvalues of the Riemannian Hessian of E on the product of unit spheres, ascending.

    E is quadratic in each layer, so that <dE/dW_l, W_l> = 2 E, and the Hessian of a critical point is that of E less
    2 E times the identity, on the tangent space (directions orthogonal to each layer).

    Args:
        network: layers of norm one, at a critical point.
        covariance: X, symmetric, float64.

    Returns:
        (weights - layers,) numbers: one above zero means a saddle; rotations of hidden layers give zeros everywhere.
        Dense, O(weights^3): for small networks.

    Raises:
        InvalidInput: X is not symmetric or not float64, or sizes do not fit.

    Example:
        >>> import torch
        >>> from couplings_theory.linear_networks import critical_network
        >>> spectrum = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
        >>> round(curvature(critical_network(spectrum, (3, 2, 2), which=(0,)), spectrum)[-1].item(), 6) + 0.0
        0.0
        >>> bool(curvature(critical_network(spectrum, (3, 2, 2), which=(1,)), spectrum)[-1] >= 1 - 1e-9)
        True
    """
    readable("network", network, covariance)
    flat = torch.cat([layer.flatten() for layer in network.layers])
    energy = lambda w: _shaped(w, network.layers).energy(covariance)  # noqa: E731
    hessian: Tensor = torch.autograd.functional.hessian(energy, flat)  # type: ignore[no-untyped-call]
    bases = (_orthogonal(layer) for layer in network.layers)
    tangent: Tensor = torch.block_diag(*bases)  # type: ignore[no-untyped-call]
    level = 2 * network.energy(covariance)
    along = tangent @ hessian @ tangent.T - level * torch.eye(len(tangent)).to(hessian)
    bends: Tensor = torch.linalg.eigvalsh((along + along.T) / 2)
    return bends


def _shaped(flat: Tensor, layers: Sequence[Tensor]) -> LinearNetwork:
    parts = torch.split(flat, [layer.numel() for layer in layers])
    return LinearNetwork(tuple(part.view(layer.shape) for part, layer in zip(parts, layers, strict=True)))


def _orthogonal(layer: Tensor) -> Tensor:
    """An orthonormal basis of the directions orthogonal to a layer, as rows."""
    basis: Tensor = torch.linalg.svd(layer.reshape(1, -1)).Vh[1:]
    return basis
