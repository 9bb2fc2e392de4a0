"""Every loss against its naive float64 reference: value and gradient, on every side of a call that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import reference as ref
import torch
from torch import Tensor

import couplings
from helpers import F64

SEEDS = (0, 1)
D = 4
Params = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """What a call brings beside its views, and how the loss was made to look at it."""

    count: int = 2
    n: int = 6
    labels: tuple[int, ...] | None = None
    ids: tuple[int, ...] | None = None
    queue: int = 0
    key_ids: tuple[int, ...] | None = None
    own: int = 0
    masked: float = 0.0
    options: Params = field(default_factory=dict)


SIDES = {
    "two": Side(),
    "three": Side(3, 4),
    "five": Side(5, 3),
    "ids": Side(ids=(4, 4, -2, 0, 7, 7)),
    "labels": Side(labels=(1, 0, 1, 2, 2, 3)),
    "queue": Side(queue=5),
    "key_ids": Side(3, 4, ids=(0, 1, 2, 1), queue=4, key_ids=(1, 9, 3, 0)),
    "negatives": Side(own=3),
    "negatives3": Side(3, 4, own=2),
    "across": Side(n=5, options={"across_views": True}),
    "across3": Side(3, 4, ids=(0, 1, 2, 1), queue=3, options={"across_views": True}),
    "across_labels": Side(labels=(1, 0, 1, 2, 2, 3), options={"across_views": True}),
    "mask": Side(masked=0.2),
    "mask_queue": Side(3, 4, queue=3, masked=0.15),
    "everything": Side(labels=(0, 1, 1, 2, 3, 4), ids=(5, 6, 7, 7, 8, 9), queue=4, key_ids=(5, 1, 2, 9), masked=0.1),
    "raw": Side(options={"normalize": False}),
    "raw_queue": Side(3, 4, labels=(0, 1, 2, 1), queue=3, options={"normalize": False}),
    "raw_negatives": Side(3, 4, own=2, options={"normalize": False}),
}
PLAIN = ("two", "three")
OWN = ("negatives", "negatives3", "raw_negatives")
QUEUES = ("everything", "queue", "key_ids", "across3", "mask_queue", "raw_queue")
ACROSS = ("across", "across3", "across_labels")


@dataclass(frozen=True, eq=False)
class Call:
    """One random call: leaves that want gradients, and constants."""

    views: list[Tensor]
    leaves: dict[str, Tensor]
    constants: dict[str, Tensor]

    @property
    def inputs(self) -> list[Tensor]:
        return [*self.views, *self.leaves.values()]

    def sides(self) -> dict[str, Tensor]:
        return {**self.leaves, **self.constants}


def _call(side: Side, seed: int) -> Call:
    generator = torch.Generator().manual_seed(100 * seed + side.count + side.queue)
    scale = 1.0 if side.options.get("normalize", True) else 0.6

    def draw(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=F64)

    base = draw(side.n, D)
    views = [(base + 0.7 * draw(side.n, D)).requires_grad_() for _ in range(side.count)]
    leaves, constants = {}, {}
    if side.queue:
        leaves["keys"] = draw(side.queue, D).requires_grad_()
    if side.own:
        leaves["negatives"] = draw(side.n, side.own, D).requires_grad_()
    for name in ("labels", "ids", "key_ids"):
        if (given := getattr(side, name)) is not None:
            constants[name] = torch.tensor(given)
    if side.masked:
        shape = (side.count * side.n, side.count * side.n + side.queue)
        constants["mask"] = torch.rand(shape, generator=generator) < side.masked
    return Call(views, leaves, constants)


@dataclass(frozen=True)
class Spec:
    """A loss: its class, its reference, the parameters to try, and the sides that it does not take."""

    make: Callable[..., couplings.Loss] | str
    reference: Callable[..., Tensor]
    params: tuple[Params, ...]
    temperature: float | None = None
    """Where the temperature carries gradient."""
    without: tuple[str, ...] = ()
    plain: tuple[str, ...] = PLAIN
    """Where all parameters are tried."""

    def build(self, **kwargs: Any) -> couplings.Loss:
        made = getattr(couplings, self.make) if isinstance(self.make, str) else self.make
        return made(**_with_rule(kwargs))


def _with_rule(params: Params) -> Params:
    """The reference's q of a rule becomes the library's rule."""
    if "rule" not in params:
        return params
    names = {0.0: "quadratic", 1.0: "entropic"}
    return {**params, "rule": names.get(params["rule"]) or couplings.Power(params["rule"])}


def _alpha_cl(temperature: float, p: float, rule: Any, **options: bool) -> couplings.Loss:
    return couplings.AlphaCL(temperature, rule, couplings.DistancePower(p), **options)


def _inverse(shift: float, power: float, **options: bool) -> couplings.Loss:
    return couplings.AlphaCL(1.0, cost=couplings.LogDistance(shift, power), **options)


def _grid(**axes: tuple[Any, ...]) -> tuple[Params, ...]:
    """Every combination of the values."""
    result: list[Params] = [{}]
    for name, values in axes.items():
        result = [{**made, name: value} for made in result for value in values]
    return tuple(result)


TEMPERATURES = _grid(temperature=(0.5, 0.1))
SPECS = {
    "infonce": Spec("InfoNCE", ref.infonce, TEMPERATURES, 0.3),
    "decoupled-infonce": Spec("DecoupledInfoNCE", ref.decoupled_infonce, TEMPERATURES, 0.3),
    "supcon": Spec(
        "SupCon",
        ref.supcon,
        _grid(temperature=(0.5, 0.1), log_inside=(False, True)),
        0.3,
        plain=("two", "three", "labels", "everything"),
    ),
    "alignment": Spec("Alignment", ref.alignment, TEMPERATURES, 0.3, ACROSS),
    "clip": Spec("CLIP", ref.clip, TEMPERATURES, 0.3, ACROSS),
    "siglip": Spec("SigLIP", ref.siglip, _grid(temperature=(0.5, 0.1), bias=(-10.0, -1.0, 0.5)), 0.3, ACROSS),
    "rince": Spec(
        "RINCE",
        ref.rince,
        (*_grid(q=(0.1, 0.6, 1.0), lam=(0.025, 0.5), temperature=(0.5, 0.1)), {"shift": 1.0, "q": 0.3}),
        0.3,
    ),
    "debiased-infonce": Spec(
        "DebiasedInfoNCE", ref.debiased_infonce, _grid(tau_plus=(0.1, 0.0, 0.3), temperature=(0.5, 0.1)), 0.3
    ),
    "hcl": Spec(
        "HCL",
        ref.hcl,
        _grid(beta=(1.0, 0.0, 2.0), tau_plus=(0.1, 0.0, 0.3), temperature=(0.5, 0.1), detach_weights=(False, True)),
        0.3,
    ),
    "hcl-ot": Spec(
        "HCLOT",
        ref.hcl_ot,
        (
            *_grid(tau_plus=(0.1, 0.0, 0.3), reg=(0.7, 0.2), cost=("sqeuclidean",)),
            {"cost": "exp", "reg": 0.9, "temperature": 0.1},
            {"cost": "exp", "kappa": 0.3, "reg": 2.0},
            {"sweeps": 1},
            {"sweeps": 5, "detach_weights": False, "tau_plus": 0.1},
            {"detach_weights": False, "reg": 0.5},
            {"rule": 0.0, "reg": 0.5},
            {"rule": 0.0, "reg": 5.0, "tau_plus": 0.1},
            {"rule": 0.0, "sweeps": 3, "detach_weights": False},
            {"rule": 1.5, "sweeps": 2, "detach_weights": False},
            {"rule": 2.0, "sweeps": 2},
        ),
        0.3,
        OWN,
    ),
    "relaxed-hcl-ot": Spec(
        "RelaxedHCLOT",
        ref.relaxed_hcl_ot,
        (
            *_grid(rho=(1.0, 0.05, 20.0), tau_plus=(0.1, 0.0), reg=(0.7, 0.3)),
            {"cost": "exp"},
            {"sweeps": 5, "detach_weights": False},
            {"detach_weights": False, "rho": 0.5},
        ),
        0.3,
        OWN,
    ),
    "scaled-infonce": Spec("ScaledInfoNCE", ref.scaled_infonce, _grid(e0=(1.0, 0.0, 2.5), temperature=(0.5, 0.1)), 0.3),
    "mine": Spec("MINE", ref.mine, ({},)),
    "triplet": Spec("Triplet", ref.triplet, _grid(margin=(0.5, 0.0, 2.0))),
    "soft-triplet": Spec("SoftTriplet", ref.soft_triplet, _grid(temperature=(0.5, 0.1), margin=(0.5, 0.0)), 0.3),
    "n-plus-one-tuplet": Spec("NPlusOneTuplet", ref.n_plus_one_tuplet, ({},)),
    "lifted-structured": Spec("LiftedStructured", ref.lifted_structured, _grid(margin=(1.0, 0.0, -1.5))),
    "modified-triplet": Spec("ModifiedTriplet", ref.modified_triplet, _grid(slope=(5.0, 1.0))),
    "triplet-contrastive": Spec("TripletContrastive", ref.triplet_contrastive, ({},)),
    "alpha-cl": Spec(
        _alpha_cl,
        ref.alpha_cl,
        _grid(rule=(1.0, 0.0, 2.0, 1.5, 4.0), p=(2.0, 4.0), temperature=(0.5, 0.1)),
    ),
    "alpha-cl-inverse": Spec(_inverse, ref.alpha_cl_inverse, _grid(shift=(0.5, 0.1), power=(1.0, 2.0))),
    "alpha-cl-direct": Spec("AlphaCLDirect", ref.alpha_cl_direct, _grid(p=(4.0, 2.0), temperature=(0.5, 0.1))),
    "alpha-cl-per-sample": Spec("AlphaCLPerSample", ref.alpha_cl_per_sample, TEMPERATURES),
    "alpha-cl-low-rank": Spec(
        "AlphaCLLowRank", ref.alpha_cl_low_rank, _grid(rank=(2, 1, 8, 50), temperature=(0.5, 0.1))
    ),
    "balanced-alpha-cl": Spec(
        "BalancedAlphaCL",
        ref.balanced_alpha_cl,
        _grid(sweeps=(None, 1, 20), p=(2.0, 4.0), temperature=(0.5, 0.25)),
        without=OWN,
    ),
    "cacr": Spec(
        "CACR",
        ref.cacr,
        (
            {"t_positive": 1.5, "t_negative": 0.7, "alpha": 0.4, "beta": 2.0},
            *_grid(detach_weights=(False, True), cost=("sqeuclidean", "rbf"), ordered=(False, True)),
            {"tau_plus": 0.1, "beta": 2.0},
            {"tau_plus": 0.1, "cost": "rbf", "t_negative": 0.5},
            {"tau_plus": 0.3, "ordered": True, "t_positive": 0.0, "t_negative": 0.0},
        ),
        without=ACROSS,
    ),
    "sinkhorn-cacr": Spec(
        "SinkhornCACR",
        ref.sinkhorn_cacr,
        (
            {"t_positive": 1.5, "t_negative": 0.7, "alpha": 0.4, "beta": 2.0},
            *_grid(sweeps=(0, 1, 5, 20), detach_weights=(False, True)),
            {"cost": "rbf"},
            {"tau_plus": 0.1, "ordered": True},
        ),
        without=(*ACROSS, *OWN),
    ),
    "spectral": Spec("SpectralContrastive", ref.spectral, _grid(scale=(1.0, 3.0))),
    "alignment-uniformity": Spec(
        "AlignmentUniformity",
        ref.alignment_uniformity,
        _grid(power=(2.0, 1.0), t=(2.0, 0.5), weight=(1.0, 0.3)),
        without=(*ACROSS, *OWN),
    ),
}
"""What each loss takes and what it is compared with; the losses that match a plan to a target follow below."""


def _cases() -> Iterator[Any]:
    """The first parameters on every side, the others on plain views."""
    for name, spec in SPECS.items():
        for which, params in enumerate(spec.params):
            sides = [s for s in SIDES if s not in spec.without] if which == 0 else spec.plain
            for side in sides:
                shown = "-".join(f"{k}={v}" for k, v in params.items())
                yield pytest.param(name, params, side, id=f"{name}-{side}-{shown}")


def assert_equal(got: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    """The same value and the same gradient in each input, to 1e-8."""
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)
    for a, b in zip(_gradients(got, inputs), _gradients(expected, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def _gradients(value: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True, retain_graph=True)


def _world(call: Call, side: Side, attract: bool = False) -> ref.World:
    return ref.world(call.views, **call.sides(), **side.options, attract=attract)


def _compare(loss: couplings.Loss, reference: Callable[[ref.World], Tensor], side: Side, attract: bool = False) -> None:
    for seed in SEEDS:
        call = _call(side, seed)
        w = ref.world(call.views, **call.sides(), **side.options, attract=attract)
        assert_equal(loss(*call.views, **call.sides()), reference(w), call.inputs)


@pytest.mark.parametrize(("name", "params", "side"), list(_cases()))
def test_loss_and_gradient(name: str, params: Params, side: str) -> None:
    spec, given = SPECS[name], SIDES[side]
    loss = spec.build(**params, **given.options)
    _compare(loss, lambda w: spec.reference(w, **params), given, attract=name == "supcon")


HEATED = [name for name, spec in SPECS.items() if spec.temperature]


@pytest.mark.parametrize("name", HEATED)
@pytest.mark.parametrize("side", ["two", "three", "key_ids"])
def test_gradient_in_the_temperature(name: str, side: str) -> None:
    spec, call = SPECS[name], _call(SIDES[side], 3)
    temperature = torch.tensor(spec.temperature, dtype=F64, requires_grad=True)
    ours = spec.build(temperature=temperature)(*call.views, **call.sides())
    w = ref.world(call.views, **call.sides(), attract=name == "supcon")
    assert_equal(ours, spec.reference(w, temperature=temperature), [*call.inputs, temperature])


# Losses that match a plan to a target


MATCHED: dict[str, tuple[str, Callable[..., Tensor], tuple[Params, ...]]] = {
    "gca-ince": ("GCAINCE", ref.gca_ince, _grid(sweeps=(5, 0, 1, 20), temperature=(0.2, 0.5))),
    "gca-rince": (
        "GCARINCE",
        ref.gca_rince,
        (
            *_grid(q=(0.5, 0.1, 1.0), sweeps=(5, 0, 20), temperature=(0.5, 0.1)),
            {"lam": 0.5, "shift": 0.7, "sweeps": 1},
        ),
    ),
    "gca-uot": (
        "GCAUOT",
        ref.gca_uot,
        (
            {"rho1": 0.2, "rho2": 0.7, "r1": 0.6, "r2": 1.5},
            *_grid(rho1=(0.01, 20.0), rho2=(0.02, 10.0), temperature=(0.5, 0.1)),
            *_grid(sweeps=(0, 1, 5), r1=(0.0, 2.0), q=(0.1, 1.0)),
            {"lam": 0.5, "shift": 0.7, "r2": 1.0},
        ),
    ),
    "iot": ("IOT", ref.iot, _grid(uniformity=(0.7, 0.0), sweeps=(10, 1, 30), temperature=(0.5, 0.1))),
    "sparse-gca": (
        "SparseGCA",
        ref.sparse_gca,
        (*_grid(sweeps=(20, 1, 5), temperature=(0.5, 2.0), rule=(0.0, 1.0)), {"rule": 1.5, "sweeps": 2}),
    ),
}
SHARED = [side for side in SIDES if side not in (*OWN, *QUEUES)]
TARGET_SIDES = ("two", "three", "ids", "mask", "across")
TARGETS = [(name, kind) for name in MATCHED for kind in ("labels", "domains", "given")]
TARGETS += [(name, "uneven") for name in ("gca-ince", "iot", "sparse-gca")]


def _matched_cases() -> Iterator[Any]:
    for name, (_, _, grid) in MATCHED.items():
        for which, params in enumerate(grid):
            every = [*SHARED, *QUEUES] if name == "gca-uot" else SHARED
            for side in every if which == 0 else PLAIN:
                shown = "-".join(f"{k}={v}" for k, v in params.items())
                yield pytest.param(name, params, side, id=f"{name}-{side}-{shown}")


@pytest.mark.parametrize(("name", "params", "side"), list(_matched_cases()))
def test_plans_matched_to_the_positives(name: str, params: Params, side: str) -> None:
    cls, reference, _ = MATCHED[name]
    loss = getattr(couplings, cls)(**_with_rule(params), **SIDES[side].options)
    _compare(loss, lambda w: reference(w, ref.positives_target(w), **params), SIDES[side])


@pytest.mark.parametrize(("name", "kind"), TARGETS)
@pytest.mark.parametrize("side", TARGET_SIDES)
def test_plans_matched_to_other_targets(name: str, side: str, kind: str) -> None:
    cls, reference, grid = MATCHED[name]
    for seed in SEEDS:
        call = _call(SIDES[side], seed)
        w, options, given, target = _target(call, kind, SIDES[side])
        for params in grid[:2]:
            loss = getattr(couplings, cls)(**_with_rule(params), **options)
            ours = loss(*call.views, **call.sides(), **given)
            assert_equal(ours, reference(w, target, **params), call.inputs)


def _target(call: Call, kind: str, side: Side) -> tuple[ref.World, Params, Params, Tensor]:
    """The world, how the loss is made, what its call takes, and the target they mean."""
    labels, domains = torch.tensor([1, 0, 1, 2, 2, 0][: side.n]), torch.tensor([0, 1, 1, 0, 1, 1][: side.n])
    if kind == "labels":
        w = ref.world(call.views, **call.sides(), **side.options, labels=labels, attract=True)
        return w, {"target": "labels", **side.options}, {"labels": labels}, ref.positives_target(w)
    w = ref.world(call.views, **call.sides(), **side.options)
    if kind == "domains":
        made = {"target": couplings.Domains(within=0.3, across=0.1), **side.options}
        return w, made, {"domains": domains}, ref.domains_target(w, domains, 0.3, 0.1)
    raw = torch.rand(w.s.shape, generator=torch.Generator().manual_seed(5), dtype=F64)
    raw = torch.where((raw > 0.4) & (w.negatives | w.positives), raw, 0.0)
    target = raw / raw.sum() if kind == "uneven" else raw / raw.sum(1, keepdim=True) / len(raw)
    return w, side.options, {"target": 3.0 * target}, target


# Sides that only some losses take, and other forms of the same call


@pytest.mark.parametrize("log_inside", [False, True])
def test_supcon_with_a_given_target(log_inside: bool) -> None:
    side = SIDES["mask_queue"]
    call = _call(side, 0)
    w = ref.world(call.views, **call.sides())
    raw = torch.rand(w.s.shape, generator=torch.Generator().manual_seed(5), dtype=F64)
    raw = torch.where((raw > 0.4) & (w.negatives | w.positives), raw, 0.0)
    target = raw / raw.sum(1, keepdim=True)
    ours = couplings.SupCon(log_inside=log_inside)(*call.views, **call.sides(), target=target)
    assert_equal(ours, ref.supcon(w, log_inside=log_inside, target=target), call.inputs)


@pytest.mark.parametrize("name", MATCHED)
def test_a_teachers_plan_is_a_given_target(name: str) -> None:
    cls, reference, _ = MATCHED[name]
    call, other = _call(SIDES["three"], 0), _call(SIDES["three"], 1)
    teacher = couplings.GCAINCE(temperature=0.3, sweeps=20).coupling(*other.views)["plan"]
    ours = getattr(couplings, cls)()(*call.views, target=teacher)
    assert_equal(ours, reference(ref.world(call.views), teacher.plan().detach()), [*call.inputs, *other.inputs])


@pytest.mark.parametrize("name", ["infonce", "hcl", "triplet", "alpha-cl-direct"])
@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_a_guide_masks_what_it_holds_for_closer_than_a_positive(name: str, margin: float) -> None:
    call, generator = _call(SIDES["three"], 0), torch.Generator().manual_seed(2)
    guides = [v.detach() + 0.8 * torch.randn(v.shape, generator=generator, dtype=F64) for v in call.views]
    forbidden = ref.guide(guides, margin)
    spec = SPECS[name]
    ours = spec.build(**spec.params[0])(*call.views, mask=couplings.Guide(*guides, margin=margin))
    w = ref.world(call.views, mask=forbidden)
    assert (w.negatives.sum(1) < ref.world(call.views).negatives.sum(1)).any()
    assert_equal(ours, spec.reference(w, **spec.params[0]), call.inputs)


def test_pair_loss_of_callables() -> None:
    call = _call(SIDES["queue"], 0)
    ours = couplings.PairLoss(torch.log1p, torch.nn.functional.softplus)(*call.views, **call.sides())
    theirs = ref.pair_loss(ref.world(call.views, **call.sides()), torch.log1p, torch.nn.functional.softplus)
    assert_equal(ours, theirs, call.inputs)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_learnt_temperature_is_a_log_scale(name: str) -> None:
    spec, call = SPECS[name], _call(SIDES["queue"], 0)
    loss = spec.build(temperature=0.3, learnable=True).double()
    ours = loss(*call.views, **call.sides())
    w, log_scale = ref.world(call.views, **call.sides()), loss.log_scale.detach().clone().requires_grad_()
    assert log_scale.item() == pytest.approx(-math.log(0.3))
    theirs = spec.reference(w, temperature=torch.exp(-log_scale))
    assert_equal(ours, theirs, call.inputs)
    (learnt,), (exact,) = (_gradients(v, [x]) for v, x in ((ours, loss.log_scale), (theirs, log_scale)))
    torch.testing.assert_close(learnt, exact, rtol=1e-8, atol=1e-8)
