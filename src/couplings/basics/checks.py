"""Validation of what users hand in, and the one switch that turns the hot-path part of it off."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import torch
from torch import Tensor

from . import looks
from .errors import InvalidInput, Overwritten

_enabled = True

SMALLEST_NORM = 1e-12
"""Rows that are normalised must be longer: below, squares underflow in float32 and gradients exceed 1e12."""


def set_checks(enabled: bool, *, wait: bool = False) -> None:
    """Switch the checks that read tensor values (NaN, inf, zero rows, empty mask rows) on or off.

    A call reduces all that it checks to one number and reads it once, at its end. On an accelerator it does not wait
    for that number: a later call reads it, and raises the error of the call that was wrong; with `wait` each call
    stops the stream for its own. Shapes, dtypes and options are always checked.

    Example:
        >>> import couplings
        >>> couplings.set_checks(False)
        >>> couplings.set_checks(True)
    """
    global _enabled
    _enabled = enabled
    looks.set_wait(wait)


def checks_enabled() -> bool:
    """Whether checks that read tensor values are on (the default)."""
    return _enabled


def require(condition: bool, message: str) -> None:
    """Raise `InvalidInput(message)` unless the condition holds."""
    if not condition:
        raise InvalidInput(message)


def _real(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)  # numpy's scalars too


def tensor(name: str, value: object) -> None:
    """`value` must be a tensor."""
    kind = type(value).__name__
    require(isinstance(value, Tensor), f"{name} must be a torch.Tensor, got {kind}: pass it through torch.as_tensor")


def flag(name: str, value: object) -> None:
    """`value` must be True or False."""
    require(isinstance(value, bool), f"{name} must be True or False, got {value!r}")


def finite(name: str, value: float | Tensor, *, learnable: bool = False) -> None:
    """`value` must be a finite number; a tensor of one entry only where it can be learnt."""
    if not learnable:
        constant(name, value)
    elif isinstance(value, Tensor):
        require(value.numel() == 1, f"{name} must be a number, got a tensor of shape {tuple(value.shape)}")
        value = float(value.detach()) if _enabled else 0.0
    require(_real(value), f"{name} must be a number, got {value!r}")
    require(math.isfinite(value), f"{name} must be finite, got {value:g}")


def positive(name: str, value: float | Tensor, *, zero: bool = False) -> None:
    """`value` must be a number above zero (or zero, with `zero=True`); infinity is allowed, NaN is not."""
    if isinstance(value, Tensor):
        require(value.numel() == 1, f"{name} must be a number, got a tensor of shape {tuple(value.shape)}")
        if not _enabled:
            return
        floor = -torch.finfo(value.dtype).tiny if zero else 0.0
        number = (value.detach().clamp_max(torch.finfo(value.dtype).max) - floor).log().sum()
        looks.expect_finite(number, lambda: _positive(name, value, zero))
    else:
        require(_real(value), f"{name} must be a number, got {value!r}")
        _positive(name, value, zero)


def _positive(name: str, value: float | Tensor, zero: bool) -> None:
    number = float(value.detach() if isinstance(value, Tensor) else value)
    bound = ">= 0" if zero else "> 0"
    ok = not math.isnan(number) and (number > 0 or (zero and number == 0))
    learnt = isinstance(value, Tensor) and value.requires_grad
    require(ok, f"{name} must be {bound}, got {number:g}{_LEARN_ITS_LOGARITHM if learnt else ''}")


_LEARN_ITS_LOGARITHM = (
    ", which is learnt: a step took it across zero; learn its logarithm (learnable=True does for a temperature), "
    "clamp it after each step, or lower its learning rate"
)


def temperature(value: float | Tensor) -> None:
    """A temperature must be a finite number above zero; a tensor of one entry may be learnt."""
    positive("temperature", value)
    if _enabled or not isinstance(value, Tensor):
        finite("temperature", value, learnable=True)


def finite_positive(name: str, value: float) -> None:
    """`value` must be a finite number above zero, and no tensor: nothing here could learn it."""
    finite(name, value)
    positive(name, value)


def finite_nonnegative(name: str, value: float) -> None:
    """`value` must be a finite number, zero or more, and no tensor."""
    finite(name, value)
    positive(name, value, zero=True)


def constant(name: str, value: float | Tensor) -> None:
    """`value` must not be a tensor."""
    learnt = isinstance(value, Tensor)
    require(not learnt, f"{name} is a constant of the loss and cannot be learnt: pass a number, not a tensor")


def fraction(name: str, value: float) -> None:
    """`value` must lie in [0, 1)."""
    require(_real(value) and 0 <= value < 1, f"{name} must be in [0, 1), got {value!r}")


def count(name: str, value: object) -> None:
    """`value` must be an integer, zero or more."""
    ok = _real(value) and isinstance(value, numbers.Integral) and int(value) >= 0
    require(ok, f"{name} must be an integer >= 0, got {value!r}")


def matrix(name: str, z: Tensor, dims: int = 2, *, empty: bool = False) -> None:
    """`z` must be a floating-point tensor with `dims` dimensions and, unless `empty`, at least one entry in each."""
    tensor(name, z)
    wanted = "(n, d)" if dims == 2 else "(n, k, d)"
    require(z.dim() == dims, f"{name} must have shape {wanted}, got {tuple(z.shape)}")
    require(z.is_floating_point(), f"{name} must be floating point, got {z.dtype}: call .float() on it")
    require(empty or z.numel() > 0, f"{name} is empty: shape {tuple(z.shape)}; pass at least one row and one column")


def ids(name: str, value: Tensor, n: int) -> None:
    """`value` must be a vector of n integers."""
    tensor(name, value)
    fits = value.dim() == 1 and len(value) == n
    require(fits, f"{name} must have shape ({n},), one entry a row, got {tuple(value.shape)}")
    whole = not value.is_floating_point() and not value.is_complex()
    require(whole, f"{name} must be integers, got {value.dtype}: call .long() on them")


def version(value: Tensor) -> int | None:
    """How often the tensor has been written to; None for an inference tensor, which does not count."""
    return None if value.is_inference() else value._version


def unchanged(name: str, value: Tensor, since: int | None) -> None:
    """`value` must not have been written to since it had that version."""
    if since is not None and value._version != since:
        raise Overwritten(
            f"{name} was written to after it was handed in, and backward() or a later question to the coupling still "
            "reads it: write to it after backward(), or hand in a copy (.clone())"
        )


def same_shape(names: Sequence[str], tensors: Sequence[Tensor]) -> None:
    """All tensors must have the shape of the first."""
    for name, z in zip(names[1:], tensors[1:], strict=True):
        require(
            z.shape == tensors[0].shape,
            f"{name} has shape {tuple(z.shape)} but {names[0]} has {tuple(tensors[0].shape)}: "
            "views are rows of the same samples, with equal n and d",
        )


LONG_ROWS, LONGEST_ROWS = 100.0, 1e6
"""Norms of rows that are not normalised: above the first their scores, 1e4, leave single precision too few digits for
differences; above the second, 1e12, double precision too."""


def scores_usable(names: str, norms: Tensor) -> bool:
    """Whether inner products of rows of such norms keep their digits in the rows' precision; refuse what none keeps."""
    if not _enabled:
        return True
    longest = float(norms.detach().amax())
    require(
        longest <= LONGEST_ROWS,
        f"{names} have a row of norm {longest:.2g}, and inner products of such rows leave no digit for their "
        f"differences: with normalize=False rows may be {LONGEST_ROWS:g} long; scale them down, or normalise",
    )
    return norms.dtype == torch.float64 or longest <= LONG_ROWS


