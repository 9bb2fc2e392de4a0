"""Who pushes whom: the pair weights of a loss, folded to samples and averaged over many batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..basics import checks
from ..losses import Loss
from .neighbours import Progress, silent

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..losses import Sides

__all__ = ["Survey", "effective_negatives", "pushes", "repulsion", "survey"]


@torch.no_grad()
def repulsion(loss: Loss, *views: Tensor, **sides: Unpack[Sides]) -> Tensor:
    """How strongly a loss pushes each sample away from each other one, (n, n), >= 0, zero on the diagonal.

    R_ij = sum over the views a of i and b of j of max(0, dL / ds_(ia)(jb)): the repelling pair weights.

    Args:
        loss: any loss of the library; one that repels nothing gives zeros.
        views: (n, d) each; a single one stands for two that coincide.
        sides: what the loss takes beside them (labels, ids, mask), but for keys and negatives of one's own.

    Raises:
        InvalidInput: what the loss refuses; keys or negatives, which are no samples of the batch; pair weights that
            overflow.

    Cost:
        One value and gradient of the loss on the matrix of all views: O((v n)^2) memory.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> from couplings.diagnostics import repulsion
        >>> repulsion(InfoNCE(0.5), torch.eye(3)).diagonal().tolist()
        [0.0, 0.0, 0.0]
    """
    outside = [name for name in ("keys", "negatives") if sides.get(name) is not None]
    checks.require(not outside, f"{' and '.join(outside)}: repulsion is between the samples of a batch; drop them")
    shown = views if len(views) > 1 else views * 2
    weights = loss.apart().pair_weights(*shown, **sides).clamp_min(0)
    usable = not checks.checks_enabled() or bool(weights.isfinite().all())
    checks.require(usable, f"the pair weights of {type(loss).__name__} overflow {weights.dtype}: raise its temperature")
    n, count = len(shown[0]), len(shown)
    return weights.reshape(count, n, count, n).sum((0, 2)).fill_diagonal_(0)


def effective_negatives(repulsion: Tensor) -> Tensor:
    """How many equal negatives would push as these do: exp of the entropy of each row's shares, (n,), in [0, n - 1].

    Args:
        repulsion: (n, m), >= 0, of :func:`repulsion`; a row without any gives 0.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import effective_negatives
        >>> round(effective_negatives(torch.tensor([[0.0, 1.0, 1.0]])).item(), 4)
        2.0
    """
    total = repulsion.sum(1, keepdim=True)
    share = repulsion / total.clamp_min(torch.finfo(repulsion.dtype).tiny)
    return torch.where(total[:, 0] > 0, torch.special.entr(share).sum(1).exp(), 0.0)


class Survey(NamedTuple):
    """What batches say of each sample; means over the batches it was in.

    Attributes:
        mass: (n,), the push that others feel from the sample, in units of the average sample's: its column mass. Near
            1 for all under a plan with a column marginal, of which only what positives carry is no push; hubs lie far
            above.
        effective_negatives: (n,), how many equal negatives would push the sample as its batch does.
        positive_rank: (n,), share of the batch's other samples that are as similar to it as its positive, or more, in
            [0, 1]: near 0 where the positive is recognised, 0.5 for a random one; NaN without positives.
        batch_size: samples in a batch, on average.
    """

    mass: Tensor
    effective_negatives: Tensor
    positive_rank: Tensor
    batch_size: float


def survey(
    loss: Loss,
    z: Tensor,
    positives: Tensor | None = None,
    *,
    ids: Tensor | None = None,
    batch_size: int = 256,
    rounds: int = 4,
    seed: int = 0,
    progress: Progress = silent,
) -> Survey:
    """Average what a loss does to each sample over random batches, every sample in `rounds` of them.

    Args:
        loss: any loss of the library that needs views alone.
        z: embeddings (n, d).
        positives: another view of each row, (n, d); None lets the views of a sample coincide.
        ids: (n,) integers; rows of one id never repel each other.
        batch_size: samples a batch at most, >= 3; batches are of nearly equal size.
        rounds: passes over all samples, >= 1.
        seed: of the batches.
        progress: told the share that is done.

    Raises:
        InvalidInput: what the loss refuses.

    Cost:
        rounds n / batch_size calls of :func:`repulsion`; O(n d + batch_size^2) memory.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> from couplings.diagnostics import survey
        >>> z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
        >>> found = survey(InfoNCE(0.2), z, batch_size=16)
        >>> found.mass.mean().round(decimals=4).item(), found.positive_rank.isnan().all().item()
        (1.0, True)
    """
    for name, value, least in (("batch_size", batch_size, 3), ("rounds", rounds, 1)):
        checks.count(name, value)
        checks.require(value >= least, f"{name} must be at least {least}, got {value}")
    _check_rows(z, positives, ids)
    sums = z.new_zeros(3, len(z), dtype=torch.float64)
    batches = list(_batches(len(z), batch_size, rounds, seed))
    for done, rows in enumerate(batches):
        rows = rows.to(z.device)
        pushed = repulsion(loss, *_views(z, positives, rows), **_sides(ids, rows))
        sums[0, rows] += _relative(pushed.sum(0))
        sums[1, rows] += effective_negatives(pushed)
        sums[2, rows] += _positive_rank(z, positives, rows)
        progress((done + 1) / len(batches))
    mass, effective, rank = sums / rounds
    return Survey(mass, effective, rank, rounds * len(z) / len(batches))


def pushes(
    loss: Loss,
    z: Tensor,
    pairs: Tensor,
    positives: Tensor | None = None,
    *,
    ids: Tensor | None = None,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress = silent,
) -> Tensor:
    """How hard a loss pushes given pairs apart when a batch holds both, in units of the average pair of the batch.

    The pairs are dealt out at random, so that a batch of `batch_size` holds half as many of them, each among samples
    that have nothing to do with it. A pair far above 1 takes a large part of the learning.

    Args:
        loss: any loss of the library that needs views alone.
        z: embeddings (n, d).
        pairs: int64 (p, 2) of different rows.
        positives: another view of each row, (n, d); None lets the views of a sample coincide.
        ids: (n,) integers; rows of one id never repel each other.
        batch_size: samples a batch, >= 4; all where there are fewer.
        seed: of the dealing.
        progress: told the share that is done.

    Returns:
        (p,), >= 0, the mean of both directions.

    Raises:
        InvalidInput: pairs that are no pairs of rows; what the loss refuses.

    Cost:
        2 p / batch_size calls of :func:`repulsion`.

    Example:
        >>> import torch
        >>> from couplings import InfoNCE
        >>> from couplings.diagnostics import pushes
        >>> z = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
        >>> z[1] = z[0]
        >>> close, far = pushes(InfoNCE(0.1), z, torch.tensor([[0, 1], [2, 3]]))
        >>> bool(close > 10 * far)
        True
    """
    checks.count("batch_size", batch_size)
    checks.require(batch_size >= 4, f"batch_size must be at least 4, got {batch_size}")
    _check_rows(z, positives, ids)
    _check_pairs(pairs, len(z))
    generator, source = torch.Generator().manual_seed(seed), random.Random(seed)
    found = z.new_zeros(len(pairs), dtype=torch.float64)
    dealt = torch.split(torch.randperm(len(pairs), generator=generator), min(batch_size // 2, max(1, len(pairs))))
    for done, chosen in enumerate(dealt):
        members, place = torch.unique(pairs[chosen], return_inverse=True)
        rows = _filled(members, batch_size, len(z), source)
        rows = rows.to(z.device)
        pushed = repulsion(loss, *_views(z, positives, rows), **_sides(ids, rows))
        both = (pushed + pushed.T).double() / 2
        average = both.sum() / max(1, len(rows) * (len(rows) - 1))
        found[chosen] = both[place[:, 0], place[:, 1]] / average.clamp_min(1e-300)
        progress((done + 1) / len(dealt))
    return found


def _check_rows(z: Tensor, positives: Tensor | None, ids: Tensor | None) -> None:
    checks.matrix("z", z)
    checks.require(len(z) >= 2, f"z: {len(z)} row came; a pair takes two")
    if positives is not None:
        checks.matrix("positives", positives)
        checks.same_shape(["z", "positives"], [z, positives])
    if ids is not None:
        checks.ids("ids", ids, len(z))


def _check_pairs(pairs: Tensor, n: int) -> None:
    checks.tensor("pairs", pairs)
    fits = pairs.dim() == 2 and pairs.shape[1] == 2 and not pairs.is_floating_point()
    checks.require(fits, f"pairs must be integers of shape (p, 2), got {pairs.dtype} {tuple(pairs.shape)}")
    if len(pairs):
        low, high = int(pairs.min()), int(pairs.max())
        checks.require(low >= 0 and high < n, f"pairs must name rows 0 to {n - 1}, got {low} to {high}")
        checks.require(
            bool((pairs[:, 0] != pairs[:, 1]).all()), "pairs must be of different rows; drop those of one row"
        )


def _batches(n: int, batch_size: int, rounds: int, seed: int) -> Iterator[Tensor]:
    """Rows of each batch: as few batches as the size allows, of nearly equal numbers."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(rounds):
        yield from torch.randperm(n, generator=generator).tensor_split(-(-n // batch_size))


def _filled(members: Tensor, size: int, n: int, source: random.Random) -> Tensor:
    """The members first, then others at random; min(size, n) rows that differ."""
    size = min(size, n)
    # So many that differ leave enough without the members; no O(n) permutation for each batch.
    drawn = torch.tensor(source.sample(range(n), size))
    others = drawn[~torch.isin(drawn, members)]
    return torch.cat([members, others[: size - len(members)]])


def _views(z: Tensor, positives: Tensor | None, rows: Tensor) -> tuple[Tensor, ...]:
    return (z[rows],) if positives is None else (z[rows], positives[rows])


def _sides(ids: Tensor | None, rows: Tensor) -> Sides:
    return {} if ids is None else {"ids": ids[rows]}


def _relative(mass: Tensor) -> Tensor:
    return mass.double() / mass.double().mean().clamp_min(1e-300)


def _positive_rank(z: Tensor, positives: Tensor | None, rows: Tensor) -> Tensor:
    """Share of the other samples, in either view, that lie as near to the anchor as its positive, or nearer."""
    if positives is None:
        return z.new_full((len(rows),), torch.nan)
    # Cosines of a tight cluster differ by less than single precision resolves.
    anchor, partner = (torch.nn.functional.normalize(each[rows].double(), dim=1) for each in (z, positives))
    across = anchor @ partner.T
    nearer = [
        (similarity >= across.diagonal()[:, None]).double().fill_diagonal_(0).sum(1)
        for similarity in (across, anchor @ anchor.T)
    ]
    return (nearer[0] + nearer[1]) / max(1, 2 * (len(rows) - 1))
