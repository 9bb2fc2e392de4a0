"""Single calls on the processes of a pool: what they return, and what they raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from steps import SHARES, WIDE, D, encoder, gradient, own
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from couplings import CLIP, GCAINCE, GCAUOT, HCL, Guide, InfoNCE, KeyQueue, Loss, SigLIP, TwoPass, set_checks
from couplings.basics.sizes import limited
from couplings.batches.distributed import gathered
from helpers import F64

Sides = dict[str, Any]


def _views(counts: tuple[int, ...], views: int = 2) -> list[Tensor]:
    """The whole batch, the same everywhere."""
    torch.manual_seed(3)
    return [torch.randn(sum(counts), D, dtype=F64) for _ in range(views)]


def _counts(shares: str = "uneven") -> tuple[int, ...]:
    return SHARES[shares][dist.get_world_size()]


def shown(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Plan and pair weights of a loss over processes, and how far both are from those of one process."""
    views, counts = _views(_counts()), _counts()
    over, alone = InfoNCE(), InfoNCE(gather=False)
    mine = [own(v, counts) for v in views]
    if name == "plan":
        return over.coupling(*mine)["plan"].plan(), alone.coupling(*views)["plan"].plan(), mine[0]
    return over.pair_weights(*mine), alone.pair_weights(*views), mine[0]


def guided(shares: str) -> tuple[Tensor, Tensor]:
    """With a guide and a queue."""
    counts, views = _counts(shares), _views(_counts(shares))
    guides, keys = [v + 0.3 * torch.randn_like(v) for v in views], torch.randn(3, D, dtype=F64)
    sharp = torch.randn(3, D, dtype=F64)
    whole = InfoNCE(gather=False)(*views, keys=keys, mask=Guide(*guides, margin=0.1, keys=sharp, gather=False))
    mask = Guide(*(own(g, counts) for g in guides), margin=0.1, keys=sharp)
    return InfoNCE()(*(own(v, counts) for v in views), keys=keys, mask=mask), whole


def learnt(make: Callable[..., Loss]) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients at the loss's own parameters, over processes and alone."""
    views, counts = _views(_counts()), _counts()
    over, alone = make().double(), make(gather=False).double()
    over(*(own(v, counts) for v in views)).backward()
    alone(*views).backward()
    return [p.grad for p in over.parameters()], [p.grad for p in alone.parameters()]  # type: ignore[misc]


class _Warm(nn.Module):
    """A loss whose temperature, and whatever else, is a tensor of the caller's."""

    def __init__(self, kind: type[Loss], names: tuple[str, ...], **options: Any) -> None:
        super().__init__()
        self.learnt = nn.ParameterDict({name: nn.Parameter(torch.tensor(0.7, dtype=F64)) for name in names})
        self.kind, self.options = kind, options

    def forward(self, *views: Tensor, **sides: Any) -> Tensor:
        value: Tensor = self.kind(**self.learnt, **self.options)(*views, **sides)
        return value


def warm_gca_uot(**options: Any) -> nn.Module:
    return _Warm(GCAUOT, ("temperature", "rho1", "rho2"), **options)


def warm_gca_ince(**options: Any) -> nn.Module:
    return _Warm(GCAINCE, ("temperature",), **options)


def learnable_clip(**options: Any) -> nn.Module:
    return CLIP(learnable=True, **options)


def learnable_siglip(**options: Any) -> nn.Module:
    return SigLIP(learnable=True, **options)


class _Halved(nn.Module):
    """An encoder that encodes a few rows at a time: the module that data parallel training wraps."""

    def __init__(self, inner: nn.Module, micro_batch: int) -> None:
        super().__init__()
        self.inner, self.micro_batch = inner, micro_batch

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = TwoPass(self.inner, self.micro_batch)(x)
        return z


def two_pass(order: str) -> tuple[Tensor, Tensor]:
    """The gradient of a step by TwoPass over processes, and of the plain one on one process."""
    counts = _counts()
    torch.manual_seed(4)
    x, other = torch.randn(2, sum(counts), WIDE, dtype=F64)
    whole = encoder()
    GCAINCE(gather=False)(whole(x), whole(other)).backward()
    shared: nn.Module = encoder()
    if order == "wrapper outside":
        shared = DistributedDataParallel(_Halved(shared, 2))
        encode: Callable[[Tensor], Tensor] = shared
    else:
        shared = DistributedDataParallel(shared)
        encode = TwoPass(shared, 2)
    GCAINCE()(encode(own(x, counts)), encode(own(other, counts))).backward()
    return gradient(shared), gradient(whole)


def queued(size: int) -> tuple[Tensor | None, ...]:
    """The queue of all processes after three uneven batches, and the queue of one process."""
    counts = _counts()
    over, alone = KeyQueue(size, D), KeyQueue(size, D, gather=False)
    for step in range(3):
        torch.manual_seed(step)
        keys, ids = torch.randn(sum(counts), D), torch.arange(sum(counts)) + 100 * step
        over.enqueue(own(keys, counts), own(ids, counts))
        alone.enqueue(keys, ids)
    return over.keys, alone.keys, over.ids, alone.ids


