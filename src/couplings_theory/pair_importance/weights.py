"""The importance of pairs, the energy that a contrastive loss ascends, and its covariance.

Two views of n samples make N = 2 n rows in block order (view 1's samples, then view 2's); p(i) is the other view of i.

    d_ij^2  = |z_i - z_j|^2 / 2,   d_i^2 = d_ip(i)^2
    xi_i    = sum_j psi(d_i^2 - d_ij^2),   j over the negatives: neither i nor p(i)
    loss    = mean_i phi(xi_i)
    alpha   = phi'(xi_i) psi'(d_i^2 - d_ij^2)
    E_alpha = sum_ij alpha_ij (d_ij^2 - d_i^2)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from couplings.basics import checks
from couplings.losses.pairs import PairLoss

Views = Sequence[Tensor]


def noisy_views(n: int, d: int, *, noise: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two noisy views (n, d) of n Gaussian samples, float64: samples of variance one, noise of the given deviation.

    Raises:
        InvalidInput: n or d below 1, or a negative noise.

    Example:
        >>> noisy_views(4, 3)[0].shape
        torch.Size([4, 3])
    """
    checks.require(min(n, d) >= 1, f"n and d must be >= 1, got {n} and {d}")
    checks.finite_nonnegative("noise", noise)
    generator = torch.Generator().manual_seed(seed)
    samples, *errors = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(3))
    return samples + noise * errors[0], samples + noise * errors[1]


def unit(views: Views) -> tuple[Tensor, ...]:
    """The views with rows of norm one.

    Example:
        >>> import torch
        >>> unit([torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])])[0]
        tensor([[0.6000, 0.8000]])
    """
    return tuple(normalize(view, dim=1) for view in views)


def negatives(n: int) -> Tensor:
    """Which pairs of the 2 n rows are of different samples, (2 n, 2 n) booleans.

    Example:
        >>> negatives(2).sum().item()
        8
    """
    sample = torch.arange(n).repeat(2)
    return sample[:, None] != sample


def half_distances(views: Views) -> Tensor:
    """d_ij^2 = |z_i - z_j|^2 / 2 of all rows, (2 n, 2 n); 1 - cosine for unit rows. Differentiable, O(n^2 d).

    Args:
        views: two tensors (n, d).

    Raises:
        InvalidInput: not two views of one shape.

    Example:
        >>> import torch
        >>> half_distances([torch.eye(2), torch.eye(2)])[0].tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    z = _rows(views)
    squares = (z * z).sum(1)
    return (squares[:, None] + squares) / 2 - z @ z.T


def gaps(views: Views) -> Tensor:
    """d_i^2 - d_ij^2 of all rows, (2 n, 2 n): above zero where the other sample is nearer than the other view.

    Example:
        >>> import torch
        >>> gaps([torch.eye(2), torch.eye(2)])[0, 1].item()
        -1.0
    """
    distances = half_distances(views)
    return _positive(distances)[:, None] - distances


def importance(loss: PairLoss, views: Views) -> Tensor:
    """alpha_ij = phi'(xi_i) psi'(d_i^2 - d_ij^2), a constant: how much the loss cares for each pair.

    Args:
        loss: a member of the (phi, psi) family; rows are scaled to norm one if it normalises.
        views: two tensors (n, d).

    Returns:
        (2 n, 2 n), at least zero; zero where a pair is no negative. Both slopes are taken by autograd of `loss.phi` and
        `loss.psi`; no gradient passes.

    Raises:
        InvalidInput: `loss` is not of the family, or not two views of one shape.

    Source:
        Tian 2022 (arXiv 2201.12680).

    Example:
        >>> import torch
        >>> from couplings import TripletContrastive
        >>> importance(TripletContrastive(), [torch.eye(3), torch.eye(3)])[0].tolist()
        [0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    """
    family = isinstance(loss, PairLoss)
    checks.require(family, f"loss must be of the (phi, psi) family, got {type(loss).__name__}: pass a PairLoss")
    views = [view.detach() for view in (unit(views) if loss.normalize else views)]
    gap, admitted = gaps(views), negatives(len(views[0]))
    xi = loss.psi(gap).detach().masked_fill(~admitted, 0).sum(1)
    return _slope(loss.phi, xi)[:, None] * _slope(loss.psi, gap).masked_fill(~admitted, 0)


def energy(alpha: Tensor, views: Views) -> Tensor:
    """E_alpha = sum_ij alpha_ij (d_ij^2 - d_i^2), 0-dim, differentiable in the views.

    Args:
        alpha: pair weights (2 n, 2 n).
        views: two tensors (n, d), as they are: pass `unit(views)` for a loss that normalises.

    Raises:
        InvalidInput: not two views of one shape, or weights of another size.

    Relations:
        Its gradient at a constant alpha = `importance(loss, views)` is -N times that of the loss;
        E_alpha = tr C_alpha[z, z] / 2.

    Example:
        >>> import torch
        >>> z = torch.eye(3)
        >>> energy(negatives(3).double(), [z, z]).item()
        24.0
    """
    _square("alpha", alpha, len(_rows(views)))
    return -(alpha * gaps(views)).sum()


def contrastive_covariance(alpha: Tensor, views: Views, others: Views | None = None) -> Tensor:
    """C_alpha[x, y] = sum_ij alpha_ij [(x_i - x_j)(y_i - y_j)^T - (x_i - x_p(i))(y_i - y_p(i))^T].

    Between-sample spread less augmentation spread: the matrix whose top eigenvector a linear encoder learns. It
    need not be positive semidefinite.

    Args:
        alpha: pair weights (2 n, 2 n), any.
        views: two tensors x (n, p).
        others: two tensors y (n, q); x itself by default, and the result is symmetric.

    Returns:
        (p, q), differentiable. O(n^2 (p + q)) time.

    Raises:
        InvalidInput: not two views of one shape, or weights of another size.

    Source:
        Tian 2022 (arXiv 2201.12680).

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> contrastive_covariance(negatives(2).float(), [x, x]).tolist()
        [[32.0, 0.0], [0.0, 0.0]]
    """
    x, y = _rows(views), _rows(views if others is None else others)
    checks.require(len(x) == len(y), f"others must hold {len(x) // 2} samples, as views does, got {len(y) // 2}")
    _square("alpha", alpha, len(x))
    signed = alpha.clone()
    signed[torch.arange(len(x)), _partners(len(x))] -= alpha.sum(1)
    both = signed + signed.T
    return x.T @ (both.sum(1)[:, None] * y - both @ y)


def _rows(views: Views) -> Tensor:
    checks.require(len(views) == 2, f"views must be two tensors (n, d), got {len(views)}: pass one pair of views")
    for name, view in zip(("views[0]", "views[1]"), views, strict=True):
        checks.matrix(name, view)
    checks.same_shape(("views[0]", "views[1]"), views)
    return torch.cat(list(views))


def _square(name: str, matrix: Tensor, size: int) -> None:
    fits = tuple(matrix.shape) == (size, size)
    checks.require(fits, f"{name} must have shape {(size, size)}, one entry a pair, got {tuple(matrix.shape)}")


def _partners(rows: int) -> Tensor:
    return (torch.arange(rows) + rows // 2) % rows


def _positive(distances: Tensor) -> Tensor:
    rows = len(distances)
    return distances[torch.arange(rows), _partners(rows)]


def _slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The derivative of an elementwise function."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return slope
