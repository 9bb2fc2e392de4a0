"""The functions of cosines that tiles sum: values as written out, pulls as autograd gives them, double where needed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from pair_functions import KNOWN, WIDE, Known
from torch import Tensor

from couplings.engine.functions import Elementwise, Exponentials, Moment
from couplings.engine.pair_sums import Scratch
from helpers import F64

SIDE = 6
every_function = pytest.mark.parametrize("name", KNOWN)


def _tile(dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(SIDE, SIDE - 1, dtype=dtype)


def _weights(count: int, shape: torch.Size) -> Tensor:
    """Cotangents, a few of them zero as under a mask."""
    weights = torch.randn(count, *shape, dtype=F64)
    weights[:, 1, 2] = weights[:, 3] = 0.0
    return weights


def _pulled(known: Known, x: Tensor, weights: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    return known.functions.pull(x.clone(), lambda c, values: values.mul_(weights[c]), Scratch(x, SIDE))


def _pulled_by_autograd(plain: Sequence[Tensor], weights: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    total = sum(((v * w).sum() for v, w in zip(plain, weights, strict=True)), start=0 * inputs[0].sum())
    return torch.autograd.grad(total, inputs, materialize_grads=True)


@every_function
def test_values(name: str) -> None:
    known, x = KNOWN[name], _tile()
    values = known.functions.values(x.clone(), Scratch(x, SIDE))
    assert len(values) == known.functions.count
    for ours, theirs in zip(values, known.plain(x, *known.leaves), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


@every_function
def test_values_lie_in_memory_of_their_own(name: str) -> None:
    """Each tile is masked in place, which may not reach another one."""
    known, x = KNOWN[name], _tile()
    values = known.functions.values(x.clone(), Scratch(x, SIDE))
    before = [v.clone() for v in values]
    for c, tile in enumerate(values):
        tile.zero_()
        assert all(torch.equal(after, held) for after, held in zip(values[c + 1 :], before[c + 1 :], strict=True))


@every_function
def test_pulls_are_what_autograd_gives(name: str) -> None:
    known = KNOWN[name]
    x, leaves = _tile().requires_grad_(), [leaf.clone().requires_grad_() for leaf in known.leaves]
    plain = known.plain(x, *leaves)
    weights = _weights(len(plain), x.shape)
    pulled, given = _pulled(known, x.detach(), weights)
    exact = _pulled_by_autograd(plain, weights, [x, *leaves])
    if name == "given offset":  # asks for no gradient there
        exact = exact[0], torch.zeros_like(exact[1])
    for ours, theirs in zip((pulled, *given), exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@every_function
def test_a_second_tile_in_the_same_memory_is_like_the_first(name: str) -> None:
    known, x, scratch = KNOWN[name], _tile(), Scratch(_tile(), SIDE)
    known.functions.values(_tile(), scratch)
    known.functions.pull(_tile(), lambda c, values: values, scratch)
    for other in (x, x[:2, :3].contiguous()):
        values = known.functions.values(other.clone(), scratch)
        for ours, theirs in zip(values, known.plain(other, *known.leaves), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", WIDE)
def test_wide_functions_of_single_precision_are_computed_in_double(name: str) -> None:
    """Exponents of two hundred, as at temperature 0.01: beyond single precision both above and below."""
    known = WIDE[name]
    single = 100 * (2 * torch.rand(SIDE, SIDE - 1) - 1) if known.leaves == () else _tile(torch.float32)
    assert known.functions.dtype(torch.float32) == F64
    double, leaves = single.double().requires_grad_(), known.leaves
    values = known.functions.values(single.clone(), Scratch(single, SIDE))
    plain = known.plain(double, *leaves)
    for ours, theirs in zip(values, plain, strict=True):
        assert ours.dtype == F64
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=0)
    weights = _weights(len(plain), single.shape)
    (exact,) = _pulled_by_autograd(plain, weights, [double])
    torch.testing.assert_close(_pulled(known, single, weights)[0].double(), exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "functions", [Exponentials((1.0,), (1.0,), (0.0,)), Moment(1.0, 0.0), Elementwise(lambda x: (x,), 1)]
)
def test_functions_are_computed_in_the_precision_that_came(functions: Exponentials | Moment | Elementwise) -> None:
    for dtype in (torch.float32, F64):
        assert functions.dtype(dtype) == dtype
        assert all(v.dtype == dtype for v in functions.values(_tile(dtype), Scratch(_tile(dtype), SIDE)))


def test_pairs_without_weight_pass_no_gradient_on_whatever_the_slope_there() -> None:
    """A mask hides pairs where the function has no finite derivative; leaves are not reached from there either."""

    def fn(x: Tensor, sharp: Tensor) -> list[Tensor]:
        return [torch.exp(sharp * x), torch.sqrt(x)]

    functions = Elementwise(fn, 2, (torch.tensor(1.0),))
    x = torch.tensor([[0.5, 1000.0, 0.0, -1.0], [1.0, 2.0, 3.0, 4.0]])
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    pulled, (by_sharp,) = functions.pull(x.clone(), lambda _, values: values.mul_(weights), Scratch(x, 4))
    exact = torch.where(weights > 0, torch.exp(x) + x.rsqrt() / 2, 0.0)
    torch.testing.assert_close(pulled, exact)
    torch.testing.assert_close(by_sharp, torch.where(weights > 0, x * torch.exp(x), 0.0).sum())
    nothing, (by_sharp,) = functions.pull(x.clone(), lambda _, values: values.zero_(), Scratch(x, 4))
    assert not nothing.any()
    assert by_sharp == 0