def halved() -> tuple[Tensor, Tensor]:
    """Views in half precision."""
    counts, views = _counts(), [v.bfloat16() for v in _views(_counts())]
    return InfoNCE()(*(own(v, counts) for v in views)), InfoNCE(gather=False)(*views)


def rows_in_turn() -> tuple[Tensor, Tensor, Tensor]:
    """Gathered rows, each process's own rank, and the gradient at the own rows."""
    rank = dist.get_rank()
    rows = torch.full((rank, 2), float(rank), requires_grad=True)
    everybody = gathered(rows)
    (everybody * torch.arange(len(everybody))[:, None]).sum().backward()
    return everybody.detach(), rows.detach(), rows.grad  # type: ignore[return-value]


# Groups of processes: some share a batch, others hold the same rows for another part of the model


def _by_group(kind: str) -> Any:
    """Two processes that share a batch, as `gather=` takes them; processes 2 k and 2 k + 1 have the same rows."""
    model = dist.get_world_size() // 2
    if kind == "mesh":
        return init_device_mesh("cpu", (2, model), mesh_dim_names=("data", "model"))["data"]
    groups = [dist.new_group([first, first + model]) for first in range(model)]
    return groups[dist.get_rank() % model]


def grouped(kind: str, large: bool) -> list[tuple[Tensor, Tensor]]:
    """Values and gradients of losses, a guide and a queue that two processes share, and those of one process."""
    group, model, found = _by_group(kind), dist.get_world_size() // 2, []
    part = slice(0, 3) if dist.get_rank() < model else slice(3, 8)
    for make in (InfoNCE, GCAINCE, HCL):
        views = _views((8,))
        mine, alone = ([v.clone().requires_grad_() for v in views] for _ in range(2))
        with limited(dense=0, tiled=0, tile=4, panel=40, budget=0) if large else limited():
            over = make(gather=group)(*(v[part] for v in mine))
            whole = make(gather=False)(*alone)
        shares = torch.autograd.grad(over, mine)[0][part], torch.autograd.grad(whole, alone)[0][part] * 2
        found += [(over.detach(), whole.detach()), shares]
    keys, (guide,) = KeyQueue(6, D, gather=group).double(), _views((8,), 1)
    keys.enqueue(guide[part])
    found.append((keys.stored, guide[2:].roll(2, 0)))
    found.append(
        (Guide(guide[part], repeat=2, gather=group).forbidden(), Guide(guide, repeat=2, gather=False).forbidden())
    )
    return [*found, (gathered(guide[part], gather=group), guide)]


def in_no_group() -> list[str]:
    """What a loss says of groups that it cannot use."""
    messages, mesh = [], init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("data", "model"))
    for gather in (mesh, "data", dist.new_group([1 - min(dist.get_rank(), 1)])):
        try:
            InfoNCE(gather=gather)
        except ValueError as error:
            messages.append(str(error))
    return messages


# What goes wrong on one process


def _good() -> tuple[list[Tensor], Sides]:
    return [torch.randn(4, D), torch.randn(4, D)], {}


def _with(**sides: Any) -> tuple[list[Tensor], Sides]:
    return _good()[0], sides


def _nan() -> tuple[list[Tensor], Sides]:
    views = _good()[0]
    views[1][2, 0] = torch.nan
    return views, {}


def _zero() -> tuple[list[Tensor], Sides]:
    views = _good()[0]
    views[0][3] = 0
    return views, {}


def _negatives(k: int = 2, nan: bool = False) -> tuple[list[Tensor], Sides]:
    negatives = torch.randn(4, k, D)
    negatives[1, 0, 0] = torch.nan if nan else 1.0
    return _with(negatives=negatives)


