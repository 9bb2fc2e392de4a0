"""Table D of docs/equivalences.md: where the numbers of a peer are not ours, measured again."""

from __future__ import annotations

import re
from collections.abc import Callable

import lightly.loss
import pytest
import torch
from equivalences import DOC
from pytorch_metric_learning import losses
from torch import Tensor

import couplings as cp
from helpers import gradients, unit_views

T = 0.01
IDS = torch.arange(64).repeat(2)
Function = Callable[..., Tensor]


def sup_con(a: Tensor, b: Tensor) -> Tensor:
    """With the default reducer."""
    return losses.SupConLoss(T)(torch.cat([a, b]), IDS)


def nt_xent(a: Tensor, b: Tensor) -> Tensor:
    """Of any number of samples."""
    return losses.NTXentLoss(T)(torch.cat([a, b]), torch.arange(len(a)).repeat(2))


def noisy(dtype: torch.dtype) -> list[Tensor]:
    """64 samples, as much noise as signal."""
    return [v.to(dtype) for v in unit_views(n=64, d=32, noise=1.0)]


def opposite(n: int = 8) -> list[Tensor]:
    """All samples alike, each one's two views antipodes: positives at cosine -1, negatives at +1 and -1."""
    (view,) = unit_views(n=1, d=16, count=1)
    near = torch.nn.functional.normalize(view + 0.02 * torch.randn(n, 16, dtype=view.dtype), dim=1).float()
    return [near, -near]


def flat(parts: tuple[Tensor, ...]) -> Tensor:
    """One float64 vector."""
    return torch.cat([p.double().flatten() for p in parts])


def value(fn: Function, views: list[Tensor]) -> float:
    """The loss."""
    return float(fn(*views))


def gradient_norm(fn: Function, views: list[Tensor]) -> float:
    """Norm of the gradient in all views."""
    return float(flat(gradients(fn, views)).norm())


def gradient_error(fn: Function, views: list[Tensor]) -> float:
    """Relative distance to the float64 gradient on the same rounded input."""
    exact = flat(gradients(cp.InfoNCE(T), [v.double() for v in views]))
    return float((flat(gradients(fn, views)) - exact).norm() / exact.norm())


def saved_mib(fn: Function, views: list[Tensor]) -> float:
    """Distinct bytes that autograd keeps for the backward pass."""
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = fn(*[v.clone().requires_grad_() for v in views])
    assert out.requires_grad
    return sum(kept.values()) / 2**20


def many() -> list[Tensor]:
    """128 pairs of 128 numbers."""
    return [torch.randn(128, 128) for _ in range(2)]


Measure = Callable[[Function, list[Tensor]], float]
MEASURED: dict[str, tuple[Measure, Callable[[], list[Tensor]], Function, Function]] = {
    "D1": (value, lambda: noisy(torch.float32), sup_con, cp.SupCon(T)),
    "D2": (value, lambda: noisy(torch.bfloat16), sup_con, cp.SupCon(T)),
    "D3": (value, lambda: noisy(torch.float16), nt_xent, cp.InfoNCE(T)),
    "D4": (gradient_error, lambda: noisy(torch.bfloat16), lightly.loss.NTXentLoss(T), cp.InfoNCE(T)),
    "D5": (value, opposite, nt_xent, cp.InfoNCE(T)),
    "D6": (gradient_norm, opposite, nt_xent, cp.InfoNCE(T)),
    "D7": (saved_mib, many, nt_xent, cp.InfoNCE(T)),
    "D8": (saved_mib, many, lightly.loss.NTXentLoss(T), cp.InfoNCE(T)),
}


def documented() -> dict[str, tuple[float, float]]:
    """Id, the peer's figure, ours."""
    rows = re.findall(r"^\| (D\d+) \|.*\| ([\d.]+) \| ([\d.]+) \|$", DOC.read_text(), re.MULTILINE)
    return {name: (float(peer), float(ours)) for name, peer, ours in rows}


def test_every_test_has_a_row() -> None:
    assert list(documented()) == list(MEASURED)


@pytest.mark.filterwarnings("ignore::couplings.CouplingWarning")
@pytest.mark.parametrize("name", documented())
def test_row(name: str) -> None:
    measure, views, peer, ours = MEASURED[name]
    batch = views()
    got = measure(peer, batch), measure(ours, batch)
    print(name, got)
    assert got == pytest.approx(documented()[name], rel=0.2, abs=1e-12)
