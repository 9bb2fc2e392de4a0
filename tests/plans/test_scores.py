"""Scores: costs, keys, sums, signs, masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from couplings import (
    RBF,
    Cosine,
    Cost,
    DistancePower,
    ExpSquaredEuclidean,
    Fixed,
    Free,
    GivenMask,
    InnerProduct,
    InvalidInput,
    SameId,
    Scores,
    SquaredEuclidean,
    couple,
)
from helpers import F64, gradients

COSTS: list[Cost] = [
    InnerProduct(),
    Cosine(),
    SquaredEuclidean(),
    ExpSquaredEuclidean(0.7),
    RBF(1.5),
    DistancePower(4.0),
    DistancePower(1.0),
]
every_cost = pytest.mark.parametrize("cost", COSTS, ids=repr)


def _qk(n: int = 4, m: int = 5, d: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(n, d, dtype=F64), torch.randn(m, d, dtype=F64)


def _written_out(cost: Cost, q: Tensor, k: Tensor) -> Tensor:
    squared = torch.cdist(q, k, compute_mode="donot_use_mm_for_euclid_dist").square()
    if isinstance(cost, InnerProduct):
        return q @ k.T
    if isinstance(cost, Cosine):
        return torch.nn.functional.cosine_similarity(q[:, None], k[None], dim=2)
    if isinstance(cost, SquaredEuclidean):
        return -squared
    if isinstance(cost, ExpSquaredEuclidean):
        return -torch.exp(squared - cost.kappa)
    if isinstance(cost, RBF):
        return torch.exp(-cost.t * squared)
    assert isinstance(cost, DistancePower)
    return -((squared / 2).sqrt() ** cost.p)


@every_cost
def test_a_score_is_the_cost_over_the_temperature(cost: Cost) -> None:
    q, k = _qk()
    torch.testing.assert_close(Scores(q, k, cost=cost, temperature=0.3).matrix(), _written_out(cost, q, k) / 0.3)


@every_cost
def test_keys_of_ones_own_score_as_shared_ones(cost: Cost) -> None:
    q, k = _qk()
    own = Scores(q, k.expand(4, 5, 3), cost=cost, temperature=0.3)
    torch.testing.assert_close(own.matrix(), Scores(q, k, cost=cost, temperature=0.3).matrix())
    assert own.own_columns
    assert own.shape == (4, 5)


@every_cost
@pytest.mark.parametrize("own", [False, True], ids=["shared keys", "own keys"])
def test_values_at_pairs_are_entries_of_the_matrix(cost: Cost, own: bool) -> None:
    q, k = _qk()
    scores = Scores(q, k.expand(4, 5, 3) + 0.1 * torch.randn(4, 5, 3) if own else k, cost=cost, temperature=0.3)
    i, j = torch.tensor([[0], [1], [3]]), torch.tensor([[1, 2], [0, 4], [4, 4]])
    torch.testing.assert_close(scores.at(i, j), scores.matrix()[i, j])


@every_cost
def test_gradients_reach_embeddings_norms_and_temperature(cost: Cost) -> None:
    q, k = (x.requires_grad_() for x in _qk())
    temperature = torch.tensor(0.6, dtype=F64, requires_grad=True)
    weight = torch.randn(4, 5, dtype=F64)

    def value(q: Tensor, k: Tensor, temperature: Tensor) -> Tensor:
        return (Scores(q, k, cost=cost, temperature=temperature).matrix() * weight).sum()

    assert torch.autograd.gradcheck(value, (q, k, temperature))


@pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
def test_coinciding_points_have_a_finite_gradient(p: float) -> None:
    z = torch.randn(4, 3, dtype=F64)
    mask = SameId(torch.arange(4), torch.arange(4))

    def value(z: Tensor) -> Tensor:
        return couple(Scores(z, cost=DistancePower(p), mask=mask)).plan().square().sum()

    assert gradients(value, [z])[0].isfinite().all()


def test_queries_are_their_own_keys() -> None:
    q, _ = _qk()
    torch.testing.assert_close(Scores(q).matrix(), Scores(q, q).matrix())
    torch.testing.assert_close(Scores(q).matrix().diagonal(), torch.ones(4, dtype=F64))


def test_sums_add_logits_and_join_masks() -> None:
    q, k = _qk()
    first, second = torch.zeros(4, 5, dtype=torch.bool), torch.zeros(4, 5, dtype=torch.bool)
    first[0, 0] = second[3, 4] = True
    one = Scores(q, k, temperature=0.3, mask=first)
    other = Scores(q, k, temperature=0.7, cost=SquaredEuclidean(), mask=GivenMask(second))
    total = one + other
    expected = (one.unmasked() + other.unmasked()).masked_fill(first | second, -math.inf)
    torch.testing.assert_close(total.matrix(), expected)
    torch.testing.assert_close((one + Scores(q, k)).matrix(), one.matrix() + Scores(q, k).matrix())
    torch.testing.assert_close((Scores(q, k) + one).matrix(), one.matrix() + Scores(q, k).matrix())
    i, j = torch.tensor([1, 2]), torch.tensor([0, 3])
    torch.testing.assert_close(total.at(i, j), expected[i, j])


def test_a_constant_summand_takes_no_gradient() -> None:
    q, k = _qk()
    weight = torch.randn(4, 5, dtype=F64)
    once = gradients(lambda x: (Scores(x, k).matrix() * weight).sum(), [q])[0]
    summed = gradients(lambda x: ((Scores(x, k) + Scores(x, k).detach()).matrix() * weight).sum(), [q])[0]
    torch.testing.assert_close(summed, once)


def test_the_sign_flips_and_the_mask_stays() -> None:
    q, k = _qk()
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[1, 1] = True
    flipped = (-Scores(q, k, mask=mask)).matrix()
    torch.testing.assert_close(flipped, (-Scores(q, k).matrix()).masked_fill(mask, -math.inf))


def test_a_forbidden_entry_of_a_given_matrix_stays_forbidden() -> None:
    """Under a sign, with a temperature that carries gradient, in a plan."""
    matrix = torch.randn(3, 4, dtype=F64)
    matrix[0, 1] = -math.inf
    scores = Scores.given(matrix)
    assert scores.matrix()[0, 1] == -math.inf
    assert (-scores).matrix()[0, 1] == -math.inf
    assert couple(scores).plan()[0, 1] == 0

    def value(temperature: Tensor) -> Tensor:
        return couple(Scores.given(matrix, temperature=temperature)).plan()[0, 0]

    assert torch.autograd.gradcheck(value, torch.tensor(0.5, dtype=F64, requires_grad=True))
    both = Scores.given(matrix, mask=torch.eye(3, 4, dtype=torch.bool)).matrix()
    assert both[0, 0] == both[0, 1] == -math.inf


def test_the_callers_matrix_is_left_alone() -> None:
    matrix = torch.randn(3, 3)
    before = matrix.clone()
    couple(Scores.given(matrix, mask=torch.eye(3, dtype=torch.bool)), Fixed(), Fixed()).plan()
    assert torch.equal(matrix, before)


@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_kappa_and_reg_are_one_parameter(kappa: float) -> None:
    q, k = _qk()
    shifted = Scores(q, k, cost=ExpSquaredEuclidean(kappa), temperature=0.5).matrix()
    plain = Scores(q, k, cost=ExpSquaredEuclidean(0.0), temperature=0.5 * math.exp(kappa)).matrix()
    torch.testing.assert_close(shifted, plain)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Scores(torch.randn(3)), r"q must have shape \(n, d\), got \(3,\)"),
        (lambda: Scores(torch.ones(3, 2).long()), "q must be floating point, got torch.int64"),
        (lambda: Scores(torch.zeros(0, 2)), "q is empty"),
        (lambda: Scores(torch.randn(3, 2), torch.randn(3, 4)), "q has 2 dimensions but k has 4"),
        (lambda: Scores(torch.randn(3, 2), torch.randn(5, 4, 2)), "k holds keys for 5 rows but q has 3"),
        (lambda: Scores(torch.zeros(3, 2)), r"q has a zero vector \(row 0\)"),
        (lambda: Scores(torch.full((3, 2), math.nan), cost=InnerProduct()), "q holds NaN"),
        (lambda: Scores(torch.ones(3, 2), torch.full((4, 2), math.inf)), "k holds inf"),
        (lambda: Scores(torch.ones(3, 2), temperature=0.0), "temperature must be > 0, got 0"),
        (lambda: Scores(torch.ones(3, 2), temperature=-1.0), "temperature must be > 0, got -1"),
        (lambda: Scores(torch.ones(3, 2), temperature=math.nan), "temperature must be > 0, got nan"),
        (lambda: Scores(torch.ones(3, 2), temperature=torch.tensor(0.0)), "temperature must be > 0, got 0"),
        (lambda: Scores(torch.ones(3, 2), temperature=torch.ones(3)), r"temperature must be a number.*\(3,\)"),
        (
            lambda: Scores(torch.ones(3, 2), mask=torch.zeros(2, 2, dtype=torch.bool)),
            r"mask has shape \(2, 2\) but the scores are \(3, 3\)",
        ),
        (lambda: Scores(torch.ones(3, 2), mask=torch.zeros(3, 3)), "mask must be a boolean matrix"),
        (lambda: Scores.given(torch.ones(3)), r"matrix must have shape"),
        (lambda: Scores.given(torch.ones(3, 2)) + Scores.given(torch.ones(2, 2)), "do not add"),
        (lambda: RBF(0.0), "t must be > 0, got 0"),
        (lambda: DistancePower(-1.0), "p must be > 0, got -1"),
        (lambda: ExpSquaredEuclidean(math.inf), "kappa must be finite, got inf"),
    ],
    ids=range(20),
)
def test_refusals(build: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        build()  # type: ignore[operator]


def test_zero_vectors_are_fine_without_angles() -> None:
    assert couple(Scores(torch.zeros(3, 2), cost=SquaredEuclidean()), Fixed(), Free()).plan().isfinite().all()


def test_half_precision_and_autocast_are_computed_in_single() -> None:
    z = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), dim=1).bfloat16()
    plain = couple(Scores(z.float(), temperature=0.05), Fixed(), Fixed())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = couple(Scores(z, temperature=0.05), Fixed(), Fixed())
        assert cast.column_mass().dtype == torch.float32
    torch.testing.assert_close(cast.plan(), plain.plan())


def test_scores_of_opposite_directions_are_transposes_at_one_temperature_only() -> None:
    q, k = torch.randn(2, 5, 3, dtype=F64)
    there = Scores(q, k, temperature=0.5)
    for temperature, same in ((there.temperature, True), (0.25, False)):
        assert there.is_transpose_of(Scores(k, q, temperature=temperature)) == same
