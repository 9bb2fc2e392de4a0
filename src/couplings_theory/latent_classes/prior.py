"""What every function of the model is handed, validated once: class probabilities, a number of negatives, a gram."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from couplings.basics.checks import require
from couplings.basics.errors import InvalidInput

SUM_TOLERANCE = 1e-6
"""How far from one the probabilities may sum (single precision does); they are divided by their sum."""
LARGEST_SCALE = 300.0
"""Beyond, what distances contribute to the loss (e^-2s) leaves the range of float64."""
_RAREST = 1e-300
MOST_NEGATIVES = 10**12
"""Far beyond, k leaves the range of the integers and floats that it is counted with."""
GRAM_TOLERANCE = 1e-6
"""How far from symmetric and positive semidefinite a gram may be, in units of its largest entry or one."""


def probabilities(prior: Sequence[float] | Tensor) -> Tensor:
    """The class probabilities as a float64 vector (C,) that sums to one.

    Args:
        prior: (C,) numbers of at least 1e-300 whose sum is one up to 1e-6: a sequence, a NumPy array or a tensor.

    Raises:
        InvalidInput: no vector of finite numbers above zero, one below 1e-300, or the sum is not one.

    Example:
        >>> probabilities([0.75, 0.25])
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    rho = _float64("prior", prior).detach()
    require(rho.dim() == 1 and len(rho) > 0, f"prior must have shape (C,) with C >= 1, got {tuple(rho.shape)}")
    bad = ~(rho.isfinite() & (rho > 0))
    if bad.any():
        where = int(bad.nonzero()[0])
        raise InvalidInput(
            f"prior must be finite and > 0, got {rho[where]:g} for class {where} (counted from 0): "
            "leave such classes out"
        )
    rare = float(rho.min())
    require(rare >= _RAREST, f"prior holds {rare:g}, whose reciprocal is no number: leave classes below {_RAREST} out")
    total = float(rho.sum())
    require(abs(total - 1) <= SUM_TOLERANCE, f"prior must sum to one, got a sum of {total:g}: divide it by its sum")
    return rho / total


def negatives(k: object) -> int:
    """The number of negatives of an anchor: an integer, one or more, at most 1e12.

    Raises:
        InvalidInput: anything else, booleans and whole floats included.
    """
    count = _at_least_one("k (the negatives of an anchor)", k)
    few = count <= MOST_NEGATIVES
    require(few, f"k (the negatives of an anchor) must be <= {MOST_NEGATIVES:.0e}, got {k!r}: take fewer")
    return count


def not_too_large(scale: float) -> None:
    """The scale must be at most 300.

    Raises:
        InvalidInput: it is larger.
    """
    small = scale <= LARGEST_SCALE
    require(small, f"scale must be <= {LARGEST_SCALE:g}, got {scale:g}: beyond, the loss only counts collisions")


def classes_of(count: object) -> int:
    """A number of classes: an integer, one or more.

    Raises:
        InvalidInput: anything else.
    """
    return _at_least_one("classes", count)


def _at_least_one(name: str, value: Any) -> int:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    require(whole and value >= 1, f"{name} must be an integer >= 1, got {value!r}")
    return int(value)


def gram_of(gram: Tensor | Sequence[Sequence[float]], classes: int | None = None) -> Tensor:
    """A gram of class vectors as a float64 tensor (C, C), in autograd if it was.

    Args:
        gram: (C, C), symmetric and positive semidefinite up to 1e-6 (single precision's products are).
        classes: what C has to be; any where None.

    Raises:
        InvalidInput: another shape, entries that are not finite, no symmetry, or a negative eigenvalue.
    """
    g = _float64("gram", gram)
    require(g.dim() == 2 and g.shape[0] == g.shape[1] > 0, f"gram must have shape (C, C), got {tuple(g.shape)}")
    fits = classes is None or len(g) == classes
    require(fits, f"gram must have one row a class: shape ({classes}, {classes}), got {tuple(g.shape)}")
    values = g.detach()
    require(bool(values.isfinite().all()), "gram must be finite, got NaN or inf: look at the class vectors")
    unit = max(1.0, float(values.abs().max()))
    skew = float((values - values.T).abs().max())
    require(skew <= GRAM_TOLERANCE * unit, f"gram must be symmetric, got entries {skew:.2g} apart: pass v @ v.T")
    smallest = float(torch.linalg.eigvalsh(values)[0])
    positive = smallest >= -GRAM_TOLERANCE * unit
    require(positive, f"gram must be positive semidefinite, got an eigenvalue of {smallest:.2g}: pass v @ v.T")
    return g


def _float64(name: str, value: Any) -> Tensor:
    try:
        # Lists are read at double precision: torch's default would round them to single.
        converted = torch.as_tensor(_readable(value), dtype=None if hasattr(value, "dtype") else torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"{name} must hold numbers, got {value!r}: pass a list, an array or a tensor") from error
    real = converted.dtype not in (torch.bool, torch.complex64, torch.complex128)
    require(real, f"{name} must hold real numbers, got {converted.dtype}")
    return converted.to(torch.float64)


def _readable(value: Any) -> Any:
    """Arrays as torch takes them: contiguous (a reversed array is not), and numbers (those of an object array)."""
    if not isinstance(value, np.ndarray):
        return value
    return np.ascontiguousarray(value, dtype=np.float64 if value.dtype == object else None)
