"""Sums by tiles: values and gradients of the same sums over whole matrices, whatever the tiles, masks and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from pair_functions import KNOWN, WIDE, Known
from torch import Tensor

from couplings import GivenMask, Mask, SameId
from couplings.engine.forbidden import Compared, Forbidden, Listed, Nothing, forbidden
from couplings.engine.pair_sums import Layout, PairFunctions, pair_sums
from couplings.engine.tiling import Tiling
from helpers import F64

N, M, D = 11, 8, 3
MASKS = ["none", "listed", "compared"]
every_function = pytest.mark.parametrize("name", KNOWN)


def _mask(kind: str, shape: tuple[int, int], symmetric: bool) -> Mask | None:
    n, m = shape
    if kind == "none":
        return None
    if symmetric:
        return SameId(torch.arange(n) % 4, torch.arange(n) % 4)
    ids = SameId(torch.arange(n), torch.arange(m) + 2)
    return ids | GivenMask(torch.rand(n, m) < 0.2) if kind == "compared" else ids


def _forbidden(kind: str, mask: Mask | None, tiling: Tiling) -> Forbidden:
    """As it is chosen, or tile by tile where a list would be."""
    chosen = forbidden(mask, tiling) if kind != "compared" or mask is None else Compared(mask)
    assert isinstance(chosen, {"none": Nothing, "listed": Listed, "compared": Compared}[kind])
    return chosen


@dataclass(frozen=True)
class Sums:
    """What is summed: by tiles, or over the matrix as it would be written down."""

    known: Known
    n: int = N
    m: int = M
    side: int = 4
    triangle: bool = False
    columns: bool = False
    mask: str = "none"
    offsets: bool = False
    weights: bool = False

    def inputs(self, dtype: torch.dtype = F64) -> dict[str, Tensor]:
        """Everything that carries gradient."""
        made = {"q": torch.randn(self.n, D), "lead": torch.tensor(0.8)}
        if not self.triangle:
            made["k"] = torch.randn(self.m, D)
        if self.offsets:
            made["offsets"] = torch.randn(self.n)
        if self.weights:
            made["weights"] = torch.rand(self.m) + 0.5
        leaves = {f"leaf {i}": leaf.detach() for i, leaf in enumerate(self.known.leaves)}
        return {name: x.to(dtype).requires_grad_() for name, x in {**made, **leaves}.items()}

    def by_tiles(self, mask: Mask | None, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        tiling = Tiling(self.n, self.m, self.side, self.triangle)
        layout = Layout(tiling, _forbidden(self.mask, mask, tiling), self.columns)
        q, k = given["q"], given.get("k", given["q"])
        functions = self.known.functions.with_leaves(*_leaves(given))
        return pair_sums(functions, layout, q, k, given["lead"], given.get("offsets"), given.get("weights"))

    def by_matrix(self, mask: Mask | None, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        q, k = given["q"], given.get("k", given["q"])
        x = given["lead"] * (q @ k.T)
        if self.offsets:
            x = x + given["offsets"][:, None]
        values = torch.stack(list(self.known.plain(x, *_leaves(given))))
        if mask is not None:
            values = values.masked_fill(mask.forbidden(), 0.0)
        rows = (values * given["weights"]).sum(2) if self.weights else values.sum(2)
        return rows, values.sum(1) if self.columns else values.new_zeros(len(values), 0)

    def check(self, tol: float = 1e-12) -> None:
        """Values and all gradients."""
        mask, given = _mask(self.mask, (self.n, self.m), self.triangle), self.inputs()
        ours, theirs = self.by_tiles(mask, given), self.by_matrix(mask, given)
        _close(ours, theirs, tol)
        cotangents = [torch.randn_like(part) for part in ours]
        moving = {name: x for name, x in given.items() if not (name == "leaf 0" and _fixed(self.known.functions))}
        _close(_gradients(ours, cotangents, moving), _gradients(theirs, cotangents, moving), tol)


def _leaves(given: dict[str, Tensor]) -> list[Tensor]:
    return [x for name, x in given.items() if name.startswith("leaf")]


def _fixed(functions: PairFunctions) -> bool:
    """Whether the offset of a pointwise function is given: its gradient is not asked for."""
    return getattr(functions, "learnt", True) is False


def _gradients(sums: Sequence[Tensor], cotangents: Sequence[Tensor], given: dict[str, Tensor]) -> tuple[Tensor, ...]:
    total = sum(((s * c).sum() for s, c in zip(sums, cotangents, strict=True)), start=0 * given["q"].sum())
    return torch.autograd.grad(total, list(given.values()), materialize_grads=True)


def _close(ours: Sequence[Tensor], theirs: Sequence[Tensor], tol: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=tol, atol=tol)


@every_function
@pytest.mark.parametrize("mask", MASKS)
def test_a_rectangle(name: str, mask: str) -> None:
    Sums(KNOWN[name], mask=mask).check()
    Sums(KNOWN[name], mask=mask, columns=True).check()


@every_function
@pytest.mark.parametrize("mask", MASKS)
def test_a_triangle(name: str, mask: str) -> None:
    """Both orders of every pair from one tile; leaves and the leading factor are reached once by each."""
    Sums(KNOWN[name], m=N, triangle=True, mask=mask).check()


@every_function
@pytest.mark.parametrize("mask", MASKS)
def test_weighted_columns(name: str, mask: str) -> None:
    Sums(KNOWN[name], mask=mask, weights=True).check()
    Sums(KNOWN[name], m=N, triangle=True, mask=mask, weights=True).check()


@every_function
@pytest.mark.parametrize("mask", MASKS)
def test_offsets_of_rows(name: str, mask: str) -> None:
    Sums(KNOWN[name], mask=mask, offsets=True).check()
    Sums(KNOWN[name], mask=mask, offsets=True, columns=True).check()
    Sums(KNOWN[name], mask=mask, offsets=True, weights=True).check()


@pytest.mark.parametrize("side", [1, 2, 3, 5, 10, 11, 12, 40])
@pytest.mark.parametrize("mask", MASKS)
def test_tiles_of_any_side(side: int, mask: str) -> None:
    for name in ("partly constant", "moment", "by autograd"):
        Sums(KNOWN[name], side=side, mask=mask, columns=True, offsets=True).check()
        Sums(KNOWN[name], m=N, side=side, mask=mask, triangle=True, weights=True).check()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (9, 1), (4, 4), (5, 17)])
def test_any_shape(n: int, m: int) -> None:
    Sums(KNOWN["moment"], n=n, m=m, columns=True).check()
    Sums(KNOWN["exponential"], n=n, m=n, triangle=True).check()


@pytest.mark.parametrize("mask", MASKS)
def test_shared_rows_without_a_triangle(mask: str) -> None:
    """Queries that are the keys, under a mask that no one knows to be symmetric."""
    sums = Sums(KNOWN["three exponentials"], m=N, mask=mask, columns=True)
    forbids, given = _mask(mask, (N, N), symmetric=False), sums.inputs()
    given["k"] = given["q"]
    ours, theirs = sums.by_tiles(forbids, given), sums.by_matrix(forbids, given)
    _close(ours, theirs, 1e-12)
    cotangents = [torch.randn_like(part) for part in ours]
    inputs = {name: x for name, x in given.items() if name != "k"}
    _close(_gradients(ours, cotangents, inputs), _gradients(theirs, cotangents, inputs), 1e-12)


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if not known.held])
@pytest.mark.parametrize("triangle", [False, True])
def test_against_finite_differences(name: str, triangle: bool) -> None:
    sums = Sums(KNOWN[name], n=5, m=5, side=2, mask="listed", triangle=triangle, weights=True, offsets=not triangle)
    mask, given = _mask("listed", (5, 5), triangle), sums.inputs()

    def rows(*values: Tensor) -> Tensor:
        return sums.by_tiles(mask, dict(zip(given, values, strict=True)))[0]

    assert torch.autograd.gradcheck(rows, tuple(given.values()))


@pytest.mark.parametrize("needed", ["q", "k", "lead", "offsets", "weights", "leaf 0", "leaf 1"])
def test_each_input_alone(needed: str) -> None:
    """What asks for no gradient changes nothing in what does."""
    sums = Sums(KNOWN["by autograd"], mask="listed", offsets=True, weights=True)
    mask, given = _mask("listed", (N, M), symmetric=False), sums.inputs()
    alone = {name: x if name == needed else x.detach() for name, x in given.items()}
    results = []
    for inputs in (given, alone):
        rows, _ = sums.by_tiles(mask, inputs)
        results.append(torch.autograd.grad((rows * torch.linspace(-1, 1, N, dtype=F64)).sum(), inputs[needed])[0])
    assert results[0].abs().max() > 0
    _close(results[1:], results[:1], 0.0)


def test_a_number_leads_like_a_tensor() -> None:
    sums = Sums(KNOWN["moment"], columns=True)
    given = sums.inputs()
    layout = Layout(Tiling(N, M, 4), Nothing(), columns=True)
    number = pair_sums(sums.known.functions, layout, given["q"], given["k"], 0.8)
    _close(number, sums.by_tiles(None, {**given, "lead": torch.tensor(0.8, dtype=F64)}), 0.0)


@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("weights", [False, True])
def test_single_precision_sums_in_double_where_exponents_are_wide(triangle: bool, weights: bool) -> None:
    """Temperature 0.01 on unit rows: exponents to 100, sums to e^100; gradients come back in single precision."""
    sums = Sums(WIDE["moment"], m=N if triangle else M, triangle=triangle, weights=weights)
    given = {name: x.detach() for name, x in sums.inputs(torch.float32).items()}
    for name in ("q", "k"):
        if name in given:
            given[name] = torch.nn.functional.normalize(given[name], dim=1)
    given["lead"] = torch.tensor(100.0)
    results = []
    for dtype in (torch.float32, F64):
        inputs = {name: x.to(dtype).requires_grad_() for name, x in given.items()}
        rows, _ = sums.by_tiles(None, inputs)
        assert rows.dtype == F64
        logs = torch.log(rows[0]) + rows[1] / rows[0]
        gradients = torch.autograd.grad(logs.sum(), list(inputs.values()))
        assert all(g.dtype == dtype for g in gradients)
        results.append([logs, *gradients])
    for single, double in zip(*results, strict=True):
        assert single.isfinite().all()
        assert (single.double() - double).abs().max() <= 3e-5 * double.abs().max()


def test_what_changed_since_is_refused() -> None:
    sums = Sums(KNOWN["exponential"])
    given = sums.inputs()
    rows, _ = sums.by_tiles(None, given)
    with torch.no_grad():
        given["q"].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(rows.sum(), given["q"])


@pytest.mark.parametrize("triangle", [False, True])
def test_inputs_are_left_as_they_are(triangle: bool) -> None:
    sums = Sums(KNOWN["by autograd"], m=N if triangle else M, triangle=triangle, weights=True)
    given = sums.inputs()
    before = {name: x.detach().clone() for name, x in given.items()}
    rows, _ = sums.by_tiles(None, given)
    cotangent = torch.randn_like(rows)
    held = cotangent.clone()
    first = torch.autograd.grad(rows, list(given.values()), cotangent, retain_graph=True)
    again = torch.autograd.grad(rows, list(given.values()), cotangent)
    _close(again, first, 0.0)
    assert torch.equal(cotangent, held)
    assert all(torch.equal(x, before[name]) for name, x in given.items())


def test_without_gradient() -> None:
    sums = Sums(KNOWN["moment"], columns=True)
    given = sums.inputs()
    expected = sums.by_matrix(None, given)
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            rows, cols = sums.by_tiles(None, given)
        assert not rows.requires_grad
        _close((rows.clone(), cols.clone()), expected, 1e-12)


@pytest.mark.parametrize("layout", ["strided", "transposed", "expanded"])
def test_embeddings_of_any_layout(layout: str) -> None:
    made = {
        "strided": lambda: torch.randn(N, 2 * D, dtype=F64)[:, ::2],
        "transposed": lambda: torch.randn(D, N, dtype=F64).T,
        "expanded": lambda: torch.randn(1, D, dtype=F64).expand(N, D),
    }
    sums = Sums(KNOWN["moment"], columns=True)
    given = sums.inputs()
    given["q"] = made[layout]().requires_grad_()
    ours, theirs = sums.by_tiles(None, given), sums.by_matrix(None, given)
    cotangents = [torch.randn_like(part) for part in ours]
    _close(_gradients(ours, cotangents, given), _gradients(theirs, cotangents, given), 1e-12)
