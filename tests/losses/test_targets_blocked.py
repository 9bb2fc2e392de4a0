"""Losses that match a target: on panels and sums over ids they are what they are on one matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings import GCAINCE, GCARINCE, GCAUOT, IOT, Domains, Guide, Loss, SparseGCA, SupCon
from couplings.basics.sizes import limited
from couplings.pieces.groups import GroupMatrix
from helpers import F64, gradients, unit_views
from largest import largest_tensor

N, D = 9, 5
LABELS = torch.arange(N) % 3
IDS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 4])
DOMAINS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2])

LOSSES: dict[str, Callable[..., Loss]] = {
    "supcon": SupCon,
    "supcon inside": lambda **o: SupCon(log_inside=True, **o),
    "gca-ince": lambda **o: GCAINCE(sweeps=4, **o),
    "gca-ince 0": lambda **o: GCAINCE(sweeps=0, **o),
    "gca-rince": lambda **o: GCARINCE(sweeps=4, **o),
    "gca-uot": lambda **o: GCAUOT(sweeps=4, **o),
    "iot": lambda **o: IOT(uniformity=0.3, sweeps=4, **o),
    "sparse-gca": lambda **o: SparseGCA(sweeps=4, **o),
    "sparse-gca entropic": lambda **o: SparseGCA(sweeps=4, rule="entropic", **o),
}
BALANCED = [name for name in LOSSES if not name.startswith("supcon")]
QUEUED = ["supcon", "supcon inside", "gca-uot"]


def _blocked() -> Any:
    """All storages at a small size: three rows a panel, tiles of four."""
    return limited(tiled=0, dense=0, tile=4, panel=64)


def _guides() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [v + 0.4 * torch.randn(v.shape, generator=generator, dtype=F64) for v in unit_views(n=N, d=D)]


def _given() -> Tensor:
    generator = torch.Generator().manual_seed(6)
    weights = torch.rand(2 * N, 2 * N, generator=generator, dtype=F64)
    weights = weights * (torch.rand(2 * N, 2 * N, generator=generator, dtype=F64) > 0.4) + 0.01
    return weights.fill_diagonal_(0.0)


def _assert_same(build: Callable[[], Loss], views: list[Tensor], leaves: dict[str, Tensor], **sides: Any) -> None:
    """Value and gradient of views, leaves and temperature, with and without matrices."""
    results = []
    names, inputs = list(leaves), [*views, *leaves.values(), torch.tensor(0.5, dtype=F64)]

    def value(*moved: Tensor) -> Tensor:
        *parts, temperature = moved
        loss = build(temperature=temperature)  # type: ignore[call-arg]
        mine = dict(zip(names, parts[len(views) :], strict=True))
        return loss(*parts[: len(views)], **mine, **sides)

    for context in (limited(tiled=10**9, dense=10**9), _blocked()):
        with context:
            results.append((value(*inputs).detach(), *gradients(value, inputs)))
    for dense, blocked in zip(*results, strict=True):
        torch.testing.assert_close(blocked, dense, rtol=1e-10, atol=1e-10)
    assert results[0][1].abs().max() > 1e-6


SIDES: dict[str, Callable[[], dict[str, Any]]] = {
    "nothing": dict,
    "ids": lambda: {"ids": IDS},
    "mask": lambda: {"mask": torch.rand(2 * N, 2 * N, generator=torch.Generator().manual_seed(1)) < 0.1},
    "guide": lambda: {"mask": Guide(*_guides(), margin=0.05)},
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("across", [False, True])
def test_labels(name: str, side: str, across: bool) -> None:
    options = {"across_views": across} | ({} if name.startswith("supcon") else {"target": "labels"})
    build = lambda **o: LOSSES[name](**options, **o)  # noqa: E731
    _assert_same(build, unit_views(n=N, d=D), {}, labels=LABELS, **SIDES[side]())


@pytest.mark.parametrize("name", LOSSES)
def test_positives_of_three_views(name: str) -> None:
    _assert_same(LOSSES[name], unit_views(n=N, d=D, count=3), {}, ids=IDS)


@pytest.mark.parametrize("name", LOSSES)
def test_a_given_target(name: str) -> None:
    _assert_same(LOSSES[name], unit_views(n=N, d=D), {}, target=_given())


@pytest.mark.parametrize("name", BALANCED)
@pytest.mark.parametrize("levels", [(0.3, 0.1), (0.0, 0.5), (0.2, 0.0), (0.3, 0.1, True)])
@pytest.mark.parametrize("side", SIDES)
def test_domains(name: str, levels: tuple[Any, ...], side: str) -> None:
    build = lambda **o: LOSSES[name](target=Domains(*levels), **o)  # noqa: E731
    _assert_same(build, unit_views(n=N, d=D), {}, domains=DOMAINS, **SIDES[side]())


@pytest.mark.parametrize("name", QUEUED)
@pytest.mark.parametrize("ids", [False, True])
def test_a_queue(name: str, ids: bool) -> None:
    keys = unit_views(n=7, d=D, seed=3)[0]
    key_ids = {"ids": IDS, "key_ids": torch.tensor([1, 9, 8, 4, 4, 7, 3])} if ids else {}
    options = {} if name.startswith("supcon") else {"target": "labels"}
    build = lambda **o: LOSSES[name](**options, **o)  # noqa: E731
    _assert_same(build, unit_views(n=N, d=D), {"keys": keys}, labels=LABELS, **key_ids)


@pytest.mark.parametrize("name", ["supcon", "gca-ince", "gca-uot"])
def test_embeddings_that_are_not_normalised(name: str) -> None:
    options = {} if name.startswith("supcon") else {"target": "labels"}
    build = lambda **o: LOSSES[name](normalize=False, **options, **o)  # noqa: E731
    _assert_same(build, [1.5 * v for v in unit_views(n=N, d=D)], {}, labels=LABELS)


MADE = [(name, target) for name in LOSSES for target in ("positives", "labels")]
MADE += [(name, "domains") for name in BALANCED]


@pytest.mark.parametrize(("name", "target"), MADE)
@pytest.mark.parametrize("side", ["nothing", "ids", "guide"])
def test_no_matrix_is_made(name: str, target: str, side: str) -> None:
    """Values and gradients never make a tensor of the size of the matrix, nor near it."""
    n = 60
    views = [v.requires_grad_() for v in unit_views(n=n, d=3)]
    sides: dict[str, Any] = {"ids": {"ids": torch.arange(n) // 2}, "guide": {"mask": Guide(*views)}}.get(side, {})
    kinds: dict[str, Any] = {"labels": "labels", "domains": Domains(0.2, 0.1)}
    options = {} if name.startswith("supcon") or target == "positives" else {"target": kinds[target]}
    if target != "positives":
        sides[target] = torch.arange(n) % 4
    loss = LOSSES[name](**options)
    with limited(tiled=0, dense=0, tile=16, panel=4 * 2 * n, budget=0):
        largest = largest_tensor(lambda: loss(*views, **sides).backward())
    assert largest <= 1200


def test_sums_over_many_rows_are_rounded_once() -> None:
    """Added one by one in single precision 100,000 numbers lose two digits."""
    x = torch.rand(100_000, 1)
    rows = GroupMatrix.ones((1, len(x)), x.device).times(x)
    torch.testing.assert_close(rows, x.double().sum(0, keepdim=True).float(), rtol=torch.finfo(x.dtype).eps, atol=0)
