"""Values do not depend on the order of the samples, on that of the views, on the axes or on what is scaled away."""

from __future__ import annotations

import torch
from torch import Tensor

from .calls import Call, D
from .near import all_near, outcome
from .subject import Subject, generator


def permutation(subject: Subject) -> None:
    """Samples, keys and negatives in another order: the same value, and the gradient in that order."""
    for title, call in subject.calls.items():
        n = len(call.views[0])
        order = torch.randperm(n, generator=generator())
        moved = outcome(subject.loss, call.rearranged(order, range(len(call.views))))
        wanted = outcome(subject.loss, call)
        for name in [f"view {i + 1}" for i in range(len(call.views))] + ["negatives"] * ("negatives" in call.sides):
            wanted[f"gradient at {name}"] = wanted[f"gradient at {name}"][order]
        all_near(f"{title}, samples in another order", moved, wanted)
    for title, name, dim in (("keys", "keys", 0), ("negatives", "negatives", 1)):
        if title in subject.calls:
            _candidates(subject, subject.calls[title], name, dim)


def _candidates(subject: Subject, call: Call, name: str, dim: int) -> None:
    given = call.tensors
    given[name] = given[name].flip(dim)
    moved, wanted = outcome(subject.loss, call.holding(given)), outcome(subject.loss, call)
    wanted[f"gradient at {name}"] = wanted[f"gradient at {name}"].flip(dim)
    all_near(f"{name} in another order", moved, wanted)


def views_exchanged(subject: Subject) -> None:
    """Views in another order: the same value, and the gradients exchanged."""
    for title, call in subject.calls.items():
        order = [*range(1, len(call.views)), 0]
        moved = outcome(subject.loss, call.rearranged(torch.arange(len(call.views[0])), order))
        found = outcome(subject.loss, call)
        turned = {f"gradient at view {i + 1}": found[f"gradient at view {view + 1}"] for i, view in enumerate(order)}
        all_near(f"{title}, the views in another order", moved, {**found, **turned})


def rotation(subject: Subject) -> None:
    """All embeddings rotated: the same value, and the rotated gradient."""
    turn = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64, generator=generator())).Q
    for title, call in subject.calls.items():
        moved, found = outcome(subject.loss, call.mapped(lambda x: x @ turn)), outcome(subject.loss, call)
        wanted = {name: g @ turn if name[12:] in call.tensors else g for name, g in found.items()}
        all_near(f"{title}, embeddings rotated", moved, wanted)


def scale(subject: Subject) -> None:
    """Rows of other norms, which the loss normalises away: the same value, the gradient divided by the factors."""
    for title, call in subject.calls.items():
        chance = generator()
        factors = {name: _factors(x, chance) for name, x in call.tensors.items()}
        moved = outcome(subject.loss, call.holding({name: x * factors[name] for name, x in call.tensors.items()}))
        wanted = outcome(subject.loss, call)
        for name, factor in factors.items():
            wanted[f"gradient at {name}"] = wanted[f"gradient at {name}"] / factor
        all_near(f"{title}, rows of other norms", moved, wanted)


def _factors(x: Tensor, chance: torch.Generator) -> Tensor:
    """Between one half and two, one a row."""
    return 2 ** (2 * torch.rand(*x.shape[:-1], 1, dtype=x.dtype, generator=chance) - 1)
