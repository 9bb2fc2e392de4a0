"""What each loss of the library is compared with: its reference, the parameters to try, the sides it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import reference as ref
from reference_calls import ACROSS, OWN, PLAIN, QUEUES, REPELLING, SIDES, Params
from torch import Tensor

import couplings


@dataclass(frozen=True)
class Spec:
    """A loss: its class, its reference, the parameters to try, and the sides that it does not take."""

    make: Callable[..., couplings.Loss] | str
    reference: Callable[..., Tensor]
    params: tuple[Params, ...] = ({},)
    learnable: dict[str, float] = field(default_factory=dict)
    """Parameters that may be tensors, and where their gradients are compared."""
    without: tuple[str, ...] = ()
    plain: tuple[str, ...] = PLAIN
    """Where all parameters are tried."""

    def build(self, **kwargs: Any) -> couplings.Loss:
        made = getattr(couplings, self.make) if isinstance(self.make, str) else self.make
        return made(**with_rule(kwargs))


def with_rule(params: Params) -> Params:
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
HEAT = {"temperature": 0.3}
UNSHARED = (*OWN, *QUEUES)
"""Sides with columns that a balanced plan would have to leave empty."""

SPECS = {
    "infonce": Spec("InfoNCE", ref.infonce, TEMPERATURES, HEAT),
    "decoupled-infonce": Spec("DecoupledInfoNCE", ref.decoupled_infonce, TEMPERATURES, HEAT),
    "supcon": Spec(
        "SupCon",
        ref.supcon,
        _grid(temperature=(0.5, 0.1), log_inside=(False, True)),
        HEAT,
        plain=("two", "three", "labels", "everything"),
    ),
    "alignment": Spec("Alignment", ref.alignment, TEMPERATURES, HEAT, REPELLING),
    "clip": Spec("CLIP", ref.clip, TEMPERATURES, HEAT, ACROSS),
    "siglip": Spec(
        "SigLIP", ref.siglip, _grid(temperature=(0.5, 0.1), bias=(-10.0, -1.0, 0.5)), {**HEAT, "bias": -1.0}, ACROSS
    ),
    "rince": Spec(
        "RINCE",
        ref.rince,
        (*_grid(q=(0.1, 0.6, 1.0), lam=(0.025, 0.5), temperature=(0.5, 0.1)), {"shift": 1.0, "q": 0.3}),
        HEAT,
    ),
    "debiased-infonce": Spec(
        "DebiasedInfoNCE", ref.debiased_infonce, _grid(tau_plus=(0.1, 0.0, 0.3), temperature=(0.5, 0.1)), HEAT
    ),
    "hcl": Spec(
        "HCL",
        ref.hcl,
        _grid(beta=(1.0, 0.0, 2.0), tau_plus=(0.1, 0.0, 0.3), temperature=(0.5, 0.1), detach_weights=(False, True)),
        HEAT,
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
        HEAT,
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
        HEAT,
        OWN,
    ),
    "scaled-infonce": Spec(
        "ScaledInfoNCE", ref.scaled_infonce, _grid(e0=(1.0, 0.0, 2.5), temperature=(0.5, 0.1)), HEAT
    ),
    "mine": Spec("MINE", ref.mine, ({},)),
    "triplet": Spec("Triplet", ref.triplet, _grid(margin=(0.5, 0.0, 2.0))),
    "soft-triplet": Spec("SoftTriplet", ref.soft_triplet, _grid(temperature=(0.5, 0.1), margin=(0.5, 0.0)), HEAT),
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
"""Losses without a target; the reference takes a world."""
MATCHED = {
    "gca-ince": Spec(
        "GCAINCE", ref.gca_ince, _grid(sweeps=(5, 0, 1, 20), temperature=(0.2, 0.5)), HEAT, without=UNSHARED
    ),
    "gca-rince": Spec(
        "GCARINCE",
        ref.gca_rince,
        (
            *_grid(q=(0.5, 0.1, 1.0), sweeps=(5, 0, 20), temperature=(0.5, 0.1)),
            {"lam": 0.5, "shift": 0.7, "sweeps": 1},
        ),
        HEAT,
        without=UNSHARED,
    ),
    "gca-uot": Spec(
        "GCAUOT",
        ref.gca_uot,
        (
            {"rho1": 0.2, "rho2": 0.7, "r1": 0.6, "r2": 1.5},
            *_grid(rho1=(0.01, 20.0), rho2=(0.02, 10.0), temperature=(0.5, 0.1)),
            *_grid(sweeps=(0, 1, 5), r1=(0.0, 2.0), q=(0.1, 1.0)),
            {"lam": 0.5, "shift": 0.7, "r2": 1.0},
        ),
        {**HEAT, "rho1": 0.4, "rho2": 0.7},
        without=OWN,
    ),
    "iot": Spec(
        "IOT",
        ref.iot,
        _grid(uniformity=(0.7, 0.0), sweeps=(10, 1, 30), temperature=(0.5, 0.1)),
        HEAT,
        without=UNSHARED,
    ),
    "sparse-gca": Spec(
        "SparseGCA",
        ref.sparse_gca,
        (*_grid(sweeps=(20, 1, 5), temperature=(0.5, 2.0), rule=(0.0, 1.0)), {"rule": 1.5, "sweeps": 2}),
        HEAT,
        without=UNSHARED,
    ),
}
"""Losses that match a plan to a target; the reference takes a world and the target."""


def cases(specs: dict[str, Spec]) -> Iterator[Any]:
    """The first parameters on every side that the loss takes, the others on plain views."""
    for name, spec in specs.items():
        every = [side for side in SIDES if side not in spec.without]
        for which, params in enumerate(spec.params):
            for side in every if which == 0 else spec.plain:
                shown = "-".join(f"{k}={v}" for k, v in params.items())
                yield pytest.param(name, params, side, id=f"{name}-{side}-{shown}")