Call = tuple[list[Any], Sides]
MISTAKES: dict[str, tuple[Callable[[], Call], Callable[[], Call], str]] = {
    "dtype": (_good, lambda: ([v.double() for v in _good()[0]], {}), "dtype of the views is torch.float64 on process"),
    "integers": (_good, lambda: ([v.long() for v in _good()[0]], {}), "process {bad}: view 1 must be floating point"),
    "shapes": (_good, lambda: ([_good()[0][0], torch.randn(3, D)], {}), "process {bad}: view 2 has shape (3, 5)"),
    "width": (_good, lambda: ([torch.randn(4, 2)] * 2, {}), "dimension of the views is 2 on process {bad} but 5"),
    "three views": (_good, lambda: ([torch.randn(4, D)] * 3, {}), "number of views is 3 on process {bad} but 2 on pr"),
    "no views": (_good, lambda: ([], {}), "process {bad}: there are no views"),
    "no tensor": (_good, lambda: ([1, 2], {}), "process {bad}: view 1 must be a torch.Tensor, got int"),
    "labels": (_good, lambda: _with(labels=torch.arange(4)), "labels= is passed on process {bad} but nothing on"),
    "no labels": (lambda: _with(labels=torch.arange(4)), _good, "labels= is nothing on process {bad} but passed on"),
    "long labels": (
        lambda: _with(labels=torch.arange(4)),
        lambda: _with(labels=torch.arange(5)),
        "process {bad}: labels must have shape (4,)",
    ),
    "unknown": (_good, lambda: _with(lables=torch.arange(4)), "lables= is passed on process {bad}"),
    "unknown everywhere": (lambda: _with(lables=torch.arange(4)),) * 2 + ("did you mean 'labels'",),  # type: ignore[dict-item]
    "NaN": (_good, _nan, "view 2 of process {bad} holds NaN (first in row 2)"),
    "a zero row": (_good, _zero, "view 1 of process {bad} has a zero vector (row 3)"),
    "negatives": (_negatives, lambda: _negatives(3), "negatives= is torch.float32 (n, 3, 5) on process {bad}"),
    "NaN negatives": (_negatives, lambda: _negatives(nan=True), "negatives of process {bad} holds NaN"),
    "keys": (
        lambda: _with(keys=torch.ones(3, D)),
        lambda: _with(keys=torch.ones(3, D).index_fill(0, torch.tensor([1]), 1.1)),
        "keys= is torch.float32 (3, 5) with checksum",
    ),
    "longer keys": (lambda: _with(keys=torch.ones(3, D)), lambda: _with(keys=torch.ones(2, D)), "keys= is torch.float"),
    "empty keys": (
        lambda: _with(keys=torch.ones(0, D)),
        lambda: _with(keys=torch.ones(0, D)),
        "keys is empty: shape (0, 5)",
    ),
    "no sample anywhere": (lambda: ([torch.randn(0, D)] * 2, {}), lambda: ([torch.randn(0, D)] * 2, {}), "1 is empty"),
    "one sample": (
        lambda: ([torch.randn(0, D)] * 2, {}),
        lambda: ([torch.randn(1, D)] * 2, {}),
        "views hold one sample",
    ),
    "a local mask": (
        lambda: _with(mask=torch.zeros(8, 8, dtype=torch.bool)),
        lambda: _with(mask=torch.zeros(8, 8, dtype=torch.bool)),
        "mask has 8 rows but the anchors of all {world} processes are",
    ),
}


def _checked(bad: int, mistake: str) -> str:
    """The message of a call that is wrong on one process; then all of them must still understand each other."""
    good, wrong, _ = MISTAKES[mistake]
    views, sides = wrong() if dist.get_rank() == bad else good()
    try:
        InfoNCE()(*views, **sides)
    except ValueError as error:
        message = str(error)
    else:
        message = "nothing was raised"
    dist.barrier()
    return message


def mistaken(bad: int, mistake: str) -> str:
    """See above; with a sound call afterwards."""
    message = _checked(bad, mistake)
    assert InfoNCE()(*_good()[0]).isfinite()
    return message


def different_callers(bad: int) -> list[str]:
    """Messages of calls of what was made otherwise on one process."""
    here, guide, messages = dist.get_rank() == bad, torch.randn(4, D), []
    for call in (
        lambda: InfoNCE(0.1 if here else 0.2)(*_good()[0]),
        lambda: (HCL if here else InfoNCE)().coupling(*_good()[0]),
        lambda: Guide(guide, guide, margin=0.1 if here else 0.2),
        lambda: InfoNCE()(*_good()[0]) if here else Guide(guide, guide),
    ):
        try:
            call()
        except ValueError as error:
            messages.append(str(error))
    return messages


def on_the_first() -> str:
    """The message of a loss that process 0 alone calls."""
    if dist.get_rank() > 0:
        return ""
    try:
        InfoNCE()(*_good()[0])
    except RuntimeError as error:
        return str(error)
    return "nothing was raised"


def beside_another_call() -> str:
    """The same, while the others tell each other something else."""
    if dist.get_rank() == 0:
        return on_the_first()
    dist.all_gather_object([None] * dist.get_world_size(), {"accuracy": 0.3})
    return ""


def on_one_by_itself() -> bool:
    """What process 0 alone may call."""
    return dist.get_rank() > 0 or bool(InfoNCE(gather=False)(*_good()[0]).isfinite())


def without_checks() -> tuple[str, bool]:
    """Unequal queues pass when checks are off; they are on or off everywhere."""
    keys = torch.randn(3, D, generator=torch.Generator().manual_seed(dist.get_rank()))
    set_checks(False)
    passed = bool(InfoNCE()(*_good()[0], keys=keys).isfinite())
    set_checks(dist.get_rank() > 0)
    try:
        InfoNCE()(*_good()[0])
        message = ""
    except ValueError as error:
        message = str(error)
    finally:
        set_checks(True)
    return message, passed


def bad_queue(bad: int) -> list[str]:
    """Messages of a queue that gets what it cannot hold on one process."""
    queue, messages = KeyQueue(4, D), []
    here = dist.get_rank() == bad
    for keys, ids in (
        (torch.randn(2, 3 if here else D), None),
        (torch.full((2, D), torch.nan if here else 1.0), None),
        (torch.randn(2, D), torch.arange(2) if here else None),
    ):
        try:
            queue.enqueue(keys, ids)
        except ValueError as error:
            messages.append(str(error))
    return [*messages, str(len(queue))]


def hang() -> None:
    """One process waits for the others for ever."""
    if dist.get_rank() == 0:
        dist.barrier()
