"""Couplings solved without a matrix in the graph: every storage gives the dense potentials, plans and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from couplings import (
    KL,
    Cost,
    CouplingWarning,
    Entropic,
    Fixed,
    Free,
    Infeasible,
    InvalidInput,
    Marginal,
    Mask,
    Power,
    Quadratic,
    Rule,
    SameId,
    Scores,
    SquaredEuclidean,
    couple,
)
from couplings.basics.sizes import limited
from couplings.engine.backing import backing_of
from couplings.engine.panels import Kept, Remade
from couplings.engine.sums import KernelSums, LogSums
from couplings.pieces.costs import Cosine, DistancePower, InnerProduct, LogDistance
from couplings.pieces.masks import GivenMask
from helpers import F64

N, M, D = 13, 11, 5
_TINY = 3 * M
"""Entries of a panel: three rows, or two columns, so that the last panel is a smaller one."""
STORAGES: dict[str, dict[str, int]] = {
    "kept": {"dense": 0, "panel": _TINY, "budget": 1 << 30},
    "remade": {"dense": 0, "panel": _TINY, "budget": 0},
}
every_storage = pytest.mark.parametrize("storage", STORAGES)
RULES = [Entropic(), Quadratic(), Power(1.7)]
KINDS = ["Fixed", "KL", "Free"]
COMBINATIONS = [
    c for c in itertools.product(KINDS, KINDS, RULES) if not (c[0] == c[1] == "Free" and isinstance(c[2], Power))
]


def _name(value: object) -> str:
    return value if isinstance(value, str) else type(value).__name__


def _stored(storage: str) -> AbstractContextManager[None]:
    return nullcontext() if storage == "dense" else limited(**STORAGES[storage])


def _mask(n: int = N, m: int = M) -> Tensor:
    mask = torch.zeros(n, m, dtype=torch.bool)
    mask[0, 0] = mask[1, 3] = mask[3, 4] = mask[n - 1, m - 1] = True
    return mask


@dataclass(frozen=True)
class Problem:
    """Scores and marginals as a function of (q, k, temperature, rho of rows, rho of columns)."""

    rows: str = "Fixed"
    cols: str = "Fixed"
    rule: Rule = Entropic()  # noqa: RUF009
    temperature: float = 0.8
    cost: Cost = InnerProduct()  # noqa: RUF009
    mask: Mask | None = None
    weighted: bool = False
    sweeps: int = 2
    row_step: bool = True
    tol: float | None = None
    init: bool = False
    skip_empty: bool = False
    unit: bool = True
    own: bool = False
    dtype: torch.dtype = F64
    size: tuple[int, int] = (N, M)

    def inputs(self) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(3)
        n, m = self.size
        q, k = (torch.randn(s, D, dtype=F64, generator=generator) for s in (n, m))
        numbers = torch.tensor([self.temperature, 0.6, 1.3], dtype=F64)
        return tuple(x.to(self.dtype).requires_grad_() for x in (q, k, *numbers.unbind()))

    def scores(self, q: Tensor, k: Tensor, temperature: Tensor) -> Scores:
        cost = Cosine() if self.unit and isinstance(self.cost, InnerProduct) else self.cost
        if self.unit and not isinstance(self.cost, InnerProduct):
            q, k = (torch.nn.functional.normalize(x, dim=1) for x in (q, k))
        return Scores(q, None if self.own else k, temperature=temperature, cost=cost, mask=self.mask)

    def side(self, kind: str, rho: Tensor, size: int) -> Marginal:
        weights = torch.linspace(1.0, 2.0, size, dtype=self.dtype) / (1.5 * size) if self.weighted else None
        made = {"Fixed": lambda: Fixed(weights), "KL": lambda: KL(rho, weights), "Free": lambda: Free(weights)}
        return made[kind]()

    def solve(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(f, g, log P at some pairs)."""
        q, k, temperature, rho_rows, rho_cols = inputs
        scores = self.scores(q, k, temperature)
        n, m = scores.shape
        coupling = couple(
            scores,
            self.side(self.rows, rho_rows, n),
            self.side(self.cols, rho_cols, m),
            rule=self.rule,
            sweeps=self.sweeps,
            row_step=self.row_step and self.rows != "Free",
            tol=self.tol,
            init=torch.linspace(-0.4, 0.4, m, dtype=self.dtype) if self.init else None,
            skip_empty=self.skip_empty,
        )
        i = torch.arange(2, n - 1)
        value = coupling.rule.density(coupling.f[i] + coupling.g[i % m] + coupling.scores.at(i, i % m))
        return coupling.f, coupling.g, value

    def value(self, *inputs: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(5)
        parts = self.solve(*inputs)
        return sum((p @ torch.randn(len(p), dtype=F64, generator=generator).to(p) for p in parts), torch.zeros(()))

    def outcome(self, storage: str) -> tuple[Tensor, ...]:
        """(f, g, densities, gradients)."""
        inputs = self.inputs()
        with _stored(storage):
            solved = self.solve(*inputs)
            grads = torch.autograd.grad(self.value(*inputs), inputs, allow_unused=True)
        return (*solved, *(torch.zeros_like(x) if g is None else g for g, x in zip(grads, inputs, strict=True)))


def _agree(problem: Problem, storage: str, tol: float = 1e-10) -> tuple[Tensor, ...]:
    ours, dense = problem.outcome(storage), problem.outcome("dense")
    for one, other in zip(ours, dense, strict=True):
        torch.testing.assert_close(one, other, rtol=tol, atol=tol)
    return ours


@every_storage
@pytest.mark.parametrize(("rows", "cols", "rule"), COMBINATIONS, ids=_name)
def test_every_combination_is_the_dense_one(rows: str, cols: str, rule: Rule, storage: str) -> None:
    problem = Problem(rows, cols, rule, mask=GivenMask(_mask()), weighted=True)
    *_, by_q, by_k, by_temperature, by_rho_rows, by_rho_cols = _agree(problem, storage)
    assert min(by_q.abs().max(), by_k.abs().max(), by_temperature.abs()) > 1e-5
    assert (by_rho_rows != 0) == (rows == "KL")
    assert (by_rho_cols != 0) == (cols == "KL")


@every_storage
@pytest.mark.parametrize("rule", RULES, ids=_name)
@pytest.mark.parametrize("row_step", [False, True])
@pytest.mark.parametrize("sweeps", [0, 1, 4])
def test_any_number_of_sweeps(sweeps: int, row_step: bool, rule: Rule, storage: str) -> None:
    if isinstance(rule, Power) and not sweeps and not row_step:
        return
    _agree(Problem("KL", "Fixed", rule, sweeps=sweeps, row_step=row_step), storage)
    if not isinstance(rule, Power):
        _agree(Problem("Free", "Free", rule, sweeps=sweeps), storage)


@every_storage
@pytest.mark.parametrize("temperature", [0.8, 0.003])
@pytest.mark.parametrize(
    "cost", [InnerProduct(), SquaredEuclidean(), DistancePower(1.5), LogDistance()], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize("unit", [True, False])
def test_every_domain_and_cost(unit: bool, cost: Cost, temperature: float, storage: str) -> None:
    """Rows of unknown norm and low temperatures go to the log domain, whatever the cost."""
    _agree(Problem(cost=cost, unit=unit, temperature=temperature, mask=GivenMask(_mask())), storage, 1e-8)


def _ids(*ids: int) -> Tensor:
    return torch.tensor(ids)


MASKS: dict[str, Callable[[], Mask]] = {
    "ids": lambda: SameId(torch.arange(N) % 7, torch.arange(M) % 5),
    "one each": lambda: SameId(torch.arange(N), torch.arange(M)),
    "either": lambda: SameId(torch.arange(N), torch.arange(M)) | GivenMask(_mask()),
    "except": lambda: SameId(torch.arange(N) % 4, torch.arange(M) % 4) - SameId(torch.arange(N), torch.arange(M)),
    "not": lambda: ~SameId(torch.arange(N) % 2, torch.arange(M) % 2),
    "given": lambda: GivenMask(_mask()),
}


@every_storage
@pytest.mark.parametrize("rule", [Entropic(), Quadratic()], ids=_name)
@pytest.mark.parametrize("name", MASKS)
def test_every_mask(name: str, rule: Rule, storage: str) -> None:
    _agree(Problem("KL", "KL", rule, mask=MASKS[name]()), storage)
    _agree(Problem("KL", "KL", rule, mask=MASKS[name](), temperature=0.003), storage, 1e-8)


@every_storage
def test_keys_that_are_the_queries(storage: str) -> None:
    _agree(Problem(own=True, mask=SameId(torch.arange(N), torch.arange(N)), sweeps=5), storage)
    _agree(Problem(own=True, cost=DistancePower(1.5), sweeps=5), storage)


@every_storage
@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_a_warm_start(rule: Rule, storage: str) -> None:
    _agree(Problem(rule=rule, init=True, row_step=False, sweeps=1), storage)


@every_storage
@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_a_tolerance_stops_at_the_same_sweep(rule: Rule, storage: str) -> None:
    _agree(Problem(rule=rule, tol=1e-2, sweeps=200), storage, 1e-9)
    _agree(Problem("Fixed", "KL", rule=rule, tol=1e-2, sweeps=200), storage, 1e-9)


@every_storage
@pytest.mark.parametrize("rule", [Entropic(), Quadratic()], ids=_name)
def test_a_tolerance_that_is_not_reached_warns_once(rule: Rule, storage: str) -> None:
    problem = Problem(rule=rule, tol=1e-9, sweeps=2, row_step=False, temperature=0.1)
    with pytest.warns(CouplingWarning, match="stopped after 2 sweeps") as seen, _stored(storage):
        problem.solve(*problem.inputs())
    assert len(seen) == 1


@every_storage
@pytest.mark.parametrize("rule", [Entropic(), Quadratic()], ids=_name)
@pytest.mark.parametrize("temperature", [0.8, 0.003])
def test_empty_rows_and_columns(temperature: float, rule: Rule, storage: str) -> None:
    mask = _mask()
    mask[4] = mask[:, 2] = True
    problem = Problem(mask=GivenMask(mask), rule=rule, temperature=temperature)
    _agree(replace(problem, skip_empty=True), storage, 1e-8)
    with _stored(storage), pytest.raises(Infeasible, match=r"row 4 has no admissible pair \(1 such rows\)"):
        problem.solve(*problem.inputs())
    with _stored(storage), pytest.raises(Infeasible, match=r"column 2 has no admissible pair \(1 such columns\)"):
        replace(problem, rows="Free").solve(*problem.inputs())


@every_storage
def test_weights_of_zero_take_their_rows_and_columns_out(storage: str) -> None:
    def potentials() -> tuple[Tensor, Tensor]:
        a, b = torch.full((N,), 1 / (N - 1), dtype=F64), torch.full((M,), 1 / (M - 1), dtype=F64)
        a[3] = b[7] = 0.0
        q, k, *_ = Problem().inputs()
        coupling = couple(Scores(q, k, temperature=0.3), Fixed(a), Fixed(b), sweeps=4)
        return coupling.f, coupling.g

    with _stored(storage):
        ours = potentials()
    for one, other in zip(ours, potentials(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@every_storage
def test_heavy_classes_and_nan_are_refused_in_the_same_words(storage: str) -> None:
    q, k, *_ = (x.detach() for x in Problem().inputs())
    ids = SameId(torch.zeros(N, dtype=torch.long), torch.zeros(M, dtype=torch.long))
    with _stored(storage), pytest.raises(Infeasible, match="holds 100 % of the mass"):
        couple(Scores(q, k, mask=ids), Fixed(), Fixed())
    far = q.clone()
    far[5] *= 100 / far[5].norm()
    for sides in ((Fixed(), Fixed()), (Free(), Free())):
        with _stored(storage), pytest.raises(InvalidInput, match="the scores of row 5 hold NaN"):
            couple(Scores(far, k, cost=_NotFarOut()), *sides)


class _NotFarOut:
    def score(self, dot: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        return torch.where(q_sq < 99, dot, torch.nan)


@every_storage
def test_the_domain_follows_the_temperature_and_what_is_known_of_norms(storage: str) -> None:
    def sums(temperature: float, cost: Cost | None = None) -> LogSums | KernelSums:
        q, k, *_ = Problem(dtype=torch.float32).inputs()
        backing = backing_of(Scores(q, k, temperature=temperature, cost=cost))
        return backing.kernels(lambda: 0.0) or backing.logs()

    with _stored(storage):
        assert isinstance(sums(0.05), KernelSums)
        assert isinstance(sums(0.01), LogSums)
        assert isinstance(sums(0.05, InnerProduct()), LogSums)
        assert isinstance(sums(0.05).source, {"kept": Kept, "remade": Remade}[storage])


@every_storage
@pytest.mark.parametrize(("rows", "cols"), [("Fixed", "Fixed"), ("KL", "KL"), ("KL", "Fixed")])
@pytest.mark.parametrize("temperature", [0.01, 0.05])
def test_single_precision(temperature: float, rows: str, cols: str, storage: str) -> None:
    problem = Problem(rows, cols, temperature=temperature, sweeps=10, mask=GivenMask(_mask()))
    single, double = replace(problem, dtype=torch.float32).outcome(storage), problem.outcome("dense")
    for one, other in zip(single, double, strict=True):
        assert one.isfinite().all()
        assert (one - other).abs().max() < 3e-4 * (1 + other.abs().max())


@every_storage
def test_a_mask_that_drives_potentials_beyond_a_kernel_is_solved_in_logs(storage: str) -> None:
    """A chain: row i meets column i, which it likes, and column i - 1, which it does not. Each link adds to f."""
    n, temperature = 9, 0.06
    rows, cols = torch.arange(n, dtype=F64) * (torch.pi - 0.4), torch.arange(n - 1, dtype=F64) * (torch.pi - 0.4) + 0.2
    behind = torch.arange(n)[:, None] - torch.arange(n - 1)
    mask = (behind != 0) & (behind != 1)

    def gradients(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        q, k = (torch.stack([angle.cos(), angle.sin()], 1).to(dtype).requires_grad_() for angle in (rows, cols))
        coupling = couple(Scores(q, k, temperature=temperature, mask=mask), Fixed(), Fixed(), sweeps=300)
        (grad,) = torch.autograd.grad(coupling.f @ torch.linspace(-1, 1, n, dtype=dtype), q)
        return coupling.f, grad

    f, grad = gradients(F64)
    with _stored(storage):
        single_f, single_grad = gradients(torch.float32)
    assert f.amax() - f.amin() > 90
    assert (single_f - f).abs().max() < 1e-4 * f.abs().max()
    assert (single_grad - grad).abs().max() < 1e-3 * grad.abs().max()
