"""Calls of losses drawn at random, and what every call must keep: found by seed, so that a find can be made again."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from couplings import InvalidInput
from couplings.basics.sizes import limited
from helpers import CASES, F64

KINDS: dict[str, Callable[[Tensor, Callable[[], Tensor]], Tensor]] = {
    "random": lambda base, noise: noise(),
    "noisy": lambda base, noise: base + 0.3 * noise(),
    "identical views": lambda base, noise: base,
    "nearly collapsed": lambda base, noise: base[:1] + 1e-2 * noise(),
    "duplicates": lambda base, noise: base[torch.arange(len(base)) // 2] + 1e-2 * noise(),
    "antipodal": lambda base, noise: torch.cat([base, -base])[::2][: len(base)] + 0.1 * noise(),
    "orthogonal": lambda base, noise: torch.eye(*base.shape, dtype=base.dtype) + 1e-3 * base,
    "sparse": lambda base, noise: (noise() * (noise() > 0.5)) + 1e-3 * base,
}
"""Batches by name: from a base that all views share and fresh noise."""
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": F64}
_EXTRA: dict[str, list[dict[str, Any]]] = {
    "AlphaCL": [{"rule": "quadratic"}, {"rule": "power"}],
    "AlphaCLDirect": [{"p": 1.0}, {"p": 2.0}],
    "CACR": [{"tau_plus": 0.1}, {"ordered": True}, {"detach_weights": True}],
    "GCAINCE": [{"sweeps": 0}, {"sweeps": 2}],
    "GCARINCE": [{"sweeps": 0}, {"sweeps": 2}],
    "HCL": [{"beta": 0.0}, {"tau_plus": 0.05}],
    "HCLOT": [{"rule": "quadratic"}, {"cost": "exp"}, {"sweeps": 5, "detach_weights": False}],
    "IOT": [{"uniformity": 0.3}],
    "SupCon": [{"log_inside": True}],
    "SparseGCA": [{"rule": "entropic"}],
}
"""Options worth drawing beside the defaults."""


@dataclass(frozen=True)
class Call:
    """A loss, a batch and what is passed beside it."""

    seed: int
    name: str
    options: dict[str, Any]
    temperature: float | None
    n: int
    d: int
    views: int
    kind: str
    dtype: str
    magnitude: float
    sides: tuple[str, ...] = field(default=())

    @property
    def normalised(self) -> bool:
        """Whether the loss takes directions alone."""
        return self.options.get("normalize") is not False

    def loss(self) -> torch.nn.Module:
        """The loss."""
        at = CASES[self.name].at
        hardness = {} if at is None or self.temperature is None else at(self.temperature)
        return CASES[self.name](**{**hardness, **self.options})

    def inputs(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The views, rounded as they come, and the sides."""
        generator = torch.Generator().manual_seed(self.seed)

        def noise(rows: int = self.n) -> Tensor:
            return torch.randn(rows, self.d, generator=generator, dtype=F64)

        base = noise()
        views = [self.magnitude * KINDS[self.kind](base, noise) for _ in range(self.views)]
        made: dict[str, Callable[[], Tensor]] = {
            "labels": lambda: torch.randint(3, (self.n,), generator=generator),
            "ids": lambda: torch.randint(max(2, self.n // 2), (self.n,), generator=generator),
            "keys": lambda: (self.magnitude * noise(7)).to(DTYPES[self.dtype]),
            "negatives": lambda: (self.magnitude * torch.randn(self.n, 4, self.d, generator=generator, dtype=F64)).to(
                DTYPES[self.dtype]
            ),
            "mask": lambda: torch.rand(*self._mask_shape, generator=generator) < 0.1,
        }
        return [v.to(DTYPES[self.dtype]) for v in views], {name: made[name]() for name in self.sides}

    @property
    def _mask_shape(self) -> tuple[int, int]:
        rows = self.n * self.views
        return rows, rows + (7 if "keys" in self.sides else 0)


def drawn(seed: int) -> Call:
    """The call of a seed."""
    chance = random.Random(seed)
    name = chance.choice(list(CASES))
    case = CASES[name]
    options = dict(chance.choice([{}, {}, *_EXTRA.get(name, [])]))
    for option, share in (("normalize", 0.3), ("across_views", 0.2)):
        if case.takes(option) and chance.random() < share:
            options[option] = option == "across_views"
    raw = options.get("normalize") is False
    return Call(
        seed=seed,
        name=name,
        options=options,
        temperature=chance.choice([None, 10 ** chance.uniform(-3, 3), 10 ** chance.uniform(-2, 0)]),
        n=chance.choice([2, 3, 5, 12, 24]),
        d=chance.choice([1, 2, 3, 8, 33]),
        views=chance.choice([2, 2, 3, 4]),
        kind=chance.choice(list(KINDS)),
        dtype=chance.choice([*DTYPES, "float32", "float32"]),
        magnitude=10 ** chance.choice([0.0, chance.uniform(-3, 3) if raw else 0.0, chance.uniform(-30, 30)]),
        sides=_sides(chance, case, options),
    )


def _sides(chance: random.Random, case: Any, options: dict[str, Any]) -> tuple[str, ...]:
    if not case.repels or chance.random() < 0.4:
        return ()
    if case.negatives and not options.get("across_views") and chance.random() < 0.2:
        return ("negatives",)
    wanted = [side for side in ("labels", "ids", "mask") if chance.random() < 0.4]
    return (*wanted, "keys") if case.keys and chance.random() < 0.4 else tuple(wanted)


_ONE_MATRIX = {"dense": 1 << 40, "tiled": 1 << 40}

Answer = tuple[Tensor, Tensor] | str
"""Value and gradient in the views, float64; or the words of a refusal."""


def answer(call: Call, dtype: torch.dtype, moved: float = 0.0, *, blocked: bool = False) -> Answer:
    """What the call gives with its (rounded) inputs in that precision, moved by relative noise."""
    views, sides = call.inputs()
    views, sides = _in(dtype, views, sides)
    if moved:
        noise = torch.Generator().manual_seed(call.seed + 1)
        views = [v + moved * v.abs().amax(1, keepdim=True) * _signs(v, noise) for v in views]
    leaves = [v.clone().requires_grad_() for v in views]
    with limited(**(_tiles(call) if blocked else _ONE_MATRIX)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = call.loss().to(F64 if dtype == F64 else torch.float32)(*leaves, **sides)
        except InvalidInput as error:
            return str(error)
        gradient = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    return value.detach().double(), torch.cat(gradient).double()


def _tiles(call: Call) -> dict[str, int]:
    """Sizes at which the call goes by three tiles or panels a side."""
    rows = call.n * call.views
    return {"dense": 0, "tiled": 0, "tile": rows // 3 + 1, "panel": rows * rows // 3 + 1, "budget": 0}


def _in(dtype: torch.dtype, views: list[Tensor], sides: dict[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
    return [v.to(dtype) for v in views], {k: v.to(dtype) if v.is_floating_point() else v for k, v in sides.items()}


def _signs(v: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(2, v.shape, generator=generator).to(v) * 2 - 1


_EPS = torch.finfo(torch.float32).eps
"""Half precision is computed in single, so this is the precision of all three."""


_SMALL = 1e-30
"""Below the smallest normal number of single precision over its rounding nothing is asked."""


def faults(call: Call) -> list[str]:
    """What is wrong with the answers to a call; nothing, where all is well."""
    exact = answer(call, F64)
    found = _against_blocked(call, exact)
    ours = exact if call.dtype == "float64" else answer(call, DTYPES[call.dtype])
    if isinstance(ours, str) or isinstance(exact, str):
        one_alone = isinstance(exact, str) and not isinstance(ours, str)
        return found + ([f"taken in {call.dtype}, refused in float64: {exact}"] if one_alone else [])
    most = 0.9 * float(torch.finfo(DTYPES[call.dtype]).max)
    for what, x, true in zip(("value", "gradient"), ours, exact, strict=True):
        if not x.isfinite().all() and (what == "value" or float(true.abs().max()) < most):
            found.append(f"{what} is not finite")
    if found or call.dtype == "float64" or not ours[1].isfinite().all():
        return found
    return _against_exact(call, ours, exact)


def _against_blocked(call: Call, exact: Answer) -> list[str]:
    blocked = answer(call, F64, blocked=True)
    if isinstance(exact, str) or isinstance(blocked, str):
        return [] if type(exact) is type(blocked) else [f"one matrix: {exact}; tiles: {blocked}"]
    gap = [float((a - b).abs().max()) for a, b in zip(exact, blocked, strict=True)]
    moved = _sensitivity(call, exact, torch.finfo(F64).eps)
    return [
        f"{what} of tiles off by {off:.1e}, {limit:.1e} allowed"
        for what, off, limit in zip(("value", "gradient"), gap, moved, strict=True)
        if not off <= limit
    ]


def _against_exact(call: Call, ours: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> list[str]:
    limits = _sensitivity(call, exact, _EPS)
    gaps = [float((a - b).abs().max()) for a, b in zip(ours, exact, strict=True)]
    if call.dtype != "float32":  # its gradient is rounded once more
        rounded = torch.finfo(DTYPES[call.dtype])
        limits[1] += rounded.eps * (2 * float(exact[1].abs().max()) + rounded.smallest_normal)
    return [
        f"{what} off by {gap:.1e}, {limit:.1e} allowed ({float(value.abs().max()):.2e})"
        for what, gap, limit, value in zip(("value", "gradient"), gaps, limits, exact, strict=True)
        if not gap <= limit
    ]


def _sensitivity(call: Call, exact: tuple[Tensor, Tensor], eps: float) -> list[float]:
    """How far value and gradient may move: as when inputs move by a few roundings, and by rounding of their own.

    The first is the conditioning of the call, measured. The second is what rounded logits, as large as |z|^2 / tau,
    make of the value, and what is left of a row's gradient where all pulls on it cancel.
    """
    moved = [answer(call, F64, 16 * eps * k) for k in (-1.0, 1.0, 0.5)]
    cold = _longest(call) ** 2 / min(1.0, call.temperature or 0.1)
    own = [float(exact[0].abs()) + cold, cold * (float(exact[1].abs().max()) + _pull(call))]
    own = [x + _SMALL for x in own]
    spans = [
        max((float((m[i] - x).abs().max()) for m in moved if not isinstance(m, str)), default=0.0)
        for i, x in enumerate(exact)
    ]
    return [32 * span + 256 * eps * rounding for span, rounding in zip(spans, own, strict=True)]


def _pull(call: Call) -> float:
    """The most that a row is pulled in all, were no two pulls to cancel."""
    views, sides = call.inputs()
    views, sides = _in(F64, views, sides)
    with limited(**_ONE_MATRIX), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = call.loss().double().pair_weights(*views, **sides).abs()
    rows = torch.cat(views).norm(dim=1)
    strength = weights.sum(1).max() + (weights.sum(0).max() if "negatives" not in sides else 0.0)
    strength = strength + 1 / len(rows)  # of a row that is matched: its mass comes and goes
    return float(strength * (1 / rows.min() if call.normalised else rows.max()))


def _longest(call: Call) -> float:
    """The norm of the longest row that scores see."""
    views, sides = call.inputs()
    rows = [*views, *(x for x in sides.values() if x.is_floating_point())]
    return 1.0 if call.normalised else max(1.0, *(float(v.double().norm(dim=-1).max()) for v in rows))
