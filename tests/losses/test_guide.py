"""A guide masks false negatives and leaves every anchor one to repel."""

from __future__ import annotations

import pytest
import reference as ref
import torch
from reference_calls import SIDES, assert_equal, random_call
from reference_specs import SPECS
from torch import Tensor

from couplings import CACR, CLIP, AlignmentUniformity, Guide, InfoNCE, InvalidInput, Loss, SinkhornCACR
from helpers import F64, unit_views

N = 6


def _drawn(like: list[Tensor], noise: float = 0.8, seed: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [v.detach() + noise * torch.randn(v.shape, generator=generator, dtype=F64) for v in like]


@pytest.mark.parametrize("name", ["infonce", "hcl", "triplet", "alpha-cl-direct", "clip", "alignment-uniformity"])
@pytest.mark.parametrize("side", ["two", "three", "queue"])
@pytest.mark.parametrize("margin", [0.0, 0.2, 2.0])
def test_it_masks_what_it_holds_for_as_close_as_a_positive(name: str, side: str, margin: float) -> None:
    call, spec = random_call(SIDES[side], 0), SPECS[name]
    guides = _drawn(call.views)
    keys = _drawn([call.leaves["keys"]], seed=3)[0] if "keys" in call.leaves else None
    w = ref.world(call.views, **call.sides(), **call.options, mask=ref.guide(guides, margin, keys))
    assert (w.negatives.sum(1) < call.world().negatives.sum(1)).any()
    loss = spec.build(**spec.params[0], **call.options)
    ours = loss(*call.views, **call.sides(), mask=Guide(*guides, margin=margin, keys=keys))
    assert_equal(ours, spec.reference(w, **spec.params[0]), call.inputs)


@pytest.mark.parametrize("loss", [InfoNCE(), CLIP(), CACR(), AlignmentUniformity()], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_no_anchor_is_left_without_a_negative(loss: Loss, dtype: torch.dtype) -> None:
    """Random guides of any margin: up to 2, where everything but the farthest is masked."""
    generator = torch.Generator().manual_seed(0)
    for seed in range(50):
        count = 2 + seed % 2
        views = [v.to(dtype) for v in unit_views(n=3 + seed % 8, count=count, seed=seed)]
        guides = [torch.randn(len(v), 3, generator=generator, dtype=dtype) for v in views]
        for margin in (0.0, 0.1, 0.5, 1.0, 2.0):
            assert loss(*views, mask=Guide(*guides, margin=margin)).isfinite()


@pytest.mark.parametrize("rows", [3, 16, 57, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, F64])
def test_the_farthest_of_each_view_and_of_the_queue_stays(rows: int, dtype: torch.dtype) -> None:
    """However rows are multiplied: a block's similarities may be rounded otherwise than the whole matrix's."""
    generator = torch.Generator().manual_seed(rows)
    guides = [torch.randn(rows, 33, generator=generator).to(dtype) for _ in range(3)]
    mask = Guide(*guides, margin=2.0, keys=torch.randn(7, 33, generator=generator).to(dtype))
    own = torch.eye(rows, dtype=torch.bool).repeat(3, 3)
    kept = ~mask.forbidden()
    for view in range(3):
        columns = slice(view * rows, (view + 1) * rows)
        assert ((kept[:, columns] & ~own[:, columns]).sum(1) >= 1).all()
        for start in range(3):
            part = torch.arange(start * rows, (start + 1) * rows)
            block = ~mask.block(part, torch.arange(view * rows, (view + 1) * rows)).forbidden()
            assert ((block & ~torch.eye(rows, dtype=torch.bool)).sum(1) >= 1).all()
    assert (kept[:, 3 * rows :].sum(1) >= 1).all()


def test_exact_duplicates_are_masked() -> None:
    """Twins of the guide are as near as the positive can be, whatever rounding says."""
    for dtype in (torch.float32, F64):
        for seed in range(20):
            guide = [v.to(dtype) for v in unit_views(n=N, d=17, seed=seed, noise=0.0)]
            twins = [torch.cat([v, v[1:3]]) for v in guide]
            mask = Guide(*twins).forbidden()
            ids = torch.tensor([*range(N), 1, 2]).repeat(2)
            sample = torch.arange(N + 2).repeat(2)
            assert mask[(ids[:, None] == ids) & (sample[:, None] != sample)].all()
            assert not mask[ids[:, None] != ids].any()


def test_one_guide_view_stands_for_all() -> None:
    """A guide of un-augmented samples masks their duplicates alone, in every view."""
    views, guide = unit_views(n=N, count=3), torch.cat([torch.eye(N - 1), torch.eye(N - 1)[:1]])
    mask = Guide(guide, repeat=3)
    assert mask.shape == (3 * N, 3 * N)
    assert torch.equal(mask.forbidden(), Guide(guide, guide, guide).forbidden())
    ids = torch.tensor([*range(N - 1), 0])
    torch.testing.assert_close(InfoNCE()(*views, mask=mask), InfoNCE()(*views, ids=ids))


def test_a_guide_of_keys() -> None:
    """Keys that the guide finds as near as the positive are masked; without keys= the queue is refused."""
    views, guides = unit_views(n=N), [torch.eye(N)] * 2
    keys, near = torch.randn(4, 4, dtype=F64), torch.eye(N)[[2, 5, 2, 0]]
    mask = Guide(*guides, keys=near)
    forbidden = mask.forbidden()[:, 2 * N :]
    assert torch.equal(forbidden, torch.arange(N).repeat(2)[:, None] == torch.tensor([2, 5, 2, 0]))
    ids = {"ids": torch.arange(N), "key_ids": torch.tensor([2, 5, 2, 0])}
    torch.testing.assert_close(InfoNCE()(*views, keys=keys, mask=mask), InfoNCE()(*views, keys=keys, **ids))
    with pytest.raises(InvalidInput, match=r"mask has shape \(12, 12\) but anchors and candidates are \(12, 16\)"):
        InfoNCE()(*views, keys=keys, mask=Guide(*guides))


def test_a_larger_margin_masks_more() -> None:
    guides, counts = _drawn(unit_views(n=N), 0.5), []
    for margin in (0.0, 0.1, 0.3, 1.0, 2.0):
        counts.append(int(Guide(*guides, margin=margin).forbidden().sum()))
    assert counts == sorted(counts)
    assert counts[0] < counts[2] < counts[-1]


def test_blocks_of_a_guide_are_blocks_of_its_matrix() -> None:
    mask = Guide(*_drawn(unit_views(n=N)), margin=0.3)
    rows, columns = torch.tensor([1, 7, 3]), torch.tensor([0, 11, 5, 6])
    assert torch.equal(mask.block(rows, columns).forbidden(), mask.forbidden()[rows][:, columns])
    inner = mask.block(rows, columns).block(torch.tensor([2]), torch.tensor([1, 3]))
    assert torch.equal(inner.forbidden(), mask.forbidden()[3:4][:, [11, 6]])


def test_a_guide_is_a_constant() -> None:
    guides = [v.requires_grad_() for v in _drawn(unit_views(n=N))]
    views = [v.requires_grad_() for v in unit_views(n=N)]
    value = SinkhornCACR(sweeps=3)(*views, mask=Guide(*guides))
    assert all(g is None for g in torch.autograd.grad(value, guides, allow_unused=True, retain_graph=True))
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(value, views))
