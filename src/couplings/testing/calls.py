"""What a loss is checked on: small batches in double precision, with each thing that it takes beside the views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..basics.errors import InvalidInput
from ..losses.base import Loss

N, D, QUEUE, OWN = 7, 4, 5, 3
"""Samples, dimensions, keys of a queue, and negatives of each sample's own."""
IDS = torch.tensor([4, 4, -2, 0, 7, 9, 0])
"""Two pairs of samples that are one."""
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])
_VIEWS = {"two views": 2, "three views": 3}
_EMBEDDINGS = ("keys", "negatives")
_BY_SAMPLE = ("ids", "labels", "domains", "negatives")
_BY_PAIR = ("mask", "target")


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a loss.

    Attributes:
        title: what stands beside the views, for messages.
        views: (n, d) each.
        sides: keyword arguments.
    """

    title: str
    views: tuple[Tensor, ...]
    sides: Mapping[str, Any] = field(default_factory=dict)

    def of(self, loss: Callable[..., Tensor]) -> Tensor:
        """The value of a loss."""
        return loss(*self.views, **self.sides)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All embeddings by name."""
        views = {f"view {i + 1}": view for i, view in enumerate(self.views)}
        return views | {name: self.sides[name] for name in _EMBEDDINGS if name in self.sides}

    def holding(self, tensors: Mapping[str, Tensor]) -> Call:
        """The call with these embeddings."""
        views = tuple(tensors[f"view {i + 1}"] for i in range(len(self.views)))
        return replace(self, views=views, sides={name: tensors.get(name, x) for name, x in self.sides.items()})

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Call:
        """The call with all embeddings changed."""
        return self.holding({name: change(x) for name, x in self.tensors.items()})

    def leaves(self) -> Call:
        """The call on copies that record gradients."""
        return self.mapped(lambda x: x.detach().clone().requires_grad_())

    def rearranged(self, samples: Tensor, views: Sequence[int]) -> Call:
        """The call with samples and views in another order, and all that is said of them."""
        n, sides = len(samples), dict(self.sides)
        rows = torch.cat([samples + view * n for view in views])
        sides |= {name: sides[name][samples] for name in _BY_SAMPLE if name in sides}
        for name in _BY_PAIR:
            if name in sides:
                queue = torch.arange(len(rows), sides[name].shape[1])
                sides[name] = sides[name][rows][:, torch.cat([rows, queue])]
        return replace(self, views=tuple(self.views[view][samples] for view in views), sides=sides)

    def share(self, counts: Sequence[int], rank: int) -> Call:
        """What one of several processes passes, each with its share of the samples."""
        start = sum(counts[:rank])
        own = slice(start, start + counts[rank])
        sides = {name: x[own] if name in _BY_SAMPLE else x for name, x in self.sides.items()}
        return replace(self, views=tuple(view[own] for view in self.views), sides=sides)


def noisy_views(n: int = N, d: int = D, count: int = 2, noise: float = 0.5, seed: int = 0) -> tuple[Tensor, ...]:
    """Noisy views of random samples in double precision; rows have norms of their own, view by view longer."""
    generator = torch.Generator().manual_seed(seed)

    def unit(rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(rows, dim=1)

    base = unit(_normal(generator, n, d))
    return tuple((1 + 0.2 * k) * unit(base + noise * unit(_normal(generator, n, d))) for k in range(count))


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _sides() -> dict[str, dict[str, Any]]:
    """What may stand beside two views, by title."""
    generator = torch.Generator().manual_seed(1)
    keys, i = _normal(generator, QUEUE, D), torch.arange(N)
    mask = torch.zeros(2 * N, 2 * N, dtype=torch.bool)
    mask[i, (i + 2) % N] = True
    target = torch.eye(2 * N, dtype=torch.float64).roll(N, 1)
    target += 0.05 * torch.rand(2 * N, 2 * N, generator=generator, dtype=torch.float64)
    return {
        "ids": {"ids": IDS},
        "labels": {"labels": LABELS},
        "mask": {"mask": mask, "ids": IDS},
        "keys": {"keys": keys},
        "key_ids": {"keys": keys, "ids": IDS, "key_ids": torch.tensor([0, 99, 98, 4, 97])},
        "negatives": {"negatives": _normal(generator, N, OWN, D)},
        "target": {"target": target.fill_diagonal_(0.0)},
    }


def possible_calls(loss: Loss) -> dict[str, Call]:
    """The calls that say something to a loss, by what its class declares; it may still refuse some."""
    always = _needed(loss)
    made = {title: Call(title, noisy_views(count=count), always) for title, count in _VIEWS.items()}
    sides = {title: always | given for title, given in _sides().items() if _means(loss, title)}
    return made | {title: Call(title, noisy_views(), given) for title, given in sides.items()}


def _needed(loss: Loss) -> dict[str, Any]:
    """What must stand beside the views in every call."""
    if loss.takes_domains:
        return {"domains": LABELS}
    attract = loss.labels_attract and not is_taken(loss, Call("", noisy_views()))
    return {"labels": LABELS} if attract else {}


def _means(loss: Loss, title: str) -> bool:
    """Whether that says something to a loss, by what its class declares."""
    if title == "target":
        return loss.takes_target
    return loss.repels and not (title == "negatives" and loss.shares_columns)


def is_taken(loss: Loss, call: Call) -> bool:
    """Whether a call is not refused; anything else that goes wrong is for the checks to say."""
    try:
        with torch.no_grad():
            call.of(loss)
    except InvalidInput:
        return False
    except Exception:
        return True
    return True


def hard_batches(n: int = 16, d: int = 8) -> Iterator[Call]:
    """Batches at the edge of what floating point numbers can tell apart, in double precision."""
    half, point = noisy_views(n // 2, d), noisy_views(1, d)[0].repeat(n, 1)
    loose, around = noisy_views(n // 2, d, noise=2.0), point + 0.05 * noisy_views(n, d, seed=1)[0]
    yield Call("views that are close", noisy_views(n, d, noise=0.1))
    yield Call("unrelated views", noisy_views(n, d, noise=10.0))
    yield Call("each view twice", noisy_views(n, d)[:1] * 2)
    yield Call("samples that occur twice", tuple(torch.cat([v, v]) for v in loose))
    yield Call("samples opposite to each other", tuple(torch.cat([v, -v]) for v in half))
    yield Call("a simplex", (torch.eye(d, dtype=torch.float64) - 1 / d,) * 2)
    yield Call("all rows equal", (torch.ones(n, d, dtype=torch.float64),) * 2)
    yield Call("nearly collapsed rows", tuple(point + 1e-3 * v for v in noisy_views(n, d, seed=1)))
    yield Call("positives opposite to each other", (point, -point))
    yield Call("positives nearly opposite to each other", (around, -around))