def finite_value(value: Tensor) -> None:
    """A loss of rows that were not normalised must be finite."""

    def diagnose() -> None:
        if not bool(value.detach().isfinite().all()):
            raise InvalidInput(
                f"the loss of rows that are not normalised is {float(value):g}: exponentials of their inner products "
                "overflow; scale the rows down, raise the temperature, or normalise"
            )

    if _enabled:
        looks.expect_finite(value, diagnose)


def expect_rows(norms: Tensor, diagnose: looks.Diagnosis, *, zero: bool) -> None:
    """All norms must be finite and, unless `zero` is allowed, large enough to divide by; else `diagnose`."""
    if _enabled:
        norms = norms.detach()
        looks.expect_finite((norms * 0).sum() if zero else (norms - SMALLEST_NORM).log().sum(), diagnose)


def rows_usable(name: str, z: Tensor, *, zero: bool, raw: bool = True) -> None:
    """Every row must be finite and, unless `zero` is allowed, have a norm above zero.

    `raw` says whether the caller has `normalize=False`, which a message may advise.
    """
    norms = torch.linalg.vector_norm(z.detach(), dim=-1)

    def diagnose() -> None:
        usable = norms.isfinite() if zero else norms.isfinite() & (norms > SMALLEST_NORM)
        if not usable.all():
            raise InvalidInput(_bad_row(name, z.detach(), int((~usable.flatten()).nonzero()[0]), raw))

    expect_rows(norms, diagnose, zero=zero)


def _bad_row(name: str, z: Tensor, row: int, raw: bool) -> str:
    values = z.reshape(-1, z.shape[-1])[row]
    if values.isnan().any():
        return f"{name} holds NaN (first in row {row}): look for a division by zero or an overflow before the loss"
    if not values.isfinite().all():
        return f"{name} holds inf (first in row {row}): the encoder overflowed; lower the learning rate or use float32"
    if not values.any():
        return (
            f"{name} has a zero vector (row {row}), which has no direction: drop the row"
            f"{', or pass normalize=False to use raw inner products' if raw else ''}"
        )
    norm = float(torch.linalg.vector_norm(values))
    if norm <= SMALLEST_NORM:
        return (
            f"row {row} of {name} has norm {norm:.2g}, too small to have a direction (its gradient grows as 1 / norm): "
            f"scale the embeddings up, {'drop the row, or pass normalize=False' if raw else 'or drop the row'}"
        )
    return f"the norm of row {row} of {name} overflows {z.dtype}: scale the embeddings down"
